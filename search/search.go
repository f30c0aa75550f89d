// Package search finds a hybrid architecture for a model that is already trained: which of its layers keep full attention,
// which linear block the others get, and in which shape (PostNAS, https://arxiv.org/abs/2508.15884).
//
// A super network (search/supernet) holds the original attention and a linear block in every layer, and measures any
// placement without training it; strategies (search/placement) decide which placements to measure.
package search

import (
	"fmt"
	"strings"

	"github.com/gojet/gojet/checkpoints"
)

// Kind is what mixes tokens in one layer of a placement.
type Kind uint8

// Kinds of layers.
const (
	Linear Kind = iota // the linear block
	Full               // the original attention
	Window             // the original attention within a sliding window
	Kinds
)

// signs are how a placement is written, one for each layer.
const signs = "-FS"

func (k Kind) String() string { return signs[k : k+1] }

// Placement says of each layer what it is.
type Placement []Kind

// Uniform is n layers of one kind.
func Uniform(n int, k Kind) Placement {
	p := make(Placement, n)
	for i := range p {
		p[i] = k
	}
	return p
}

// String is a sign a layer: - linear, F full attention, S sliding window.
func (p Placement) String() string {
	var b strings.Builder
	for _, k := range p {
		b.WriteString(k.String())
	}
	return b.String()
}

// ParsePlacement reads what String writes.
func ParsePlacement(text string) (Placement, error) {
	p := make(Placement, len(text))
	for i := range text {
		k := strings.IndexByte(signs, text[i])
		if k < 0 {
			return nil, fmt.Errorf("search: placement %q: layer %d is %q, want - (linear), F (full attention) or S (sliding window)", text, i, text[i:i+1])
		}
		p[i] = Kind(k)
	}
	return p, nil
}

// Count returns how many layers are of a kind.
func (p Placement) Count(k Kind) int {
	n := 0
	for _, x := range p {
		if x == k {
			n++
		}
	}
	return n
}

// Layers lists those of a kind.
func (p Placement) Layers(k Kind) []int {
	var list []int
	for i, x := range p {
		if x == k {
			list = append(list, i)
		}
	}
	return list
}

// With is the placement with layer i of another kind.
func (p Placement) With(i int, k Kind) Placement {
	q := append(Placement(nil), p...)
	q[i] = k
	return q
}

// LayerTypes are those of a config.json, with the linear block of that name.
func (p Placement) LayerTypes(linear string) []string {
	names := [Kinds]string{linear, checkpoints.Attn, checkpoints.SWA}
	types := make([]string, len(p))
	for i, k := range p {
		types[i] = names[k]
	}
	return types
}

// Objective is a measurement that placements are compared by, such as recall/accuracy, text/perplexity or text/kl.
type Objective string

// Measurements on held-out text; those of a task are its name, a slash and Loss or Accuracy.
const (
	TextLoss       Objective = "text/loss"
	TextPerplexity Objective = "text/perplexity"
	TextKL         Objective = "text/kl" // divergence from the teacher, KL(teacher‖student)
	Loss                     = "loss"
	Accuracy                 = "accuracy"
	// MeanLoss and MeanAccuracy are means over all tasks.
	MeanLoss     Objective = "mean/loss"
	MeanAccuracy Objective = "mean/accuracy"
)

// Higher says whether more is better.
func (o Objective) Higher() bool { return strings.HasSuffix(string(o), "/"+Accuracy) }

// Better says whether score a is better than b.
func (o Objective) Better(a, b float64) bool {
	if o.Higher() {
		return a > b
	}
	return a < b
}

// Scores are the measurements of one placement or model.
type Scores map[Objective]float64
