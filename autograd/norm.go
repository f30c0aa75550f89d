package autograd

import (
	"fmt"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/rmsnorm"
)

// RMSNorm normalises x [N, D] over groups of len(w) features: w [D] for a layer's norm, w [D/H] for a norm
// over each of H heads. y = x·rsqrt(mean(x²)+eps)·w.
func (g *Graph) RMSNorm(x, w *Node, eps float64) *Node { return g.apply1(rmsNorm{eps: eps}, x, w) }

// RMSNormSwishGate is RMSNorm(x, w)·silu(gate), the output norm of linear attention blocks. x and gate [N, D].
func (g *Graph) RMSNormSwishGate(x, w, gate *Node, eps float64) *Node {
	return g.apply1(rmsNorm{eps: eps, gated: true}, x, w, gate)
}

// AddRMSNorm returns the sum x + r [N, D] and its RMSNorm: a residual connection and the norm that follows it.
func (g *Graph) AddRMSNorm(x, r, w *Node, eps float64) (sum, y *Node) {
	outs := g.Apply(addRMSNorm{eps: eps}, x, r, w)
	return outs[0], outs[1]
}

type rmsNorm struct {
	eps   float64
	gated bool
}

func (o rmsNorm) Name() string {
	if o.gated {
		return "rms norm swish gate"
	}
	return "rms norm"
}

func (o rmsNorm) Infer(in []Shape) ([]Shape, error) {
	_, d, err := matrix("x", in[0])
	if err != nil {
		return nil, err
	}
	if len(in[1]) != 1 || d%in[1][0] != 0 {
		return nil, fmt.Errorf("w has shape %v, want one dimension that divides %d", in[1], d)
	}
	if o.gated && !in[2].Eq(in[0]) {
		return nil, fmt.Errorf("gate has shape %v, want %v", in[2], in[0])
	}
	return in[:1], nil
}

func (o rmsNorm) FLOPs(in []Shape) int64      { return 5 * int64(size(in[0])) }
func (o rmsNorm) Differentiates(n int) []bool { return all(n) }

func (o rmsNorm) Run(env *Env, out, in []Value) {
	if in[0].F64 != nil {
		a := rmsNormForward(o, out, in, f64)
		rmsnorm.ReferenceForward(&a)
		return
	}
	a := rmsNormForward(o, out, in, f32)
	rmsnorm.Forward(env.Cores, &a)
}

func rmsNormForward[T kernels.Float](o rmsNorm, out, in []Value, data func(Value) []T) rmsnorm.ForwardArgs[T] {
	a := rmsnorm.ForwardArgs[T]{Y: data(out[0]), X: data(in[0]), W: data(in[1]), Eps: o.eps}
	if o.gated {
		a.Gate = data(in[2])
	}
	return a
}

func (o rmsNorm) Launch(env *DeviceEnv, out, in []Value) {
	a := rmsnorm.DeviceForwardArgs{Y: out[0].Dev, X: in[0].Dev, W: in[1].Dev, Eps: o.eps}
	if o.gated {
		a.Gate = in[2].Dev
	}
	rmsnorm.DeviceForward(env.Queue, &a)
}

func (o rmsNorm) Gradient(c *Chain) []*Node {
	return c.Graph.Apply(rmsNormBackward{rmsNorm: o}, append(c.In[:len(c.In):len(c.In)], c.Grad[0])...)
}

// addRMSNorm: (x, r, w) → x + r, rms norm of that.
type addRMSNorm struct{ eps float64 }

func (addRMSNorm) Name() string                { return "add, rms norm" }
func (addRMSNorm) FLOPs(in []Shape) int64      { return 6 * int64(size(in[0])) }
func (addRMSNorm) Differentiates(n int) []bool { return all(n) }

// InPlace: the sum may stand where x was.
func (addRMSNorm) InPlace() (int, int) { return 0, 0 }

func (o addRMSNorm) Infer(in []Shape) ([]Shape, error) {
	if !in[1].Eq(in[0]) {
		return nil, fmt.Errorf("r has shape %v, want %v", in[1], in[0])
	}
	if _, err := (rmsNorm{}).Infer([]Shape{in[0], in[2]}); err != nil {
		return nil, err
	}
	return in[:2], nil
}

func (o addRMSNorm) Run(env *Env, out, in []Value) {
	switch {
	case out[1].None():
		sum{}.Run(env, out[:1], in[:2])
	case in[0].F64 != nil:
		rmsnorm.ReferenceForward(&rmsnorm.ForwardArgs[float64]{Y: out[1].F64, Sum: out[0].F64, X: in[0].F64, Add: in[1].F64, W: in[2].F64, Eps: o.eps})
	default:
		rmsnorm.Forward(env.Cores, &rmsnorm.ForwardArgs[float32]{Y: out[1].F32, Sum: out[0].F32, X: in[0].F32, Add: in[1].F32, W: in[2].F32, Eps: o.eps})
	}
}

func (o addRMSNorm) Launch(env *DeviceEnv, out, in []Value) {
	if out[1].None() {
		sum{}.Launch(env, out[:1], in[:2])
		return
	}
	rmsnorm.DeviceForward(env.Queue, &rmsnorm.DeviceForwardArgs{Y: out[1].Dev, Sum: out[0].Dev, X: in[0].Dev, Add: in[1].Dev, W: in[2].Dev, Eps: o.eps})
}

// rebuild makes the norm from the sum.
func (o addRMSNorm) rebuild(g *Graph, a *applied, result int) *Node {
	if result == 0 {
		return nil
	}
	return g.RMSNorm(a.outs[0], a.in[2], o.eps)
}

func (o addRMSNorm) Gradient(c *Chain) []*Node {
	dsum, dy := c.Grad[0], c.Grad[1]
	if dy == nil {
		return []*Node{dsum, dsum, nil}
	}
	back, in := rmsNormBackward{rmsNorm: rmsNorm{eps: o.eps}}, []*Node{c.Out[0], c.In[2], dy}
	if dsum != nil {
		back.added = true
		in = append(in, dsum)
	}
	grads := c.Graph.Apply(back, in...)
	return []*Node{grads[0], grads[0], grads[1]}
}

// rmsNormBackward: (x, w[, gate], dy[, dsum]) → dx, dw[, dgate]. With dsum, what reaches x from elsewhere, dx is all that does.
type rmsNormBackward struct {
	rmsNorm
	added bool
}

func (o rmsNormBackward) Name() string {
	if o.added {
		return "add, " + o.rmsNorm.Name() + " backward"
	}
	return o.rmsNorm.Name() + " backward"
}

// dy is which input that is.
func (o rmsNormBackward) dy() int {
	if o.gated {
		return 3
	}
	return 2
}

// InPlace: dx may stand where dy was.
func (o rmsNormBackward) InPlace() (int, int) { return 0, o.dy() }

func (o rmsNormBackward) Infer(in []Shape) ([]Shape, error) {
	for i, name := range []string{"dy", "dsum"}[:len(in)-o.dy()] {
		if d := in[o.dy()+i]; !d.Eq(in[0]) {
			return nil, fmt.Errorf("%s has shape %v, want %v", name, d, in[0])
		}
	}
	return in[:o.dy()], nil
}

func (o rmsNormBackward) FLOPs(in []Shape) int64      { return 12 * int64(size(in[0])) }
func (o rmsNormBackward) Differentiates(n int) []bool { return first(0, n) }

func (o rmsNormBackward) Scratch(in []Shape) int {
	return rmsnorm.ScratchLen(size(in[0])/in[1][0], in[1][0])
}

func (o rmsNormBackward) Run(env *Env, out, in []Value) {
	if in[0].F64 != nil {
		a := rmsNormBackwardArgs(o, out, in, f64)
		rmsnorm.ReferenceBackward(&a)
		return
	}
	a := rmsNormBackwardArgs(o, out, in, f32)
	a.Scratch = env.Scratch
	rmsnorm.Backward(env.Cores, &a)
}

func (o rmsNormBackward) DeviceScratch(in []Shape, _ device.Type) int64 {
	return rmsnorm.DeviceScratch(size(in[0])/in[1][0], in[1][0])
}

func (o rmsNormBackward) Launch(env *DeviceEnv, out, in []Value) {
	a := rmsnorm.DeviceBackwardArgs{
		DX: out[0].Dev, DW: out[1].Dev,
		X: in[0].Dev, W: in[1].Dev, DY: in[o.dy()].Dev, Eps: o.eps, Scratch: env.Scratch,
	}
	if o.added {
		a.DSum = in[o.dy()+1].Dev
	}
	if o.gated {
		a.DGate, a.Gate = out[2].Dev, in[2].Dev
	}
	rmsnorm.DeviceBackward(env.Queue, &a)
}

func rmsNormBackwardArgs[T kernels.Float](o rmsNormBackward, out, in []Value, data func(Value) []T) rmsnorm.BackwardArgs[T] {
	a := rmsnorm.BackwardArgs[T]{
		DX: data(out[0]), DW: data(out[1]),
		X: data(in[0]), W: data(in[1]), DY: data(in[o.dy()]), Eps: o.eps,
	}
	if o.added {
		a.DSum = data(in[o.dy()+1])
	}
	if o.gated {
		a.DGate, a.Gate = data(out[2]), data(in[2])
	}
	return a
}
