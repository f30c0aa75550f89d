package metrics

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/gojet/gojet/evals"
)

func TestOpenErrors(t *testing.T) {
	for _, tc := range []struct {
		name    string
		options map[string]any
		want    string
	}{
		{"exact", nil, `"exact" is no metric, want one of `},
		{"exact_match", map[string]any{"ignore_case": "yes"}, "ignore_case is yes, want true or false"},
		{"exact_match", map[string]any{"regexes_to_ignore": []any{"("}}, "regexes_to_ignore[0]: "},
		{"exact_match", map[string]any{"regexes_to_ignore": ","}, "want a list of patterns"},
		{"exact_match", map[string]any{"ignore_cases": true}, `no option "ignore_cases"`},
		{"rouge_score", map[string]any{"k": 1}, `no option "k"`},
		{"pass_at_k", map[string]any{"k": 1}, "has to be allowed"},
	} {
		_, err := Open(tc.name, tc.options, nil)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Open(%q, %v): %v, want %q", tc.name, tc.options, err, tc.want)
		}
	}
	if _, err := Open("pass_at_k", map[string]any{"k": []any{0}}, passing{}); err == nil || !strings.Contains(err.Error(), "from 1 on") {
		t.Errorf("k = 0: %v", err)
	}
	for _, name := range Names() {
		if _, err := Open(name, nil, passing{}); err != nil {
			t.Error(err)
		}
	}
}

func TestJudgeErrors(t *testing.T) {
	for _, tc := range []struct {
		name string
		a    evals.Answered
		want string
	}{
		{"exact_match", evals.Answered{Answers: []string{"a", "b"}, Targets: []string{"a"}}, "2 answers and 1 targets"},
		{"rouge_score", evals.Answered{Answers: []string{"a"}}, "1 answers and 0 targets"},
		{"retrieval_score", evals.Answered{Answers: []string{"a"}, Targets: []string{"seven"}}, "has no number"},
		{"classification_score", evals.Answered{Answers: []string{"a"}, Targets: []string{"a"}}, "no list all_classes"},
		{"classification_score", evals.Answered{Answers: []string{"a"}, Targets: []string{"a"}, Doc: map[string]any{"all_classes": []any{1}}}, "all_classes[0] is 1"},
	} {
		judge, err := Open(tc.name, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := judge(t.Context(), tc.a); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

func TestMatches(t *testing.T) {
	targets := []string{"Alpha", "beta", "gamma"}
	for answer, want := range map[string][2]float64{
		"alpha, BETA": {2. / 3, 1}, "": {0, 0}, "betagammaalpha": {1, 1}, "delta": {0, 0},
	} {
		if all, part := StringMatchAll(answer, targets), StringMatchPart(answer, targets); all != want[0] || part != want[1] {
			t.Errorf("%q: all %v, part %v, want %v", answer, all, part, want)
		}
	}
}

func TestMinerva(t *testing.T) {
	const solution = `Adding them gives $\frac{1}{2}+\frac14 = \boxed{\frac{3}{4}}$.`
	for answer, want := range map[string]bool{
		`Final Answer: The final answer is $\frac34$. I hope it is correct.`: true,
		`Final Answer: The final answer is $0.75$. I hope it is correct.`:    true,
		`Final Answer: The final answer is $x = 3/4$`:                        false, // not ended: its line is looked for to the end
		`Final Answer: The final answer is $3/4$. `:                          true,
		`Final Answer: The final answer is $0.76$. I hope it is correct.`:    false,
		`The answer is $0.75$.`:                                              false,
		"":                                                                   false,
	} {
		if got := Minerva(answer, solution); got != want {
			t.Errorf("%q: %v", answer, got)
		}
	}
	if !Minerva(`Final Answer: The final answer is $(1,2)$. I hope it is correct.`, "(1,2)") {
		t.Error("a point against itself")
	}
}

// passing says that programs pass which contain "good".
type passing struct{ err error }

func (p passing) Passes(_ context.Context, program string) (bool, error) {
	return strings.Contains(program, "good") && strings.HasSuffix(program, "\ntests"), p.err
}

func TestPassAtK(t *testing.T) {
	for _, tc := range []struct {
		n, c, k int
		want    float64
	}{{1, 1, 1, 1}, {1, 0, 1, 0}, {10, 3, 1, 0.3}, {10, 3, 5, 1 - 21./252}, {10, 8, 3, 1}, {200, 0, 100, 0}} {
		if got := PassAtK(tc.n, tc.c, tc.k); math.Abs(got-tc.want) > 1e-12 {
			t.Errorf("PassAtK(%d, %d, %d) = %v, want %v", tc.n, tc.c, tc.k, got, tc.want)
		}
	}
	judge, err := Open("pass_at_k", map[string]any{"k": []any{1, 2, 9}}, passing{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := judge(t.Context(), evals.Answered{Answers: []string{"good", "bad", "bad"}, Targets: []string{"tests"}})
	if err != nil || len(got) != 2 || math.Abs(got["pass@1"]-1./3) > 1e-12 || math.Abs(got["pass@2"]-2./3) > 1e-12 {
		t.Errorf("pass_at_k: %v, %v", got, err)
	}
	broken := errors.New("no python")
	judge, _ = Open("pass_at_k", nil, passing{broken})
	if _, err := judge(t.Context(), evals.Answered{Answers: []string{"good"}, Targets: []string{"tests"}}); !errors.Is(err, broken) {
		t.Errorf("a broken runner: %v", err)
	}
}

func TestEmptySets(t *testing.T) {
	if !math.IsNaN(Mean(nil)) || !math.IsNaN(Median(nil)) || !math.IsNaN(MeanError([]float64{1})) || !math.IsNaN(Bootstrap(Mean, nil, 1000)) {
		t.Error("what has no value is not NaN")
	}
	if BinaryF1(nil) != 0 || Matthews([]Labelled{{1, 1}}) != 0 {
		t.Error("scores of nothing are not 0")
	}
}
