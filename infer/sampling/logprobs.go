package sampling

import (
	"math"
	"slices"

	"github.com/gojet/gojet/kernels/vec"
)

// Alternative is a token and its log-probability.
type Alternative struct {
	ID      int32
	LogProb float32
}

// Distribution is LogProb for many tokens at once, at the speed and the accuracy (about 1e-7) of float32.
type Distribution struct {
	logits []float32
	best   int32
	norm   float64 // log Σ exp
}

// NewDistribution reads logits, which it keeps. Logits that are NaN or +Inf, or all -Inf, are an error.
func NewDistribution(logits []float32) (Distribution, error) {
	best, err := greatest(logits)
	if err != nil {
		return Distribution{}, err
	}
	var scratch [2048]float32
	top, sum := logits[best], 0.0
	for rest := logits; len(rest) > 0; {
		n := min(len(rest), len(scratch))
		sum += float64(vec.ExpSum(scratch[:n], rest[:n], top))
		rest = rest[n:]
	}
	return Distribution{logits, best, float64(top) + math.Log(sum)}, nil
}

// Best returns the likeliest token, the lowest id among equals.
func (d Distribution) Best() int32 { return d.best }

// LogProb returns the log-probability of a token of the vocabulary.
func (d Distribution) LogProb(id int32) float64 { return float64(d.logits[id]) - d.norm }

// Top returns the n likeliest tokens in order, the lower id first among equals.
func (d Distribution) Top(n int) []Alternative {
	n = min(n, len(d.logits))
	top := make([]candidate, 0, n+1)
	for id, v := range d.logits {
		c := candidate{logit: v, id: int32(id)}
		if n == 0 || len(top) == n && !c.before(top[n-1]) {
			continue
		}
		at, _ := slices.BinarySearchFunc(top, c, candidate.compare)
		top = slices.Insert(top, at, c)
		top = top[:min(len(top), n)]
	}
	as := make([]Alternative, len(top))
	for i, c := range top {
		as[i] = Alternative{c.id, float32(d.LogProb(c.id))}
	}
	return as
}
