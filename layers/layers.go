// Package layers is the model as nodes of a graph: the decoder that Qwen2, Qwen3 and Jet-Nemotron share, and the
// mixers that may stand in each of its layers.
//
// A layer is written once, as a function from node to node. Without state it is training: sequences begin at
// their first token. With state it consumes one or more new tokens of every sequence and continues where the
// last call ended, so that prefill in chunks and step-by-step decoding are the same code.
//
// Letters in shapes: N tokens (of all sequences, one after the other), H heads, K key dim, V value dim, D hidden.
package layers

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/kernels/packed"
)

// Param is a weight: its name in a checkpoint, its shape, how a fresh one is drawn, and whether weight decay applies.
type Param struct {
	Name  string
	Shape []int
	Init  Init
	Decay bool
}

// Size returns the number of values.
func (p Param) Size() int { return product(p.Shape) }

// Init draws a fresh weight.
type Init func(r *rand.Rand, w []float32)

// State is what one sequence carries from call to call in one layer.
type State struct {
	Name  string
	Shape []int // of one row; State inputs are [rows, Shape...]
	// PerToken says that Shape[0] counts tokens: the memory grows with the longest sequence to be served.
	PerToken bool
}

// Size returns the number of values of one row.
func (s State) Size() int { return product(s.Shape) }

// Mixer is what mixes tokens in one layer: x [N, D] to [N, D].
type Mixer interface {
	// Params lists the weights by their names below "self_attn.".
	Params() []Param
	// States lists what a sequence of at most capacity tokens carries between calls.
	States(capacity int) []State
	// Mix appends the block's nodes.
	Mix(s *Scope, x *autograd.Node) *autograd.Node
}

// Scope is where the nodes of one module go: the graph, the names of its weights and states, and the sequences that
// its tokens belong to.
type Scope struct {
	*autograd.Graph
	// Seq locates the sequences; see autograd.Graph.Sequences.
	Seq *autograd.Node

	owner  string // goes before the names of inputs, to keep two models in one graph apart
	prefix string
	shapes map[string][]int // weights by full name
	lora   LoRA
	states map[string][]int // rows and shape by full name; nil where the model keeps no state
}

// Cached says whether the module continues from state.
func (s *Scope) Cached() bool { return s.states != nil }

// Weight returns the node of one of the module's weights.
func (s *Scope) Weight(name string) *autograd.Node {
	full := s.prefix + name
	shape, ok := s.shapes[full]
	if !ok {
		panic(fmt.Sprintf("layers: %s is used but not listed among the parameters", full))
	}
	return s.Input(s.owner+full, autograd.Parameter, shape...)
}

// State returns the node of one of the module's states.
func (s *Scope) State(name string) *autograd.Node {
	full := s.prefix + name
	shape, ok := s.states[full]
	if !ok {
		panic(fmt.Sprintf("layers: %s is used but not listed among the states", full))
	}
	return s.Input(s.owner+full, autograd.State, shape...)
}

// Linear applies the module's weight name.weight, and name.bias where bias is set.
func (s *Scope) Linear(x *autograd.Node, name string, bias bool) *autograd.Node {
	var b *autograd.Node
	if bias {
		b = s.Weight(name + ".bias")
	}
	return s.adapter(x, s.Graph.Linear(x, s.Weight(name+".weight"), b), name)
}

// Projection is one of several linear maps of a module's input: the weight Name.weight, Name.bias where Bias is set, and SiLU
// where that is set.
type Projection struct {
	Name       string
	Bias, SiLU bool
}

// Projections applies several of the module's weights to x and returns a node for each.
func (s *Scope) Projections(x *autograd.Node, parts ...Projection) []*autograd.Node {
	adapted := slices.ContainsFunc(parts, func(p Projection) bool { return s.adapted(p.Name) })
	ys, all := make([]*autograd.Node, len(parts)), make([]autograd.Projection, len(parts))
	for i, p := range parts {
		if adapted { // its update is added before the activation
			if ys[i] = s.Linear(x, p.Name, p.Bias); p.SiLU {
				ys[i] = s.SiLU(ys[i])
			}
			continue
		}
		all[i] = autograd.Projection{W: s.Weight(p.Name + ".weight"), SiLU: p.SiLU}
		if p.Bias {
			all[i].Bias = s.Weight(p.Name + ".bias")
		}
	}
	if adapted {
		return ys
	}
	return s.Graph.Projections(x, all...)
}

// projected are projections of one input by name.
type projected map[string]*autograd.Node

// project is Projections by name.
func (s *Scope) project(x *autograd.Node, parts ...Projection) projected {
	p := projected{}
	for i, y := range s.Projections(x, parts...) {
		p[parts[i].Name] = y
	}
	return p
}

// GatedMLP is the feed-forward layer of the weights gate, up and down below name.
func (s *Scope) GatedMLP(x *autograd.Node, name string) *autograd.Node {
	gate, up, down := name+".gate_proj", name+".up_proj", name+".down_proj"
	if s.adapted(gate) || s.adapted(up) || s.adapted(down) {
		return s.Linear(s.SwiGLU(s.Linear(x, gate, false), s.Linear(x, up, false)), down, false)
	}
	return s.Graph.GatedMLP(x, s.Weight(gate+".weight"), s.Weight(up+".weight"), s.Weight(down+".weight"))
}

// sub is the scope of a module inside this one.
func (s *Scope) sub(prefix string) *Scope {
	inner := *s
	inner.prefix = s.prefix + prefix
	return &inner
}

// BlockGraph is one mixer alone in a graph, with tokens as its input: for tests, benchmarks and one's own models.
type BlockGraph struct {
	Graph  *autograd.Graph
	X, Seq *autograd.Node // inputs: x [N, D] and the sequences
	Out    *autograd.Node // [N, D]
	Params map[string]*autograd.Node
}

// NewBlockGraph puts a mixer of width d into g for sequences q.
func NewBlockGraph(g *autograd.Graph, m Mixer, n, d int, q packed.Sequences) (*BlockGraph, error) {
	b := &BlockGraph{Graph: g, X: g.Input("x", autograd.Data, n, d), Seq: g.Sequences("sequences", q.Len()), Params: map[string]*autograd.Node{}}
	s := &Scope{Graph: g, Seq: b.Seq, shapes: map[string][]int{}}
	for _, p := range m.Params() {
		s.shapes[p.Name] = p.Shape
	}
	b.Out = m.Mix(s, b.X)
	for _, p := range m.Params() {
		b.Params[p.Name] = s.Weight(p.Name)
	}
	return b, g.Err()
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
