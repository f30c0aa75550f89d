package gateddelta

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

// Forward computes what ReferenceForward does, chunk by chunk; a sequence of one token takes the recurrence.
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
	x := newHead(a.Config, a.Seqs, inputs{a.Q, a.K, a.V, a.G, a.Beta}, lo/a.blocks)
	block := lo % a.blocks
	from, to := block*a.ValueDim/a.blocks, (block+1)*a.ValueDim/a.blocks
	if x.tokens() == 1 && a.States == nil {
		step(w, &a.ForwardArgs, &x, from, to)
		return
	}
	p := newPass(w, &x, from, to)
	p.read(a.H0)
	for i := range x.chunks() {
		if a.States != nil {
			p.write(x.before(a.States, i))
		}
		p.load(w, i)
		p.correct(w, a.O != nil)
		if a.O != nil {
			p.output(w, a.O)
		}
		p.advance(w)
	}
	if a.HT != nil {
		p.write(x.row(a.HT))
	}
}

// pass carries the columns [from, to) of a head's state over its chunks.
type pass struct {
	chunk
	from, to int
	state    []float32 // [K, m], m = to − from
	y        []float32 // [2n, m], [Q; K] S, whose lower half becomes X
	u        []float32 // [n, m], U
	kept     []float32 // [n, K], the keys as the state after the chunk sees them
}

func newPass(w *cpu.Worker, x *head, from, to int) pass {
	n, m := min(Chunk, x.tokens()), to-from
	return pass{
		chunk: newChunk(w, x, n),
		from:  from, to: to,
		state: w.Floats(x.KeyDim * m),
		y:     w.Floats(2 * n * m),
		u:     w.Floats(n * m),
		kept:  w.Floats(n * x.KeyDim),
	}
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

// correct computes U, and where the queries are wanted Q S, from the state before the chunk.
func (p *pass) correct(w *cpu.Worker, queries bool) {
	n, m := p.n, p.width()
	state := matmul.Of(p.state, m)
	if queries {
		matmul.Serial(w, matmul.NN, 2*n, m, p.KeyDim, 1, p.queries(), state, 0, matmul.Of(p.y, m))
	} else {
		matmul.Serial(w, matmul.NN, n, m, p.KeyDim, 1, p.keys(), state, 0, matmul.Of(p.y[n*m:], m))
	}
	for i := range n {
		x := p.y[(n+i)*m:][:m]
		v := p.value(p.in.v, p.lo+i)[p.from:p.to]
		vec.Combine(x, p.beta[i], v, -p.beta[i]*p.fall[i], x)
	}
	lower(w, n, m, p.t, matmul.Of(p.y[n*m:], m), 0, matmul.Of(p.u, m))
	for i := range n {
		vec.Scale(p.kept[i*p.KeyDim:][:p.KeyDim], p.rest[i], p.qk[(n+i)*p.KeyDim:][:p.KeyDim])
	}
}

// output writes O = γ Q S + P U.
func (p *pass) output(w *cpu.Worker, o []float32) {
	m := p.width()
	for i := range p.n {
		vec.Scale(p.value(o, p.lo+i)[p.from:p.to], p.fall[i], p.y[i*m:][:m])
	}
	at := (p.lo*p.Heads+p.h)*p.ValueDim + p.from
	lower(w, p.n, m, p.p(), matmul.Of(p.u, m), 1, matmul.Matrix[float32]{Data: o[at:], Stride: p.Heads * p.ValueDim})
}

// advance takes the state to after the chunk.
func (p *pass) advance(w *cpu.Worker) {
	m := p.width()
	matmul.Serial(w, matmul.TN, p.KeyDim, m, p.n, 1, matmul.Of(p.kept, p.KeyDim), matmul.Of(p.u, m),
		p.fall[p.n-1], matmul.Of(p.state, m))
}
