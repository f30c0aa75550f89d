package autograd

import (
	"fmt"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/groupnorm"
	"github.com/gojet/gojet/kernels/l2norm"
)

// GroupNorm gives every group of width features of x [N, D] mean 0 and variance 1, then every feature a weight and a bias
// [D].
func (g *Graph) GroupNorm(x, w, b *Node, width int, eps float64) *Node {
	return g.apply1(groupNorm{groupnorm.Config{Width: width, Eps: eps}}, x, w, b)
}

// groupNorm: (x, w, b) → y.
type groupNorm struct{ groupnorm.Config }

func (groupNorm) Name() string                { return "group norm" }
func (groupNorm) FLOPs(in []Shape) int64      { return 7 * int64(size(in[0])) }
func (groupNorm) Differentiates(n int) []bool { return all(n) }

func (o groupNorm) Infer(in []Shape) ([]Shape, error) {
	_, d, err := matrix("x", in[0])
	if err != nil {
		return nil, err
	}
	if o.Width < 1 || d%o.Width != 0 {
		return nil, fmt.Errorf("x has %d features, want whole groups of %d", d, o.Width)
	}
	if err := want("w", in[1], d); err != nil {
		return nil, err
	}
	return in[:1], want("b", in[2], d)
}

func (o groupNorm) Run(env *Env, out, in []Value) {
	if in[0].F64 != nil {
		a := groupNormForward(o, out, in, f64)
		groupnorm.ReferenceForward(&a)
		return
	}
	a := groupNormForward(o, out, in, f32)
	groupnorm.Forward(env.Cores, &a)
}

func groupNormForward[T kernels.Float](o groupNorm, out, in []Value, data func(Value) []T) groupnorm.ForwardArgs[T] {
	return groupnorm.ForwardArgs[T]{Config: o.Config, X: data(in[0]), W: data(in[1]), B: data(in[2]), Y: data(out[0])}
}

func (o groupNorm) Launch(env *DeviceEnv, out, in []Value) {
	groupnorm.DeviceForward(env.Queue, &groupnorm.DeviceForwardArgs{Config: o.Config, X: in[0].Dev, W: in[1].Dev, B: in[2].Dev, Y: out[0].Dev})
}

func (o groupNorm) Gradient(c *Chain) []*Node {
	return c.Graph.Apply(groupNormBackward{o}, c.In[0], c.In[1], c.Grad[0])[:3]
}

// groupNormBackward: (x, w, dy) → dx, dw, db.
type groupNormBackward struct{ groupNorm }

func (groupNormBackward) Name() string                { return "group norm backward" }
func (groupNormBackward) FLOPs(in []Shape) int64      { return 14 * int64(size(in[0])) }
func (groupNormBackward) Differentiates(n int) []bool { return first(0, n) }
func (groupNormBackward) Scratch(in []Shape) int      { return groupnorm.ScratchLen(in[0][0], in[0][1]) }

func (groupNormBackward) Infer(in []Shape) ([]Shape, error) {
	return []Shape{in[0], in[1], in[1]}, want("dy", in[2], in[0]...)
}

func (o groupNormBackward) Run(env *Env, out, in []Value) {
	if in[0].F64 != nil {
		a := groupNormBackwardArgs(o, out, in, f64)
		groupnorm.ReferenceBackward(&a)
		return
	}
	a := groupNormBackwardArgs(o, out, in, f32)
	a.Scratch = env.Scratch
	groupnorm.Backward(env.Cores, &a)
}

func (o groupNormBackward) DeviceScratch(in []Shape, _ device.Type) int64 {
	return o.Config.DeviceScratch(in[0][0], in[0][1])
}

func (o groupNormBackward) Launch(env *DeviceEnv, out, in []Value) {
	groupnorm.DeviceBackward(env.Queue, &groupnorm.DeviceBackwardArgs{Config: o.Config, X: in[0].Dev, W: in[1].Dev, DY: in[2].Dev,
		DX: out[0].Dev, DW: out[1].Dev, DB: out[2].Dev, Scratch: env.Scratch})
}

func groupNormBackwardArgs[T kernels.Float](o groupNormBackward, out, in []Value, data func(Value) []T) groupnorm.BackwardArgs[T] {
	return groupnorm.BackwardArgs[T]{Config: o.Config, X: data(in[0]), W: data(in[1]), DY: data(in[2]),
		DX: data(out[0]), DW: data(out[1]), DB: data(out[2])}
}

// L2Norm divides every run of dim features of x [N, D] by its length.
func (g *Graph) L2Norm(x *Node, dim int) *Node { return g.apply1(l2Norm{dim}, x) }

type l2Norm struct{ dim int }

func (l2Norm) Name() string                { return "l2 norm" }
func (l2Norm) InPlace() (int, int)         { return 0, 0 }
func (l2Norm) FLOPs(in []Shape) int64      { return 4 * int64(size(in[0])) }
func (l2Norm) Differentiates(n int) []bool { return all(n) }

func (o l2Norm) Infer(in []Shape) ([]Shape, error) {
	_, d, err := matrix("x", in[0])
	if err == nil && (o.dim < 1 || d%o.dim != 0) {
		err = fmt.Errorf("x has %d features, want whole runs of %d", d, o.dim)
	}
	return in[:1], err
}

func (o l2Norm) Run(env *Env, out, in []Value) {
	if in[0].F64 != nil {
		l2norm.ReferenceForward(&l2norm.ForwardArgs[float64]{Y: out[0].F64, X: in[0].F64, K: o.dim, Scale: 1})
		return
	}
	l2norm.Forward(env.Cores, &l2norm.ForwardArgs[float32]{Y: out[0].F32, X: in[0].F32, K: o.dim, Scale: 1})
}

func (o l2Norm) Launch(env *DeviceEnv, out, in []Value) {
	l2norm.DeviceForward(env.Queue, &l2norm.DeviceForwardArgs{Y: out[0].Dev, X: in[0].Dev, K: o.dim, Scale: 1})
}

// ResultTypes: what is normalised is stored as it was.
func (l2Norm) ResultTypes(in []device.Type, _ device.Type) []device.Type { return in[:1] }

func (o l2Norm) Gradient(c *Chain) []*Node {
	return []*Node{c.Graph.apply1(l2NormBackward{o}, c.Grad[0], c.In[0])}
}

// l2NormBackward: (dy, x) → dx.
type l2NormBackward struct{ l2Norm }

func (l2NormBackward) Name() string                      { return "l2 norm backward" }
func (l2NormBackward) Infer(in []Shape) ([]Shape, error) { return in[:1], want("dy", in[0], in[1]...) }
func (l2NormBackward) Differentiates(n int) []bool       { return first(0, n) }

func (o l2NormBackward) Run(env *Env, out, in []Value) {
	if in[0].F64 != nil {
		l2norm.ReferenceBackward(&l2norm.BackwardArgs[float64]{DX: out[0].F64, DY: in[0].F64, X: in[1].F64, K: o.dim, Scale: 1})
		return
	}
	l2norm.Backward(env.Cores, &l2norm.BackwardArgs[float32]{DX: out[0].F32, DY: in[0].F32, X: in[1].F32, K: o.dim, Scale: 1})
}

func (o l2NormBackward) Launch(env *DeviceEnv, out, in []Value) {
	l2norm.DeviceBackward(env.Queue, &l2norm.DeviceBackwardArgs{DX: out[0].Dev, DY: in[0].Dev, X: in[1].Dev, K: o.dim, Scale: 1})
}
