package layers

import (
	"fmt"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/kernels/gateddelta"
)

// GatedDeltaNet is the block of gated delta networks (https://arxiv.org/abs/2412.06464): static short convolutions with
// SiLU on queries, keys and values, then the gated delta rule. Names and shapes of its weights are those of
// flash-linear-attention.
type GatedDeltaNet struct {
	Hidden   int     // D
	Heads    int     // H
	KeyDim   int     // K of one head
	ExpandV  float64 // V = int(K·ExpandV)
	ConvSize int     // taps
	NormEps  float64
	InitStd  float64
}

func newGatedDeltaNet(c *checkpoints.Config, name string) (Mixer, error) {
	o, err := c.Jet(name)
	if err != nil {
		return nil, err
	}
	b := GatedDeltaNet{
		Hidden: c.HiddenSize, Heads: o.NumHeads, KeyDim: o.HeadDim, ExpandV: o.ExpandV, ConvSize: o.ConvSize,
		NormEps: o.NormEps, InitStd: c.InitializerRange,
	}
	return b, b.Validate()
}

// Validate reports what makes the block impossible.
func (b GatedDeltaNet) Validate() error {
	switch {
	case b.Hidden < 1 || b.Heads < 1 || b.KeyDim < 1 || b.ConvSize < 2:
		return fmt.Errorf("layers: gated_deltanet: hidden %d, heads %d, key dim %d, conv_size %d; want 1 or more of each, 2 of the last",
			b.Hidden, b.Heads, b.KeyDim, b.ConvSize)
	case b.valueDim() < 1 || int(float64(b.Heads*b.KeyDim)*b.ExpandV) != b.Heads*b.valueDim():
		return fmt.Errorf("layers: gated_deltanet: expand_v is %v, want whole value dims for %d heads of key dim %d", b.ExpandV, b.Heads, b.KeyDim)
	}
	return nil
}

func (b GatedDeltaNet) valueDim() int { return int(float64(b.KeyDim) * b.ExpandV) }

// width is the number of features of the projection to q, k or v.
func (b GatedDeltaNet) width(of string) int {
	if of == "v" {
		return b.Heads * b.valueDim()
	}
	return b.Heads * b.KeyDim
}

// Params lists the weights.
func (b GatedDeltaNet) Params() []Param {
	draw := normal(b.InitStd)
	ps := append(gatedDeltaParams(b.Hidden, b.Heads, b.valueDim(), b.width("k"), b.width("v"), draw),
		Param{"g_proj.weight", []int{b.width("v"), b.Hidden}, draw, true})
	for _, of := range []string{"q", "k", "v"} {
		ps = append(ps, convParam(of, b.width(of), b.ConvSize, draw))
	}
	return ps
}

// States lists the recurrent state and the convolutions' last inputs.
func (b GatedDeltaNet) States(int) []State {
	ss := []State{{"recurrent", []int{b.Heads, b.KeyDim, b.valueDim()}, false}}
	for _, of := range []string{"q", "k", "v"} {
		ss = append(ss, convState(of, b.width(of), b.ConvSize))
	}
	return ss
}

// Mix runs the block: x [N, D] to [N, D].
func (b GatedDeltaNet) Mix(s *Scope, x *autograd.Node) *autograd.Node {
	cfg := gateddelta.Config{Heads: b.Heads, KeyDim: b.KeyDim, ValueDim: b.valueDim(), NormQK: true}
	p := s.project(x, Projection{Name: "q_proj"}, Projection{Name: "k_proj"}, Projection{Name: "v_proj"}, Projection{Name: "g_proj"},
		Projection{Name: "b_proj"}, Projection{Name: "a_proj"})
	return gatedDeltaOut(s, cfg, p, convolved(s, p["q_proj"], "q"), convolved(s, p["k_proj"], "k"), convolved(s, p["v_proj"], "v"), b.NormEps)
}
