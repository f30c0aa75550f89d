package autograd

import (
	"fmt"
	"hash"
	"hash/fnv"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/gojet/gojet/kernels/cpu"
)

// Operation is one kind of computation with its attributes. Several results are several nodes.
type Operation interface {
	// Name is the noun that plans and errors show.
	Name() string
	// Infer returns the shapes of the results, or says which input does not fit.
	Infer(in []Shape) ([]Shape, error)
	// Run computes the results that are wanted (out[i].None() is false) in full from in.
	Run(env *Env, out, in []Value)
}

// Differentiable is an operation with gradients.
type Differentiable interface {
	Operation
	// Differentiates says for each of n inputs whether a gradient flows to it.
	Differentiates(n int) []bool
	// Gradient appends the nodes of the gradients with respect to the inputs marked in c.Want.
	Gradient(c *Chain) []*Node
}

// Chain is one step of the reverse pass: an applied operation and the gradients that have arrived at its results.
type Chain struct {
	Graph   *Graph
	In, Out []*Node
	// Grad holds the gradient of each result; nil where none flows.
	Grad []*Node
	// Want marks the inputs whose gradient is needed. Others may be nil in the answer.
	Want []bool
}

// Mutator is an operation that advances State inputs in place.
type Mutator interface{ Mutates() []int }

// InPlacer is an operation whose result out may overwrite the memory of input in, both of one size.
type InPlacer interface{ InPlace() (out, in int) }

// Scratcher is an operation that needs temporary memory while it runs: so many float32 values in Env.Scratch.
type Scratcher interface{ Scratch(in []Shape) int }

// Costed is an operation that counts its floating-point operations; others count one for each element they write.
type Costed interface{ FLOPs(in []Shape) int64 }

// Env is what operations run on.
type Env struct {
	Cores   *cpu.Cores
	Scratch []float32 // what the running operation's Scratch asked for
}

// op is how Gorgonia sees an applied Operation. Types and shapes are fixed when it is applied.
type op struct {
	graph  *Graph
	id     int
	does   Operation
	in     []Shape
	inType []tensor.Dtype
	shapes []Shape
}

var _ gorgonia.SDOp = (*op)(nil)

func typeFor(dt tensor.Dtype, shape Shape) hm.Type {
	if len(shape) == 0 {
		return dt
	}
	return gorgonia.TensorType{Dims: len(shape), Of: dt}
}

func (o *op) shape() Shape {
	if len(o.shapes) == 1 {
		return o.shapes[0]
	}
	n := 0
	for _, s := range o.shapes {
		n += size(s)
	}
	return Shape{n}
}

func (o *op) Arity() int { return len(o.in) }

// Type builds a fresh function type at each call, because Gorgonia returns it to a pool after use.
func (o *op) Type() hm.Type {
	ts := make([]hm.Type, 0, len(o.in)+1)
	for i, s := range o.in {
		ts = append(ts, typeFor(o.inType[i], s))
	}
	return hm.NewFnType(append(ts, typeFor(o.graph.float, o.shape()))...)
}

func (o *op) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) { return o.shape().Clone(), nil }
func (o *op) ReturnsPtr() bool                                      { return true }
func (o *op) CallsExtern() bool                                     { return false }
func (o *op) OverwritesInput() int                                  { return -1 }
func (o *op) String() string                                        { return fmt.Sprintf("%s#%d", o.does.Name(), o.id) }

// WriteHash includes the id: Gorgonia merges nodes of equal hash without comparing their inputs.
func (o *op) WriteHash(h hash.Hash) { fmt.Fprintf(h, "gojet.%s#%d%v", o.does.Name(), o.id, o.shapes) }

func (o *op) Hashcode() uint32 {
	h := fnv.New32a()
	o.WriteHash(h)
	return h.Sum32()
}

// Do computes into fresh memory, for Gorgonia's own machines, which number values by identity. Several results
// come as one packed vector, cut up by result nodes.
func (o *op) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	args := make([]Value, len(in))
	for i, v := range in {
		a, err := fromGorgonia(v)
		if err != nil {
			return nil, err
		}
		a.Shape = o.in[i]
		args[i] = a
	}
	packed := alloc(o.graph.float, o.shape())
	out := make([]Value, len(o.shapes))
	at := 0
	for i, s := range o.shapes {
		out[i] = packed.slice(at, s)
		at += size(s)
	}
	env := o.graph.oracleEnv()
	if s, ok := o.does.(Scratcher); ok {
		env.Scratch = make([]float32, s.Scratch(o.in))
	}
	o.does.Run(env, out, args)
	return packed.toGorgonia(), nil
}

func (v Value) slice(at int, shape Shape) Value {
	p := v.Piece(at, size(shape))
	p.Shape = shape
	return p
}

func (g *Graph) oracleEnv() *Env {
	if g.oracle == nil {
		g.oracle = &Env{Cores: cpu.New(1)}
	}
	return g.oracle
}

// DiffWRT never returns nil, which Gorgonia mistakes for an error.
func (o *op) DiffWRT(n int) []bool {
	if d, ok := o.does.(Differentiable); ok {
		return d.Differentiates(n)
	}
	return make([]bool, n)
}

// SymDiff serves gorgonia.Grad. Our own Backward calls Gradient directly.
func (o *op) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	d, ok := o.does.(Differentiable)
	if !ok {
		return nil, fmt.Errorf("autograd: %v has no gradient", o)
	}
	if err := noState(o.does); err != nil {
		return nil, err
	}
	g := o.graph
	grads := []*Node{grad}
	outs := []*Node{out}
	if len(o.shapes) > 1 {
		outs = g.info[out].outs
		grads = g.cut(grad, o.shapes)
	}
	want := d.Differentiates(len(in))
	got := d.Gradient(&Chain{Graph: g, In: in, Out: outs, Grad: grads, Want: want})
	return got, g.err
}

// noState refuses to differentiate through an operation that advances state.
func noState(does Operation) error {
	if _, ok := does.(Mutator); ok {
		return fmt.Errorf("autograd: %s advances state and cannot be differentiated", does.Name())
	}
	return nil
}

// Apply adds one operation to the graph and returns a node for each of its results, or nils once the graph has
// an error. It checks what Gorgonia does not: that the node it returns is the one that was asked for.
func (g *Graph) Apply(does Operation, in ...*Node) []*Node {
	nothing := make([]*Node, 8)
	if g.err != nil {
		return nothing
	}
	o := &op{graph: g, id: g.nextID, does: does}
	g.nextID++
	for i, n := range in {
		if n == nil {
			g.fail(fmt.Errorf("autograd: input %d of %s is missing", i, does.Name()))
			return nothing
		}
		o.in = append(o.in, n.Shape())
		o.inType = append(o.inType, n.Dtype())
	}
	shapes, err := does.Infer(o.in)
	if err != nil {
		g.fail(fmt.Errorf("%s: %w", does.Name(), err))
		return nothing
	}
	o.shapes = shapes
	source, err := g.applyOp(o, in)
	if err != nil {
		g.fail(err)
		return nothing
	}
	a := &applied{op: does, in: in, outs: []*Node{source}, source: source, order: o.id, segment: g.segment}
	g.info[source] = a
	if len(shapes) > 1 {
		a.outs = g.results(source, a, shapes)
		if a.outs == nil {
			return nothing
		}
	}
	return a.outs
}

// apply1 is Apply for operations with one result.
func (g *Graph) apply1(does Operation, in ...*Node) *Node { return g.Apply(does, in...)[0] }

func (g *Graph) applyOp(o *op, in []*Node) (*Node, error) {
	n, err := gorgonia.ApplyOp(o, append([]*Node(nil), in...)...)
	if err != nil {
		return nil, fmt.Errorf("autograd: %s: %w", o.does.Name(), err)
	}
	if n.Op() != gorgonia.Op(o) {
		return nil, fmt.Errorf("autograd: Gorgonia merged %v with %v", o, n.Op())
	}
	kids := g.children(n)
	for i := range in {
		if len(kids) != len(in) || kids[i] != in[i] {
			return nil, fmt.Errorf("autograd: Gorgonia changed input %d of %v", i, o)
		}
	}
	return n, nil
}

// results adds a node for each result of source.
func (g *Graph) results(source *Node, a *applied, shapes []Shape) []*Node {
	outs := make([]*Node, len(shapes))
	at := 0
	for i, s := range shapes {
		cut := &op{graph: g, id: g.nextID, does: result{at: at, total: size(source.Shape()), shape: s}, in: []Shape{source.Shape()}, inType: []tensor.Dtype{g.float}, shapes: []Shape{s}}
		g.nextID++
		n, err := g.applyOp(cut, []*Node{source})
		if err != nil {
			g.fail(err)
			return nil
		}
		outs[i] = n
		g.info[n] = &applied{op: a.op, in: a.in, source: source, index: i, order: a.order, segment: a.segment}
		at += size(s)
	}
	for _, n := range outs {
		g.info[n].outs = outs
	}
	return outs
}

// cut adds the pieces of a packed gradient.
func (g *Graph) cut(packed *Node, shapes []Shape) []*Node {
	pieces := make([]*Node, len(shapes))
	at := 0
	for i, s := range shapes {
		pieces[i] = g.apply1(result{at: at, total: size(packed.Shape()), shape: s}, packed)
		at += size(s)
	}
	return pieces
}

// result is one result of an operation that has several, as Gorgonia sees it: a piece of the packed vector. Plans
// never run it; they hand the operation a buffer for each result.
type result struct {
	at, total int
	shape     Shape
}

func (r result) Name() string                   { return "result" }
func (r result) Infer([]Shape) ([]Shape, error) { return []Shape{r.shape}, nil }
func (r result) Differentiates(int) []bool      { return []bool{true} }
func (r result) Run(_ *Env, out, in []Value) {
	piece := in[0].slice(r.at, r.shape)
	copy(out[0].F32, piece.F32)
	copy(out[0].F64, piece.F64)
}

func (r result) Gradient(c *Chain) []*Node {
	return []*Node{c.Graph.apply1(embed{r}, c.Grad[0])}
}

// embed is the gradient of result: the piece in its place, zeros around it.
type embed struct{ result }

func (e embed) Name() string                   { return "embed" }
func (e embed) Infer([]Shape) ([]Shape, error) { return []Shape{{e.total}}, nil }
func (e embed) Differentiates(int) []bool      { return []bool{false} }
func (e embed) Run(_ *Env, out, in []Value) {
	clear(out[0].F32)
	clear(out[0].F64)
	if out[0].F64 != nil {
		copy(out[0].F64[e.at:], in[0].F64)
	} else {
		copy(out[0].F32[e.at:], in[0].F32)
	}
}
