package autograd

import (
	"fmt"
	"slices"
)

// BackwardConfig chooses how gradients are computed.
type BackwardConfig struct {
	// Recompute trades time for memory: operations inside a Segment are computed again in the reverse
	// pass instead of being kept from the forward pass (https://arxiv.org/abs/1604.06174).
	Recompute bool
	// Segments is how many of them are computed again, the first ones of the graph, whose values would be kept longest; 0 is all.
	Segments int
}

// Backward appends the gradient of the scalar loss with respect to each of wrt.
func (g *Graph) Backward(loss *Node, wrt []*Node, cfg BackwardConfig) []*Node {
	if g.err == nil && loss != nil && len(loss.Shape()) != 0 {
		g.fail(fmt.Errorf("autograd: the loss has shape %v, want a scalar", loss.Shape()))
	}
	return g.BackwardFrom([]*Node{loss}, []*Node{g.seed()}, wrt, cfg)
}

// seed is the gradient of a loss with respect to itself: an input that executors set to 1.
func (g *Graph) seed() *Node {
	if g.one == nil {
		g.one = g.Input("gradient seed", Data)
	}
	return g.one
}

// BackwardFrom appends the gradients with respect to each of wrt, given the gradient at each output.
func (g *Graph) BackwardFrom(outputs, seeds, wrt []*Node, cfg BackwardConfig) []*Node {
	none := make([]*Node, len(wrt))
	if g.err != nil {
		return none
	}
	p := &pass{g: g, cfg: cfg, grads: map[*Node][]*Node{}, clones: map[*Node][]*Node{}}
	for i, o := range outputs {
		if !o.Shape().Eq(seeds[i].Shape()) {
			g.fail(fmt.Errorf("autograd: gradient at output %d has shape %v, want %v", i, seeds[i].Shape(), o.Shape()))
			return none
		}
		p.grads[o] = append(p.grads[o], seeds[i])
	}
	outer := g.segment
	g.segment = 0
	p.sweep(g.reach(outputs), wrt)
	g.segment = outer
	if g.err != nil {
		return none
	}
	result := make([]*Node, len(wrt))
	for i, w := range wrt {
		if result[i] = p.total(w); result[i] == nil {
			g.fail(fmt.Errorf("autograd: no gradient flows to %s", w.Name()))
			return none
		}
	}
	return result
}

// reach returns one node for every operation that the outputs depend on, in the order they were added.
func (g *Graph) reach(outputs []*Node) []*Node {
	seen := map[*Node]bool{}
	var sources []*Node
	stack := slices.Clone(outputs)
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		a := g.info[n]
		if a == nil || seen[a.source] {
			continue
		}
		seen[a.source] = true
		sources = append(sources, a.source)
		stack = append(stack, a.in...)
	}
	slices.SortFunc(sources, func(a, b *Node) int { return g.info[a].order - g.info[b].order })
	return sources
}

// pass is the state of one reverse pass.
type pass struct {
	g       *Graph
	cfg     BackwardConfig
	grads   map[*Node][]*Node
	needs   map[*Node]bool
	segment int
	clones  map[*Node][]*Node // recomputed results by source
	chosen  []int             // segments that are recomputed
}

func (p *pass) sweep(sources, wrt []*Node) {
	p.needs = p.g.needed(sources, wrt)
	p.choose(sources)
	for i := len(sources) - 1; i >= 0 && p.g.err == nil; i-- {
		p.step(sources[i])
	}
}

// needed marks the nodes that depend on wrt through differentiable inputs.
func (g *Graph) needed(sources, wrt []*Node) map[*Node]bool {
	needs := map[*Node]bool{}
	for _, w := range wrt {
		needs[w] = true
	}
	for _, s := range sources {
		a := g.info[s]
		d, ok := a.op.(Differentiable)
		if !ok {
			continue
		}
		for i, flows := range d.Differentiates(len(a.in)) {
			if flows && needs[a.in[i]] {
				for _, o := range a.outs {
					needs[o] = true
				}
			}
		}
	}
	return needs
}

// step sends the gradients that have arrived at one operation on to its inputs.
func (p *pass) step(source *Node) {
	a := p.g.info[source]
	if !p.needs[a.outs[0]] {
		return
	}
	c := &Chain{Graph: p.g, Grad: make([]*Node, len(a.outs))}
	arrived := false
	for i, o := range a.outs {
		c.Grad[i] = p.total(o)
		arrived = arrived || c.Grad[i] != nil
	}
	if !arrived {
		return
	}
	if err := noState(a.op); err != nil {
		p.g.fail(err)
		return
	}
	d := a.op.(Differentiable)
	flows := d.Differentiates(len(a.in))
	for i, n := range a.in {
		c.Want = append(c.Want, flows[i] && p.needs[n])
		c.In = append(c.In, p.kept(a, n))
	}
	for _, o := range a.outs {
		c.Out = append(c.Out, p.kept(a, o))
	}
	p.arrive(a, c, d.Gradient(c))
}

func (p *pass) arrive(a *applied, c *Chain, grads []*Node) {
	if p.g.err != nil {
		return
	}
	for i, n := range a.in {
		if !c.Want[i] {
			continue
		}
		if i >= len(grads) || grads[i] == nil {
			p.g.fail(fmt.Errorf("autograd: %s gives no gradient for its input %d", a.op.Name(), i))
			return
		}
		if !grads[i].Shape().Eq(n.Shape()) {
			p.g.fail(fmt.Errorf("autograd: gradient of %s for its input %d has shape %v, want %v", a.op.Name(), i, grads[i].Shape(), n.Shape()))
			return
		}
		p.grads[n] = append(p.grads[n], grads[i])
	}
}

// total adds up the gradients that have arrived at n, once.
func (p *pass) total(n *Node) *Node {
	gs := p.grads[n]
	if len(gs) == 0 {
		return nil
	}
	if len(gs) > 1 {
		p.grads[n] = []*Node{p.g.Sum(gs...)}
	}
	return p.grads[n][0]
}

// kept returns the node that the gradient of a should read for n: n itself, or where activations are not kept, its
// recomputation. Nodes of other segments are kept: they are what segments start from.
func (p *pass) kept(a *applied, n *Node) *Node {
	if !slices.Contains(p.chosen, a.segment) {
		return n
	}
	if p.segment != a.segment {
		p.segment = a.segment
		clear(p.clones)
	}
	return p.again(n)
}

// choose picks the segments that are computed again, among those that gradients flow through.
func (p *pass) choose(sources []*Node) {
	for _, n := range sources {
		a := p.g.info[n]
		full := p.cfg.Segments > 0 && len(p.chosen) == p.cfg.Segments
		if p.cfg.Recompute && !full && a.segment != 0 && p.needs[a.outs[0]] && !slices.Contains(p.chosen, a.segment) {
			p.chosen = append(p.chosen, a.segment)
		}
	}
}

// rebuilder is an operation that stands between segments and can make one of its results again from another, so that only
// one is kept: the residual sum, of which the norm is made.
type rebuilder interface {
	rebuild(g *Graph, a *applied, result int) *Node // nil where the result has to be kept
}

// rebuilt returns what stands for a node that enters the segment: itself, or its second making.
func (p *pass) rebuilt(a *applied, n *Node) *Node {
	op, ok := a.op.(rebuilder)
	if !ok {
		return n
	}
	if made, ok := p.clones[n]; ok {
		return made[0]
	}
	if made := op.rebuild(p.g, a, a.index); made != nil {
		p.clones[n] = []*Node{made}
		return made
	}
	return n
}

func (p *pass) again(n *Node) *Node {
	a := p.g.info[n]
	if a == nil {
		return n
	}
	if a.segment != p.segment {
		return p.rebuilt(a, n)
	}
	outs, ok := p.clones[a.source]
	if !ok {
		in := make([]*Node, len(a.in))
		for i, k := range a.in {
			in[i] = p.again(k)
		}
		outs = p.g.Apply(a.op, in...)
		p.clones[a.source] = outs
	}
	return outs[a.index]
}
