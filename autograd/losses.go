package autograd

import (
	"fmt"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/linearloss"
)

// Loss is what a loss operation yields.
type Loss struct {
	// Value is the scalar to differentiate: Weight times the mean over the tokens that count.
	Value *Node
	// Tokens [N] is the loss of each token, without the weight; nil for the squared error.
	Tokens *Node
	// Counts [2] holds how many tokens counted and, of them, how many agree: the most likely token is the
	// label, or the teacher's most likely one.
	Counts *Node
}

// LinearCrossEntropy is the mean next-token loss of a linear head: h [N, D], w [Vocab, D], labels int32 [N], where
// linearloss.Ignore does not count. Logits are never held for all tokens.
func (g *Graph) LinearCrossEntropy(h, w, labels *Node, weight float64) Loss {
	return lossOf(g.Apply(linearLoss{weight: weight}, h, w, labels))
}

// LinearKL is the mean forward divergence KL(teacher‖student)·τ² between two linear heads: student h [N, D], w [Vocab, D],
// teacher ht [N, Dt], wt [Vocab, Dt]; labels int32 [N] says which tokens count.
func (g *Graph) LinearKL(h, w, ht, wt, labels *Node, temperature, weight float64) Loss {
	return lossOf(g.Apply(linearLoss{weight: weight, temperature: temperature, teacher: true}, h, w, labels, ht, wt))
}

// HiddenMSE is the mean squared distance between a and b [N, D] over features and the tokens that count. The gradient
// flows to a.
func (g *Graph) HiddenMSE(a, b, labels *Node, weight float64) Loss {
	out := g.Apply(hiddenMSE{weight: weight}, a, b, labels)
	return Loss{Value: out[0], Counts: out[2]}
}

func lossOf(out []*Node) Loss { return Loss{Value: out[0], Tokens: out[3], Counts: out[4]} }

// linearLoss: (h, w, labels[, ht, wt]) → loss, dh, dw, token losses, counts. The forward pass already has the gradients
// for a unit gradient at the loss.
type linearLoss struct {
	weight, temperature float64
	teacher             bool
}

func (o linearLoss) Name() string {
	if o.teacher {
		return "linear KL"
	}
	return "linear cross-entropy"
}

func (o linearLoss) Differentiates(n int) []bool { return first(2, n) }

// FLOPs counts the products with the head: logits, and both gradients of the student's.
func (o linearLoss) FLOPs(in []Shape) int64 {
	n := 6 * int64(size(in[0])) * int64(in[1][0])
	if o.teacher {
		n += 2 * int64(size(in[3])) * int64(in[4][0])
	}
	return n
}

func (o linearLoss) Infer(in []Shape) ([]Shape, error) {
	n, d, err := matrix("h", in[0])
	if err != nil {
		return nil, err
	}
	if len(in[1]) != 2 || in[1][1] != d {
		return nil, fmt.Errorf("w has shape %v, want [Vocab, %d]", in[1], d)
	}
	if err := want("labels", in[2], n); err != nil {
		return nil, err
	}
	if o.teacher && (len(in[3]) != 2 || in[3][0] != n) {
		return nil, fmt.Errorf("teacher's h has shape %v, want [%d, Dt]", in[3], n)
	}
	if o.teacher {
		if err := want("teacher's w", in[4], in[1][0], in[3][1]); err != nil {
			return nil, err
		}
	}
	return []Shape{{}, in[0], in[1], {n}, {2}}, nil
}

func (o linearLoss) Scratch(in []Shape) int {
	if o.teacher {
		return linearloss.KLScratch(in[0][0], in[1][0])
	}
	return linearloss.CrossEntropyScratch(in[0][0], in[1][0])
}

func (o linearLoss) Run(env *Env, out, in []Value) {
	switch {
	case in[0].F64 != nil && o.teacher:
		a := klArgs(o, env, out, in, f64)
		o.report(out, linearloss.ReferenceKL(&a))
	case in[0].F64 != nil:
		a := crossEntropyArgs(o, env, out, in, f64)
		o.report(out, linearloss.ReferenceCrossEntropy(&a))
	case o.teacher:
		a := klArgs(o, env, out, in, f32)
		o.report(out, linearloss.KL(env.Cores, &a))
	default:
		a := crossEntropyArgs(o, env, out, in, f32)
		o.report(out, linearloss.CrossEntropy(env.Cores, &a))
	}
}

func crossEntropyArgs[T kernels.Float](o linearLoss, env *Env, out, in []Value, data func(Value) []T) linearloss.CrossEntropyArgs[T] {
	return linearloss.CrossEntropyArgs[T]{
		Vocab: in[1].Shape[0], D: in[0].Shape[1], Labels: in[2].I32, H: data(in[0]), W: head(in[1], data), GradScale: o.weight,
		DH: data(out[1]), DW: data(out[2]), Token: data(out[3]), Scratch: env.Scratch,
	}
}

// head reads a linear head in the type it is stored in.
func head[T kernels.Float](v Value, data func(Value) []T) linearloss.Head[T] {
	return linearloss.Head[T]{Full: data(v), BF16: v.BF16}
}

func klArgs[T kernels.Float](o linearLoss, env *Env, out, in []Value, data func(Value) []T) linearloss.KLArgs[T] {
	return linearloss.KLArgs[T]{
		Vocab: in[1].Shape[0], DStudent: in[0].Shape[1], DTeacher: in[3].Shape[1], Temperature: o.temperature,
		Labels: in[2].I32, HStudent: data(in[0]), WStudent: head(in[1], data), HTeacher: data(in[3]), WTeacher: head(in[4], data),
		GradScale: o.weight, DH: data(out[1]), DW: data(out[2]), Token: data(out[3]), Scratch: env.Scratch,
	}
}

func (o linearLoss) report(out []Value, r linearloss.Result) {
	out[0].set(0, o.weight*r.Loss)
	out[4].set(0, float64(r.Tokens))
	out[4].set(1, float64(r.Agree))
}

// DeviceScratch is room for logits.
func (o linearLoss) DeviceScratch(in []Shape, t device.Type) int64 {
	return linearloss.DeviceScratch(in[0][0], in[1][0], in[0][1], o.teacher, t)
}

func (o linearLoss) Launch(env *DeviceEnv, out, in []Value) {
	n, d, vocab := in[0].Shape[0], in[0].Shape[1], in[1].Shape[0]
	if o.teacher {
		linearloss.DeviceKL(env.Queue, &linearloss.DeviceKLArgs{
			N: n, Vocab: vocab, DStudent: d, DTeacher: in[3].Shape[1], Temperature: o.temperature, Weight: o.weight,
			Labels: in[2].Dev, HStudent: in[0].Dev, WStudent: in[1].Dev, HTeacher: in[3].Dev, WTeacher: in[4].Dev,
			Loss: out[0].Dev, DH: out[1].Dev, DW: out[2].Dev, Token: out[3].Dev, Counts: out[4].Dev, Scratch: env.Scratch,
		})
		return
	}
	linearloss.DeviceCrossEntropy(env.Queue, &linearloss.DeviceCrossEntropyArgs{
		N: n, Vocab: vocab, D: d, Weight: o.weight, Labels: in[2].Dev, H: in[0].Dev, W: in[1].Dev,
		Loss: out[0].Dev, DH: out[1].Dev, DW: out[2].Dev, Token: out[3].Dev, Counts: out[4].Dev, Scratch: env.Scratch,
	})
}

// set writes element i, where the value is wanted.
func (v Value) set(i int, x float64) {
	if v.F64 != nil {
		v.F64[i] = x
	} else if v.F32 != nil {
		v.F32[i] = float32(x)
	}
}

func (o linearLoss) Gradient(c *Chain) []*Node {
	grads := make([]*Node, len(c.In))
	for i := range 2 {
		if c.Want[i] {
			grads[i] = c.scaled(c.Out[1+i])
		}
	}
	return grads
}

// scaled multiplies a gradient made for a unit gradient at the loss by the gradient that arrived there.
func (c *Chain) scaled(unit *Node) *Node {
	if c.Grad[0] == c.Graph.one && c.Graph.one != nil {
		return unit
	}
	return c.Graph.ScaleBy(unit, c.Grad[0])
}

// hiddenMSE: (a, b, labels) → loss, da, counts.
type hiddenMSE struct{ weight float64 }

func (hiddenMSE) Name() string                { return "hidden MSE" }
func (hiddenMSE) FLOPs(in []Shape) int64      { return 4 * int64(size(in[0])) }
func (hiddenMSE) Differentiates(n int) []bool { return first(1, n) }

func (hiddenMSE) Infer(in []Shape) ([]Shape, error) {
	n, _, err := matrix("a", in[0])
	if err != nil {
		return nil, err
	}
	if err := want("b", in[1], in[0]...); err != nil {
		return nil, err
	}
	return []Shape{{}, in[0], {2}}, want("labels", in[2], n)
}

func (o hiddenMSE) Run(env *Env, out, in []Value) {
	var r linearloss.Result
	if in[0].F64 != nil {
		a := mseArgs(o, out, in, f64)
		r = linearloss.ReferenceMSE(&a)
	} else {
		a := mseArgs(o, out, in, f32)
		r = linearloss.MSE(env.Cores, &a)
	}
	out[0].set(0, o.weight*r.Loss)
	out[2].set(0, float64(r.Tokens))
	out[2].set(1, float64(r.Agree))
}

func mseArgs[T kernels.Float](o hiddenMSE, out, in []Value, data func(Value) []T) linearloss.MSEArgs[T] {
	return linearloss.MSEArgs[T]{
		D: in[0].Shape[1], Labels: in[2].I32, A: data(in[0]), B: data(in[1]), GradScale: o.weight, DA: data(out[1]),
	}
}

// DeviceScratch is room for partial sums.
func (hiddenMSE) DeviceScratch([]Shape, device.Type) int64 { return linearloss.DeviceMSEScratch() }

func (o hiddenMSE) Launch(env *DeviceEnv, out, in []Value) {
	linearloss.DeviceMSE(env.Queue, &linearloss.DeviceMSEArgs{
		N: in[0].Shape[0], D: in[0].Shape[1], Weight: o.weight, Labels: in[2].Dev, A: in[0].Dev, B: in[1].Dev,
		Loss: out[0].Dev, DA: out[1].Dev, Counts: out[2].Dev, Scratch: env.Scratch,
	})
}

func (o hiddenMSE) Gradient(c *Chain) []*Node { return []*Node{c.scaled(c.Out[1]), nil, nil} }
