package autograd

import (
	"errors"
	"fmt"

	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/pointwise"
)

// Sum adds nodes of one shape, from left to right.
func (g *Graph) Sum(terms ...*Node) *Node {
	if len(terms) == 1 {
		return terms[0]
	}
	return g.apply1(sum{}, terms...)
}

// Add is the sum of two nodes: a residual connection.
func (g *Graph) Add(a, b *Node) *Node { return g.Sum(a, b) }

type sum struct{}

func (sum) Name() string        { return "add" }
func (sum) InPlace() (int, int) { return 0, 0 }

func (sum) Infer(in []Shape) ([]Shape, error) {
	if len(in) < 2 {
		return nil, errors.New("needs at least two terms")
	}
	for i, s := range in {
		if !s.Eq(in[0]) {
			return nil, fmt.Errorf("term %d has shape %v, want %v", i, s, in[0])
		}
	}
	return in[:1], nil
}

func (sum) Run(env *Env, out, in []Value) {
	y, a := out[0], in[0]
	for _, b := range in[1:] {
		if y.F64 != nil {
			pointwise.ReferenceAdd(y.F64, a.F64, b.F64)
		} else {
			pointwise.Add(env.Cores, y.F32, a.F32, b.F32)
		}
		a = y
	}
}

// ResultTypes: a sum is stored as its terms are.
func (sum) ResultTypes(in []device.Type, _ device.Type) []device.Type { return in[:1] }

func (sum) Launch(env *DeviceEnv, out, in []Value) {
	terms := make([]device.Tensor, len(in))
	for i, v := range in {
		terms[i] = v.Dev
	}
	pointwise.DeviceSum(env.Queue, out[0].Dev, terms...)
}

func (sum) Differentiates(n int) []bool { return all(n) }

func (sum) Gradient(c *Chain) []*Node {
	grads := make([]*Node, len(c.In))
	for i := range grads {
		grads[i] = c.Grad[0]
	}
	return grads
}

// all is the answer of operations that are differentiable in each of n inputs.
func all(n int) []bool {
	d := make([]bool, n)
	for i := range d {
		d[i] = true
	}
	return d
}

// first is the answer of operations that are differentiable in the first k of n inputs.
func first(k, n int) []bool {
	d := make([]bool, n)
	for i := range k {
		d[i] = true
	}
	return d
}

// ScaleBy is x times the scalar factor. It serves gradients and has none itself.
func (g *Graph) ScaleBy(x, factor *Node) *Node { return g.apply1(scaleBy{}, x, factor) }

type scaleBy struct{}

func (scaleBy) Name() string        { return "scale" }
func (scaleBy) InPlace() (int, int) { return 0, 0 }

func (scaleBy) Infer(in []Shape) ([]Shape, error) { return in[:1], want("factor", in[1]) }

func (scaleBy) Run(env *Env, out, in []Value) {
	if in[0].F64 != nil {
		pointwise.ReferenceScale(out[0].F64, in[1].F64[0], in[0].F64)
		return
	}
	pointwise.Scale(env.Cores, out[0].F32, in[1].F32[0], in[0].F32)
}

// ResultTypes: a multiple is stored as x is.
func (scaleBy) ResultTypes(in []device.Type, _ device.Type) []device.Type { return in[:1] }

func (scaleBy) Launch(env *DeviceEnv, out, in []Value) {
	pointwise.DeviceScaleBy(env.Queue, out[0].Dev, in[1].Dev, in[0].Dev)
}

// SiLU is x·sigmoid(x).
func (g *Graph) SiLU(x *Node) *Node { return g.apply1(activation{f: pointwise.SiLU}, x) }

// Sigmoid is 1/(1+exp(-x)).
func (g *Graph) Sigmoid(x *Node) *Node { return g.apply1(activation{f: pointwise.Sigmoid}, x) }

// Softplus is log(1+exp(x)).
func (g *Graph) Softplus(x *Node) *Node { return g.apply1(activation{f: pointwise.Softplus}, x) }

// LogSigmoid is log(sigmoid(x)).
func (g *Graph) LogSigmoid(x *Node) *Node { return g.apply1(activation{f: pointwise.LogSigmoid}, x) }

// Tanh is the hyperbolic tangent.
func (g *Graph) Tanh(x *Node) *Node { return g.apply1(activation{f: pointwise.Tanh}, x) }

// Squash is the sigmoid of features, which unlike gates are stored as x is.
func (g *Graph) Squash(x *Node) *Node {
	return g.apply1(activation{f: pointwise.Sigmoid, feature: true}, x)
}

type activation struct {
	f       pointwise.Activation
	feature bool
}

func (a activation) Name() string                      { return a.f.String() }
func (a activation) InPlace() (int, int)               { return 0, 0 }
func (a activation) Infer(in []Shape) ([]Shape, error) { return in, nil }
func (a activation) Differentiates(n int) []bool       { return all(n) }

func (a activation) Run(env *Env, out, in []Value) {
	if out[0].F64 != nil {
		pointwise.ReferenceForward(a.f, out[0].F64, in[0].F64)
		return
	}
	pointwise.Forward(env.Cores, a.f, out[0].F32, in[0].F32)
}

// ResultTypes: gates are float32.
func (a activation) ResultTypes(in []device.Type, _ device.Type) []device.Type {
	if a.f.Gates() && !a.feature {
		return []device.Type{device.Float32}
	}
	return in[:1]
}

func (a activation) Launch(env *DeviceEnv, out, in []Value) {
	pointwise.DeviceForward(env.Queue, a.f, out[0].Dev, in[0].Dev)
}

func (a activation) Gradient(c *Chain) []*Node {
	return []*Node{c.Graph.apply1(activationBackward{a}, c.Grad[0], c.In[0])}
}

type activationBackward struct{ activation }

func (a activationBackward) Name() string { return a.f.String() + " backward" }

func (a activationBackward) Infer(in []Shape) ([]Shape, error) {
	if !in[0].Eq(in[1]) {
		return nil, fmt.Errorf("gradient has shape %v, want %v", in[0], in[1])
	}
	return in[:1], nil
}

func (a activationBackward) Differentiates(n int) []bool { return first(0, n) }

func (a activationBackward) Run(env *Env, out, in []Value) {
	if out[0].F64 != nil {
		pointwise.ReferenceBackward(a.f, out[0].F64, in[0].F64, in[1].F64)
		return
	}
	pointwise.Backward(env.Cores, a.f, out[0].F32, in[0].F32, in[1].F32)
}

// ResultTypes: a gradient is stored as its variable is.
func (a activationBackward) ResultTypes(in []device.Type, _ device.Type) []device.Type {
	return in[1:]
}

func (a activationBackward) Launch(env *DeviceEnv, out, in []Value) {
	pointwise.DeviceBackward(env.Queue, a.f, out[0].Dev, in[0].Dev, in[1].Dev)
}

// Scale is x times a constant.
func (g *Graph) Scale(x *Node, factor float64) *Node { return g.apply1(scale{factor}, x) }

type scale struct{ factor float64 }

func (scale) Name() string                      { return "scale" }
func (scale) InPlace() (int, int)               { return 0, 0 }
func (scale) Infer(in []Shape) ([]Shape, error) { return in, nil }
func (scale) Differentiates(n int) []bool       { return all(n) }

func (o scale) Run(env *Env, out, in []Value) {
	if in[0].F64 != nil {
		pointwise.ReferenceScale(out[0].F64, o.factor, in[0].F64)
		return
	}
	pointwise.Scale(env.Cores, out[0].F32, float32(o.factor), in[0].F32)
}

// ResultTypes: a multiple is stored as x is.
func (scale) ResultTypes(in []device.Type, _ device.Type) []device.Type { return in }

func (o scale) Launch(env *DeviceEnv, out, in []Value) {
	pointwise.DeviceScale(env.Queue, out[0].Dev, o.factor, in[0].Dev)
}

func (o scale) Gradient(c *Chain) []*Node { return []*Node{c.Graph.Scale(c.Grad[0], o.factor)} }

// Constant is a node of the shape of like, or of another where that is given, that holds a pattern over and over. What like
// holds does not matter: Gorgonia has no operations without inputs.
func (g *Graph) Constant(like *Node, pattern []float64, shape ...int) *Node {
	return g.apply1(constant{pattern, shape}, like)
}

type constant struct {
	pattern []float64
	shape   Shape
}

func (constant) Name() string { return "constant" }

func (o constant) Infer(in []Shape) ([]Shape, error) {
	shape := in[0]
	if o.shape != nil {
		shape = o.shape
	}
	if len(o.pattern) == 0 || size(shape)%len(o.pattern) != 0 {
		return nil, fmt.Errorf("shape is %v, want a multiple of the %d values of the pattern", shape, len(o.pattern))
	}
	return []Shape{shape}, nil
}

func (constant) Differentiates(n int) []bool { return first(0, n) }
func (constant) Gradient(*Chain) []*Node     { return []*Node{nil} }

func (o constant) Run(_ *Env, out, _ []Value) {
	if out[0].F64 != nil {
		pointwise.Fill(out[0].F64, o.pattern)
		return
	}
	pointwise.Fill(out[0].F32, o.pattern)
}

// ResultTypes: constants are gates and the like.
func (constant) ResultTypes([]device.Type, device.Type) []device.Type {
	return []device.Type{device.Float32}
}

func (o constant) Launch(env *DeviceEnv, out, _ []Value) {
	pointwise.DeviceFill(env.Queue, out[0].Dev, o.pattern)
}
