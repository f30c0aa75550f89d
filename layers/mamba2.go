package layers

import (
	"fmt"
	"math"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/kernels/gatedlinear"
)

// Mamba2 is the block of Mamba-2 in its dual form (https://arxiv.org/abs/2405.21060): linear attention whose heads share
// queries C and keys B by groups, whose values are weighed by the time step dt, and whose state decays by exp(−A dt).
//
// Its weights are those of the usual implementation, cut so that each has the name and place that it has in the other linear
// blocks: in_proj is g_proj (z), v_proj (x), k_proj (B), q_proj (C) and dt_proj, one below the other, conv1d is v_conv1d,
// k_conv1d and q_conv1d, norm is o_norm and out_proj is o_proj.
type Mamba2 struct {
	Dims
	ConvSize int // taps
	Groups   int // of heads with queries and keys in common
}

func newMamba2(c *checkpoints.Config, name string) (Mixer, error) {
	b := Mamba2{Groups: 1}
	d, o, err := newDims(c, name, checkpoints.Option{Key: "n_groups", Value: &b.Groups, AtMost: 1 << 14})
	if err != nil {
		return nil, err
	}
	b.Dims, b.ConvSize = d, o.ConvSize
	return b, b.Validate()
}

// Validate reports what makes the block impossible.
func (b Mamba2) Validate() error {
	if err := b.validate("mamba2"); err != nil {
		return err
	}
	if b.Groups < 1 || b.Heads%b.Groups != 0 {
		return fmt.Errorf("layers: mamba2: n_groups is %d, want a divisor of the %d heads", b.Groups, b.Heads)
	}
	return taps("mamba2", b.ConvSize)
}

// widths are the projections with a convolution.
func (b Mamba2) widths() map[string]int {
	shared := b.Groups * b.KeyDim
	return map[string]int{"q": shared, "k": shared, "v": b.value()}
}

// Params lists the weights.
func (b Mamba2) Params() []Param {
	ps := []Param{
		b.matrix("g_proj", b.value(), b.Hidden), b.matrix("dt_proj", b.Heads, b.Hidden), b.matrix("o_proj", b.Hidden, b.value()),
		{"A_log", []int{b.Heads}, stateRate, false}, {"dt_bias", []int{b.Heads}, timeStep, false}, {"D", []int{b.Heads}, constant(1), false},
		{"o_norm.weight", []int{b.value()}, constant(1), false},
	}
	draw := uniform(1 / math.Sqrt(float64(b.ConvSize))) // PyTorch's own for a depthwise convolution
	for _, of := range []string{"q", "k", "v"} {
		width := b.widths()[of]
		ps = append(ps, b.matrix(of+"_proj", width, b.Hidden), convParam(of, width, b.ConvSize, draw),
			Param{of + "_conv1d.bias", []int{width}, draw, false})
	}
	return ps
}

// States lists the recurrent state and the convolutions' last inputs.
func (b Mamba2) States(int) []State {
	ss := []State{b.recurrent()}
	for _, of := range []string{"q", "k", "v"} {
		ss = append(ss, convState(of, b.widths()[of], b.ConvSize))
	}
	return ss
}

// Mix runs the block: x [N, D] to [N, D].
func (b Mamba2) Mix(s *Scope, x *autograd.Node) *autograd.Node {
	p := s.project(x, Projection{Name: "q_proj"}, Projection{Name: "k_proj"}, Projection{Name: "v_proj"}, Projection{Name: "g_proj"})
	conv := func(of string) *autograd.Node {
		y, w, bias := p[of+"_proj"], s.Weight(of+"_conv1d.weight"), s.Weight(of+"_conv1d.bias")
		if s.Cached() {
			return s.CachedStaticConv(y, w, bias, s.Seq, s.State(of+"_history"), true)
		}
		return s.StaticConv(y, w, bias, s.Seq, true)
	}
	v := conv("v")
	q, k := s.RepeatHeads(conv("q"), b.KeyDim, b.Heads/b.Groups), s.RepeatHeads(conv("k"), b.KeyDim, b.Heads/b.Groups)

	// dt is the softplus of its projection, whose bias is dt_bias, and the decay −exp(A_log) dt.
	dt := s.adapter(x, s.Graph.Linear(x, s.Weight("dt_proj.weight"), s.Weight("dt_bias")), "dt_proj")
	decay := s.DecayGate(dt, s.Weight("A_log"), s.Constant(x, []float64{0}, b.Heads))
	o := b.attend(s, gatedlinear.Config{Scale: 1}, q, k, s.ScaleTokens(v, s.Softplus(dt)), decay, nil, nil)
	o = s.Add(o, s.ScaleFeatures(v, s.Weight("D")))
	o = s.RMSNorm(s.SwiGLU(p["g_proj"], o), s.Weight("o_norm.weight"), b.NormEps)
	return s.Linear(o, "o_proj", false)
}
