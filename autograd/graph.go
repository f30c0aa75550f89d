// Package autograd turns kernels into differentiable nodes of a Gorgonia graph, differentiates the graph and runs it.
//
// A Graph wraps Gorgonia's ExprGraph. Methods such as RMSNorm and GatedDeltaRule append one coarse node each;
// Backward appends the gradients; Compile turns chosen outputs into a Plan, and an Executor, a gorgonia.VM,
// runs the plan any number of times without allocating.
//
// The first mistake in building a graph sticks: later calls do nothing and Err reports it. Layers can
// therefore be written as plain functions from node to node.
//
// Letters in shapes: N tokens (of all sequences, one after the other), S sequences, H heads, K key dim,
// V value dim, D features.
package autograd

import (
	"fmt"

	"gonum.org/v1/gonum/graph"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/gojet/gojet/kernels/rope"
)

// Node is a value in the graph.
type Node = gorgonia.Node

// Precision is the type of a graph's float nodes.
type Precision uint8

// Precisions. Float64 runs the references: it is for checking gradients.
const (
	Float32 Precision = iota
	Float64
)

func (p Precision) dtype() tensor.Dtype {
	if p == Float64 {
		return tensor.Float64
	}
	return tensor.Float32
}

// Role says who owns an input's memory and how long it lives.
type Role uint8

// Roles of inputs.
const (
	// Parameter is a weight: bound once, shared between plans.
	Parameter Role = iota + 1
	// Data is set before each run: token ids, labels, sequence offsets.
	Data
	// State lives across runs and is advanced in place by exactly one operation.
	State
	// Accumulator is state that is float32 on every machine: it adds up many small steps.
	Accumulator
)

func (r Role) String() string {
	return [...]string{"computed", "parameter", "data", "state", "accumulator"}[r]
}

// Graph is an expression graph under construction.
type Graph struct {
	expr  *gorgonia.ExprGraph
	float tensor.Dtype

	inputs  map[string]*Node
	roles   map[*Node]Role
	info    map[*Node]*applied
	hashes  map[uint32]string
	nextID  int
	segment int
	lastSeg int
	one     *Node
	oracle  *Env
	tables  map[rotation]*rope.Table
	err     error
}

// applied is what the graph remembers of a node that an operation computes.
type applied struct {
	op      Operation
	in      []*Node
	outs    []*Node // one node for each result of op
	source  *Node   // the node of the operation itself; differs from the results where there are several
	index   int     // which result of source this node is
	order   int
	segment int // activation-checkpointing segment, 0 for none
}

// NewGraph returns an empty graph.
func NewGraph(p Precision) *Graph {
	return &Graph{
		expr:   gorgonia.NewGraph(),
		float:  p.dtype(),
		inputs: map[string]*Node{},
		roles:  map[*Node]Role{},
		info:   map[*Node]*applied{},
		hashes: map[uint32]string{},
		tables: map[rotation]*rope.Table{},
	}
}

// Err returns the first mistake made in building the graph.
func (g *Graph) Err() error { return g.err }

// Expr returns Gorgonia's graph, for its own machines and printers.
func (g *Graph) Expr() *gorgonia.ExprGraph { return g.expr }

func (g *Graph) fail(err error) {
	if g.err == nil {
		g.err = err
	}
}

// Input adds a float input. Names are unique within a graph; asking again for a parameter of the same name and
// shape returns the same node, which is how weights are tied.
func (g *Graph) Input(name string, role Role, shape ...int) *Node {
	return g.input(name, role, g.float, shape)
}

// Ints adds an int32 input.
func (g *Graph) Ints(name string, shape ...int) *Node {
	return g.input(name, Data, tensor.Int32, shape)
}

// Sequences adds the input that locates S sequences: int32 [3, S+1] whose rows are cu_seqlens, the positions
// of the first tokens and the rows of state (the last two padded by one). See SequenceValue.
func (g *Graph) Sequences(name string, s int) *Node { return g.Ints(name, 3, s+1) }

// Inputs returns the inputs by name.
func (g *Graph) Inputs() map[string]*Node { return g.inputs }

// RoleOf returns the role of an input.
func (g *Graph) RoleOf(n *Node) Role { return g.roles[n] }

func (g *Graph) input(name string, role Role, dt tensor.Dtype, shape Shape) *Node {
	if g.err != nil {
		return nil
	}
	if old, ok := g.inputs[name]; ok {
		if role == Parameter && g.roles[old] == Parameter && old.Shape().Eq(shape) && old.Dtype() == dt {
			return old
		}
		g.fail(fmt.Errorf("autograd: input %q is declared twice: %v and %v", name, old.Shape(), shape))
		return nil
	}
	for _, d := range shape {
		if d < 1 {
			g.fail(fmt.Errorf("autograd: input %q has shape %v, want dimensions of 1 or more", name, shape))
			return nil
		}
	}
	n := g.addInput(name, dt, shape)
	g.inputs[name], g.roles[n] = n, role
	return n
}

// addInput gives the node a Gorgonia name whose 32-bit hash no other input has: Gorgonia's own machines number
// values by that hash without comparing what is behind it.
func (g *Graph) addInput(name string, dt tensor.Dtype, shape Shape) *Node {
	for suffix := 0; ; suffix++ {
		unique := name
		if suffix > 0 {
			unique = fmt.Sprintf("%s~%d", name, suffix)
		}
		probe := gorgonia.NewTensor(gorgonia.NewGraph(), dt, len(shape), gorgonia.WithShape(shape...), gorgonia.WithName(unique))
		if _, taken := g.hashes[probe.Hashcode()]; taken {
			continue
		}
		n := gorgonia.NewTensor(g.expr, dt, len(shape), gorgonia.WithShape(shape...), gorgonia.WithName(unique))
		g.hashes[n.Hashcode()] = name
		return n
	}
}

// children returns the ordered inputs of a node as Gorgonia stores them.
func (g *Graph) children(n *Node) []*Node {
	it := g.expr.From(n.ID())
	if it == nil {
		return nil
	}
	nodes := graph.NodesOf(it)
	kids := make([]*Node, len(nodes))
	for i, k := range nodes {
		kids[i] = k.(*Node)
	}
	return kids
}

// Segment runs build with its nodes marked as one unit of activation checkpointing: Backward with Recompute
// keeps only what enters the unit and computes the rest again.
func (g *Graph) Segment(build func()) {
	g.lastSeg++
	outer := g.segment
	g.segment = g.lastSeg
	build()
	g.segment = outer
}
