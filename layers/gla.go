package layers

import (
	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/kernels/gatedlinear"
)

// GLA is gated linear attention (https://arxiv.org/abs/2312.06635): every channel of the keys decays by a gate of the token,
// from a projection of low rank. Names and shapes of its weights are those of flash-linear-attention.
type GLA struct {
	Dims
	GateRank   int // of the gates' projection
	Normalizer int // the gates' logarithms are divided by it
}

func newGLA(c *checkpoints.Config, name string) (Mixer, error) {
	b := GLA{GateRank: 16, Normalizer: 16}
	var err error
	b.Dims, _, err = newDims(c, name, checkpoints.Option{Key: "gate_low_rank_dim", Value: &b.GateRank, AtMost: 1 << 14},
		checkpoints.Option{Key: "gate_logit_normalizer", Value: &b.Normalizer, AtMost: 1 << 20})
	if err != nil {
		return nil, err
	}
	return b, b.Validate()
}

// Validate reports what makes the block impossible.
func (b GLA) Validate() error { return b.validate("gla") }

// Params lists the weights.
func (b GLA) Params() []Param {
	return append(b.projections(), b.matrix("g_proj", b.value(), b.Hidden), b.norm("g_norm_swish_gate"),
		b.matrix("gk_proj.0", b.GateRank, b.Hidden), b.matrix("gk_proj.1", b.key(), b.GateRank),
		Param{"gk_proj.1.bias", []int{b.key()}, constant(0), false})
}

// States lists the recurrent state.
func (b GLA) States(int) []State { return []State{b.recurrent()} }

// Mix runs the block: x [N, D] to [N, D].
func (b GLA) Mix(s *Scope, x *autograd.Node) *autograd.Node {
	p := s.project(x, Projection{Name: "q_proj"}, Projection{Name: "k_proj"}, Projection{Name: "v_proj"}, Projection{Name: "g_proj"},
		Projection{Name: "gk_proj.0"})
	decay := s.Scale(s.LogSigmoid(s.Linear(p["gk_proj.0"], "gk_proj.1", true)), 1/float64(b.Normalizer))
	o := b.attend(s, gatedlinear.Config{Channels: true}, p["q_proj"], p["k_proj"], p["v_proj"], decay, nil, nil)
	return s.Linear(s.RMSNormSwishGate(o, s.Weight("g_norm_swish_gate.weight"), p["g_proj"], b.NormEps), "o_proj", false)
}
