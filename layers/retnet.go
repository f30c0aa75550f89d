package layers

import (
	"fmt"
	"math"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/kernels/gatedlinear"
)

// RetNet is multi-scale retention (https://arxiv.org/abs/2307.08621): rotated queries and keys, and a decay of 1 − 2^(−5−h)
// that head h always has. Names and shapes of its weights are those of flash-linear-attention.
type RetNet struct{ Dims }

// retentionTheta is the base of the rotation.
const retentionTheta = 10000

func newRetNet(c *checkpoints.Config, name string) (Mixer, error) {
	d, _, err := newDims(c, name)
	if err != nil {
		return nil, err
	}
	b := RetNet{d}
	return b, b.Validate()
}

// Validate reports what makes the block impossible.
func (b RetNet) Validate() error {
	if b.KeyDim%2 != 0 {
		return fmt.Errorf("layers: retnet: head_dim is %d, want an even number for the rotation", b.KeyDim)
	}
	return b.validate("retnet")
}

// Params lists the weights.
func (b RetNet) Params() []Param {
	return append(b.projections(), b.matrix("g_proj", b.value(), b.Hidden), b.norm("g_norm_swish_gate"))
}

// States lists the recurrent state.
func (b RetNet) States(int) []State { return []State{b.recurrent()} }

// decays is the logarithm of each head's decay.
func (b RetNet) decays() []float64 {
	g := make([]float64, b.Heads)
	for h := range g {
		g[h] = math.Log1p(-math.Exp2(float64(-5 - h)))
	}
	return g
}

// Mix runs the block: x [N, D] to [N, D].
func (b RetNet) Mix(s *Scope, x *autograd.Node) *autograd.Node {
	p := s.project(x, Projection{Name: "q_proj"}, Projection{Name: "k_proj"}, Projection{Name: "v_proj"}, Projection{Name: "g_proj"})
	q := s.RoPE(p["q_proj"], s.Seq, b.KeyDim, retentionTheta)
	k := s.RoPE(p["k_proj"], s.Seq, b.KeyDim, retentionTheta)
	decay := s.Constant(x, b.decays(), rows(x), b.Heads)
	o := b.attend(s, gatedlinear.Config{}, q, k, p["v_proj"], decay, nil, nil)
	return s.Linear(s.RMSNormSwishGate(o, s.Weight("g_norm_swish_gate.weight"), p["g_proj"], b.NormEps), "o_proj", false)
}

// rows is N of a node [N, D].
func rows(x *autograd.Node) int {
	if x == nil { // the graph has an error already
		return 0
	}
	return x.Shape()[0]
}
