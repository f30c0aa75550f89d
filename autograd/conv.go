package autograd

import (
	"fmt"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/conv"
	"github.com/gojet/gojet/kernels/device"
)

// DynamicConv is a causal convolution whose kernel comes with every token, then SiLU: x [N, D], kernel [N, D·W] with the
// taps of a feature together. Every sequence begins with zero history.
func (g *Graph) DynamicConv(x, kernel, sequences *Node) *Node {
	return g.apply1(newConvolve(x, kernel, true), x, kernel, sequences)
}

// CachedDynamicConv is DynamicConv with the last inputs [rows, D, W−1] of earlier calls, which it advances in place.
func (g *Graph) CachedDynamicConv(x, kernel, sequences, history *Node) *Node {
	return g.apply1(cachedConvolve{newConvolve(x, kernel, true)}, x, kernel, sequences, history)
}

// ShortConv is a causal convolution with one kernel for all tokens, [D, 1, W] as PyTorch stores a depthwise one, then
// SiLU. Every sequence begins with zero history.
func (g *Graph) ShortConv(x, kernel, sequences *Node) *Node {
	return g.apply1(newConvolve(x, kernel, false), x, kernel, sequences)
}

// CachedShortConv is ShortConv with the last inputs [rows, D, W−1] of earlier calls, which it advances in place.
func (g *Graph) CachedShortConv(x, kernel, sequences, history *Node) *Node {
	return g.apply1(cachedConvolve{newConvolve(x, kernel, false)}, x, kernel, sequences, history)
}

// convolve: (x, kernel, sequences) → y.
type convolve struct{ conv.Config }

// newConvolve reads the number of taps off the kernel; Infer judges the shapes.
func newConvolve(x, kernel *Node, dynamic bool) convolve {
	c := conv.Config{Dynamic: dynamic, SiLU: true}
	if x == nil || kernel == nil || len(x.Shape()) != 2 || len(kernel.Shape()) < 2 {
		return convolve{c}
	}
	k := kernel.Shape()
	c.Dim, c.Taps = x.Shape()[1], k[len(k)-1]
	if dynamic {
		c.Taps /= c.Dim
	}
	return convolve{c}
}

func (o convolve) Name() string {
	if o.Dynamic {
		return "dynamic conv"
	}
	return "short conv"
}

func (o convolve) FLOPs(in []Shape) int64      { return int64(size(in[0])) * int64(2*o.Taps+4) }
func (o convolve) Differentiates(n int) []bool { return first(2, n) }

func (o convolve) Infer(in []Shape) ([]Shape, error) {
	n, d, err := matrix("x", in[0])
	if err != nil {
		return nil, err
	}
	if o.Taps < 1 {
		return nil, fmt.Errorf("kernel has shape %v, want taps for each of %d features", in[1], d)
	}
	kernel := Shape{d, 1, o.Taps}
	if o.Dynamic {
		kernel = Shape{n, d * o.Taps}
	}
	if err := want("kernel", in[1], kernel...); err != nil {
		return nil, err
	}
	return in[:1], isSequences(in[2])
}

func (o convolve) Run(env *Env, out, in []Value) {
	if in[0].F64 != nil {
		a := convolveArgs(o, out, in, f64)
		conv.ReferenceForward(&a)
		return
	}
	a := convolveArgs(o, out, in, f32)
	conv.Forward(env.Cores, &a)
}

func convolveArgs[T kernels.Float](o convolve, out, in []Value, data func(Value) []T) conv.ForwardArgs[T] {
	a := conv.ForwardArgs[T]{Config: o.Config, Seqs: in[2].sequences(), X: data(in[0]), Kernel: data(in[1]), Y: data(out[0])}
	if len(in) > 3 {
		a.Cache, a.NewCache = data(in[3]), data(in[3])
	}
	return a
}

func (o convolve) Launch(env *DeviceEnv, out, in []Value) {
	a := conv.DeviceForwardArgs{Config: o.Config, Sequences: in[2].Dev, X: in[0].Dev, Kernel: in[1].Dev, Y: out[0].Dev}
	if len(in) > 3 {
		a.Cache, a.NewCache = in[3].Dev, in[3].Dev
	}
	conv.DeviceForward(env.Queue, &a)
}

func (o convolve) Gradient(c *Chain) []*Node {
	return append(c.Graph.Apply(convolveBackward{o}, c.In[0], c.In[1], c.In[2], c.Grad[0])[:2:2], nil)
}

// convolveBackward: (x, kernel, sequences, dy) → dx, dkernel.
type convolveBackward struct{ convolve }

func (o convolveBackward) Name() string                { return o.convolve.Name() + " backward" }
func (o convolveBackward) FLOPs(in []Shape) int64      { return 3 * o.convolve.FLOPs(in) }
func (o convolveBackward) Differentiates(n int) []bool { return first(0, n) }

func (o convolveBackward) Infer(in []Shape) ([]Shape, error) {
	return in[:2], want("dy", in[3], in[0]...)
}

func (o convolveBackward) Run(env *Env, out, in []Value) {
	if in[0].F64 != nil {
		a := convolveBackwardArgs(o, out, in, f64)
		conv.ReferenceBackward(&a)
		return
	}
	a := convolveBackwardArgs(o, out, in, f32)
	conv.Backward(env.Cores, &a)
}

func (o convolveBackward) DeviceScratch(in []Shape, _ device.Type) int64 {
	return o.Config.DeviceScratch(in[0][0])
}

func (o convolveBackward) Launch(env *DeviceEnv, out, in []Value) {
	conv.DeviceBackward(env.Queue, &conv.DeviceBackwardArgs{
		Config: o.Config, Sequences: in[2].Dev, X: in[0].Dev, Kernel: in[1].Dev, DY: in[3].Dev,
		DX: out[0].Dev, DKernel: out[1].Dev, Scratch: env.Scratch,
	})
}

func convolveBackwardArgs[T kernels.Float](o convolveBackward, out, in []Value, data func(Value) []T) conv.BackwardArgs[T] {
	return conv.BackwardArgs[T]{
		Config: o.Config, Seqs: in[2].sequences(), X: data(in[0]), Kernel: data(in[1]), DY: data(in[3]),
		DX: data(out[0]), DKernel: data(out[1]),
	}
}

// cachedConvolve: (x, kernel, sequences, history) → y.
type cachedConvolve struct{ convolve }

func (o cachedConvolve) Name() string   { return "cached " + o.convolve.Name() }
func (o cachedConvolve) Mutates() []int { return []int{3} }

func (o cachedConvolve) Infer(in []Shape) ([]Shape, error) {
	if s := in[3]; len(s) != 3 || s[1] != o.Dim || s[2] != o.Taps-1 {
		return nil, fmt.Errorf("history has shape %v, want [rows, %d, %d]", s, o.Dim, o.Taps-1)
	}
	return o.convolve.Infer(in[:3])
}
