package sampling

import (
	"fmt"
	"slices"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
)

// Conformance is choices that settings leave no freedom, told by their log-probability, for tests and for doctor. That
// draws have the right distribution is a matter of this package's other tests.
func Conformance() []check.Case {
	return []check.Case{choice(1, 1), choice(3, 7), choice(4, 50), choice(5, 301), choice(4, 17000)}
}

// Large is the part of the battery for GPUs alone.
func Large() []check.Case { return []check.Case{choice(6, 151936)} }

// choice is s sequences that take turns with five ways to leave one token.
func choice(s, vocab int) check.Case {
	ways := []Settings{
		{TopP: 1, RepetitionPenalty: 1},
		{Temperature: 1, TopK: 1, TopP: 1, RepetitionPenalty: 1},
		{Temperature: 0.8, TopP: 1e-9, RepetitionPenalty: 1},
		{Temperature: 1e-30, TopK: 5, TopP: 1, RepetitionPenalty: 1},
		{Temperature: 2, TopP: 1, RepetitionPenalty: 1, MinP: 1},
	}
	var settings []float64
	for i := range s {
		for _, x := range ways[i%len(ways)].Values() {
			settings = append(settings, float64(x))
		}
	}
	return check.Case{
		Op: "sampling", Size: fmt.Sprintf("S %d, Vocab %d", s, vocab),
		Args: []check.Operand{{Name: "ids", Int: make([]int32, s)}, {Name: "logprob", Role: check.Result, Float: make([]float64, s), Wide: true},
			{Name: "logits", Float: check.Normal(check.Rand(uint64(vocab)), s*vocab, 3)}, {Name: "settings", Float: settings, Wide: true},
			{Name: "draws", Int: make([]int32, 3*s)}},
		Reference: func(a [][]float64) {
			for i := range s {
				row := a[2][i*vocab:][:vocab]
				a[1][i] = LogProb(row, slices.Index(row, slices.Max(row)))
			}
		},
		GPU: func(q *device.Queue, a []device.Tensor, scratch device.Tensor) {
			DeviceChoose(q, &DeviceArgs{S: s, Vocab: vocab, IDs: a[0], LogProb: a[1], Logits: a[2], Settings: a[3], Draws: a[4], Scratch: scratch})
		},
		Scratch: func(t device.Type) int64 { return DeviceScratch(s, vocab, t) },
	}
}
