package autograd

import (
	"errors"
	"fmt"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/gateddelta"
)

// GatedDeltaRule runs the recurrence of gated delta networks over every sequence: q, k [N, H·K], v [N, H·V], decay g
// and beta [N, H] give o [N, H·V] and the final state [S, H, K, V]. h0 [S, H, K, V] is the initial state; nil is
// zero. See package gateddelta for the formula.
func (g *Graph) GatedDeltaRule(cfg gateddelta.Config, q, k, v, decay, beta, sequences, h0 *Node) (o, state *Node) {
	in := []*Node{q, k, v, decay, beta, sequences}
	if h0 != nil {
		in = append(in, h0)
	}
	out := g.Apply(gatedDelta{Config: cfg, initial: h0 != nil}, in...)
	return out[0], out[1]
}

// CachedGatedDeltaRule is GatedDeltaRule from a state [rows, H, K, V] that it advances in place.
func (g *Graph) CachedGatedDeltaRule(cfg gateddelta.Config, q, k, v, decay, beta, sequences, state *Node) *Node {
	return g.apply1(cachedGatedDelta{gatedDelta{Config: cfg, initial: true}}, q, k, v, decay, beta, sequences, state)
}

// gatedDelta: (q, k, v, g, beta, sequences[, h0]) → o, hT, states. The states are the backward's.
type gatedDelta struct {
	gateddelta.Config
	initial bool
}

func (o gatedDelta) Name() string { return "gated delta rule" }

func (o gatedDelta) Infer(in []Shape) ([]Shape, error) {
	n, _, err := matrix("q", in[0])
	if err != nil {
		return nil, err
	}
	widths := []int{o.Heads * o.KeyDim, o.Heads * o.KeyDim, o.Heads * o.ValueDim, o.Heads, o.Heads}
	for i, name := range []string{"q", "k", "v", "g", "beta"} {
		if err := want(name, in[i], n, widths[i]); err != nil {
			return nil, err
		}
	}
	if err := isSequences(in[5]); err != nil {
		return nil, err
	}
	s := in[5][1] - 1
	state := Shape{s, o.Heads, o.KeyDim, o.ValueDim}
	if o.initial {
		if err := want("h0", in[6], state...); err != nil {
			return nil, err
		}
	}
	return []Shape{in[2], state, {gateddelta.StatesLen(o.Config, n, s)}}, nil
}

// FLOPs counts the recurrence: decay, prediction, update and output over each state.
func (o gatedDelta) FLOPs(in []Shape) int64 {
	return 7 * int64(in[0][0]) * int64(o.Heads*o.KeyDim*o.ValueDim)
}

func (o gatedDelta) Differentiates(n int) []bool {
	d := all(n)
	d[5] = false
	return d
}

func (o gatedDelta) Run(env *Env, out, in []Value) {
	if in[0].F64 != nil {
		a := gatedDeltaForward(o, out, in, f64)
		gateddelta.ReferenceForward(&a)
		clear(out[2].F64)
		return
	}
	a := gatedDeltaForward(o, out, in, f32)
	gateddelta.Forward(env.Cores, &a)
}

func gatedDeltaForward[T kernels.Float](o gatedDelta, out, in []Value, data func(Value) []T) gateddelta.ForwardArgs[T] {
	a := gateddelta.ForwardArgs[T]{
		Config: o.Config, Seqs: in[5].sequences(),
		Q: data(in[0]), K: data(in[1]), V: data(in[2]), G: data(in[3]), Beta: data(in[4]),
		O: data(out[0]), HT: data(out[1]), States: data(out[2]),
	}
	if o.initial {
		a.H0 = data(in[6])
	}
	return a
}

// DeviceLens: what is kept for the backward pass has another layout on a device.
func (o gatedDelta) DeviceLens(in []Shape, t device.Type) []int {
	return []int{0, 0, gateddelta.DeviceStatesLen(o.Config, in[0][0], in[5][1]-1, t)}
}

func (o gatedDelta) ResultTypes(_ []device.Type, t device.Type) []device.Type {
	return []device.Type{t, device.Float32, t}
}

func (o gatedDelta) DeviceScratch(in []Shape, t device.Type) int64 {
	return gateddelta.DeviceForwardScratch(o.Config, in[0][0], in[5][1]-1, t)
}

func (o gatedDelta) Launch(env *DeviceEnv, out, in []Value) {
	a := gateddelta.DeviceForwardArgs{
		Config: o.Config, Sequences: in[5].Dev,
		Q: in[0].Dev, K: in[1].Dev, V: in[2].Dev, G: in[3].Dev, Beta: in[4].Dev,
		O: out[0].Dev, HT: out[1].Dev, States: out[2].Dev, Scratch: env.Scratch,
	}
	if o.initial {
		a.H0 = in[6].Dev
	}
	gateddelta.DeviceForward(env.Queue, &a)
}

func (o gatedDelta) Gradient(c *Chain) []*Node {
	if c.Grad[0] == nil {
		c.Graph.fail(errors.New("autograd: a gradient reaches the final state of the gated delta rule but not its output"))
		return nil
	}
	in := append(c.In[:len(c.In):len(c.In)], c.Out[2], c.Grad[0])
	if c.Grad[1] != nil {
		in = append(in, c.Grad[1])
	}
	d := c.Graph.Apply(gatedDeltaBackward{gatedDelta: o, final: c.Grad[1] != nil}, in...)
	grads := append(d[:5:5], nil)
	if o.initial {
		grads = append(grads, d[5])
	}
	return grads
}

// gatedDeltaBackward: (forward's inputs, states, do[, dhT]) → dq, dk, dv, dg, dbeta[, dh0].
type gatedDeltaBackward struct {
	gatedDelta
	final bool
}

func (o gatedDeltaBackward) Name() string                { return "gated delta rule backward" }
func (o gatedDeltaBackward) FLOPs(in []Shape) int64      { return 3 * o.gatedDelta.FLOPs(in) }
func (o gatedDeltaBackward) Differentiates(n int) []bool { return first(0, n) }

// states is where the inputs of the forward pass end.
func (o gatedDeltaBackward) states() int {
	if o.initial {
		return 7
	}
	return 6
}

func (o gatedDeltaBackward) Infer(in []Shape) ([]Shape, error) {
	at := o.states()
	if err := want("do", in[at+1], in[2]...); err != nil {
		return nil, err
	}
	state := Shape{in[5][1] - 1, o.Heads, o.KeyDim, o.ValueDim}
	if o.final {
		if err := want("dhT", in[at+2], state...); err != nil {
			return nil, err
		}
	}
	out := append([]Shape(nil), in[:5]...)
	if o.initial {
		out = append(out, state)
	}
	return out, nil
}

func (o gatedDeltaBackward) Run(env *Env, out, in []Value) {
	if in[0].F64 != nil {
		a := gatedDeltaBackwardArgs(o, out, in, f64)
		gateddelta.ReferenceBackward(&a)
		return
	}
	a := gatedDeltaBackwardArgs(o, out, in, f32)
	gateddelta.Backward(env.Cores, &a)
}

func gatedDeltaBackwardArgs[T kernels.Float](o gatedDeltaBackward, out, in []Value, data func(Value) []T) gateddelta.BackwardArgs[T] {
	at := o.states()
	a := gateddelta.BackwardArgs[T]{
		Config: o.Config, Seqs: in[5].sequences(),
		Q: data(in[0]), K: data(in[1]), V: data(in[2]), G: data(in[3]), Beta: data(in[4]),
		States: data(in[at]), DO: data(in[at+1]),
		DQ: data(out[0]), DK: data(out[1]), DV: data(out[2]), DG: data(out[3]), DBeta: data(out[4]),
	}
	if o.initial {
		a.H0, a.DH0 = data(in[6]), data(out[5])
	}
	if o.final {
		a.DHT = data(in[at+2])
	}
	return a
}

func (o gatedDeltaBackward) DeviceLens(in []Shape, _ device.Type) []int {
	return make([]int, o.states()-1)
}

func (o gatedDeltaBackward) ResultTypes(_ []device.Type, t device.Type) []device.Type {
	return []device.Type{t, t, t, device.Float32, device.Float32, device.Float32}[:o.states()-1]
}

func (o gatedDeltaBackward) DeviceScratch(in []Shape, t device.Type) int64 {
	return gateddelta.DeviceBackwardScratch(o.Config, in[0][0], in[5][1]-1, t)
}

// Spares says what the states of the forward pass stand for: values, gates and the initial state.
func (o gatedDeltaBackward) Spares() []int {
	spared := []int{2, 3, 4}
	if o.initial {
		spared = append(spared, 6)
	}
	return spared
}

func (o gatedDeltaBackward) Launch(env *DeviceEnv, out, in []Value) {
	at := o.states()
	a := gateddelta.DeviceBackwardArgs{
		Config: o.Config, Sequences: in[5].Dev,
		Q: in[0].Dev, K: in[1].Dev, States: in[at].Dev, DO: in[at+1].Dev,
		DQ: out[0].Dev, DK: out[1].Dev, DV: out[2].Dev, DG: out[3].Dev, DBeta: out[4].Dev, Scratch: env.Scratch,
	}
	if o.initial {
		a.DH0 = out[5].Dev
	}
	if o.final {
		a.DHT = in[at+2].Dev
	}
	gateddelta.DeviceBackward(env.Queue, &a)
}

// cachedGatedDelta: (q, k, v, g, beta, sequences, state) → o.
type cachedGatedDelta struct{ gatedDelta }

func (o cachedGatedDelta) Name() string   { return "cached gated delta rule" }
func (o cachedGatedDelta) Mutates() []int { return []int{6} }

func (o cachedGatedDelta) Infer(in []Shape) ([]Shape, error) {
	if s := in[6]; len(s) != 4 || s[1] != o.Heads || s[2] != o.KeyDim || s[3] != o.ValueDim {
		return nil, fmt.Errorf("state has shape %v, want [rows, %d, %d, %d]", s, o.Heads, o.KeyDim, o.ValueDim)
	}
	stateless := gatedDelta{Config: o.Config}
	out, err := stateless.Infer(in[:6])
	if err != nil {
		return nil, err
	}
	return out[:1], nil
}

func (o cachedGatedDelta) Run(env *Env, out, in []Value) {
	var none Value
	full := [3]Value{out[0], {Shape: in[6].Shape, F32: in[6].F32, F64: in[6].F64}, none}
	o.gatedDelta.Run(env, full[:], in)
}

func (o cachedGatedDelta) DeviceLens([]Shape, device.Type) []int { return []int{0} }

func (o cachedGatedDelta) ResultTypes(_ []device.Type, t device.Type) []device.Type {
	return []device.Type{t}
}

func (o cachedGatedDelta) Launch(env *DeviceEnv, out, in []Value) {
	var none Value
	full := [3]Value{out[0], in[6], none}
	o.gatedDelta.Launch(env, full[:], in)
}
