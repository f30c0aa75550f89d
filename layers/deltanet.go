package layers

import (
	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/kernels/gateddelta"
)

// DeltaNet is linear attention by the delta rule (https://arxiv.org/abs/2406.06484): static short convolutions with SiLU on
// queries, keys and values, then the gated delta rule with a gate that never closes. Names and shapes of its weights are
// those of flash-linear-attention.
type DeltaNet struct {
	Dims
	ConvSize int // taps
}

func newDeltaNet(c *checkpoints.Config, name string) (Mixer, error) {
	d, o, err := newDims(c, name)
	if err != nil {
		return nil, err
	}
	b := DeltaNet{d, o.ConvSize}
	return b, b.Validate()
}

// Validate reports what makes the block impossible.
func (b DeltaNet) Validate() error {
	if err := taps("deltanet", b.ConvSize); err != nil {
		return err
	}
	return b.validate("deltanet")
}

// Params lists the weights.
func (b DeltaNet) Params() []Param {
	ps := append(b.projections(), b.matrix("b_proj", b.Heads, b.Hidden), b.norm("o_norm"))
	for _, of := range []string{"q", "k", "v"} {
		ps = append(ps, convParam(of, b.width(of), b.ConvSize, normal(b.InitStd)))
	}
	return ps
}

// States lists the recurrent state and the convolutions' last inputs.
func (b DeltaNet) States(int) []State {
	ss := []State{b.recurrent()}
	for _, of := range []string{"q", "k", "v"} {
		ss = append(ss, convState(of, b.width(of), b.ConvSize))
	}
	return ss
}

// Mix runs the block: x [N, D] to [N, D].
func (b DeltaNet) Mix(s *Scope, x *autograd.Node) *autograd.Node {
	cfg := gateddelta.Config{Heads: b.Heads, KeyDim: b.KeyDim, ValueDim: b.ValueDim, NormQK: true}
	p := s.project(x, Projection{Name: "q_proj"}, Projection{Name: "k_proj"}, Projection{Name: "v_proj"}, Projection{Name: "b_proj"})
	beta := s.Sigmoid(p["b_proj"])
	open := s.Constant(beta, []float64{0})
	o := deltaRule(s, cfg, convolved(s, p["q_proj"], "q"), convolved(s, p["k_proj"], "k"), convolved(s, p["v_proj"], "v"), open, beta)
	return s.Linear(s.RMSNorm(o, s.Weight("o_norm.weight"), b.NormEps), "o_proj", false)
}
