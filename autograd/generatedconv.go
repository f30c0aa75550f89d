package autograd

import (
	"fmt"
	"slices"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/conv"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/linear"
)

// GeneratedConv is DynamicConv of x [N, D] with the kernels hidden·wᵀ + bias: hidden [N, In], w [D·W, In], bias [D·W]. On a
// device the kernels leave the product only where a gradient reads them.
func (g *Graph) GeneratedConv(x, hidden, w, bias, sequences *Node) *Node {
	return g.Apply(newGeneratedConv(x, w), x, hidden, w, bias, sequences)[0]
}

// CachedGeneratedConv is GeneratedConv with the last inputs [rows, D, W−1] of earlier calls, which it advances in place.
func (g *Graph) CachedGeneratedConv(x, hidden, w, bias, sequences, history *Node) *Node {
	return g.Apply(cachedGeneratedConv{newGeneratedConv(x, w)}, x, hidden, w, bias, sequences, history)[0]
}

// generatedConv: (x, hidden, w, bias, sequences) → y, kernel. The last is the backward's.
type generatedConv struct{ conv.Config }

// newGeneratedConv reads the number of taps off w; Infer judges the shapes.
func newGeneratedConv(x, w *Node) generatedConv {
	c := conv.Config{Dynamic: true, SiLU: true}
	if x != nil && w != nil && len(x.Shape()) == 2 && len(w.Shape()) == 2 {
		c.Dim = x.Shape()[1]
		c.Taps = w.Shape()[0] / c.Dim
	}
	return generatedConv{c}
}

func (generatedConv) Name() string { return "generated conv" }

func (generatedConv) Differentiates(n int) []bool { return first(4, n) }

func (o generatedConv) FLOPs(in []Shape) int64 {
	return linearLayer{}.FLOPs(in[1:3]) + convolve{Config: o.Config}.FLOPs(in[:1])
}

func (o generatedConv) Infer(in []Shape) ([]Shape, error) {
	n, d, err := matrix("x", in[0])
	if err != nil {
		return nil, err
	}
	if len(in[1]) != 2 || in[1][0] != n {
		return nil, fmt.Errorf("hidden has shape %v, want [%d, In]", in[1], n)
	}
	width := d * o.Taps
	if width < 1 || len(in[2]) != 2 || in[2][0] != width || in[2][1] != in[1][1] {
		return nil, fmt.Errorf("w has shape %v, want taps for each of %d features, [D·W, %d]", in[2], d, in[1][1])
	}
	if err := want("bias", in[3], width); err != nil {
		return nil, err
	}
	return []Shape{in[0], {n, width}}, isSequences(in[4])
}

// Scratch has room for the kernels where they are not kept.
func (o generatedConv) Scratch(in []Shape) int { return size(in[0]) * o.Taps }

func (o generatedConv) Run(env *Env, out, in []Value) {
	n, width, d := in[1].Shape[0], in[2].Shape[0], in[1].Shape[1]
	if in[0].F64 != nil {
		kernel := out[1].F64
		if kernel == nil {
			kernel = make([]float64, n*width)
		}
		linear.ReferenceForward(kernel, in[1].F64, in[2].F64, in[3].F64, n, d, width)
		if !out[0].None() {
			a := generatedConvArgs(o, out, in, kernel, f64)
			conv.ReferenceForward(&a)
		}
		return
	}
	kernel := out[1].F32
	if kernel == nil {
		kernel = env.Scratch[:n*width]
	}
	linear.Forward(env.Cores, kernel, in[1].F32, in[2].weight(), in[3].F32, n, d, width)
	if !out[0].None() { // else computed again for the gradient
		a := generatedConvArgs(o, out, in, kernel, f32)
		conv.Forward(env.Cores, &a)
	}
}

func generatedConvArgs[T kernels.Float](o generatedConv, out, in []Value, kernel []T, data func(Value) []T) conv.ForwardArgs[T] {
	a := conv.ForwardArgs[T]{Config: o.Config, Seqs: in[4].sequences(), X: data(in[0]), Kernel: kernel, Y: data(out[0])}
	if len(in) > 5 {
		a.Cache, a.NewCache = data(in[5]), data(in[5])
	}
	return a
}

func (o generatedConv) DeviceScratch(in []Shape, t device.Type) int64 {
	return linear.GeneratedConvScratch(o.Config, in[0][0], t)
}

// Launch is Run on a device.
func (o generatedConv) Launch(env *DeviceEnv, out, in []Value) {
	a := linear.GeneratedConvArgs{
		Config: o.Config, In: in[1].Shape[1], X: in[0].Dev, Hidden: in[1].Dev, W: in[2].Dev, Bias: in[3].Dev, Sequences: in[4].Dev,
		Y: out[0].Dev, Kernel: out[1].Dev, Scratch: env.Scratch,
	}
	if len(in) > 5 {
		a.Cache, a.NewCache = in[5].Dev, in[5].Dev
	}
	linear.DeviceGeneratedConv(env.Queue, &a)
}

func (o generatedConv) Gradient(c *Chain) []*Node {
	d := c.Graph.Apply(generatedConvBackward{o}, append(c.In[:5:5], c.Out[1], c.Grad[0])...)
	return append(d[:4:4], nil)
}

// generatedConvBackward: (x, hidden, w, bias, sequences, kernel, dy) → dx, dhidden, dw, dbias.
type generatedConvBackward struct{ generatedConv }

func (o generatedConvBackward) Name() string                { return o.generatedConv.Name() + " backward" }
func (o generatedConvBackward) Differentiates(n int) []bool { return first(0, n) }

func (o generatedConvBackward) FLOPs(in []Shape) int64 {
	return 2*linearLayer{}.FLOPs(in[1:3]) + 3*convolve{Config: o.Config}.FLOPs(in[:1])
}

func (o generatedConvBackward) Infer(in []Shape) ([]Shape, error) {
	return in[:4], want("dy", in[6], in[0]...)
}

// Run goes through the convolution, then through the product. Scratch has the gradient of the kernels.
func (o generatedConvBackward) Run(env *Env, out, in []Value) {
	n, width, d := in[1].Shape[0], in[2].Shape[0], in[1].Shape[1]
	if in[0].F64 != nil {
		dkernel := make([]float64, n*width)
		conv.ReferenceBackward(&conv.BackwardArgs[float64]{
			Config: o.Config, Seqs: in[4].sequences(), X: in[0].F64, Kernel: in[5].F64, DY: in[6].F64, DX: out[0].F64, DKernel: dkernel,
		})
		if !out[1].None() {
			linear.ReferenceBackwardInput(out[1].F64, dkernel, in[2].F64, n, d, width)
		}
		if !out[2].None() || !out[3].None() {
			linear.ReferenceBackwardWeight(out[2].F64, out[3].F64, dkernel, in[1].F64, n, d, width)
		}
		return
	}
	dkernel := env.Scratch[:n*width]
	if !anyWanted(out[1:]) {
		dkernel = nil
	}
	conv.Backward(env.Cores, &conv.BackwardArgs[float32]{
		Config: o.Config, Seqs: in[4].sequences(), X: in[0].F32, Kernel: in[5].F32, DY: in[6].F32, DX: out[0].F32, DKernel: dkernel,
	})
	if !out[1].None() {
		linear.BackwardInput(env.Cores, out[1].F32, dkernel, in[2].weight(), n, d, width)
	}
	if !out[2].None() || !out[3].None() {
		linear.BackwardWeight(env.Cores, out[2].F32, out[3].F32, dkernel, in[1].F32, n, d, width)
	}
}

func anyWanted(values []Value) bool {
	return slices.ContainsFunc(values, func(v Value) bool { return !v.None() })
}

func (o generatedConvBackward) DeviceScratch(in []Shape, t device.Type) int64 {
	return device.Aligned(int64(size(in[5]))*int64(t.Size())) + o.Config.DeviceScratch(in[0][0])
}

// Launch is Run on a device, where the convolution leaves the gradient of the bias on its way.
func (o generatedConvBackward) Launch(env *DeviceEnv, out, in []Value) {
	n, width, d := in[1].Shape[0], in[2].Shape[0], in[1].Shape[1]
	dkernel, rest := env.Scratch.Carve(env.Float, n*width)
	if !anyWanted(out[1:3]) {
		dkernel = device.Tensor{}
	}
	conv.DeviceBackward(env.Queue, &conv.DeviceBackwardArgs{
		Config: o.Config, Sequences: in[4].Dev, X: in[0].Dev, Kernel: in[5].Dev, DY: in[6].Dev,
		DX: out[0].Dev, DKernel: dkernel, DKernelSum: out[3].Dev, Scratch: rest,
	})
	if !out[1].None() {
		linear.DeviceBackwardInput(env.Queue, out[1].Dev, dkernel, in[2].Dev, n, d, width)
	}
	if !out[2].None() {
		linear.DeviceBackwardWeight(env.Queue, out[2].Dev, device.Tensor{}, dkernel, in[1].Dev, device.Tensor{}, n, d, width)
	}
}

// cachedGeneratedConv: (x, hidden, w, bias, sequences, history) → y, kernel.
type cachedGeneratedConv struct{ generatedConv }

func (o cachedGeneratedConv) Name() string { return "cached " + o.generatedConv.Name() }
func (cachedGeneratedConv) Mutates() []int { return []int{5} }

func (o cachedGeneratedConv) Infer(in []Shape) ([]Shape, error) {
	if err := isHistory(in[5], o.Config); err != nil {
		return nil, err
	}
	return o.generatedConv.Infer(in[:5])
}
