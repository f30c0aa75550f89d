// Package sampling chooses the next token of many sequences from their logits on a device, by the same steps in the same
// order as infer/sampling does for one sequence on the CPU: repetition penalty, temperature, top-k, top-p, min-p.
//
// Draws come from a counter-based generator, Philox (https://doi.org/10.1145/2063384.2063405): the seed of a sequence and
// the number of the draw give the random number, whatever else is in the batch. They are not the draws of the CPU's
// generator; the distribution is the same.
package sampling

import (
	"math"
	"slices"
)

// Settings say how the tokens of one sequence are chosen.
type Settings struct {
	Temperature       float64 // 0 is greedy: the largest logit, the lowest id among equals
	TopP              float64 // 1 keeps all
	TopK              int     // 0 keeps all
	RepetitionPenalty float64 // 1 is none
	MinP              float64 // keeps tokens of at least this part of the likeliest one's probability; 0 keeps all
}

// SettingsLen is the values of a row of DeviceArgs.Settings.
const SettingsLen = 5

// Values is a row of DeviceArgs.Settings.
func (s Settings) Values() []float32 {
	return []float32{float32(s.Temperature), float32(s.TopP), float32(s.TopK), float32(s.RepetitionPenalty), float32(s.MinP)}
}

// Reference returns the probability of every token, straight from the definitions with a sort. seen marks the history; nil
// is an empty one.
func Reference(s Settings, logits []float64, seen []bool) []float64 {
	z := slices.Clone(logits)
	for id := range z {
		if seen != nil && seen[id] && z[id] < 0 {
			z[id] = float64(float32(z[id] * s.RepetitionPenalty))
		} else if seen != nil && seen[id] {
			z[id] = float64(float32(z[id] / s.RepetitionPenalty))
		}
	}
	order := make([]int, len(z))
	for id := range order {
		order[id] = id
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case z[a] > z[b]:
			return -1
		case z[a] < z[b]:
			return 1
		}
		return 0
	})
	p := make([]float64, len(z))
	top := z[order[0]]
	if s.Temperature == 0 {
		p[order[0]] = 1
		return p
	}
	var total float64
	for at, id := range order {
		if s.TopK > 0 && at >= s.TopK && z[id] < z[order[at-1]] {
			order = order[:at]
			break
		}
		p[id] = math.Exp((z[id] - top) / s.Temperature)
		total += p[id]
	}
	var kept float64
	for at, id := range order {
		if s.TopP < 1 && kept >= s.TopP*total {
			for _, cut := range order[at:] {
				p[cut] = 0
			}
			break
		}
		if p[id] < s.MinP { // the likeliest token has 1 here
			for _, cut := range order[at:] {
				p[cut] = 0
			}
			break
		}
		kept += p[id]
	}
	for id := range p {
		p[id] /= kept
	}
	return p
}

// LogProb is the log-probability of a token before any setting.
func LogProb(logits []float64, id int) float64 {
	top := slices.Max(logits)
	var sum float64
	for _, v := range logits {
		sum += math.Exp(v - top)
	}
	return logits[id] - top - math.Log(sum)
}
