package autograd

import (
	"errors"
	"fmt"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/gatedlinear"
)

// GatedLinear is gated linear attention over every sequence: q, k [N, H·K], v [N, H·V] and the logarithm of the decay
// g [N, H·C] give o [N, H·V]; C is 1 or K. a and b [N, H·K] are the low-rank term of the transition, nil without one. See
// package gatedlinear for the formula. Every sequence begins with a state of zero.
func (g *Graph) GatedLinear(cfg gatedlinear.Config, q, k, v, decay, a, b, sequences *Node) *Node {
	cfg.LowRank = a != nil
	return g.Apply(gatedLinear{cfg}, gatedLinearInputs(q, k, v, decay, sequences, a, b)...)[0]
}

// CachedGatedLinear is GatedLinear from a state [rows, H, K, V] that it advances in place.
func (g *Graph) CachedGatedLinear(cfg gatedlinear.Config, q, k, v, decay, a, b, sequences, state *Node) *Node {
	cfg.LowRank = a != nil
	return g.apply1(cachedGatedLinear{gatedLinear{cfg}}, append(gatedLinearInputs(q, k, v, decay, sequences, a, b), state)...)
}

func gatedLinearInputs(q, k, v, decay, sequences, a, b *Node) []*Node {
	in := []*Node{q, k, v, decay, sequences}
	if a != nil {
		in = append(in, a, b)
	}
	return in
}

// gatedLinear: (q, k, v, g, sequences[, a, b]) → o, states. The states are the backward's.
type gatedLinear struct{ gatedlinear.Config }

func (o gatedLinear) Name() string { return "gated linear attention" }

// inputs is how many inputs the rule has.
func (o gatedLinear) inputs() int {
	if o.LowRank {
		return 7
	}
	return 5
}

func (o gatedLinear) Infer(in []Shape) ([]Shape, error) {
	n, _, err := matrix("q", in[0])
	if err != nil {
		return nil, err
	}
	key := o.Heads * o.KeyDim
	widths := []int{key, key, o.Heads * o.ValueDim, o.Heads * o.Gates(), 0, key, key}
	for i, name := range []string{"q", "k", "v", "g", "", "a", "b"}[:o.inputs()] {
		if i == 4 {
			continue
		}
		if err := want(name, in[i], n, widths[i]); err != nil {
			return nil, err
		}
	}
	if err := isSequences(in[4]); err != nil {
		return nil, err
	}
	return []Shape{in[2], {gatedlinear.StatesLen(o.Config, n, in[4][1]-1)}}, nil
}

// FLOPs counts the recurrence: decay, update and output over each state, and prediction and correction of a low-rank term.
func (o gatedLinear) FLOPs(in []Shape) int64 {
	each := int64(5)
	if o.LowRank {
		each += 4
	}
	return each * int64(in[0][0]) * int64(o.Heads*o.KeyDim*o.ValueDim)
}

func (o gatedLinear) Differentiates(n int) []bool {
	d := all(n)
	d[4] = false
	return d
}

func (o gatedLinear) Run(env *Env, out, in []Value) {
	if in[0].F64 != nil {
		a := gatedLinearForward(o, out, in, f64)
		gatedlinear.ReferenceForward(&a)
		clear(out[1].F64)
		return
	}
	a := gatedLinearForward(o, out, in, f32)
	gatedlinear.Forward(env.Cores, &a)
}

func gatedLinearForward[T kernels.Float](o gatedLinear, out, in []Value, data func(Value) []T) gatedlinear.ForwardArgs[T] {
	a := gatedlinear.ForwardArgs[T]{
		Config: o.Config, Seqs: in[4].sequences(),
		Q: data(in[0]), K: data(in[1]), V: data(in[2]), G: data(in[3]),
		O: data(out[0]), States: data(out[1]),
	}
	if o.LowRank {
		a.A, a.B = data(in[5]), data(in[6])
	}
	return a
}

// DeviceLens: what is kept for the backward pass can have another layout on a device.
func (o gatedLinear) DeviceLens(in []Shape, t device.Type) []int {
	return []int{0, gatedlinear.DeviceStatesLen(o.Config, in[0][0], in[4][1]-1, t)}
}

func (o gatedLinear) DeviceScratch(in []Shape, t device.Type) int64 {
	return gatedlinear.DeviceForwardScratch(o.Config, in[0][0], in[4][1]-1, t)
}

// ResultTypes: the states are float32.
func (o gatedLinear) ResultTypes(_ []device.Type, t device.Type) []device.Type {
	return []device.Type{t, device.Float32}
}

func (o gatedLinear) Launch(env *DeviceEnv, out, in []Value) {
	a := o.deviceArgs(env, out, in)
	a.States = out[1].Dev
	gatedlinear.DeviceForward(env.Queue, &a)
}

func (o gatedLinear) deviceArgs(env *DeviceEnv, out, in []Value) gatedlinear.DeviceForwardArgs {
	a := gatedlinear.DeviceForwardArgs{
		Config: o.Config, Sequences: in[4].Dev, Q: in[0].Dev, K: in[1].Dev, V: in[2].Dev, G: in[3].Dev, O: out[0].Dev, Scratch: env.Scratch,
	}
	if o.LowRank {
		a.A, a.B = in[5].Dev, in[6].Dev
	}
	return a
}

func (o gatedLinear) Gradient(c *Chain) []*Node {
	if c.Grad[0] == nil {
		c.Graph.fail(errors.New("autograd: a gradient reaches the saved states of gated linear attention"))
		return nil
	}
	n := len(c.In)
	d := c.Graph.Apply(gatedLinearBackward{o}, append(c.In[:n:n], c.Out[1], c.Grad[0])...)
	grads := append(d[:4:4], nil)
	return append(grads, d[4:n-1]...)
}

// gatedLinearBackward: (forward's inputs, states, do) → dq, dk, dv, dg[, da, db].
type gatedLinearBackward struct{ gatedLinear }

func (o gatedLinearBackward) Name() string                { return "gated linear attention backward" }
func (o gatedLinearBackward) FLOPs(in []Shape) int64      { return 3 * o.gatedLinear.FLOPs(in) }
func (o gatedLinearBackward) Differentiates(n int) []bool { return first(0, n) }

func (o gatedLinearBackward) Infer(in []Shape) ([]Shape, error) {
	if err := want("do", in[o.inputs()+1], in[2]...); err != nil {
		return nil, err
	}
	return append(in[:4:4], in[5:o.inputs()]...), nil
}

func (o gatedLinearBackward) Run(env *Env, out, in []Value) {
	if in[0].F64 != nil {
		a := gatedLinearBackwardArgs(o, out, in, f64)
		gatedlinear.ReferenceBackward(&a)
		return
	}
	a := gatedLinearBackwardArgs(o, out, in, f32)
	gatedlinear.Backward(env.Cores, &a)
}

func (o gatedLinearBackward) DeviceLens([]Shape, device.Type) []int { return make([]int, o.inputs()-1) }

func (o gatedLinearBackward) ResultTypes(_ []device.Type, t device.Type) []device.Type {
	return []device.Type{t, t, t, device.Float32, t, t}[:o.inputs()-1]
}

func (o gatedLinearBackward) DeviceScratch(in []Shape, t device.Type) int64 {
	return gatedlinear.DeviceBackwardScratch(o.Config, in[0][0], in[4][1]-1, t)
}

func (o gatedLinearBackward) Launch(env *DeviceEnv, out, in []Value) {
	at := o.inputs()
	a := gatedlinear.DeviceBackwardArgs{
		Config: o.Config, Sequences: in[4].Dev, Q: in[0].Dev, K: in[1].Dev, V: in[2].Dev, G: in[3].Dev, States: in[at].Dev, DO: in[at+1].Dev,
		DQ: out[0].Dev, DK: out[1].Dev, DV: out[2].Dev, DG: out[3].Dev, Scratch: env.Scratch,
	}
	if o.LowRank {
		a.A, a.B, a.DA, a.DB = in[5].Dev, in[6].Dev, out[4].Dev, out[5].Dev
	}
	gatedlinear.DeviceBackward(env.Queue, &a)
}

func gatedLinearBackwardArgs[T kernels.Float](o gatedLinearBackward, out, in []Value, data func(Value) []T) gatedlinear.BackwardArgs[T] {
	at := o.inputs()
	a := gatedlinear.BackwardArgs[T]{
		Config: o.Config, Seqs: in[4].sequences(),
		Q: data(in[0]), K: data(in[1]), V: data(in[2]), G: data(in[3]), States: data(in[at]), DO: data(in[at+1]),
		DQ: data(out[0]), DK: data(out[1]), DV: data(out[2]), DG: data(out[3]),
	}
	if o.LowRank {
		a.A, a.B, a.DA, a.DB = data(in[5]), data(in[6]), data(out[4]), data(out[5])
	}
	return a
}

// cachedGatedLinear: (q, k, v, g, sequences[, a, b], state) → o.
type cachedGatedLinear struct{ gatedLinear }

func (o cachedGatedLinear) Name() string   { return "cached gated linear attention" }
func (o cachedGatedLinear) Mutates() []int { return []int{o.inputs()} }

func (o cachedGatedLinear) Infer(in []Shape) ([]Shape, error) {
	at := o.inputs()
	if s := in[at]; len(s) != 4 || s[1] != o.Heads || s[2] != o.KeyDim || s[3] != o.ValueDim {
		return nil, fmt.Errorf("state has shape %v, want [rows, %d, %d, %d]", s, o.Heads, o.KeyDim, o.ValueDim)
	}
	out, err := o.gatedLinear.Infer(in[:at])
	if err != nil {
		return nil, err
	}
	return out[:1], nil
}

func (o cachedGatedLinear) Run(env *Env, out, in []Value) {
	var none Value
	full, state := []Value{out[0], none}, in[o.inputs()]
	if in[0].F64 != nil {
		a := gatedLinearForward(o.gatedLinear, full, in, f64)
		a.H0, a.HT = state.F64, state.F64
		gatedlinear.ReferenceForward(&a)
		return
	}
	a := gatedLinearForward(o.gatedLinear, full, in, f32)
	a.H0, a.HT = state.F32, state.F32
	gatedlinear.Forward(env.Cores, &a)
}

func (o cachedGatedLinear) DeviceLens([]Shape, device.Type) []int { return []int{0} }

func (o cachedGatedLinear) ResultTypes(_ []device.Type, t device.Type) []device.Type {
	return []device.Type{t}
}

func (o cachedGatedLinear) Launch(env *DeviceEnv, out, in []Value) {
	a := o.deviceArgs(env, out, in)
	state := in[o.inputs()].Dev
	a.H0, a.HT = state, state
	gatedlinear.DeviceForward(env.Queue, &a)
}
