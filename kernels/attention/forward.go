package attention

import (
	"fmt"
	"math"

	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/matmul"
	"github.com/gojet/gojet/kernels/vec"
)

// Forward is ReferenceForward on all cores.
//
// One item of work is a block of query tokens of one sequence and one key head, with all query heads of its
// group, so that a key is read once for the group. Where there are few such blocks and many keys, an item is
// one piece of the keys, and the pieces are merged in order afterwards.
func Forward(c *cpu.Cores, a *ForwardArgs[float32]) {
	must(a.check())
	clearOutside(a)
	j := cpu.Borrow(c, forwardJob{ForwardArgs: *a})
	job := &j.Args
	job.plan()
	items := job.items()
	j.For(items, partSize(items), forwardItems)
	if job.split || a.cached() {
		lo, hi := int(a.Seqs.Cu[0]), int(a.Seqs.Cu[a.Seqs.Len()])
		j.For(hi-lo, 8, finishTokens)
	}
	j.Return()
}

// ForwardScratch returns the scratch values that Forward needs for sequences of up to t new tokens each.
func ForwardScratch(c Config, t int) int {
	return 2 * pieces * pieceValues(c, min(t, c.blockTokens())*c.group())
}

// pieceValues returns the size of a piece's result: for each query row an unscaled output, the running
// maximum and the running sum.
func pieceValues(c Config, rows int) int { return rows * (c.Dim + 2) }

// clearOutside zeroes the results of tokens that no sequence owns.
func clearOutside(a *ForwardArgs[float32]) {
	first, last := int(a.Seqs.Cu[0]), int(a.Seqs.Cu[a.Seqs.Len()])
	clear(a.O[:first*a.width()])
	clear(a.O[last*a.width():])
	if a.LSE != nil {
		clear(a.LSE[:first*a.Heads])
		clear(a.LSE[last*a.Heads:])
	}
}

type forwardJob struct {
	ForwardArgs[float32]
	blocks blocks
	piece  int  // keys of a piece
	split  bool // some sequence has more than one piece
	rows   int  // query rows of the largest block
}

// plan chooses the length of a piece from the sequences' lengths alone, and checks the scratch it needs.
func (a *forwardJob) plan() {
	a.blocks = blocks{a.Seqs, a.blockTokens()}
	var keys, longest int
	for s := range a.Seqs.Len() {
		lo, hi := a.Seqs.Span(s)
		longest = max(longest, hi-lo)
		keys += a.blocks.of(s) * a.mostKeys(s)
	}
	a.rows = min(longest, a.blocks.size) * a.group()
	a.piece = max(minSplit, roundUp(keys*a.KVHeads/pieces+1, forwardKeys))
	var slots int
	for s := range a.Seqs.Len() {
		if n := a.piecesOf(s); n > 1 {
			a.split = true
			slots += n * a.blocks.of(s)
		}
	}
	if need := slots * a.KVHeads * pieceValues(a.Config, a.rows); len(a.Scratch) < need {
		panic(fmt.Sprintf("attention: scratch has %d values, want %d for sequences of %d tokens", len(a.Scratch), ForwardScratch(a.Config, longest), longest))
	}
}

// mostKeys returns the keys that the last block of sequence s sees, no less than any other block.
func (a *forwardJob) mostKeys(s int) int {
	lo, hi := a.Seqs.Span(s)
	n := a.start(s) + hi - lo
	if a.Window > 0 {
		n = min(n, a.Window-1+min(hi-lo, a.blocks.size))
	}
	return n
}

func (a *forwardJob) piecesOf(s int) int { return (a.mostKeys(s) + a.piece - 1) / a.piece }

func (a *forwardJob) items() int {
	n := 0
	for s := range a.Seqs.Len() {
		n += a.blocks.of(s) * a.piecesOf(s)
	}
	return n * a.KVHeads
}

// item is one block of query tokens, one key head and one piece of the keys.
type item struct {
	s, head  int
	lo, hi   int // query tokens
	position int // of token lo
	from, to int // key positions
	slot     int // where a piece leaves its result; −1 where it is the only one
}

// item returns the i-th item. Blocks are taken from the end of a sequence: the last ones see most keys.
func (a *forwardJob) item(i int) item {
	it := item{head: i % a.KVHeads, slot: -1}
	i /= a.KVHeads
	slots := 0
	for ; ; it.s++ {
		n := a.blocks.of(it.s) * a.piecesOf(it.s)
		if i < n {
			break
		}
		i -= n
		if a.piecesOf(it.s) > 1 {
			slots += n
		}
	}
	n := a.piecesOf(it.s)
	block, piece := a.blocks.of(it.s)-1-i/n, i%n
	first, end := a.Seqs.Span(it.s)
	it.lo = first + block*a.blocks.size
	it.hi = min(it.lo+a.blocks.size, end)
	it.position = a.start(it.s) + it.lo - first
	last := it.position + it.hi - it.lo
	it.from = min(a.oldest(it.position)+piece*a.piece, last)
	it.to = min(it.from+a.piece, last)
	if n > 1 {
		it.slot = (slots+block*n+piece)*a.KVHeads + it.head
	}
	return it
}

// state is the running softmax of a block of rows: acc = Σ exp(s−top) v, sum = Σ exp(s−top).
type state struct{ acc, top, sum []float32 }

func (a *forwardJob) state(mem []float32, rows int) state {
	n := rows * a.Dim
	return state{mem[:n], mem[n : n+rows], mem[n+rows : n+2*rows]}
}

func (a *forwardJob) pieceState(slot, rows int) state {
	return a.state(a.Scratch[slot*pieceValues(a.Config, a.rows):], rows)
}

func forwardItems(a *forwardJob, w *cpu.Worker, lo, hi int) {
	for i := lo; i < hi; i++ {
		mark := w.Mark()
		a.forward(w, a.item(i))
		w.Release(mark)
	}
}

func (a *forwardJob) forward(w *cpu.Worker, it item) {
	rows := (it.hi - it.lo) * a.group()
	var st state
	if it.slot >= 0 {
		st = a.pieceState(it.slot, rows)
	} else {
		st = a.state(w.Floats(pieceValues(a.Config, rows)), rows)
	}
	for r := range rows {
		st.top[r], st.sum[r] = float32(math.Inf(-1)), 0
	}
	q := w.Floats(rows * a.Dim)
	gather(q, a.Q, a.Config, it.head, it.lo, it.hi)
	vec.Scale(q, float32(a.scale()), q)
	scores := w.Floats(rows * forwardKeys)
	for p := it.from; p < it.to; {
		k, v, n := a.keys(it, p)
		s := matmul.Of(scores, n)
		matmul.Serial(w, matmul.NT, rows, n, a.Dim, 1, matmul.Of(q, a.Dim), k, 0, s)
		a.advance(st, s.Data, n, it, p)
		beta := float32(1)
		if p == it.from {
			beta = 0
		}
		matmul.Serial(w, matmul.NN, rows, a.Dim, n, 1, s, v, beta, matmul.Of(st.acc, a.Dim))
		p += n
	}
	if it.slot < 0 {
		a.write(st, it)
	}
}

// keys returns the keys and values from position p on as far as they lie together, at most forwardKeys of
// them.
func (a *forwardJob) keys(it item, p int) (k, v matmul.Matrix[float32], n int) {
	n = min(forwardKeys, it.to-p)
	start, stride := a.start(it.s), a.stride()
	if p >= start {
		lo, _ := a.Seqs.Span(it.s)
		at := (lo+p-start)*stride + it.head*a.Dim
		return matmul.Matrix[float32]{Data: a.K[at:], Stride: stride}, matmul.Matrix[float32]{Data: a.V[at:], Stride: stride}, n
	}
	slot := p % a.Cap
	n = min(n, start-p, a.Cap-slot)
	at := (a.Seqs.Row(it.s)*a.Cap+slot)*stride + it.head*a.Dim
	return matmul.Matrix[float32]{Data: a.KCache[at:], Stride: stride}, matmul.Matrix[float32]{Data: a.VCache[at:], Stride: stride}, n
}

// advance turns the scores of n keys from position p on into exp(s−top), zero where the query does not see
// the key, and brings the running softmax to the new maximum.
func (a *forwardJob) advance(st state, scores []float32, n int, it item, p int) {
	for r := range st.top {
		row := scores[r*n : r*n+n]
		at := it.position + r/a.group()
		lo, hi := max(0, a.oldest(at)-p), min(n, at+1-p)
		if lo >= hi {
			clear(row)
			continue
		}
		top := max(st.top[r], vec.Max(row[lo:hi]))
		if old := st.top[r]; top > old && st.sum[r] != 0 {
			shrink := float32(math.Exp(float64(old - top)))
			st.sum[r] *= shrink
			acc := st.acc[r*a.Dim:][:a.Dim]
			vec.Scale(acc, shrink, acc)
		}
		st.top[r] = top
		st.sum[r] += vec.ExpSum(row[lo:hi], row[lo:hi], top)
		clear(row[:lo])
		clear(row[hi:])
	}
}

// write gives the result of a block that saw all its keys.
func (a *forwardJob) write(st state, it item) {
	for r := range st.top {
		at := (it.lo+r/a.group())*a.Heads + it.head*a.group() + r%a.group()
		vec.Scale(a.O[at*a.Dim:][:a.Dim], 1/st.sum[r], st.acc[r*a.Dim:][:a.Dim])
		if a.LSE != nil {
			a.LSE[at] = logSum(st.top[r], float64(st.sum[r]))
		}
	}
}

func logSum(top float32, sum float64) float32 { return float32(float64(top) + math.Log(sum)) }

// gather copies the query heads of one key head of tokens lo to hi to rows of their own.
func gather(dst, src []float32, c Config, head, lo, hi int) {
	n := c.group() * c.Dim
	for i := lo; i < hi; i++ {
		copy(dst[(i-lo)*n:][:n], src[i*c.width()+head*n:])
	}
}

// finishTokens merges the pieces of tokens and writes their keys and values into the cache.
func finishTokens(a *forwardJob, _ *cpu.Worker, lo, hi int) {
	first := int(a.Seqs.Cu[0])
	s, end, slots := -1, 0, 0
	for i := first + lo; i < first+hi; i++ {
		for s < 0 || i >= end {
			if s >= 0 && a.piecesOf(s) > 1 {
				slots += a.piecesOf(s) * a.blocks.of(s)
			}
			s++
			_, end = a.Seqs.Span(s)
		}
		if a.piecesOf(s) > 1 {
			a.merge(s, i, slots)
		}
		if a.cached() && i >= end-a.Cap {
			a.store(s, i)
		}
	}
}

// merge adds up the pieces of token i of sequence s, whose results begin at slot slots, in the order of keys.
func (a *forwardJob) merge(s, i, slots int) {
	begin, end := a.Seqs.Span(s)
	block := (i - begin) / a.blocks.size
	lo := begin + block*a.blocks.size
	rows := (min(lo+a.blocks.size, end) - lo) * a.group()
	n := a.piecesOf(s)
	for h := range a.Heads {
		head, r := h/a.group(), (i-lo)*a.group()+h%a.group()
		at := func(piece int) state { return a.pieceState((slots+block*n+piece)*a.KVHeads+head, rows) }
		top := float32(math.Inf(-1))
		for piece := range n {
			top = max(top, at(piece).top[r])
		}
		o := a.O[(i*a.Heads+h)*a.Dim:][:a.Dim]
		clear(o)
		var sum float64
		for piece := range n {
			st := at(piece)
			if st.sum[r] == 0 {
				continue
			}
			weight := math.Exp(float64(st.top[r] - top))
			sum += weight * float64(st.sum[r])
			vec.Axpy(o, float32(weight), st.acc[r*a.Dim:][:a.Dim])
		}
		vec.Scale(o, float32(1/sum), o)
		if a.LSE != nil {
			a.LSE[i*a.Heads+h] = logSum(top, sum)
		}
	}
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }
