package autograd

import (
	"fmt"

	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/linear"
	"github.com/gojet/gojet/kernels/pointwise"
)

// Projection is one of several linear maps of the same input: x·Wᵀ + Bias, then SiLU where that is set.
type Projection struct {
	W, Bias *Node // [Out, In], and [Out] or nil
	SiLU    bool
}

// Projections applies several linear maps to x [N, In] and returns a node [N, Out] for each. On a device they are one
// product, forward and for each kind of gradient.
func (g *Graph) Projections(x *Node, parts ...Projection) []*Node {
	o := projections{biased: make([]bool, len(parts)), silu: make([]bool, len(parts))}
	in := []*Node{x}
	for _, p := range parts {
		in = append(in, p.W)
	}
	for i, p := range parts {
		o.silu[i] = p.SiLU
		if p.Bias != nil {
			o.biased[i] = true
			in = append(in, p.Bias)
		}
	}
	if len(parts) == 0 || len(parts) > linear.MostParts {
		g.fail(fmt.Errorf("autograd: %d projections of one input, want 1 to %d", len(parts), linear.MostParts))
		return make([]*Node, len(parts))
	}
	return g.Apply(o, in...)[:len(parts)]
}

// projections: (x, w…, bias of those that have one…) → y…, before the activation of those that have one…
type projections struct{ biased, silu []bool }

func (projections) Name() string                { return "projections" }
func (projections) Differentiates(n int) []bool { return all(n) }
func (o projections) parts() int                { return len(o.silu) }

func (o projections) Infer(in []Shape) ([]Shape, error) {
	n, d, err := matrix("x", in[0])
	if err != nil {
		return nil, err
	}
	var out []Shape
	next := 1 + o.parts()
	for i, w := range in[1:next] {
		if len(w) != 2 || w[1] != d {
			return nil, fmt.Errorf("w %d has shape %v, want [Out, %d]", i, w, d)
		}
		if o.biased[i] {
			if err := want("bias", in[next], w[0]); err != nil {
				return nil, err
			}
			next++
		}
		out = append(out, Shape{n, w[0]})
	}
	for i, active := range o.silu {
		if active {
			out = append(out, out[i])
		}
	}
	return out, nil
}

func (o projections) FLOPs(in []Shape) int64 {
	var n int64
	for _, w := range in[1 : 1+o.parts()] {
		n += 2 * int64(in[0][0]) * int64(size(w))
	}
	return n
}

// of is part i's element of a list that only some parts have one in, or the zero value.
func of(has []bool, list []Value, i int) Value {
	if !has[i] {
		return Value{}
	}
	at := 0
	for _, yes := range has[:i] {
		if yes {
			at++
		}
	}
	return list[at]
}

// spread gives each part its element of such a list.
func spread[E any](has []bool, list []E) []E {
	all := make([]E, len(has))
	for i, yes := range has {
		if yes {
			all[i], list = list[0], list[1:]
		}
	}
	return all
}

func (o projections) Run(env *Env, out, in []Value) {
	k := o.parts()
	n, d := in[0].Shape[0], in[0].Shape[1]
	for i, w := range in[1 : 1+k] {
		y, pre, bias := out[i], of(o.silu, out[k:], i), of(o.biased, in[1+k:], i)
		if pre.None() {
			pre = y
		}
		if pre.None() {
			continue
		}
		if pre.F64 != nil {
			linear.ReferenceForward(pre.F64, in[0].F64, w.F64, bias.F64, n, d, w.Shape[0])
		} else {
			linear.Forward(env.Cores, pre.F32, in[0].F32, w.weight(), bias.F32, n, d, w.Shape[0])
		}
		switch {
		case !o.silu[i] || y.None():
		case pre.F64 != nil:
			pointwise.ReferenceForward(pointwise.SiLU, y.F64, pre.F64)
		default:
			pointwise.Forward(env.Cores, pointwise.SiLU, y.F32, pre.F32)
		}
	}
}

// kernel describes the projections to a device.
func (o projections) kernel(x Shape, w []Shape) linear.Projections {
	p := linear.Projections{N: x[0], In: x[1]}
	for i, s := range w {
		p.Parts = append(p.Parts, linear.Part{Out: s[0], SiLU: o.silu[i]})
	}
	return p
}

func (o projections) DeviceScratch(in []Shape, t device.Type) int64 {
	return o.kernel(in[0], in[1:1+o.parts()]).ForwardScratch(t)
}

// Launch is Run on a device.
func (o projections) Launch(env *DeviceEnv, out, in []Value) {
	k := o.parts()
	linear.DeviceProjections(env.Queue, &linear.ProjectionsForwardArgs{
		Projections: o.kernel(in[0].Shape, shapesOf(in[1:1+k])), X: in[0].Dev, W: tensors(in[1 : 1+k]), Bias: tensors(spread(o.biased, in[1+k:])),
		Y: tensors(out[:k]), Before: tensors(spread(o.silu, out[k:])), Scratch: env.Scratch,
	})
}

func shapesOf(values []Value) []Shape {
	s := make([]Shape, len(values))
	for i, v := range values {
		s[i] = v.Shape
	}
	return s
}

func tensors(values []Value) []device.Tensor {
	t := make([]device.Tensor, len(values))
	for i, v := range values {
		t[i] = v.Dev
	}
	return t
}

func (o projections) Gradient(c *Chain) []*Node {
	k := o.parts()
	back := projectionsBackward{projections: o, arrived: make([]bool, k)}
	in := append(c.In[:1+k:1+k], c.Out[k:]...)
	for i, dy := range c.Grad[:k] {
		if dy != nil {
			back.arrived[i] = true
			in = append(in, dy)
		}
	}
	return c.Graph.Apply(back, in...)
}

// projectionsBackward: (x, w…, before…, dy of those that have one…) → dx, dw…, dbias of those that have one…
type projectionsBackward struct {
	projections
	arrived []bool
}

func (projectionsBackward) Name() string                { return "projections backward" }
func (projectionsBackward) Differentiates(n int) []bool { return first(0, n) }
func (o projectionsBackward) FLOPs(in []Shape) int64    { return 2 * o.projections.FLOPs(in) }

// befores is how many inputs are values before an activation.
func (o projectionsBackward) befores() int {
	n := 0
	for _, active := range o.silu {
		if active {
			n++
		}
	}
	return n
}

func (o projectionsBackward) Infer(in []Shape) ([]Shape, error) {
	k := o.parts()
	out := append([]Shape(nil), in[:1+k]...)
	dys := spread(o.arrived, in[1+k+o.befores():])
	for i, w := range in[1 : 1+k] {
		if o.arrived[i] {
			if err := want("dy", dys[i], in[0][0], w[0]); err != nil {
				return nil, err
			}
		}
		if o.biased[i] {
			out = append(out, Shape{w[0]})
		}
	}
	return out, nil
}

// widest is the largest part with an activation.
func (o projectionsBackward) widest(w []Shape) int {
	n := 0
	for i, s := range w {
		if o.silu[i] {
			n = max(n, s[0])
		}
	}
	return n
}

// Scratch has room for one part's gradient before its activation and for one part's share of dx.
func (o projectionsBackward) Scratch(in []Shape) int {
	return in[0][0] * (in[0][1] + o.widest(in[1:1+o.parts()]))
}

func (o projectionsBackward) Run(env *Env, out, in []Value) {
	k := o.parts()
	n, d := in[0].Shape[0], in[0].Shape[1]
	fresh := true // nothing of dx has been written
	for i, w := range in[1 : 1+k] {
		dw, dbias := out[1+i], of(o.biased, out[1+k:], i)
		if !o.arrived[i] {
			dw.Clear()
			dbias.Clear()
			continue
		}
		before, grad := of(o.silu, in[1+k:], i), of(o.arrived, in[1+k+o.befores():], i)
		if in[0].F64 != nil {
			o.reference(out[0], dw, dbias, in[0], w, before, grad, fresh)
			fresh = false
			continue
		}
		share, dy := env.Scratch[:n*d], grad.F32
		if o.silu[i] {
			pre := env.Scratch[n*d:][:len(dy)]
			pointwise.Backward(env.Cores, pointwise.SiLU, pre, dy, before.F32)
			dy = pre
		}
		switch {
		case out[0].None():
		case fresh:
			linear.BackwardInput(env.Cores, out[0].F32, dy, w.weight(), n, d, w.Shape[0])
		default:
			linear.BackwardInput(env.Cores, share, dy, w.weight(), n, d, w.Shape[0])
			pointwise.Add(env.Cores, out[0].F32, out[0].F32, share)
		}
		fresh = false
		if !dw.None() || !dbias.None() {
			linear.BackwardWeight(env.Cores, dw.F32, dbias.F32, dy, in[0].F32, n, d, w.Shape[0])
		}
	}
	if fresh {
		out[0].Clear()
	}
}

// reference adds one part's gradients, in float64.
func (o projectionsBackward) reference(dx, dw, dbias, x, w, before, dy Value, fresh bool) {
	n, d, width := x.Shape[0], x.Shape[1], w.Shape[0]
	g := dy.F64
	if !before.None() {
		g = make([]float64, len(dy.F64))
		pointwise.ReferenceBackward(pointwise.SiLU, g, dy.F64, before.F64)
	}
	if !dx.None() {
		share := dx.F64
		if !fresh {
			share = make([]float64, len(dx.F64))
		}
		linear.ReferenceBackwardInput(share, g, w.F64, n, d, width)
		if !fresh {
			pointwise.ReferenceAdd(dx.F64, dx.F64, share)
		}
	}
	if !dw.None() || !dbias.None() {
		linear.ReferenceBackwardWeight(dw.F64, dbias.F64, g, x.F64, n, d, width)
	}
}

func (o projectionsBackward) DeviceScratch(in []Shape, t device.Type) int64 {
	return o.kernel(in[0], in[1:1+o.parts()]).BackwardScratch(t)
}

// Launch is Run on a device.
func (o projectionsBackward) Launch(env *DeviceEnv, out, in []Value) {
	k := o.parts()
	linear.DeviceProjectionsBackward(env.Queue, &linear.ProjectionsBackwardArgs{
		Projections: o.kernel(in[0].Shape, shapesOf(in[1:1+k])), X: in[0].Dev, W: tensors(in[1 : 1+k]),
		Before: tensors(spread(o.silu, in[1+k:1+k+o.befores()])), DY: tensors(spread(o.arrived, in[1+k+o.befores():])),
		DX: out[0].Dev, DW: tensors(out[1 : 1+k]), DBias: tensors(spread(o.biased, out[1+k:])), Scratch: env.Scratch,
	})
}
