package metrics

import (
	"context"
	"fmt"

	"github.com/gojet/gojet/evals"
)

// Runner runs a Python program and tells whether it came to its end without an exception. An error is about the runner,
// not about the program.
type Runner interface {
	Passes(ctx context.Context, program string) (bool, error)
}

// PassAtK is an unbiased estimate of the probability that at least one of k answers is right, where c of n are
// (https://arxiv.org/abs/2107.03374): 1 - C(n-c, k)/C(n, k).
func PassAtK(n, c, k int) float64 {
	if n-c < k {
		return 1
	}
	wrong := 1.0
	for i := n - c + 1; i <= n; i++ {
		wrong *= 1 - float64(k)/float64(i)
	}
	return 1 - wrong
}

// passAtK runs every answer with the target, the tests, after it. Numbers greater than that of the answers are left
// out.
func passAtK(run Runner, ks []int) evals.Judge {
	return func(ctx context.Context, a evals.Answered) (map[string]float64, error) {
		if len(a.Targets) != 1 {
			return nil, fmt.Errorf("metrics: pass_at_k: %d targets, want one, the tests", len(a.Targets))
		}
		passed := 0
		for _, answer := range a.Answers {
			ok, err := run.Passes(ctx, answer+"\n"+a.Targets[0])
			if err != nil {
				return nil, err
			}
			if ok {
				passed++
			}
		}
		values := map[string]float64{}
		for _, k := range ks {
			if n := len(a.Answers); k <= n {
				values[fmt.Sprintf("pass@%d", k)] = PassAtK(n, passed, k)
			}
		}
		return values, nil
	}
}
