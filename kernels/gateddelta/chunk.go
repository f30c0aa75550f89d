package gateddelta

import (
	"math"

	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/matmul"
	"github.com/gojet/gojet/kernels/packed"
	"github.com/gojet/gojet/kernels/recurrent"
	"github.com/gojet/gojet/kernels/vec"
)

// The chunked form. Let S be the state before a chunk of n tokens, b_i the sum of g over its tokens up to
// and including i, and γ_i = exp(b_i). Unrolling the recurrence within the chunk gives, row by row,
//
//	D_ij = exp(b_i − b_j) for j ≤ i            P = D∘(Q Kᵀ), lower triangle
//	A_ij = beta_i D_ij (k_i·k_j) for j < i     M = D∘(K Kᵀ), strict lower triangle, A = beta M
//	(I + A) U = X,  X_i = beta_i (v_i − γ_i Sᵀ k_i)
//	O = γ Q S + P U
//	S' = γ_n S + Σ_j exp(b_n − b_j) k_j u_jᵀ
//
// T = (I + A)⁻¹ does not depend on the state. Only differences b_i − b_j ≤ 0 are ever exponentiated, so
// strong decay underflows to nothing instead of overflowing.

// inputs are the buffers that forward and backward both read.
type inputs struct{ q, k, v, g, beta []float32 }

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

// value is the row of token t within a [N, H, V] buffer, and key within a [N, H, K] buffer.
func (x *head) value(buf []float32, t int) []float32 {
	return buf[(t*x.Heads+x.h)*x.ValueDim:][:x.ValueDim]
}

func (x *head) key(buf []float32, t int) []float32 {
	return buf[(t*x.Heads+x.h)*x.KeyDim:][:x.KeyDim]
}

// chunk is what n tokens of a head need whatever the state before them is.
type chunk struct {
	head
	lo, n int       // tokens [lo, lo+n)
	qk    []float32 // [2n, K], queries then keys, normalised, queries scaled
	norm  []float32 // [2n], 1/√(Σx²+NormEps), or 1
	beta  []float32 // [n]
	fall  []float32 // [n], γ_i = exp(b_i), the decay since the state before the chunk
	rest  []float32 // [n], exp(b_n − b_j), the decay until the state after the chunk
	d     []float32 // [n, n], D
	pm    []float32 // [2n, n], P then M, zero above their triangles
	t     []float32 // [n, n], T, zero above its triangle
}

// newChunk takes the memory for a chunk of at most n tokens.
func newChunk(w *cpu.Worker, x *head, n int) chunk {
	return chunk{
		head: *x,
		qk:   w.Floats(2 * n * x.KeyDim),
		norm: w.Floats(2 * n),
		beta: w.Floats(n),
		fall: w.Floats(n),
		rest: w.Floats(n),
		d:    w.Floats(n * n),
		pm:   w.Floats(2 * n * n),
		t:    w.Floats(n * n),
	}
}

func (c *chunk) queries() matmul.Matrix[float32] { return matmul.Of(c.qk, c.KeyDim) }
func (c *chunk) keys() matmul.Matrix[float32]    { return matmul.Of(c.qk[c.n*c.KeyDim:], c.KeyDim) }
func (c *chunk) p() []float32                    { return c.pm[:c.n*c.n] }
func (c *chunk) m() []float32                    { return c.pm[c.n*c.n:] }

// load fills the chunk with the head's tokens from number i·Chunk on.
func (c *chunk) load(w *cpu.Worker, i int) {
	first, last := c.seqs.Span(c.s)
	c.lo = first + i*Chunk
	c.n = min(Chunk, last-c.lo)
	n := c.n
	c.qk, c.norm = c.qk[:2*n*c.KeyDim], c.norm[:2*n]
	c.beta, c.fall, c.rest = c.beta[:n], c.fall[:n], c.rest[:n]
	c.d, c.pm, c.t = c.d[:n*n], c.pm[:2*n*n], c.t[:n*n]

	scale := float32(c.scale())
	for i := range n {
		c.norm[i] = c.normalise(c.qk[i*c.KeyDim:], c.key(c.in.q, c.lo+i), scale)
		c.norm[n+i] = c.normalise(c.qk[(n+i)*c.KeyDim:], c.key(c.in.k, c.lo+i), 1)
		c.beta[i] = c.in.beta[(c.lo+i)*c.Heads+c.h]
	}
	c.decays()
	c.products(w)
}

// normalise writes a query or key as the rule sees it and returns 1/√(Σx²+NormEps), or 1.
func (f Config) normalise(dst, src []float32, scale float32) float32 {
	norm := float32(1)
	if f.NormQK {
		norm = float32(1 / math.Sqrt(float64(vec.SumSquares(src))+NormEps))
	}
	vec.Scale(dst, norm*scale, src)
	return norm
}

// decays fills D, fall and rest. The sums of g are kept in float64: after a few strong decays, float32
// would round away the differences that matter.
func (c *chunk) decays() {
	var b [Chunk]float64
	n, sum := c.n, 0.0
	for i := range n {
		sum += float64(c.in.g[(c.lo+i)*c.Heads+c.h])
		b[i] = sum
	}
	for i := range n {
		row := c.d[i*n:][:n]
		for j := range i + 1 {
			row[j] = float32(b[i] - b[j])
		}
		vec.Exp(row[:i+1], row[:i+1])
		clear(row[i+1:])
		c.fall[i] = float32(b[i])
	}
	vec.Exp(c.fall, c.fall)
	copy(c.rest, c.d[(n-1)*n:])
}

// products fills P, M and T.
func (c *chunk) products(w *cpu.Worker) {
	n := c.n
	matmul.Serial(w, matmul.NT, 2*n, n, c.KeyDim, 1, c.queries(), c.keys(), 0, matmul.Of(c.pm, n))
	p, m := c.p(), c.m()
	for i := range n {
		vec.Mul(p[i*n:][:n], p[i*n:][:n], c.d[i*n:][:n])
		vec.Mul(m[i*n:][:i], m[i*n:][:i], c.d[i*n:][:i])
		clear(m[i*n+i : (i+1)*n])
		vec.Scale(c.t[i*n:][:n], c.beta[i], m[i*n:][:n])
	}
	invert(w, c.t, n, 0, n)
}

// small is the size of the blocks that invert solves row by row.
const small = 16

// invert replaces the strictly lower triangular A in rows and columns [lo, hi) of t [n, n] by (I + A)⁻¹.
// In halves, (I + A)⁻¹ = [T₁ 0; −T₂ A₂₁ T₁, T₂].
func invert(w *cpu.Worker, t []float32, n, lo, hi int) {
	if hi-lo <= small {
		invertSmall(t, n, lo, hi)
		return
	}
	half := small
	for 2*half < hi-lo {
		half *= 2
	}
	mid := lo + half
	invert(w, t, n, lo, mid)
	invert(w, t, n, mid, hi)

	mark := w.Mark()
	rest := hi - mid
	at := func(i, j int) matmul.Matrix[float32] { return matmul.Matrix[float32]{Data: t[i*n+j:], Stride: n} }
	tmp := matmul.Of(w.Floats(rest*half), half)
	matmul.Serial(w, matmul.NN, rest, half, half, 1, at(mid, lo), at(lo, lo), 0, tmp)
	matmul.Serial(w, matmul.NN, rest, half, rest, -1, at(mid, mid), tmp, 0, at(mid, lo))
	w.Release(mark)
}

// invertSmall solves (I + A) T = I by rows: T_i = e_i − Σ_{j<i} A_ij T_j.
func invertSmall(t []float32, n, lo, hi int) {
	var a [small]float32
	for i := lo; i < hi; i++ {
		row := t[i*n+lo:][:hi-lo]
		m := i - lo
		copy(a[:m], row)
		clear(row[:m])
		for j, v := range a[:m] {
			above := t[(lo+j)*n+lo:][:j+1]
			for x, u := range above {
				row[x] -= v * u
			}
		}
		row[m] = 1
	}
}

// strip is the height of the strips in which products with a triangle leave out what is empty.
const strip = 32

// lower sets y = L x, or y = y + L x if beta is 1, for a lower triangular L [n, n] and x [n, m].
func lower(w *cpu.Worker, n, m int, l []float32, x matmul.Matrix[float32], beta float32, y matmul.Matrix[float32]) {
	for i := 0; i < n; i += strip {
		h := min(strip, n-i)
		matmul.Serial(w, matmul.NN, h, m, i+h, 1, matmul.Of(l[i*n:], n), x, beta, below(y, i))
	}
}

// upper does the same for Lᵀ.
func upper(w *cpu.Worker, n, m int, l []float32, x matmul.Matrix[float32], beta float32, y matmul.Matrix[float32]) {
	for i := 0; i < n; i += strip {
		corner := matmul.Matrix[float32]{Data: l[i*n+i:], Stride: n}
		matmul.Serial(w, matmul.TN, min(strip, n-i), m, n-i, 1, corner, below(x, i), beta, below(y, i))
	}
}

// below is the matrix without its first rows.
func below(x matmul.Matrix[float32], rows int) matmul.Matrix[float32] {
	return matmul.Matrix[float32]{Data: x.Data[rows*x.Stride:], Stride: x.Stride}
}
