package autograd

import (
	"fmt"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/rope"
)

// rotation names a table of angles, which all layers of a graph share.
type rotation struct {
	theta float64
	dim   int
}

// RoPE turns every head of x [N, H·dim] by the angles of its token's position (rotary embedding, halves rotated
// together as in Hugging Face's models).
func (g *Graph) RoPE(x, sequences *Node, dim int, theta float64) *Node {
	r := rotation{theta, dim}
	if g.tables[r] == nil && dim > 0 && dim%2 == 0 {
		g.tables[r] = rope.NewTable(theta, dim)
	}
	return g.apply1(rotate{rotation: r, table: g.tables[r]}, x, sequences)
}

type rotate struct {
	rotation
	table *rope.Table
	back  bool
}

func (o rotate) Name() string {
	if o.back {
		return "rope backward"
	}
	return "rope"
}

func (rotate) InPlace() (int, int)         { return 0, 0 }
func (rotate) FLOPs(in []Shape) int64      { return 3 * int64(size(in[0])) }
func (rotate) Differentiates(n int) []bool { return first(1, n) }

func (o rotate) Infer(in []Shape) ([]Shape, error) {
	_, d, err := matrix("x", in[0])
	if err != nil {
		return nil, err
	}
	if o.dim < 2 || o.dim%2 != 0 || d%o.dim != 0 {
		return nil, fmt.Errorf("x has %d features, want whole heads of an even dim, got dim %d", d, o.dim)
	}
	return in[:1], isSequences(in[1])
}

func (o rotate) Run(env *Env, out, in []Value) {
	if in[0].F64 != nil {
		run := rope.ReferenceForward[float64]
		if o.back {
			run = rope.ReferenceBackward[float64]
		}
		a := rotateArgs(o, out, in, f64)
		run(o.theta, o.dim, &a)
		return
	}
	a := rotateArgs(o, out, in, f32)
	if o.back {
		rope.Backward(env.Cores, o.table, &a)
	} else {
		rope.Forward(env.Cores, o.table, &a)
	}
}

func (o rotate) Launch(env *DeviceEnv, out, in []Value) {
	launch := rope.DeviceForward
	if o.back {
		launch = rope.DeviceBackward
	}
	launch(env.Queue, o.theta, o.dim, &rope.DeviceArgs{Y: out[0].Dev, X: in[0].Dev, Heads: in[0].Shape[1] / o.dim, Sequences: in[1].Dev})
}

func rotateArgs[T kernels.Float](o rotate, out, in []Value, data func(Value) []T) rope.Args[T] {
	return rope.Args[T]{Y: data(out[0]), X: data(in[0]), Heads: in[0].Shape[1] / o.dim, Seqs: in[1].sequences()}
}

func (o rotate) Gradient(c *Chain) []*Node {
	o.back = !o.back
	return []*Node{c.Graph.apply1(o, c.Grad[0], c.In[1]), nil}
}
