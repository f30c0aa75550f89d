package attention

import (
	"fmt"

	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/matmul"
	"github.com/gojet/gojet/kernels/vec"
)

// Backward is ReferenceBackward on all cores.
//
// It makes the probabilities anew from LSE, tile by tile, once for the gradients of keys and values, which sum
// over queries, and once for those of queries, which sum over keys: every result has one owner, who adds in
// one order.
func Backward(c *cpu.Cores, a *BackwardArgs[float32]) {
	must(a.check())
	n := a.tokens()
	if len(a.Scratch) < BackwardScratch(a.Config, n) {
		panic(fmt.Sprintf("attention: scratch has %d values, want %d for %d tokens", len(a.Scratch), BackwardScratch(a.Config, n), n))
	}
	first, last := int(a.Seqs.Cu[0]), int(a.Seqs.Cu[a.Seqs.Len()])
	for _, r := range [...]struct {
		data []float32
		each int
	}{{a.DQ, a.width()}, {a.DK, a.stride()}, {a.DV, a.stride()}} {
		if r.data != nil {
			clear(r.data[:first*r.each])
			clear(r.data[last*r.each:])
		}
	}
	j := cpu.Borrow(c, backwardJob{*a, blocks{a.Seqs, a.blockTokens()}, blocks{a.Seqs, backwardKeys}})
	job := &j.Args
	j.For(n, 64, rowDots)
	if a.DK != nil || a.DV != nil {
		items := job.keyBlocks.count() * a.KVHeads
		j.For(items, partSize(items), keyItems)
	}
	if a.DQ != nil {
		items := job.queryBlocks.count() * a.KVHeads
		j.For(items, partSize(items), queryItems)
	}
	j.Return()
}

// BackwardScratch returns the scratch values that Backward needs for n tokens.
func BackwardScratch(c Config, n int) int { return n * c.Heads }

type backwardJob struct {
	BackwardArgs[float32]
	queryBlocks, keyBlocks blocks
}

// rowDots leaves do·o of every token and head in the scratch.
func rowDots(a *backwardJob, _ *cpu.Worker, lo, hi int) {
	for r := lo * a.Heads; r < hi*a.Heads; r++ {
		a.Scratch[r] = vec.Dot(a.DO[r*a.Dim:][:a.Dim], a.O[r*a.Dim:][:a.Dim])
	}
}

// queries are the rows of a block of tokens [lo, hi) and one key head: q is scaled.
type queries struct {
	head, lo, hi, rows int
	q, do              matmul.Matrix[float32]
}

func (a *backwardJob) queries(w *cpu.Worker, head, lo, hi int) queries {
	rows := (hi - lo) * a.group()
	q, do := w.Floats(rows*a.Dim), w.Floats(rows*a.Dim)
	gather(q, a.Q, a.Config, head, lo, hi)
	gather(do, a.DO, a.Config, head, lo, hi)
	vec.Scale(q, float32(a.scale()), q)
	return queries{head, lo, hi, rows, matmul.Of(q, a.Dim), matmul.Of(do, a.Dim)}
}

// tile computes the probabilities p of queries b on keys [lo, hi) and the gradient ds of the scores.
func (a *backwardJob) tile(w *cpu.Worker, b queries, first, lo, hi int, p, ds matmul.Matrix[float32]) {
	n := hi - lo
	matmul.Serial(w, matmul.NT, b.rows, n, a.Dim, 1, b.q, a.head(a.K, b.head, lo), 0, p)
	matmul.Serial(w, matmul.NT, b.rows, n, a.Dim, 1, b.do, a.head(a.V, b.head, lo), 0, ds)
	for r := range b.rows {
		token := b.lo + r/a.group()
		at := token*a.Heads + b.head*a.group() + r%a.group()
		pr, dr := p.Data[r*n:r*n+n], ds.Data[r*n:r*n+n]
		from, to := min(n, max(0, first+a.oldest(token-first)-lo)), max(0, min(n, token+1-lo))
		if from >= to {
			clear(pr)
			clear(dr)
			continue
		}
		clear(pr[:from])
		clear(pr[to:])
		clear(dr[:from])
		clear(dr[to:])
		pr, dr = pr[from:to], dr[from:to]
		vec.ExpSum(pr, pr, a.LSE[at])
		vec.Mul(dr, dr, pr)
		vec.Axpy(dr, -a.Scratch[at], pr)
	}
}

// head is the matrix of one key head from token lo on.
func (a *backwardJob) head(data []float32, head, lo int) matmul.Matrix[float32] {
	return matmul.Matrix[float32]{Data: data[lo*a.stride()+head*a.Dim:], Stride: a.stride()}
}

// keyItems computes dk and dv of blocks of keys from all the queries that see them.
func keyItems(a *backwardJob, w *cpu.Worker, lo, hi int) {
	for i := lo; i < hi; i++ {
		mark := w.Mark()
		s, from, to := a.keyBlocks.at(i / a.KVHeads)
		a.keyGradients(w, s, i%a.KVHeads, from, to)
		w.Release(mark)
	}
}

func (a *backwardJob) keyGradients(w *cpu.Worker, s, head, lo, hi int) {
	first, end := a.Seqs.Span(s)
	if a.Window > 0 {
		end = min(end, hi-1+a.Window)
	}
	n, size := hi-lo, a.queryBlocks.size
	p, ds := matmul.Of(w.Floats(size*a.group()*n), n), matmul.Of(w.Floats(size*a.group()*n), n)
	beta := float32(0)
	for from := lo; from < end; from += size {
		mark := w.Mark()
		b := a.queries(w, head, from, min(from+size, end))
		a.tile(w, b, first, lo, hi, p, ds)
		if a.DV != nil {
			matmul.Serial(w, matmul.TN, n, a.Dim, b.rows, 1, p, b.do, beta, a.head(a.DV, head, lo))
		}
		if a.DK != nil {
			matmul.Serial(w, matmul.TN, n, a.Dim, b.rows, 1, ds, b.q, beta, a.head(a.DK, head, lo))
		}
		beta = 1
		w.Release(mark)
	}
}

// queryItems computes dq of blocks of queries from all the keys they see, the last blocks first.
func queryItems(a *backwardJob, w *cpu.Worker, lo, hi int) {
	items := a.queryBlocks.count() * a.KVHeads
	for i := lo; i < hi; i++ {
		mark := w.Mark()
		s, from, to := a.queryBlocks.at((items - 1 - i) / a.KVHeads)
		a.queryGradients(w, s, i%a.KVHeads, from, to)
		w.Release(mark)
	}
}

func (a *backwardJob) queryGradients(w *cpu.Worker, s, head, lo, hi int) {
	first, _ := a.Seqs.Span(s)
	b := a.queries(w, head, lo, hi)
	dq := matmul.Of(w.Floats(b.rows*a.Dim), a.Dim)
	p, ds := w.Floats(b.rows*backwardKeys), w.Floats(b.rows*backwardKeys)
	beta := float32(0)
	for from := first + a.oldest(lo-first); from < hi; from += backwardKeys {
		to := min(from+backwardKeys, hi)
		n := to - from
		a.tile(w, b, first, from, to, matmul.Of(p, n), matmul.Of(ds, n))
		matmul.Serial(w, matmul.NN, b.rows, a.Dim, n, float32(a.scale()), matmul.Of(ds, n), a.head(a.K, head, from), beta, dq)
		beta = 1
	}
	n := a.group() * a.Dim
	for i := lo; i < hi; i++ {
		copy(a.DQ[i*a.width()+head*n:][:n], dq.Data[(i-lo)*n:])
	}
}
