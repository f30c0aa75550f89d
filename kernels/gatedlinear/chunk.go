package gatedlinear

import (
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/matmul"
	"github.com/gojet/gojet/kernels/packed"
	"github.com/gojet/gojet/kernels/recurrent"
	"github.com/gojet/gojet/kernels/vec"
)

// The chunked form. Let S be the state before a chunk of n tokens and b_i the sum of g over its tokens up to and
// including i, in every channel c of the keys. Unrolling the recurrence within the chunk gives
//
//	Q̂_i = exp(b_i) q_i    K̂_j = exp(b_n − b_j) k_j    P_ij = Σ_c q_ic k_jc exp(b_ic − b_jc) for j ≤ i
//	O = Q̂ S + P V
//	S' = exp(b_n) S + K̂ᵀ V
//
// Only differences b_i − b_j ≤ 0 are ever exponentiated, so strong decay underflows to nothing instead of overflowing.
// With one gate for the head, P is Q Kᵀ under the mask exp(b_i − b_j). With a gate for every channel, blocks of tokens
// meet earlier ones by way of the last token β before the block, b_i ≤ b_β ≤ b_j, which makes a product of what both sides
// decay to there; within a block, pair by pair. That is secondary chunking (https://arxiv.org/abs/2312.06635).

// block is how many tokens meet pair by pair.
const block = 16

// inputs are the buffers that forward and backward both read.
type inputs struct{ q, k, v, g, a, b []float32 }

// head is one head of one sequence: where its tokens are and how to reach them.
type head struct {
	Config
	seqs packed.Sequences
	in   inputs
	s, h int
}

// newHead is head number i, counted through all heads of all sequences.
func newHead(f Config, seqs packed.Sequences, in inputs, i int) head {
	return head{Config: f, seqs: seqs, in: in, s: i / f.Heads, h: i % f.Heads}
}

// row is the state of this head within a buffer of states.
func (x *head) row(states []float32) []float32 {
	n := x.KeyDim * x.ValueDim
	return states[(x.seqs.Row(x.s)*x.Heads+x.h)*n:][:n]
}

// before is the state before chunk c within a buffer of StatesLen values.
func (x *head) before(states []float32, c int) []float32 {
	n := x.KeyDim * x.ValueDim
	return states[(recurrent.Slot(x.seqs, x.s, c)*x.Heads+x.h)*n:][:n]
}

// tokens is T.
func (x *head) tokens() int {
	lo, hi := x.seqs.Span(x.s)
	return hi - lo
}

func (x *head) chunks() int { return (x.tokens() + Chunk - 1) / Chunk }

// span is the tokens [lo, lo+n) of chunk c.
func (x *head) span(c int) (lo, n int) {
	first, last := x.seqs.Span(x.s)
	lo = first + c*Chunk
	return lo, min(Chunk, last-lo)
}

// value is the row of token t within a [N, H, V] buffer, key within [N, H, K], gate within [N, H, C].
func (x *head) value(buf []float32, t int) []float32 {
	return buf[(t*x.Heads+x.h)*x.ValueDim:][:x.ValueDim]
}

func (x *head) key(buf []float32, t int) []float32 {
	return buf[(t*x.Heads+x.h)*x.KeyDim:][:x.KeyDim]
}

func (x *head) gate(buf []float32, t int) []float32 {
	return buf[(t*x.Heads+x.h)*x.Gates():][:x.Gates()]
}

// values is the matrix of columns from on of n tokens within a [N, H, V] buffer.
func (x *head) values(buf []float32, t, from int) matmul.Matrix[float32] {
	return matmul.Matrix[float32]{Data: buf[(t*x.Heads+x.h)*x.ValueDim+from:], Stride: x.Heads * x.ValueDim}
}

// chunk is what n tokens of a head need whatever the state before them is.
type chunk struct {
	head
	lo, n  int       // tokens [lo, lo+n)
	q, k   []float32 // [n, K], queries scaled
	qf, kr []float32 // [n, K], Q̂ and K̂
	b, bb  []float32 // [n, C], b and what float32 rounds away of it
	fall   []float32 // [n, C], exp(b_i), the decay since the state before the chunk
	rest   []float32 // [n, C], exp(b_n − b_j), the decay until the state after the chunk
	p      []float32 // [n, n], P, zero above its triangle
	d      []float32 // [n, n], exp(b_i − b_j), with one gate
	e, e2  []float32 // [K]
	qb, kb []float32 // [block, K] and [n, K], queries and keys decayed to a block's boundary
	qw, kw []float32 // the decays of qb and kb
}

// piece is a slice to be given memory for n values.
type piece struct {
	of *[]float32
	n  int
}

// carve gives pieces their memory, all from one block.
func carve(w *cpu.Worker, pieces ...piece) {
	total := 0
	for _, p := range pieces {
		total += p.n
	}
	all := w.Floats(total)
	for _, p := range pieces {
		*p.of, all = all[:p.n:p.n], all[p.n:]
	}
}

// newChunk takes the memory for a chunk of at most n tokens.
func newChunk(w *cpu.Worker, x *head, n int) chunk {
	key, gate := n*x.KeyDim, n*x.Gates()
	c := chunk{head: *x}
	masks, blocks, met := n*n, 0, 0
	if x.Channels {
		masks, blocks, met = 0, block*x.KeyDim, key
	}
	carve(w, piece{&c.q, key}, piece{&c.k, key}, piece{&c.qf, key}, piece{&c.kr, key},
		piece{&c.b, gate}, piece{&c.bb, gate}, piece{&c.fall, gate}, piece{&c.rest, gate},
		piece{&c.p, n * n}, piece{&c.d, masks}, piece{&c.e, x.KeyDim}, piece{&c.e2, x.KeyDim},
		piece{&c.qb, blocks}, piece{&c.qw, blocks}, piece{&c.kb, met}, piece{&c.kw, met})
	return c
}

// rowK is row i of a [n, K] matrix, rowC of a [n, C] one.
func (c *chunk) rowK(x []float32, i int) []float32 { return x[i*c.KeyDim:][:c.KeyDim] }
func (c *chunk) rowC(x []float32, i int) []float32 { return x[i*c.Gates():][:c.Gates()] }

// load fills the chunk with the head's tokens from number i·Chunk on.
func (c *chunk) load(w *cpu.Worker, i int) {
	c.lo, c.n = c.span(i)
	scale := float32(c.scale())
	for i := range c.n {
		vec.Scale(c.rowK(c.q, i), scale, c.key(c.in.q, c.lo+i))
		copy(c.rowK(c.k, i), c.key(c.in.k, c.lo+i))
	}
	c.sums()
	for i := range c.n {
		vec.Add(c.rowC(c.fall, i), c.rowC(c.b, i), c.rowC(c.bb, i))
		c.between(c.rowC(c.rest, i), c.n-1, i)
	}
	vec.Exp(c.fall, c.fall[:c.n*c.Gates()])
	for i := range c.n {
		c.times(c.rowK(c.qf, i), c.rowC(c.fall, i), c.rowK(c.q, i))
		c.times(c.rowK(c.kr, i), c.rowC(c.rest, i), c.rowK(c.k, i))
	}
	if c.Channels {
		c.pairs(w)
	} else {
		c.masked(w)
	}
}

// sums fills b and bb. The sums of g are made in float64 and kept in two pieces: after a few strong decays, one of
// float32 would round away the differences that matter.
func (c *chunk) sums() {
	for g := range c.Gates() {
		var sum float64
		for i := range c.n {
			sum += float64(c.gate(c.in.g, c.lo+i)[g])
			high := float32(sum)
			c.rowC(c.b, i)[g], c.rowC(c.bb, i)[g] = high, float32(sum-float64(high))
		}
	}
}

// between sets y [C] to exp(b_i − b_j).
func (c *chunk) between(y []float32, i, j int) {
	low := c.e2[:len(y)]
	vec.Combine(y, 1, c.rowC(c.b, i), -1, c.rowC(c.b, j))
	vec.Combine(low, 1, c.rowC(c.bb, i), -1, c.rowC(c.bb, j))
	vec.Add(y, y, low)
	vec.Exp(y, y)
}

// times sets y [K] to x times a decay [C].
func (c *chunk) times(y, decay, x []float32) {
	if c.Channels {
		vec.Mul(y, decay, x)
	} else {
		vec.Scale(y, decay[0], x)
	}
}

// masked fills D and P with one gate for the head.
func (c *chunk) masked(w *cpu.Worker) {
	n := c.n
	matmul.Serial(w, matmul.NT, n, n, c.KeyDim, 1, matmul.Of(c.q, c.KeyDim), matmul.Of(c.k, c.KeyDim), 0, matmul.Of(c.p, n))
	for i := range n {
		row, p := c.d[i*n:][:n], c.p[i*n:][:n]
		for j := range i + 1 {
			row[j] = (c.b[i] - c.b[j]) + (c.bb[i] - c.bb[j])
		}
		vec.Exp(row[:i+1], row[:i+1])
		vec.Mul(p[:i+1], p[:i+1], row[:i+1])
		clear(row[i+1:])
		clear(p[i+1:])
	}
}

// meet decays the queries of the block of tokens [lo, hi) and the keys of all tokens before it to its boundary.
func (c *chunk) meet(lo, hi int) {
	for i := lo; i < hi; i++ {
		c.between(c.rowK(c.qw, i-lo), i, lo-1)
		vec.Mul(c.rowK(c.qb, i-lo), c.rowK(c.qw, i-lo), c.rowK(c.q, i))
	}
	for j := range lo {
		c.between(c.rowK(c.kw, j), lo-1, j)
		vec.Mul(c.rowK(c.kb, j), c.rowK(c.kw, j), c.rowK(c.k, j))
	}
}

// pairs fills P with a gate for every channel.
func (c *chunk) pairs(w *cpu.Worker) {
	n, k := c.n, c.KeyDim
	clear(c.p[:n*n])
	for lo := 0; lo < n; lo += block {
		hi := min(lo+block, n)
		if lo > 0 {
			c.meet(lo, hi)
			matmul.Serial(w, matmul.NT, hi-lo, lo, k, 1, matmul.Of(c.qb, k), matmul.Of(c.kb, k), 0, matmul.Of(c.p[lo*n:], n))
		}
		for i := lo; i < hi; i++ {
			for j := lo; j < i; j++ {
				c.between(c.e, i, j)
				vec.Mul(c.e, c.e, c.rowK(c.k, j))
				c.p[i*n+j] = vec.Dot(c.e, c.rowK(c.q, i))
			}
			c.p[i*n+i] = vec.Dot(c.rowK(c.q, i), c.rowK(c.k, i))
		}
	}
}

// strip is the height of the strips in which products with a triangle leave out what is empty.
const strip = 32

// lower adds P x to y, for x and y of m columns.
func (c *chunk) lower(w *cpu.Worker, m int, x, y matmul.Matrix[float32]) {
	for i := 0; i < c.n; i += strip {
		h := min(strip, c.n-i)
		matmul.Serial(w, matmul.NN, h, m, i+h, 1, matmul.Of(c.p[i*c.n:], c.n), x, 1, below(y, i))
	}
}

// upper adds Pᵀ x to y.
func (c *chunk) upper(w *cpu.Worker, m int, x, y matmul.Matrix[float32]) {
	for i := 0; i < c.n; i += strip {
		corner := matmul.Matrix[float32]{Data: c.p[i*c.n+i:], Stride: c.n}
		matmul.Serial(w, matmul.TN, min(strip, c.n-i), m, c.n-i, 1, corner, below(x, i), 1, below(y, i))
	}
}

// below is the matrix without its first rows.
func below(x matmul.Matrix[float32], rows int) matmul.Matrix[float32] {
	return matmul.Matrix[float32]{Data: x.Data[rows*x.Stride:], Stride: x.Stride}
}
