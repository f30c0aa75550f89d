package layers

import (
	"fmt"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/kernels/gateddelta"
)

// JetBlock is the linear attention of Jet-Nemotron (https://arxiv.org/abs/2508.15884): a gated delta rule whose values
// pass through a causal convolution with kernels generated from the input.
type JetBlock struct {
	Hidden    int     // D
	Heads     int     // H
	KeyDim    int     // K of one head
	ExpandV   float64 // V = int(K·ExpandV)
	ConvSize  int     // taps of the dynamic convolution
	Reduction int     // the generator's hidden width is H·V / Reduction
	NormEps   float64
	InitStd   float64 // of fresh linear weights
}

func newJetBlock(c *checkpoints.Config, name string) (Mixer, error) {
	o, err := c.Jet(name)
	if err != nil {
		return nil, err
	}
	b := JetBlock{
		Hidden: c.HiddenSize, Heads: o.NumHeads, KeyDim: o.HeadDim, ExpandV: o.ExpandV, ConvSize: o.ConvSize,
		Reduction: o.GeneratorReduction, NormEps: o.NormEps, InitStd: c.InitializerRange,
	}
	return b, b.Validate()
}

// Validate reports what makes the block impossible.
func (b JetBlock) Validate() error {
	switch {
	case b.Hidden < 1 || b.Heads < 1 || b.KeyDim < 1:
		return fmt.Errorf("layers: jet: hidden %d, heads %d, key dim %d; want 1 or more of each", b.Hidden, b.Heads, b.KeyDim)
	case b.valueDim() < 1:
		return fmt.Errorf("layers: jet: expand_v is %v, want a value dim of 1 or more", b.ExpandV)
	case int(float64(b.Heads*b.KeyDim)*b.ExpandV) != b.Heads*b.valueDim():
		return fmt.Errorf("layers: jet: value dim %v does not divide into %d heads of %d", float64(b.Heads*b.KeyDim)*b.ExpandV, b.Heads, b.valueDim())
	case b.ConvSize < 2:
		return fmt.Errorf("layers: jet: conv_size is %d, want 2 or more", b.ConvSize)
	case b.Reduction < 1 || b.Heads*b.valueDim()/b.Reduction < 1:
		return fmt.Errorf("layers: jet: dconv_generator_reduction is %d, want 1 to %d", b.Reduction, b.Heads*b.valueDim())
	}
	return nil
}

func (b JetBlock) valueDim() int { return int(float64(b.KeyDim) * b.ExpandV) }

func (b JetBlock) kernel() gateddelta.Config {
	return gateddelta.Config{Heads: b.Heads, KeyDim: b.KeyDim, ValueDim: b.valueDim(), NormQK: true}
}

// Params lists the weights by their names in official checkpoints.
func (b JetBlock) Params() []Param {
	draw, key, value := normal(b.InitStd), b.Heads*b.KeyDim, b.Heads*b.valueDim()
	// The generator starts with zero weights and a random bias: a static convolution.
	return append(gatedDeltaParams(b.Hidden, b.Heads, b.valueDim(), key, value, draw),
		Param{"dynamic_conv1d.kernel_generator.w1.weight", []int{value / b.Reduction, b.Hidden}, constant(0), true},
		Param{"dynamic_conv1d.kernel_generator.w2.weight", []int{value * b.ConvSize, value / b.Reduction}, constant(0), true},
		Param{"dynamic_conv1d.kernel_generator.w2.bias", []int{value * b.ConvSize}, draw, false})
}

// gatedDeltaParams are the weights that every block around the gated delta rule has.
func gatedDeltaParams(hidden, heads, valueDim, key, value int, draw Init) []Param {
	return []Param{
		{"q_proj.weight", []int{key, hidden}, draw, true},
		{"k_proj.weight", []int{key, hidden}, draw, true},
		{"v_proj.weight", []int{value, hidden}, draw, true},
		{"b_proj.weight", []int{heads, hidden}, draw, true},
		{"a_proj.weight", []int{heads, hidden}, draw, true},
		{"g_proj.weight", []int{value, hidden}, draw, true},
		{"o_proj.weight", []int{hidden, value}, draw, true},
		{"A_log", []int{heads}, decayRate, false},
		{"dt_bias", []int{heads}, timeStep, false},
		{"o_norm.weight", []int{valueDim}, constant(1), false},
	}
}

// States lists the recurrent state and the convolution's last inputs.
func (b JetBlock) States(int) []State {
	return []State{
		{"recurrent", []int{b.Heads, b.KeyDim, b.valueDim()}, false},
		{"v_history", []int{b.Heads * b.valueDim(), b.ConvSize - 1}, false},
	}
}

// Mix runs the block: x [N, D] to [N, D].
func (b JetBlock) Mix(s *Scope, x *autograd.Node) *autograd.Node {
	p := s.Projections(x, Projection{Name: "q_proj", SiLU: true}, Projection{Name: "k_proj", SiLU: true}, Projection{Name: "v_proj"},
		Projection{Name: "g_proj"}, Projection{Name: "dynamic_conv1d.kernel_generator.w1", SiLU: true}, Projection{Name: "b_proj"}, Projection{Name: "a_proj"})
	q, k, v, gates := p[0], p[1], p[2], gates{gate: p[3], beta: p[5], decay: p[6]}
	kern := s.Linear(p[4], "dynamic_conv1d.kernel_generator.w2", true)
	if s.Cached() {
		v = s.CachedDynamicConv(v, kern, s.Seq, s.State("v_history"))
	} else {
		v = s.DynamicConv(v, kern, s.Seq)
	}
	return gatedDeltaOut(s, b.kernel(), q, k, v, gates, b.NormEps)
}

// gates are the projections that control the gated delta rule and its output.
type gates struct{ gate, beta, decay *autograd.Node }

// gatedDeltaOut is the second half of every block around the gated delta rule: gates, recurrence, gated norm and output.
func gatedDeltaOut(s *Scope, cfg gateddelta.Config, q, k, v *autograd.Node, c gates, eps float64) *autograd.Node {
	beta := s.Sigmoid(c.beta)
	decay := s.DecayGate(c.decay, s.Weight("A_log"), s.Weight("dt_bias"))
	var o *autograd.Node
	if s.Cached() {
		o = s.CachedGatedDeltaRule(cfg, q, k, v, decay, beta, s.Seq, s.State("recurrent"))
	} else {
		o, _ = s.GatedDeltaRule(cfg, q, k, v, decay, beta, s.Seq, nil)
	}
	o = s.RMSNormSwishGate(o, s.Weight("o_norm.weight"), c.gate, eps)
	return s.Linear(o, "o_proj", false)
}
