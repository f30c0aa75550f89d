package autograd

import (
	"fmt"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/heads"
)

// ScaleFeatures multiplies x [N, D] with one factor for every feature, or for groups of neighbouring features such as heads:
// w has D values, or a number that divides D.
func (g *Graph) ScaleFeatures(x, w *Node) *Node { return g.apply1(scaleHeads{}, x, w) }

// ScaleTokens does the same with factors of their own for every token, s [N, D] or [N, H].
func (g *Graph) ScaleTokens(x, s *Node) *Node { return g.apply1(scaleHeads{rows: true}, x, s) }

// HeadDots is the product of every head of x with that of y, both [N, D], as [N, H].
func (g *Graph) HeadDots(x, y *Node, h int) *Node {
	return g.apply1(dotHeads{rows: true, groups: h}, x, y)
}

// sharing is how factors of shape s go with x.
func sharing(x, s Shape, rows bool) (heads.Config, error) {
	n, d, err := matrix("x", x)
	if err != nil {
		return heads.Config{}, err
	}
	groups := size(s)
	if rows {
		if len(s) != 2 || s[0] != n {
			return heads.Config{}, fmt.Errorf("factors have shape %v, want [%d, ·]", s, n)
		}
		groups = s[1]
	}
	if groups < 1 || d%groups != 0 {
		return heads.Config{}, fmt.Errorf("factors have shape %v, which does not divide %d features", s, d)
	}
	return heads.Config{Dim: d, Width: d / groups, Rows: rows}, nil
}

// scaleHeads: (x, s) → y.
type scaleHeads struct{ rows bool }

func (scaleHeads) Name() string                { return "scale heads" }
func (scaleHeads) InPlace() (int, int)         { return 0, 0 }
func (scaleHeads) Differentiates(n int) []bool { return all(n) }

func (o scaleHeads) Infer(in []Shape) ([]Shape, error) {
	_, err := sharing(in[0], in[1], o.rows)
	return in[:1], err
}

func (o scaleHeads) Run(env *Env, out, in []Value) {
	f, _ := sharing(in[0].Shape, in[1].Shape, o.rows)
	if in[0].F64 != nil {
		a := headArgs(f, in[0], out[0], in[1], f64)
		heads.ReferenceScale(&a)
		return
	}
	a := headArgs(f, in[0], out[0], in[1], f32)
	heads.Scale(env.Cores, &a)
}

func headArgs[T kernels.Float](f heads.Config, x, y, s Value, data func(Value) []T) heads.Args[T] {
	return heads.Args[T]{Config: f, X: data(x), Y: data(y), S: data(s)}
}

// ResultTypes: a multiple is stored as x is.
func (scaleHeads) ResultTypes(in []device.Type, _ device.Type) []device.Type { return in[:1] }

func (o scaleHeads) Launch(env *DeviceEnv, out, in []Value) {
	f, _ := sharing(in[0].Shape, in[1].Shape, o.rows)
	heads.DeviceScale(env.Queue, &heads.DeviceArgs{Config: f, X: in[0].Dev, Y: out[0].Dev, S: in[1].Dev})
}

func (o scaleHeads) Gradient(c *Chain) []*Node {
	grads := make([]*Node, 2)
	if c.Want[0] {
		grads[0] = c.Graph.apply1(o, c.Grad[0], c.In[1])
	}
	if c.Want[1] {
		grads[1] = c.Graph.apply1(dotHeads{rows: o.rows, like: true}, c.In[0], c.Grad[0], c.In[1])
	}
	return grads
}

// dotHeads: (x, y[, like]) → s, of the shape and type of like or, without it, [N, groups] and gates' type.
type dotHeads struct {
	rows   bool
	groups int
	like   bool
}

func (dotHeads) Name() string                  { return "dot heads" }
func (o dotHeads) FLOPs(in []Shape) int64      { return 2 * int64(size(in[0])) }
func (o dotHeads) Differentiates(n int) []bool { return first(2, n) }

func (o dotHeads) Infer(in []Shape) ([]Shape, error) {
	if !in[1].Eq(in[0]) {
		return nil, fmt.Errorf("y has shape %v, want %v", in[1], in[0])
	}
	s := Shape{in[0][0], o.groups}
	if o.like {
		s = in[2]
	}
	_, err := sharing(in[0], s, o.rows)
	return []Shape{s}, err
}

func (o dotHeads) Run(env *Env, out, in []Value) {
	f, _ := sharing(in[0].Shape, out[0].Shape, o.rows)
	if in[0].F64 != nil {
		a := headArgs(f, in[0], in[1], out[0], f64)
		heads.ReferenceDot(&a)
		return
	}
	a := headArgs(f, in[0], in[1], out[0], f32)
	heads.Dot(env.Cores, &a)
}

// ResultTypes: a gradient is stored as its variable is.
func (o dotHeads) ResultTypes(in []device.Type, _ device.Type) []device.Type {
	if o.like {
		return in[2:]
	}
	return []device.Type{device.Float32}
}

func (o dotHeads) DeviceScratch(in []Shape, _ device.Type) int64 {
	s, err := o.Infer(in)
	if err != nil {
		return 0
	}
	f, _ := sharing(in[0], s[0], o.rows)
	return f.DeviceScratch(in[0][0])
}

func (o dotHeads) Launch(env *DeviceEnv, out, in []Value) {
	f, _ := sharing(in[0].Shape, out[0].Shape, o.rows)
	heads.DeviceDot(env.Queue, &heads.DeviceArgs{Config: f, X: in[0].Dev, Y: in[1].Dev, S: out[0].Dev, Scratch: env.Scratch})
}

func (o dotHeads) Gradient(c *Chain) []*Node {
	scaled := scaleHeads{rows: o.rows}
	return append([]*Node{c.Graph.apply1(scaled, c.In[1], c.Grad[0]), c.Graph.apply1(scaled, c.In[0], c.Grad[0])}, make([]*Node, len(c.In)-2)...)
}

// RepeatHeads writes every head of x [N, G·dim] times times in a row: [N, G·times·dim].
func (g *Graph) RepeatHeads(x *Node, dim, times int) *Node {
	if times == 1 {
		return x
	}
	return g.apply1(repeatHeads{dim: dim, times: times}, x)
}

// repeatHeads: x → y, or with fold y → x, which adds up.
type repeatHeads struct {
	dim, times int
	fold       bool
}

func (o repeatHeads) Name() string {
	if o.fold {
		return "fold heads"
	}
	return "repeat heads"
}

func (repeatHeads) Differentiates(n int) []bool { return all(n) }

func (o repeatHeads) Infer(in []Shape) ([]Shape, error) {
	n, d, err := matrix("x", in[0])
	if err != nil {
		return nil, err
	}
	whole, out := o.dim, d*o.times
	if o.fold {
		whole, out = o.dim*o.times, d/o.times
	}
	if o.dim < 1 || o.times < 1 || d%whole != 0 {
		return nil, fmt.Errorf("x has %d features, want whole heads of %d", d, whole)
	}
	return []Shape{{n, out}}, nil
}

func (o repeatHeads) Run(env *Env, out, in []Value) {
	x, y := in[0], out[0]
	if o.fold {
		x, y = y, x
	}
	wide := heads.Copies[float64]{Width: o.dim, Times: o.times, X: x.F64, Y: y.F64}
	narrow := heads.Copies[float32]{Width: o.dim, Times: o.times, X: x.F32, Y: y.F32}
	switch {
	case x.F64 != nil && o.fold:
		heads.ReferenceFold(&wide)
	case x.F64 != nil:
		heads.ReferenceRepeat(&wide)
	case o.fold:
		heads.Fold(env.Cores, &narrow)
	default:
		heads.Repeat(env.Cores, &narrow)
	}
}

// ResultTypes: copies are stored as x is.
func (repeatHeads) ResultTypes(in []device.Type, _ device.Type) []device.Type { return in }

func (o repeatHeads) Launch(env *DeviceEnv, out, in []Value) {
	a := heads.DeviceCopies{Width: o.dim, Times: o.times, X: in[0].Dev, Y: out[0].Dev}
	if o.fold {
		a.X, a.Y = a.Y, a.X
		heads.DeviceFold(env.Queue, &a)
		return
	}
	heads.DeviceRepeat(env.Queue, &a)
}

func (o repeatHeads) Gradient(c *Chain) []*Node {
	o.fold = !o.fold
	return []*Node{c.Graph.apply1(o, c.Grad[0])}
}
