package layers

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/matmul"
)

// LoRA adds a trainable update of low rank to chosen matrices: W + Alpha/Rank · B·A with A [Rank, In] and B [Out, Rank]
// (https://arxiv.org/abs/2106.09685). B starts at zero, so that the model starts unchanged.
type LoRA struct {
	Rank    int
	Alpha   float64
	Targets []string // last parts of the matrices' names, such as q_proj
}

func (l LoRA) scale() float64 { return l.Alpha / float64(l.Rank) }

// Names of an adapter's two matrices, after the name of the matrix without ".weight"; those of the PEFT library.
const (
	loraA = ".lora_A.weight"
	loraB = ".lora_B.weight"
)

// IsAdapter reports whether a weight belongs to an adapter.
func IsAdapter(name string) bool {
	return strings.HasSuffix(name, loraA) || strings.HasSuffix(name, loraB)
}

// WithLoRA returns the model with adapters among its parameters.
func (d *Decoder) WithLoRA(l LoRA) (*Decoder, error) {
	if l.Rank < 1 || !(l.Alpha > 0) {
		return nil, fmt.Errorf("layers: lora has rank %d and alpha %v, want 1 or more and above 0", l.Rank, l.Alpha)
	}
	a := *d
	a.lora, a.params, a.shapes = l, nil, map[string][]int{}
	met := map[string]bool{}
	for _, p := range d.params {
		a.params = append(a.params, p)
		base, isWeight := strings.CutSuffix(p.Name, ".weight")
		target := base[strings.LastIndexByte(base, '.')+1:]
		if !isWeight || len(p.Shape) != 2 || !slices.Contains(l.Targets, target) || !strings.Contains(p.Name, ".layers.") {
			continue
		}
		met[target] = true
		a.params = append(a.params,
			Param{base + loraA, []int{l.Rank, p.Shape[1]}, uniform(1 / math.Sqrt(float64(p.Shape[1]))), true},
			Param{base + loraB, []int{p.Shape[0], l.Rank}, constant(0), true})
	}
	for _, t := range l.Targets {
		if !met[t] {
			return nil, fmt.Errorf("layers: lora target %q is no matrix of the model's layers", t)
		}
	}
	for _, p := range a.params {
		a.shapes[p.Name] = p.Shape
	}
	return &a, nil
}

func uniform(bound float64) Init {
	return func(r *rand.Rand, w []float32) {
		for i := range w {
			w[i] = float32((2*r.Float64() - 1) * bound)
		}
	}
}

// adapted reports whether the matrix name has an adapter.
func (s *Scope) adapted(name string) bool {
	_, ok := s.shapes[s.prefix+name+loraA]
	return ok
}

// adapter appends the update of the matrix name, if it has one.
func (s *Scope) adapter(x, y *autograd.Node, name string) *autograd.Node {
	if !s.adapted(name) {
		return y
	}
	low := s.Graph.Linear(x, s.Weight(name+loraA), nil)
	return s.Add(y, s.Scale(s.Graph.Linear(low, s.Weight(name+loraB), nil), s.lora.scale()))
}

// Merge returns the weights of the model without adapters, their updates added to the matrices.
func (d *Decoder) Merge(c *cpu.Cores, w Weights) Weights {
	merged := Weights{}
	for name, v := range w {
		base, isMatrix := strings.CutSuffix(name, ".weight")
		a, adapted := w[base+loraA]
		switch {
		case IsAdapter(name):
			continue
		case !isMatrix || !adapted:
			merged[name] = v
			continue
		}
		sum := autograd.Float32s(floats(v), v.Shape...)
		out, in := v.Shape[0], v.Shape[1]
		matmul.Mul(c, matmul.NN, out, in, d.lora.Rank, float32(d.lora.scale()), matmul.Of(w[base+loraB].F32, d.lora.Rank),
			matmul.Of(a.F32, in), 1, matmul.Of(sum.F32, in))
		merged[name] = sum
	}
	return merged
}
