package layers

import (
	"fmt"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/kernels/gatedlinear"
)

// Dims is what linear blocks have in common: H heads whose state is [K, V].
type Dims struct {
	Hidden   int // D
	Heads    int // H
	KeyDim   int // K of one head
	ValueDim int // V of one head
	NormEps  float64
	InitStd  float64 // of fresh linear weights
}

// newDims reads the options of layer type name, those of a JetBlock and more.
func newDims(c *checkpoints.Config, name string, more ...checkpoints.Option) (Dims, checkpoints.JetConfig, error) {
	o, err := c.Jet(name, more...)
	d := Dims{Hidden: c.HiddenSize, Heads: o.NumHeads, KeyDim: o.HeadDim, ValueDim: o.ValueHeadDim(), NormEps: o.NormEps, InitStd: c.InitializerRange}
	return d, o, err
}

// validate reports dims that no block can have.
func (d Dims) validate(name string) error {
	if d.Hidden < 1 || d.Heads < 1 || d.KeyDim < 1 || d.ValueDim < 1 {
		return fmt.Errorf("layers: %s: hidden %d, heads %d, key dim %d, value dim %d; want 1 or more of each", name, d.Hidden, d.Heads, d.KeyDim, d.ValueDim)
	}
	return nil
}

// taps reports convolutions that no block can have.
func taps(name string, w int) error {
	if w < 2 {
		return fmt.Errorf("layers: %s: conv_size is %d, want 2 or more", name, w)
	}
	return nil
}

func (d Dims) key() int   { return d.Heads * d.KeyDim }
func (d Dims) value() int { return d.Heads * d.ValueDim }

// width is the number of features of the projection to q, k or v.
func (d Dims) width(of string) int {
	if of == "v" {
		return d.value()
	}
	return d.key()
}

func (d Dims) recurrent() State {
	return State{"recurrent", []int{d.Heads, d.KeyDim, d.ValueDim}, false}
}

// matrix is the weight of a linear layer.
func (d Dims) matrix(name string, out, in int) Param {
	return Param{name + ".weight", []int{out, in}, normal(d.InitStd), true}
}

// projections are the weights to q, k and v and back.
func (d Dims) projections() []Param {
	return []Param{d.matrix("q_proj", d.key(), d.Hidden), d.matrix("k_proj", d.key(), d.Hidden), d.matrix("v_proj", d.value(), d.Hidden),
		d.matrix("o_proj", d.Hidden, d.value())}
}

// norm is the weight of the norm over each head of the output.
func (d Dims) norm(name string) Param {
	return Param{name + ".weight", []int{d.ValueDim}, constant(1), false}
}

// convParam is the kernel of a static convolution of w taps behind a projection.
func convParam(of string, width, w int, draw Init) Param {
	return Param{of + "_conv1d.weight", []int{width, 1, w}, draw, true}
}

// convState is that convolution's last inputs.
func convState(of string, width, w int) State {
	return State{of + "_history", []int{width, w - 1}, false}
}

// convolved is y, the projection to q, k or v, behind its static convolution and SiLU.
func convolved(s *Scope, y *autograd.Node, of string) *autograd.Node {
	w := s.Weight(of + "_conv1d.weight")
	if s.Cached() {
		return s.CachedShortConv(y, w, s.Seq, s.State(of+"_history"))
	}
	return s.ShortConv(y, w, s.Seq)
}

// attend runs gated linear attention, from the module's recurrent state where it keeps one; a and b are its low-rank term.
func (d Dims) attend(s *Scope, cfg gatedlinear.Config, q, k, v, decay, a, b *autograd.Node) *autograd.Node {
	cfg.Heads, cfg.KeyDim, cfg.ValueDim = d.Heads, d.KeyDim, d.ValueDim
	if s.Cached() {
		return s.CachedGatedLinear(cfg, q, k, v, decay, a, b, s.Seq, s.State("recurrent"))
	}
	return s.GatedLinear(cfg, q, k, v, decay, a, b, s.Seq)
}
