package autograd

import (
	"fmt"

	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/linear"
	"github.com/gojet/gojet/kernels/pointwise"
	"github.com/gojet/gojet/kernels/swiglu"
)

// GatedMLP is the feed-forward layer (silu(x·Gᵀ) · x·Uᵀ)·Dᵀ: x [N, In], gate and up [F, In], down [Out, F]. Of the values in
// between only the two products are kept for the gradient.
func (g *Graph) GatedMLP(x, gate, up, down *Node) *Node {
	return g.Apply(gatedMLP{}, x, gate, up, down)[0]
}

// gatedMLP: (x, wg, wu, wd) → y, gate, up. The last two are the backward's.
type gatedMLP struct{}

func (gatedMLP) Name() string                { return "gated mlp" }
func (gatedMLP) Differentiates(n int) []bool { return all(n) }

// mlpShape is N, In, F and Out.
type mlpShape struct{ n, in, f, out int }

func mlpOf(in []Shape) mlpShape { return mlpShape{in[0][0], in[0][1], in[1][0], in[3][0]} }

func mlpFor(in []Value) mlpShape {
	return mlpShape{in[0].Shape[0], in[0].Shape[1], in[1].Shape[0], in[3].Shape[0]}
}

func (gatedMLP) FLOPs(in []Shape) int64 {
	m := mlpOf(in)
	return 2 * int64(m.n) * int64(m.f) * int64(2*m.in+m.out)
}

func (gatedMLP) Infer(in []Shape) ([]Shape, error) {
	n, d, err := matrix("x", in[0])
	if err != nil {
		return nil, err
	}
	if len(in[1]) != 2 || in[1][1] != d || !in[2].Eq(in[1]) {
		return nil, fmt.Errorf("gate and up have shapes %v and %v, want both [F, %d]", in[1], in[2], d)
	}
	if len(in[3]) != 2 || in[3][1] != in[1][0] {
		return nil, fmt.Errorf("down has shape %v, want [Out, %d]", in[3], in[1][0])
	}
	between := Shape{n, in[1][0]}
	return []Shape{{n, in[3][0]}, between, between}, nil
}

// Scratch has room for the gate and for up where they are not kept. The product of both takes the gate's place, or room of
// its own where the gate is kept.
func (gatedMLP) Scratch(in []Shape) int {
	m := mlpOf(in)
	return 2 * m.n * m.f
}

func (gatedMLP) Run(env *Env, out, in []Value) {
	m := mlpFor(in)
	if in[0].F64 != nil {
		gate, up, act := make([]float64, m.n*m.f), make([]float64, m.n*m.f), make([]float64, m.n*m.f)
		linear.ReferenceForward(gate, in[0].F64, in[1].F64, nil, m.n, m.in, m.f)
		linear.ReferenceForward(up, in[0].F64, in[2].F64, nil, m.n, m.in, m.f)
		if !out[0].None() {
			swiglu.ReferenceForward(&swiglu.ForwardArgs[float64]{Y: act, Gate: gate, Up: up})
			linear.ReferenceForward(out[0].F64, act, in[3].F64, nil, m.n, m.f, m.out)
		}
		copy(out[1].F64, gate)
		copy(out[2].F64, up)
		return
	}
	gate, up, act := out[1].F32, out[2].F32, env.Scratch[:m.n*m.f]
	if gate == nil {
		gate = act
	}
	if up == nil {
		up = env.Scratch[m.n*m.f:]
	}
	linear.Forward(env.Cores, gate, in[0].F32, in[1].weight(), nil, m.n, m.in, m.f)
	linear.Forward(env.Cores, up, in[0].F32, in[2].weight(), nil, m.n, m.in, m.f)
	if out[0].None() { // computed again for the gradient
		return
	}
	swiglu.Forward(env.Cores, &swiglu.ForwardArgs[float32]{Y: act, Gate: gate, Up: up})
	linear.Forward(env.Cores, out[0].F32, act, in[3].weight(), nil, m.n, m.f, m.out)
}

func (gatedMLP) DeviceScratch(in []Shape, t device.Type) int64 {
	m := mlpOf(in)
	return device.Aligned(int64(m.n*m.f*t.Size())) + linear.GatedForwardScratch(m.n, m.f, t)
}

// Launch is Run on a device.
func (gatedMLP) Launch(env *DeviceEnv, out, in []Value) {
	m, q := mlpFor(in), env.Queue
	act, rest := env.Scratch.Carve(env.Float, m.n*m.f)
	if out[0].None() { // computed again for the gradient
		act = device.Tensor{}
	}
	linear.DeviceGated(q, &linear.GatedForwardArgs{
		N: m.n, In: m.in, F: m.f, Y: act, Gate: out[1].Dev, Up: out[2].Dev, X: in[0].Dev, WGate: in[1].Dev, WUp: in[2].Dev, Scratch: rest,
	})
	if !out[0].None() {
		linear.DeviceForward(q, out[0].Dev, act, in[3].Dev, device.Tensor{}, m.n, m.f, m.out)
	}
}

func (gatedMLP) Gradient(c *Chain) []*Node {
	return c.Graph.Apply(gatedMLPBackward{}, append(c.In[:4:4], c.Out[1], c.Out[2], c.Grad[0])...)
}

// gatedMLPBackward: (x, wg, wu, wd, gate, up, dy) → dx, dwg, dwu, dwd.
type gatedMLPBackward struct{}

func (gatedMLPBackward) Name() string                { return "gated mlp backward" }
func (gatedMLPBackward) Differentiates(n int) []bool { return first(0, n) }
func (gatedMLPBackward) FLOPs(in []Shape) int64      { return 2 * gatedMLP{}.FLOPs(in) }

func (gatedMLPBackward) Infer(in []Shape) ([]Shape, error) {
	return in[:4], want("dy", in[6], in[0][0], in[3][0])
}

// Scratch has room for the gradients of both products, for what the forward pass did not keep, and for a share of dx.
func (gatedMLPBackward) Scratch(in []Shape) int {
	m := mlpOf(in)
	return 3*m.n*m.f + m.n*m.in
}

func (o gatedMLPBackward) Run(env *Env, out, in []Value) {
	m := mlpFor(in)
	if in[0].F64 != nil {
		o.reference(m, out, in)
		return
	}
	c, size := env.Cores, m.n*m.f
	x, gate, up, dy := in[0].F32, in[4].F32, in[5].F32, in[6].F32
	dgate, dup, act, share := env.Scratch[:size], env.Scratch[size:2*size], env.Scratch[2*size:3*size], env.Scratch[3*size:]
	if !out[3].None() {
		swiglu.Forward(c, &swiglu.ForwardArgs[float32]{Y: act, Gate: gate, Up: up})
		linear.BackwardWeight(c, out[3].F32, nil, dy, act, m.n, m.f, m.out)
	}
	if out[0].None() && out[1].None() && out[2].None() {
		return
	}
	linear.BackwardInput(c, act, dy, in[3].weight(), m.n, m.f, m.out)
	swiglu.Backward(c, &swiglu.BackwardArgs[float32]{DGate: dgate, DUp: dup, DY: act, Gate: gate, Up: up})
	if !out[0].None() {
		linear.BackwardInput(c, out[0].F32, dgate, in[1].weight(), m.n, m.in, m.f)
		linear.BackwardInput(c, share, dup, in[2].weight(), m.n, m.in, m.f)
		pointwise.Add(c, out[0].F32, out[0].F32, share)
	}
	for i, d := range [2][]float32{dgate, dup} {
		if !out[1+i].None() {
			linear.BackwardWeight(c, out[1+i].F32, nil, d, x, m.n, m.in, m.f)
		}
	}
}

func (gatedMLPBackward) reference(m mlpShape, out, in []Value) {
	x, gate, up, dy := in[0].F64, in[4].F64, in[5].F64, in[6].F64
	act, dact := make([]float64, m.n*m.f), make([]float64, m.n*m.f)
	dgate, dup, share := make([]float64, m.n*m.f), make([]float64, m.n*m.f), make([]float64, m.n*m.in)
	swiglu.ReferenceForward(&swiglu.ForwardArgs[float64]{Y: act, Gate: gate, Up: up})
	linear.ReferenceBackwardInput(dact, dy, in[3].F64, m.n, m.f, m.out)
	swiglu.ReferenceBackward(&swiglu.BackwardArgs[float64]{DGate: dgate, DUp: dup, DY: dact, Gate: gate, Up: up})
	if !out[3].None() {
		linear.ReferenceBackwardWeight(out[3].F64, nil, dy, act, m.n, m.f, m.out)
	}
	if !out[0].None() {
		linear.ReferenceBackwardInput(out[0].F64, dgate, in[1].F64, m.n, m.in, m.f)
		linear.ReferenceBackwardInput(share, dup, in[2].F64, m.n, m.in, m.f)
		pointwise.ReferenceAdd(out[0].F64, out[0].F64, share)
	}
	for i, d := range [2][]float64{dgate, dup} {
		if !out[1+i].None() {
			linear.ReferenceBackwardWeight(out[1+i].F64, nil, d, x, m.n, m.in, m.f)
		}
	}
}

func (gatedMLPBackward) DeviceScratch(in []Shape, t device.Type) int64 {
	m := mlpOf(in)
	return 3 * device.Aligned(int64(m.n*m.f*t.Size()))
}

// Launch is Run on a device, where both gradients and what the forward pass did not keep are made together, and dx adds up
// inside the second of its products.
func (gatedMLPBackward) Launch(env *DeviceEnv, out, in []Value) {
	m, q := mlpFor(in), env.Queue
	x, dy := in[0].Dev, in[6].Dev
	dgate, rest := env.Scratch.Carve(env.Float, m.n*m.f)
	dup, rest := rest.Carve(env.Float, m.n*m.f)
	var act device.Tensor
	if !out[3].None() {
		act, _ = rest.Carve(env.Float, m.n*m.f)
	}
	linear.DeviceGatedBackward(q, &linear.GatedBackwardArgs{
		N: m.n, F: m.f, Out: m.out, DGate: dgate, DUp: dup, Y: act, DY: dy, W: in[3].Dev, Gate: in[4].Dev, Up: in[5].Dev,
	})
	if !out[3].None() {
		linear.DeviceBackwardWeight(q, out[3].Dev, device.Tensor{}, dy, act, device.Tensor{}, m.n, m.f, m.out)
	}
	if !out[0].None() {
		linear.DeviceBackwardInput(q, out[0].Dev, dgate, in[1].Dev, m.n, m.in, m.f)
		linear.DeviceAddBackwardInput(q, out[0].Dev, dup, in[2].Dev, m.n, m.in, m.f)
	}
	for i, d := range [2]device.Tensor{dgate, dup} {
		if !out[1+i].None() {
			linear.DeviceBackwardWeight(q, out[1+i].Dev, device.Tensor{}, d, x, device.Tensor{}, m.n, m.in, m.f)
		}
	}
}
