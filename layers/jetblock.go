package layers

import (
	"fmt"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/kernels/gateddelta"
)

// JetBlock is the linear attention of Jet-Nemotron (https://arxiv.org/abs/2508.15884): a gated delta rule whose values
// pass through a causal convolution with kernels generated from the input. Design has the variations of the paper's
// ablation.
type JetBlock struct {
	Hidden    int     // D
	Heads     int     // H
	KeyDim    int     // K of one head
	ExpandV   float64 // V = int(K·ExpandV)
	ConvSize  int     // taps of the convolutions
	Reduction int     // the generator's hidden width is H·V / Reduction
	Design    checkpoints.JetDesign
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
		Reduction: o.GeneratorReduction, Design: o.JetDesign, NormEps: o.NormEps, InitStd: c.InitializerRange,
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

// static are the projections with a static convolution.
func (b JetBlock) static() []string {
	var of []string
	if b.Design.ConvQK {
		of = append(of, "q", "k")
	}
	if b.Design.StaticV {
		of = append(of, "v")
	}
	return of
}

func (b JetBlock) width(of string) int {
	if of == "v" {
		return b.Heads * b.valueDim()
	}
	return b.Heads * b.KeyDim
}

// Params lists the weights by their names in official checkpoints; static convolutions have the names of
// flash-linear-attention.
func (b JetBlock) Params() []Param {
	draw, value := normal(b.InitStd), b.width("v")
	ps := gatedDeltaParams(b.Hidden, b.Heads, b.valueDim(), b.width("k"), value, draw)
	if !b.Design.NoGate {
		ps = append(ps, Param{"g_proj.weight", []int{value, b.Hidden}, draw, true})
	}
	for _, of := range b.static() {
		ps = append(ps, convParam(of, b.width(of), b.ConvSize, draw))
	}
	if b.Design.StaticV {
		return ps
	}
	// The generator starts with zero weights and a random bias: a static convolution.
	return append(ps,
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
		{"o_proj.weight", []int{hidden, value}, draw, true},
		{"A_log", []int{heads}, decayRate, false},
		{"dt_bias", []int{heads}, timeStep, false},
		{"o_norm.weight", []int{valueDim}, constant(1), false},
	}
}

// States lists the recurrent state and the convolutions' last inputs.
func (b JetBlock) States(int) []State {
	ss := []State{{"recurrent", []int{b.Heads, b.KeyDim, b.valueDim()}, false}, convState("v", b.width("v"), b.ConvSize)}
	if b.Design.ConvQK {
		ss = append(ss, convState("q", b.width("q"), b.ConvSize), convState("k", b.width("k"), b.ConvSize))
	}
	return ss
}

// Mix runs the block: x [N, D] to [N, D].
func (b JetBlock) Mix(s *Scope, x *autograd.Node) *autograd.Node {
	p := s.project(x, b.maps()...)
	q, k := p["q_proj"], p["k_proj"]
	if b.Design.ConvQK {
		q, k = convolved(s, q, "q"), convolved(s, k, "k")
	}
	return gatedDeltaOut(s, b.kernel(), p, q, k, b.values(s, p), b.NormEps)
}

// maps are the projections of the block's input.
func (b JetBlock) maps() []Projection {
	ps := []Projection{{Name: "q_proj", SiLU: !b.Design.ConvQK}, {Name: "k_proj", SiLU: !b.Design.ConvQK}, {Name: "v_proj"}}
	if !b.Design.NoGate {
		ps = append(ps, Projection{Name: "g_proj"})
	}
	if !b.Design.StaticV {
		ps = append(ps, Projection{Name: "dynamic_conv1d.kernel_generator.w1", SiLU: true})
	}
	return append(ps, Projection{Name: "b_proj"}, Projection{Name: "a_proj"})
}

// values are the projected values behind their convolution.
func (b JetBlock) values(s *Scope, p projected) *autograd.Node {
	v := p["v_proj"]
	if b.Design.StaticV {
		return convolved(s, v, "v")
	}
	hidden, second := p["dynamic_conv1d.kernel_generator.w1"], "dynamic_conv1d.kernel_generator.w2"
	if s.adapted(second) { // its update is part of the kernels
		kernel := s.Linear(hidden, second, true)
		if s.Cached() {
			return s.CachedDynamicConv(v, kernel, s.Seq, s.State("v_history"))
		}
		return s.DynamicConv(v, kernel, s.Seq)
	}
	w, bias := s.Weight(second+".weight"), s.Weight(second+".bias")
	if s.Cached() {
		return s.CachedGeneratedConv(v, hidden, w, bias, s.Seq, s.State("v_history"))
	}
	return s.GeneratedConv(v, hidden, w, bias, s.Seq)
}

// gatedDeltaOut is the second half of every block around the gated delta rule: gates, recurrence, norm, which is gated
// where the block projects a gate, and output.
func gatedDeltaOut(s *Scope, cfg gateddelta.Config, p projected, q, k, v *autograd.Node, eps float64) *autograd.Node {
	beta := s.Sigmoid(p["b_proj"])
	decay := s.DecayGate(p["a_proj"], s.Weight("A_log"), s.Weight("dt_bias"))
	o, norm := deltaRule(s, cfg, q, k, v, decay, beta), s.Weight("o_norm.weight")
	if gate := p["g_proj"]; gate != nil {
		o = s.RMSNormSwishGate(o, norm, gate, eps)
	} else {
		o = s.RMSNorm(o, norm, eps)
	}
	return s.Linear(o, "o_proj", false)
}

// deltaRule runs the gated delta rule, from the module's recurrent state where it keeps one.
func deltaRule(s *Scope, cfg gateddelta.Config, q, k, v, decay, beta *autograd.Node) *autograd.Node {
	if s.Cached() {
		return s.CachedGatedDeltaRule(cfg, q, k, v, decay, beta, s.Seq, s.State("recurrent"))
	}
	o, _ := s.GatedDeltaRule(cfg, q, k, v, decay, beta, s.Seq, nil)
	return o
}
