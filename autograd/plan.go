package autograd

import (
	"errors"
	"fmt"
	"slices"

	"gorgonia.org/tensor"
)

// Plan is the compiled form of chosen outputs of a graph: the operations in order and a place in memory for every
// value. A plan does not change; executors run it.
type Plan struct {
	Outputs []*Node
	// Inputs are the inputs that the outputs depend on, in the order of their names.
	Inputs []*Node

	graph    *Graph
	steps    []step
	place    map[*Node]int // node → storage
	storages []storage
	arena    int64

	// How values are stored depends on the machine: the bytes of a node, what a step needs while it runs, and on
	// a device the types.
	bytes   func(*Node) int64
	scratch func(step) int64
	stored  map[*Node]stored
	// reads lists the inputs that a step looks at, nil in place of others.
	reads func(step) []*Node
}

type step struct {
	source  *Node
	op      Operation
	in, out []*Node // out is nil where the result is not wanted
	scratch int     // storage of temporaries; -1 for none
}

// storage is memory that one or more nodes share, alive from the step that writes it to the last that reads it.
type storage struct {
	bytes     int64
	offset    int64
	from, to  int
	nodes     []*Node
	permanent bool // read after the run
	bound     bool // memory of an input: outside the arena
}

// Compile plans the computation of outputs. Values that nothing reads are not computed.
func Compile(g *Graph, outputs ...*Node) (*Plan, error) {
	if g.err != nil {
		return nil, g.err
	}
	if len(outputs) == 0 {
		return nil, errors.New("autograd: a plan needs at least one output")
	}
	p := &Plan{Outputs: outputs, graph: g, place: map[*Node]int{}}
	for i, o := range outputs {
		if o == nil {
			return nil, fmt.Errorf("autograd: output %d is missing", i)
		}
		if g.info[o] == nil && g.roles[o] == 0 {
			return nil, fmt.Errorf("autograd: output %d (%v) was not made by this graph", i, o)
		}
	}
	p.schedule()
	if err := p.checkState(); err != nil {
		return nil, err
	}
	p.bytes = func(n *Node) int64 { return int64(size(n.Shape())) * int64(n.Dtype().Size()) }
	p.scratch = p.hostScratch
	p.reads = func(st step) []*Node { return st.in }
	p.assign()
	p.arena = layOut(p.storages)
	return p, nil
}

// schedule lists the operations in the order they were added, which is topological and puts recomputation just
// before its use.
func (p *Plan) schedule() {
	g := p.graph
	sources := g.reach(p.Outputs)
	used := map[*Node]bool{}
	for _, o := range p.Outputs {
		used[o] = true
	}
	for _, s := range sources {
		for _, n := range g.info[s].in {
			used[n] = true
		}
	}
	for _, s := range sources {
		a := g.info[s]
		st := step{source: s, op: a.op, in: a.in, out: make([]*Node, len(a.outs)), scratch: -1}
		for i, o := range a.outs {
			if used[o] {
				st.out[i] = o
			}
		}
		p.steps = append(p.steps, st)
	}
	for n := range g.roles {
		if used[n] {
			p.Inputs = append(p.Inputs, n)
		}
	}
	slices.SortFunc(p.Inputs, func(a, b *Node) int { return int(a.ID() - b.ID()) })
}

// checkState holds what is advanced in place to its rule: exactly one operation reads and advances it.
func (p *Plan) checkState() error {
	advancedBy := map[*Node]string{}
	readers := map[*Node]int{}
	for _, st := range p.steps {
		for _, n := range st.in {
			readers[n]++
		}
		m, ok := st.op.(Mutator)
		if !ok {
			continue
		}
		for _, i := range m.Mutates() {
			n := st.in[i]
			if p.graph.info[n] != nil || p.graph.roles[n] == Data {
				return fmt.Errorf("autograd: %s advances its input %d in place, which must be state or a parameter", st.op.Name(), i)
			}
			advancedBy[n] = st.op.Name()
		}
	}
	for _, n := range p.Inputs {
		if by, ok := advancedBy[n]; ok && readers[n] > 1 {
			return fmt.Errorf("autograd: state %s is advanced by %s and has %d readers, want 1", n.Name(), by, readers[n])
		}
		if p.graph.roles[n] >= State && advancedBy[n] == "" {
			return fmt.Errorf("autograd: state %s is advanced by no operation", n.Name())
		}
	}
	return nil
}

// assign gives every node a storage. A result takes over the memory of an input where its operation allows and
// nothing reads that input afterwards.
func (p *Plan) assign() {
	last := map[*Node]int{}
	for i, st := range p.steps {
		for _, n := range p.reads(st) {
			if n != nil {
				last[n] = i
			}
		}
	}
	for _, o := range p.Outputs {
		last[o] = len(p.steps)
	}
	for _, n := range p.Inputs {
		p.newStorage(n, storage{bound: true, to: len(p.steps)})
	}
	for i := range p.steps {
		st := p.steps[i]
		p.steps[i].scratch = p.scratchFor(i, st)
		reuse := p.takeover(i, st, last)
		for k, o := range st.out {
			if o == nil {
				continue
			}
			if s, ok := reuse[k]; ok {
				p.place[o] = s
				p.storages[s].nodes = append(p.storages[s].nodes, o)
				p.storages[s].to = max(p.storages[s].to, last[o])
				continue
			}
			p.newStorage(o, storage{from: i, to: max(i, last[o])})
		}
	}
	for _, o := range p.Outputs {
		p.storages[p.place[o]].permanent = true
	}
}

// hostScratch is what an operation needs on the CPU, in bytes. References in float64 need nothing.
func (p *Plan) hostScratch(st step) int64 {
	s, ok := st.op.(Scratcher)
	if !ok || p.graph.float == tensor.Float64 {
		return 0
	}
	return 4 * int64(s.Scratch(shapes(st.in)))
}

// scratchFor reserves what the operation of step i needs while it runs.
func (p *Plan) scratchFor(i int, st step) int {
	bytes := p.scratch(st)
	if bytes == 0 {
		return -1
	}
	p.storages = append(p.storages, storage{bytes: bytes, from: i, to: i})
	return len(p.storages) - 1
}

func shapes(nodes []*Node) []Shape {
	s := make([]Shape, len(nodes))
	for i, n := range nodes {
		s[i] = n.Shape()
	}
	return s
}

func (p *Plan) newStorage(n *Node, s storage) {
	s.bytes = p.bytes(n)
	s.nodes = []*Node{n}
	p.place[n] = len(p.storages)
	p.storages = append(p.storages, s)
}

// takeover returns result → storage for the in-place result of step i, if there is one.
func (p *Plan) takeover(i int, st step, last map[*Node]int) map[int]int {
	ip, ok := st.op.(InPlacer)
	if !ok {
		return nil
	}
	out, in := ip.InPlace()
	if st.out[out] == nil {
		return nil
	}
	s := p.place[st.in[in]]
	if p.storages[s].bound || !p.sameSize(st.out[out], st.in[in]) {
		return nil
	}
	for _, n := range p.storages[s].nodes {
		if last[n] > i {
			return nil
		}
	}
	// The same memory must not reach the operation through another input as well.
	for k, n := range st.in {
		if k != in && n != st.in[in] && p.place[n] == s {
			return nil
		}
	}
	return map[int]int{out: s}
}

func (p *Plan) sameSize(a, b *Node) bool {
	return size(a.Shape()) == size(b.Shape()) && a.Dtype() == b.Dtype() && p.stored[a] == p.stored[b]
}

// Memory is what a plan needs, in bytes.
type Memory struct {
	Parameters, State, Data int64
	// Arena is the memory of all values computed in between, shared by liveness; Unshared is what they
	// would take without sharing.
	Arena, Unshared int64
}

// Memory returns what the plan needs.
func (p *Plan) Memory() Memory {
	m := Memory{Arena: p.arena}
	for _, s := range p.storages {
		switch {
		case !s.bound:
			m.Unshared += s.bytes
		case p.graph.roles[s.nodes[0]] == Parameter:
			m.Parameters += s.bytes
		case p.graph.roles[s.nodes[0]] >= State:
			m.State += s.bytes
		default:
			m.Data += s.bytes
		}
	}
	return m
}
