package autograd

import (
	"fmt"

	"github.com/gojet/gojet/kernels/swiglu"
)

// SwiGLU is silu(gate)·up, both [N, F].
func (g *Graph) SwiGLU(gate, up *Node) *Node { return g.apply1(swiGLU{}, gate, up) }

type swiGLU struct{}

func (swiGLU) Name() string                { return "swiglu" }
func (swiGLU) InPlace() (int, int)         { return 0, 0 }
func (swiGLU) FLOPs(in []Shape) int64      { return 5 * int64(size(in[0])) }
func (swiGLU) Differentiates(n int) []bool { return all(n) }

func (swiGLU) Infer(in []Shape) ([]Shape, error) {
	if !in[0].Eq(in[1]) {
		return nil, fmt.Errorf("up has shape %v, want %v", in[1], in[0])
	}
	return in[:1], nil
}

func (swiGLU) Run(env *Env, out, in []Value) {
	if in[0].F64 != nil {
		swiglu.ReferenceForward(&swiglu.ForwardArgs[float64]{Y: out[0].F64, Gate: in[0].F64, Up: in[1].F64})
		return
	}
	swiglu.Forward(env.Cores, &swiglu.ForwardArgs[float32]{Y: out[0].F32, Gate: in[0].F32, Up: in[1].F32})
}

func (swiGLU) Launch(env *DeviceEnv, out, in []Value) {
	swiglu.DeviceForward(env.Queue, &swiglu.DeviceForwardArgs{Y: out[0].Dev, Gate: in[0].Dev, Up: in[1].Dev})
}

func (swiGLU) Gradient(c *Chain) []*Node {
	return c.Graph.Apply(swiGLUBackward{}, c.Grad[0], c.In[0], c.In[1])
}

// swiGLUBackward: (dy, gate, up) → dgate, dup.
type swiGLUBackward struct{}

func (swiGLUBackward) Name() string           { return "swiglu backward" }
func (swiGLUBackward) FLOPs(in []Shape) int64 { return 10 * int64(size(in[0])) }

func (swiGLUBackward) Infer(in []Shape) ([]Shape, error) {
	if !in[0].Eq(in[1]) {
		return nil, fmt.Errorf("dy has shape %v, want %v", in[0], in[1])
	}
	return in[1:], nil
}

func (swiGLUBackward) Run(env *Env, out, in []Value) {
	if in[0].F64 != nil {
		swiglu.ReferenceBackward(&swiglu.BackwardArgs[float64]{DGate: out[0].F64, DUp: out[1].F64, DY: in[0].F64, Gate: in[1].F64, Up: in[2].F64})
		return
	}
	swiglu.Backward(env.Cores, &swiglu.BackwardArgs[float32]{DGate: out[0].F32, DUp: out[1].F32, DY: in[0].F32, Gate: in[1].F32, Up: in[2].F32})
}

func (swiGLUBackward) Launch(env *DeviceEnv, out, in []Value) {
	swiglu.DeviceBackward(env.Queue, &swiglu.DeviceBackwardArgs{DGate: out[0].Dev, DUp: out[1].Dev, DY: in[0].Dev, Gate: in[1].Dev, Up: in[2].Dev})
}
