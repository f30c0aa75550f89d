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
// one piece of the keys, and the pieces are merged in order afterwards. With a cache, a sequence's results depend
// on that sequence and its cut into calls alone.
func Forward(c *cpu.Cores, a *ForwardArgs[float32]) {
	must(a.check())
	clearOutside(a)
	j := cpu.Borrow(c, forwardJob{ForwardArgs: *a})
	job := &j.Args
	job.plan()
	items := job.items()
	j.For(items, partSize(items), forwardItems)
	if job.need > 0 || a.cached() {
		lo, hi := int(a.Seqs.Cu[0]), int(a.Seqs.Cu[a.Seqs.Len()])
		j.For(hi-lo, 8, finishTokens)
	}
	j.Return()
}

// ForwardScratch returns the scratch values that Forward needs without a cache, for sequences of up to t tokens each.
func ForwardScratch(c Config, t int) int {
	return 2 * pieces * pieceValues(c, min(t, c.blockTokens())*c.group())
}

// CachedScratch is ForwardScratch for n new tokens in s sequences, with a cache of capacity positions a row. A sequence has at
// most 2·pieces results of pieces, and none of them reads less than minSplit keys.
func CachedScratch(c Config, n, s, capacity int) int {
	size, keys := c.blockTokens(), capacity
	if c.Window > 0 {
		keys = c.Window - 1 + min(n, size)
	}
	most := (keys + minSplit - 1) / minSplit
	if most < 2 {
		return 0
	}
	return pieceValues(c, c.group()*min(2*pieces*min(n, s*size), 2*c.KVHeads*most*n))
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
	all    int // keys of all blocks
	need   int // scratch: sequences of more than one piece have some
}

// plan counts the keys, and checks the scratch that is needed.
func (a *forwardJob) plan() {
	a.blocks = blocks{a.Seqs, a.blockTokens()}
	for s := range a.Seqs.Len() {
		a.all += a.keysOf(s)
	}
	for s := range a.Seqs.Len() {
		a.need += a.space(s)
	}
	if len(a.Scratch) < a.need {
		panic(fmt.Sprintf("attention: scratch has %d values, want %d", len(a.Scratch), a.need))
	}
}

// keysOf counts those that the blocks of sequence s read, each as many as the last.
func (a *forwardJob) keysOf(s int) int { return a.blocks.of(s) * a.mostKeys(s) }

// pieceOf returns the keys of a piece of sequence s. With a cache it follows from this sequence alone, whose results are to be
// the same in any company; without one, from all, which need less scratch then.
func (a *forwardJob) pieceOf(s int) int {
	keys := a.all
	if a.cached() {
		keys = a.keysOf(s)
	}
	return max(minSplit, roundUp(keys*a.KVHeads/pieces+1, forwardKeys))
}

// rowsOf returns the query rows of the largest block of sequence s.
func (a *forwardJob) rowsOf(s int) int {
	lo, hi := a.Seqs.Span(s)
	return min(hi-lo, a.blocks.size) * a.group()
}

// space returns the scratch values of the pieces of sequence s.
func (a *forwardJob) space(s int) int {
	n := a.piecesOf(s)
	if n < 2 {
		return 0
	}
	return n * a.blocks.of(s) * a.KVHeads * pieceValues(a.Config, a.rowsOf(s))
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

func (a *forwardJob) piecesOf(s int) int {
	keys := a.mostKeys(s)
	if keys <= minSplit {
		return min(keys, 1)
	}
	piece := a.pieceOf(s)
	return (keys + piece - 1) / piece
}

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
	at       int // where in the scratch a piece leaves its result; −1 where it is the only one
}

// item returns the i-th item. Blocks are taken from the end of a sequence: the last ones see most keys.
func (a *forwardJob) item(i int) item {
	it := item{head: i % a.KVHeads, at: -1}
	i /= a.KVHeads
	space := 0
	n := a.piecesOf(it.s)
	for i >= n*a.blocks.of(it.s) {
		i -= n * a.blocks.of(it.s)
		space += a.space(it.s)
		it.s++
		n = a.piecesOf(it.s)
	}
	block, piece := a.blocks.of(it.s)-1-i/n, i%n
	first, end := a.Seqs.Span(it.s)
	it.lo = first + block*a.blocks.size
	it.hi = min(it.lo+a.blocks.size, end)
	it.position = a.start(it.s) + it.lo - first
	last := it.position + it.hi - it.lo
	it.from = a.oldest(it.position)
	it.to = last
	if n > 1 {
		each := a.pieceOf(it.s)
		it.from = min(it.from+piece*each, last)
		it.to = min(it.from+each, last)
		it.at = space + a.place(it.s, block, piece, it.head)
	}
	return it
}

// place is where in the scratch of sequence s a piece of a block leaves its result for a key head.
func (a *forwardJob) place(s, block, piece, head int) int {
	return ((block*a.piecesOf(s)+piece)*a.KVHeads + head) * pieceValues(a.Config, a.rowsOf(s))
}

// state is the running softmax of a block of rows: acc = Σ exp(s−top) v, sum = Σ exp(s−top).
type state struct{ acc, top, sum []float32 }

func (a *forwardJob) state(mem []float32, rows int) state {
	n := rows * a.Dim
	return state{mem[:n], mem[n : n+rows], mem[n+rows : n+2*rows]}
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
	if it.at >= 0 {
		st = a.state(a.Scratch[it.at:], rows)
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
	if it.at < 0 {
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
	s, end, space := -1, 0, 0
	for i := first + lo; i < first+hi; i++ {
		for s < 0 || i >= end {
			if s >= 0 {
				space += a.space(s)
			}
			s++
			_, end = a.Seqs.Span(s)
		}
		if a.piecesOf(s) > 1 {
			a.merge(s, i, a.Scratch[space:])
		}
		if a.cached() && i >= end-a.Cap {
			a.store(s, i)
		}
	}
}

// merge adds up the pieces of token i of sequence s, whose results are in scratch, in the order of keys.
func (a *forwardJob) merge(s, i int, scratch []float32) {
	begin, end := a.Seqs.Span(s)
	block := (i - begin) / a.blocks.size
	lo := begin + block*a.blocks.size
	rows := (min(lo+a.blocks.size, end) - lo) * a.group()
	n := a.piecesOf(s)
	for h := range a.Heads {
		head, r := h/a.group(), (i-lo)*a.group()+h%a.group()
		at := func(piece int) state { return a.state(scratch[a.place(s, block, piece, head):], rows) }
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
