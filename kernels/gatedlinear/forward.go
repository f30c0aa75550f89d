package gatedlinear

import (
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/matmul"
	"github.com/gojet/gojet/kernels/packed"
	"github.com/gojet/gojet/kernels/recurrent"
	"github.com/gojet/gojet/kernels/vec"
)

// forwardCall is one call's arguments and how it is split: a part is one head of one sequence, and a block
// of the value dim where there would be too few parts. Columns of the state never meet in the forward pass.
type forwardCall struct {
	ForwardArgs[float32]
	blocks int
}

// Forward computes what ReferenceForward does, chunk by chunk; with LowRank, and where a sequence has one token, by the
// recurrence.
func Forward(c *cpu.Cores, a *ForwardArgs[float32]) {
	a.check()
	packed.ClearOutside(a.O, a.Heads*a.ValueDim, a.Seqs)
	heads := a.Seqs.Len() * a.Heads
	call := forwardCall{ForwardArgs: *a, blocks: recurrent.ValueBlocks(heads, a.ValueDim)}
	j := cpu.Borrow(c, call)
	j.For(heads*call.blocks, 1, forwardPart)
	j.Return()
}

func forwardPart(a *forwardCall, w *cpu.Worker, lo, _ int) {
	x := newHead(a.Config, a.Seqs, inputs{a.Q, a.K, a.V, a.G, a.A, a.B}, lo/a.blocks)
	part := lo % a.blocks
	from, to := part*a.ValueDim/a.blocks, (part+1)*a.ValueDim/a.blocks
	if x.tokens() == 1 && a.States == nil {
		single(w, &a.ForwardArgs, &x, from, to)
		return
	}
	p := newPass(w, &x, from, to)
	p.read(a.H0)
	for i := range x.chunks() {
		if a.States != nil {
			p.write(x.before(a.States, i))
		}
		p.advance(w, i, a.O)
	}
	if a.HT != nil {
		p.write(x.row(a.HT))
	}
}

// pass carries the columns [from, to) of a head's state over its chunks.
type pass struct {
	chunk           // of a pass without LowRank
	steps walk      // of one with it
	state []float32 // [K, m], m = to − from
	from  int
	to    int
}

func newPass(w *cpu.Worker, x *head, from, to int) pass {
	p := pass{chunk: chunk{head: *x}, state: w.Floats(x.KeyDim * (to - from)), from: from, to: to}
	if x.LowRank {
		p.steps = newWalk(w, x, from, to)
	} else {
		p.chunk = newChunk(w, x, min(Chunk, x.tokens()))
	}
	return p
}

func (p *pass) width() int { return p.to - p.from }

// read takes the state before the first token from a buffer of states; it is zero if there is none.
func (p *pass) read(states []float32) {
	if states == nil {
		clear(p.state)
		return
	}
	m, row := p.width(), p.row(states)
	for i := range p.KeyDim {
		copy(p.state[i*m:][:m], row[i*p.ValueDim+p.from:])
	}
}

// write puts the state into its columns of [K, V].
func (p *pass) write(dst []float32) {
	m := p.width()
	for i := range p.KeyDim {
		copy(dst[i*p.ValueDim+p.from:], p.state[i*m:][:m])
	}
}

// advance takes the state over chunk i and writes the chunk's rows of o, if it is not nil.
func (p *pass) advance(w *cpu.Worker, i int, o []float32) {
	m := p.width()
	if p.LowRank {
		lo, n := p.span(i)
		for t := lo; t < lo+n; t++ {
			var out []float32
			if o != nil {
				out = p.value(o, t)[p.from:p.to]
			}
			p.steps.step(t, p.state, p.state, m, 0, out)
		}
		return
	}
	p.load(w, i)
	v := p.values(p.in.v, p.lo, p.from)
	if o != nil {
		out := p.values(o, p.lo, p.from)
		matmul.Serial(w, matmul.NN, p.n, m, p.KeyDim, 1, matmul.Of(p.qf, p.KeyDim), matmul.Of(p.state, m), 0, out)
		p.lower(w, m, v, out)
	}
	p.decayState(p.state, m)
	matmul.Serial(w, matmul.TN, p.KeyDim, m, p.n, 1, matmul.Of(p.kr, p.KeyDim), v, 1, matmul.Of(p.state, m))
}

// decayState multiplies a state [K, m] by exp(b_n).
func (c *chunk) decayState(state []float32, m int) {
	all := c.rowC(c.fall, c.n-1)
	for i := range c.KeyDim {
		row := state[i*m:][:m]
		vec.Scale(row, all[i%len(all)], row)
	}
}
