package autograd

import (
	"fmt"

	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/linear"
)

// Linear is x·wᵀ + bias: x [N, In], w [Out, In] as checkpoints store it, bias [Out] or nil. w may be bound to
// bfloat16 where no gradient is taken.
func (g *Graph) Linear(x, w, bias *Node) *Node {
	if bias == nil {
		return g.apply1(linearLayer{}, x, w)
	}
	return g.apply1(linearLayer{bias: true}, x, w, bias)
}

type linearLayer struct{ bias bool }

func (linearLayer) Name() string                { return "linear" }
func (linearLayer) Differentiates(n int) []bool { return all(n) }
func (linearLayer) FLOPs(in []Shape) int64      { return 2 * int64(size(in[0])) * int64(in[1][0]) }

func (o linearLayer) Infer(in []Shape) ([]Shape, error) {
	n, d, err := matrix("x", in[0])
	if err != nil {
		return nil, err
	}
	if len(in[1]) != 2 || in[1][1] != d {
		return nil, fmt.Errorf("w has shape %v, want [Out, %d]", in[1], d)
	}
	if o.bias {
		if err := want("bias", in[2], in[1][0]); err != nil {
			return nil, err
		}
	}
	return []Shape{{n, in[1][0]}}, nil
}

// weight reads a parameter in the type it is stored in.
func (v Value) weight() linear.Weight { return linear.Weight{F32: v.F32, BF16: v.BF16} }

func (o linearLayer) Run(env *Env, out, in []Value) {
	n, width, d := in[0].Shape[0], in[1].Shape[0], in[0].Shape[1]
	if in[0].F64 != nil {
		var b []float64
		if o.bias {
			b = in[2].F64
		}
		linear.ReferenceForward(out[0].F64, in[0].F64, in[1].F64, b, n, d, width)
		return
	}
	var b []float32
	if o.bias {
		b = in[2].F32
	}
	linear.Forward(env.Cores, out[0].F32, in[0].F32, in[1].weight(), b, n, d, width)
}

// Launch is Run on a device.
func (o linearLayer) Launch(env *DeviceEnv, out, in []Value) {
	n, width, d := in[0].Shape[0], in[1].Shape[0], in[0].Shape[1]
	var bias device.Tensor
	if o.bias {
		bias = in[2].Dev
	}
	linear.DeviceForward(env.Queue, out[0].Dev, in[0].Dev, in[1].Dev, bias, n, d, width)
}

func (o linearLayer) Gradient(c *Chain) []*Node {
	grads := make([]*Node, len(c.In))
	if c.Want[0] {
		grads[0] = c.Graph.apply1(linearBackwardInput{}, c.Grad[0], c.In[1])
	}
	if c.Want[1] || o.bias && c.Want[2] {
		copy(grads[1:], c.Graph.Apply(linearBackwardWeight(o), c.Grad[0], c.In[0]))
	}
	return grads
}

// linearBackwardInput: (dy, w) → dx.
type linearBackwardInput struct{}

func (linearBackwardInput) Name() string           { return "linear backward input" }
func (linearBackwardInput) FLOPs(in []Shape) int64 { return 2 * int64(size(in[0])) * int64(in[1][1]) }

func (linearBackwardInput) Infer(in []Shape) ([]Shape, error) {
	return []Shape{{in[0][0], in[1][1]}}, want("dy", in[0], in[0][0], in[1][0])
}

func (linearBackwardInput) Run(env *Env, out, in []Value) {
	n, width, d := in[0].Shape[0], in[1].Shape[0], in[1].Shape[1]
	if in[0].F64 != nil {
		linear.ReferenceBackwardInput(out[0].F64, in[0].F64, in[1].F64, n, d, width)
		return
	}
	linear.BackwardInput(env.Cores, out[0].F32, in[0].F32, in[1].weight(), n, d, width)
}

// Launch is Run on a device.
func (linearBackwardInput) Launch(env *DeviceEnv, out, in []Value) {
	n, width, d := in[0].Shape[0], in[1].Shape[0], in[1].Shape[1]
	linear.DeviceBackwardInput(env.Queue, out[0].Dev, in[0].Dev, in[1].Dev, n, d, width)
}

// linearBackwardWeight: (dy, x) → dw[, dbias].
type linearBackwardWeight struct{ bias bool }

func (linearBackwardWeight) Name() string           { return "linear backward weight" }
func (linearBackwardWeight) FLOPs(in []Shape) int64 { return 2 * int64(size(in[0])) * int64(in[1][1]) }

func (o linearBackwardWeight) Infer(in []Shape) ([]Shape, error) {
	if in[0][0] != in[1][0] {
		return nil, fmt.Errorf("dy has shape %v, want %d rows", in[0], in[1][0])
	}
	out := []Shape{{in[0][1], in[1][1]}}
	if o.bias {
		out = append(out, Shape{in[0][1]})
	}
	return out, nil
}

func (o linearBackwardWeight) Run(env *Env, out, in []Value) {
	n, width, d := in[0].Shape[0], in[0].Shape[1], in[1].Shape[1]
	var dbias Value
	if o.bias {
		dbias = out[1]
	}
	if in[0].F64 != nil {
		linear.ReferenceBackwardWeight(out[0].F64, dbias.F64, in[0].F64, in[1].F64, n, d, width)
		return
	}
	linear.BackwardWeight(env.Cores, out[0].F32, dbias.F32, in[0].F32, in[1].F32, n, d, width)
}

// Launch is Run on a device.
func (o linearBackwardWeight) Launch(env *DeviceEnv, out, in []Value) {
	n, width, d := in[0].Shape[0], in[0].Shape[1], in[1].Shape[1]
	var dbias device.Tensor
	if o.bias {
		dbias = out[1].Dev
	}
	linear.DeviceBackwardWeight(env.Queue, out[0].Dev, dbias, in[0].Dev, in[1].Dev, env.Scratch, n, d, width)
}

// DeviceScratch is what the sums over the tokens need.
func (o linearBackwardWeight) DeviceScratch(in []Shape, _ device.Type) int64 {
	if !o.bias {
		return 0
	}
	return linear.DeviceBackwardWeightScratch(in[0][0], in[0][1])
}
