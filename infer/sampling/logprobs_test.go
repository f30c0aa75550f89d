package sampling

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestDistributionOf holds log-probabilities and the likeliest tokens to a sort and to LogProb.
func TestDistributionOf(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 3))
	for _, n := range []int{1, 2, 50, 2048, 5000} {
		logits := make([]float32, n)
		for i := range logits {
			logits[i] = float32(math.Round(r.NormFloat64()*20) / 4) // with ties
		}
		if n > 2 {
			logits[1] = float32(math.Inf(-1))
		}
		d, err := NewDistribution(logits)
		if err != nil {
			t.Fatal(err)
		}
		order := make([]int32, n)
		for i := range order {
			order[i] = int32(i)
			want, err := LogProb(logits, int32(i))
			if err != nil {
				t.Fatal(err)
			}
			if got := d.LogProb(int32(i)); got != want && !(math.Abs(got-want) < 1e-6) {
				t.Errorf("%d logits: token %d has %v, want %v", n, i, got, want)
			}
		}
		slices.SortStableFunc(order, func(a, b int32) int {
			switch {
			case logits[a] > logits[b]:
				return -1
			case logits[a] < logits[b]:
				return 1
			}
			return 0
		})
		for _, k := range []int{0, 1, 5, 20} {
			top := d.Top(k)
			if len(top) != min(k, n) {
				t.Fatalf("%d of %d tokens, want %d", len(top), n, k)
			}
			for i, a := range top {
				if a.ID != order[i] || a.LogProb != float32(d.LogProb(a.ID)) {
					t.Errorf("%d logits: %+v is number %d, want token %d", n, a, i, order[i])
				}
			}
		}
		if d.Best() != order[0] {
			t.Errorf("the best of %d is %d, want %d", n, d.Best(), order[0])
		}
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, bad := range [][]float32{{1, nan}, {inf, 0}, {-inf, -inf}} {
		if _, err := NewDistribution(bad); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}
