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
	return c.Graph.Apply(rmsNormBackward{o}, append(c.In[:len(c.In):len(c.In)], c.Grad[0])...)
}

// rmsNormBackward: (x, w[, gate], dy) → dx, dw[, dgate].
type rmsNormBackward struct{ rmsNorm }

func (o rmsNormBackward) Name() string { return o.rmsNorm.Name() + " backward" }

func (o rmsNormBackward) Infer(in []Shape) ([]Shape, error) {
	dy := in[len(in)-1]
	if !dy.Eq(in[0]) {
		return nil, fmt.Errorf("dy has shape %v, want %v", dy, in[0])
	}
	return in[:len(in)-1], nil
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
		X: in[0].Dev, W: in[1].Dev, DY: in[len(in)-1].Dev, Eps: o.eps, Scratch: env.Scratch,
	}
	if o.gated {
		a.DGate, a.Gate = out[2].Dev, in[2].Dev
	}
	rmsnorm.DeviceBackward(env.Queue, &a)
}

func rmsNormBackwardArgs[T kernels.Float](o rmsNormBackward, out, in []Value, data func(Value) []T) rmsnorm.BackwardArgs[T] {
	a := rmsnorm.BackwardArgs[T]{
		DX: data(out[0]), DW: data(out[1]),
		X: data(in[0]), W: data(in[1]), DY: data(in[len(in)-1]), Eps: o.eps,
	}
	if o.gated {
		a.DGate, a.Gate = data(out[2]), data(in[2])
	}
	return a
}
