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
	return g.StaticConv(x, kernel, nil, sequences, true)
}

// CachedShortConv is ShortConv with the last inputs [rows, D, W−1] of earlier calls, which it advances in place.
func (g *Graph) CachedShortConv(x, kernel, sequences, history *Node) *Node {
	return g.CachedStaticConv(x, kernel, nil, sequences, history, true)
}

// StaticConv is ShortConv with a bias [D], unless that is nil, and without SiLU where silu is false.
func (g *Graph) StaticConv(x, kernel, bias, sequences *Node, silu bool) *Node {
	o, in := newStatic(x, kernel, bias, sequences, silu)
	return g.apply1(o, in...)
}

// CachedStaticConv is StaticConv with the last inputs [rows, D, W−1] of earlier calls, which it advances in place.
func (g *Graph) CachedStaticConv(x, kernel, bias, sequences, history *Node, silu bool) *Node {
	o, in := newStatic(x, kernel, bias, sequences, silu)
	return g.apply1(cachedConvolve{o}, append(in, history)...)
}

func newStatic(x, kernel, bias, sequences *Node, silu bool) (convolve, []*Node) {
	o, in := newConvolve(x, kernel, false), []*Node{x, kernel, sequences}
	o.SiLU = silu
	if bias != nil {
		o.bias, in = true, append(in, bias)
	}
	return o, in
}

// convolve: (x, kernel, sequences[, bias]) → y.
type convolve struct {
	conv.Config
	bias bool
}

// inputs is how many inputs there are without history.
func (o convolve) inputs() int {
	if o.bias {
		return 4
	}
	return 3
}

// newConvolve reads the number of taps off the kernel; Infer judges the shapes.
func newConvolve(x, kernel *Node, dynamic bool) convolve {
	c := conv.Config{Dynamic: dynamic, SiLU: true}
	if x == nil || kernel == nil || len(x.Shape()) != 2 || len(kernel.Shape()) < 2 {
		return convolve{Config: c}
	}
	k := kernel.Shape()
	c.Dim, c.Taps = x.Shape()[1], k[len(k)-1]
	if dynamic {
		c.Taps /= c.Dim
	}
	return convolve{Config: c}
}

func (o convolve) Name() string {
	if o.Dynamic {
		return "dynamic conv"
	}
	return "short conv"
}

func (o convolve) FLOPs(in []Shape) int64 { return int64(size(in[0])) * int64(2*o.Taps+4) }

func (o convolve) Differentiates(n int) []bool {
	d := all(n)
	d[2] = false
	return d
}

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
	if o.bias {
		if err := want("bias", in[3], d); err != nil {
			return nil, err
		}
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
	if o.bias {
		a.Bias = data(in[3])
	}
	if at := o.inputs(); len(in) > at {
		a.Cache, a.NewCache = data(in[at]), data(in[at])
	}
	return a
}

func (o convolve) Launch(env *DeviceEnv, out, in []Value) {
	a := conv.DeviceForwardArgs{Config: o.Config, Sequences: in[2].Dev, X: in[0].Dev, Kernel: in[1].Dev, Y: out[0].Dev}
	if o.bias {
		a.Bias = in[3].Dev
	}
	if at := o.inputs(); len(in) > at {
		a.Cache, a.NewCache = in[at].Dev, in[at].Dev
	}
	conv.DeviceForward(env.Queue, &a)
}

func (o convolve) Gradient(c *Chain) []*Node {
	n := len(c.In)
	d := c.Graph.Apply(convolveBackward{o}, append(c.In[:n:n], c.Grad[0])...)
	return append(append(d[:2:2], nil), d[2:n-1]...)
}

// convolveBackward: (x, kernel, sequences[, bias], dy) → dx, dkernel[, dbias].
type convolveBackward struct{ convolve }

func (o convolveBackward) Name() string                { return o.convolve.Name() + " backward" }
func (o convolveBackward) FLOPs(in []Shape) int64      { return 3 * o.convolve.FLOPs(in) }
func (o convolveBackward) Differentiates(n int) []bool { return first(0, n) }

func (o convolveBackward) Infer(in []Shape) ([]Shape, error) {
	at := o.inputs()
	return append(in[:2:2], in[3:at]...), want("dy", in[at], in[0]...)
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
	a := conv.DeviceBackwardArgs{
		Config: o.Config, Sequences: in[2].Dev, X: in[0].Dev, Kernel: in[1].Dev, DY: in[o.inputs()].Dev,
		DX: out[0].Dev, DKernel: out[1].Dev, Scratch: env.Scratch,
	}
	if o.bias {
		a.Bias, a.DBias = in[3].Dev, out[2].Dev
	}
	conv.DeviceBackward(env.Queue, &a)
}

func convolveBackwardArgs[T kernels.Float](o convolveBackward, out, in []Value, data func(Value) []T) conv.BackwardArgs[T] {
	a := conv.BackwardArgs[T]{
		Config: o.Config, Seqs: in[2].sequences(), X: data(in[0]), Kernel: data(in[1]), DY: data(in[o.inputs()]),
		DX: data(out[0]), DKernel: data(out[1]),
	}
	if o.bias {
		a.Bias, a.DBias = data(in[3]), data(out[2])
	}
	return a
}

// cachedConvolve: (x, kernel, sequences[, bias], history) → y.
type cachedConvolve struct{ convolve }

func (o cachedConvolve) Name() string   { return "cached " + o.convolve.Name() }
func (o cachedConvolve) Mutates() []int { return []int{o.inputs()} }

func (o cachedConvolve) Infer(in []Shape) ([]Shape, error) {
	at := o.inputs()
	if err := isHistory(in[at], o.Config); err != nil {
		return nil, err
	}
	return o.convolve.Infer(in[:at])
}

// isHistory reports whether s is the shape of a convolution's last inputs.
func isHistory(s Shape, c conv.Config) error {
	if len(s) != 3 || s[1] != c.Dim || s[2] != c.Taps-1 {
		return fmt.Errorf("history has shape %v, want [rows, %d, %d]", s, c.Dim, c.Taps-1)
	}
	return nil
}
