package autograd

import (
	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/decay"
	"github.com/gojet/gojet/kernels/device"
)

// DecayGate is the logarithm of a state's decay, −exp(aLog)·softplus(a + dtBias): a [N, H], aLog and dtBias [H],
// as Mamba-2 (https://arxiv.org/abs/2405.21060) parametrises it.
func (g *Graph) DecayGate(a, aLog, dtBias *Node) *Node { return g.apply1(decayGate{}, a, aLog, dtBias) }

type decayGate struct{}

func (decayGate) Name() string                { return "decay gate" }
func (decayGate) InPlace() (int, int)         { return 0, 0 }
func (decayGate) FLOPs(in []Shape) int64      { return 6 * int64(size(in[0])) }
func (decayGate) Differentiates(n int) []bool { return all(n) }

func (decayGate) Infer(in []Shape) ([]Shape, error) {
	_, h, err := matrix("a", in[0])
	if err != nil {
		return nil, err
	}
	if err := want("A_log", in[1], h); err != nil {
		return nil, err
	}
	return in[:1], want("dt_bias", in[2], h)
}

func (o decayGate) Run(env *Env, out, in []Value) {
	if in[0].F64 != nil {
		a := decayArgs(out, in, f64)
		decay.ReferenceForward(&a)
		return
	}
	a := decayArgs(out, in, f32)
	decay.Forward(env.Cores, &a)
}

// ResultTypes: the gate is float32.
func (decayGate) ResultTypes([]device.Type, device.Type) []device.Type {
	return []device.Type{device.Float32}
}

func (decayGate) Launch(env *DeviceEnv, out, in []Value) {
	decay.DeviceForward(env.Queue, &decay.DeviceForwardArgs{G: out[0].Dev, A: in[0].Dev, ALog: in[1].Dev, DTBias: in[2].Dev})
}

func decayArgs[T kernels.Float](out, in []Value, data func(Value) []T) decay.ForwardArgs[T] {
	return decay.ForwardArgs[T]{G: data(out[0]), A: data(in[0]), ALog: data(in[1]), DTBias: data(in[2])}
}

func (decayGate) Gradient(c *Chain) []*Node {
	return c.Graph.Apply(decayGateBackward{}, c.In[0], c.In[1], c.In[2], c.Grad[0])[:3]
}

// decayGateBackward: (a, aLog, dtBias, dg) → da, daLog, ddtBias.
type decayGateBackward struct{}

func (decayGateBackward) Name() string           { return "decay gate backward" }
func (decayGateBackward) FLOPs(in []Shape) int64 { return 12 * int64(size(in[0])) }
func (decayGateBackward) Scratch(in []Shape) int { return decay.ScratchLen(in[0][0], in[0][1]) }
func (decayGateBackward) Infer(in []Shape) ([]Shape, error) {
	return in[:3], want("dg", in[3], in[0]...)
}

func (decayGateBackward) Run(env *Env, out, in []Value) {
	if in[0].F64 != nil {
		a := decayBackwardArgs(out, in, f64)
		decay.ReferenceBackward(&a)
		return
	}
	a := decayBackwardArgs(out, in, f32)
	a.Scratch = env.Scratch
	decay.Backward(env.Cores, &a)
}

func (decayGateBackward) DeviceScratch(in []Shape, _ device.Type) int64 {
	return decay.DeviceScratch(in[0][0], in[0][1])
}

func (decayGateBackward) Launch(env *DeviceEnv, out, in []Value) {
	decay.DeviceBackward(env.Queue, &decay.DeviceBackwardArgs{
		DA: out[0].Dev, DALog: out[1].Dev, DDTBias: out[2].Dev,
		A: in[0].Dev, ALog: in[1].Dev, DTBias: in[2].Dev, DG: in[3].Dev, Scratch: env.Scratch,
	})
}

func decayBackwardArgs[T kernels.Float](out, in []Value, data func(Value) []T) decay.BackwardArgs[T] {
	return decay.BackwardArgs[T]{
		DA: data(out[0]), DALog: data(out[1]), DDTBias: data(out[2]),
		A: data(in[0]), ALog: data(in[1]), DTBias: data(in[2]), DG: data(in[3]),
	}
}
