package matmul

import (
	"fmt"

	"github.com/gojet/gojet/kernels/cpu"
)

// Work is split by the shape alone. Each part packs the columns of B that it needs: parts are so large that sharing
// packed columns between workers, which would have to wait for each other, gains less than it costs.
const (
	// leastWork is the number of multiplications that are worth a part of their own, about 10 µs.
	leastWork = 1 << 19
	// ampleWork is a part so large that the packing no longer counts.
	ampleWork = 1 << 25
	// leastBytes is the same for products that are paced by reading a matrix, columnBytes where weights are turned.
	leastBytes, columnBytes = 1 << 17, 1 << 18
	// fewParts is the number of parts that balance well on few cores, parts on many.
	fewParts, parts = 16, 64
)

// tiling cuts C into parts of rows × cols, numbered column by column.
type tiling struct {
	p          product
	rows, cols int
}

func (p *product) tiling() tiling {
	t := tiling{p: *p, rows: p.m, cols: p.n}
	size := 4
	if p.b.half != nil {
		size = 2
	}
	switch p.way {
	case byColumn:
		t.cols = roundUp(max(columnBytes/size/p.k, (p.n+4*parts-1)/(4*parts)))
	case byRow:
		t.rows = max(1, leastBytes/4/p.k, (p.m+4*parts-1)/(4*parts))
	default:
		t.cut()
	}
	return t
}

// cut halves the longer side of the parts until there are enough, or they are too small. Square parts need the least
// packing for their work.
func (t *tiling) cut() {
	const narrow = 64
	low := 2 * t.p.engine.maxRows()
	for t.short() {
		switch {
		case t.cols > narrow && (t.cols > t.rows || t.rows < low):
			t.cols = roundUp((t.cols + 1) / 2)
		case t.rows >= low:
			t.rows = (t.rows + 1) / 2
		default:
			return
		}
	}
}

// short reports whether more parts are wanted: a few of them even if small, many only if they are large.
func (t *tiling) short() bool {
	work := t.rows * t.cols * t.p.k
	return t.count() < fewParts && work >= 2*leastWork || t.count() < parts && work >= 2*ampleWork
}

func (t *tiling) across() int { return (t.p.n + t.cols - 1) / t.cols }
func (t *tiling) count() int  { return (t.p.m + t.rows - 1) / t.rows * t.across() }

func (t *tiling) run(w *cpu.Worker, part int) {
	down := (t.p.m + t.rows - 1) / t.rows
	i, j := part%down*t.rows, part/down*t.cols
	t.p.run(w, i, min(i+t.rows, t.p.m), j, min(j+t.cols, t.p.n))
}

func (p *product) mul(cores *cpu.Cores) {
	if p.m == 0 || p.n == 0 {
		return
	}
	j := cpu.Borrow(cores, p.tiling())
	j.For(j.Args.count(), 1, mulPart)
	j.Return()
}

func mulPart(t *tiling, w *cpu.Worker, lo, hi int) {
	for part := lo; part < hi; part++ {
		t.run(w, part)
	}
}

// batch is a product for each pair of matrices, all cut alike.
type batch struct {
	tiling
	parts int // of one product
	call  call
}

// call is the arguments of Batched.
type call struct {
	engine      engine
	tr          Trans
	m, n, k     int
	alpha, beta float32
	a, b, c     Batch[float32]
}

// product returns the i-th product of the batch.
func (c *call) product(i int) product {
	return newProduct(c.engine, c.tr, c.m, c.n, c.k, c.alpha, c.a.at(i), operand{full: c.b.at(i).Data}, c.b.Stride, c.beta, c.c.at(i), nil)
}

func (c *call) mul(cores *cpu.Cores, count int) {
	if count <= 0 || c.m <= 0 || c.n <= 0 {
		return
	}
	if least := (c.m-1)*c.c.Stride + c.n; c.a.Step < 0 || c.b.Step < 0 || count > 1 && c.c.Step < least {
		panic(fmt.Sprintf("matmul: steps of the batches A, B and C are %d, %d and %d, want none negative and C's at least %d",
			c.a.Step, c.b.Step, c.c.Step, least))
	}
	c.product(count - 1) // checks the lengths before any part runs
	p := c.product(0)
	t := batch{tiling: p.tiling(), call: *c}
	t.parts = t.count()
	each := max(1, c.m*c.n*c.k/t.parts)
	j := cpu.Borrow(cores, t)
	j.For(count*t.parts, max(1, leastWork/each), batchPart)
	j.Return()
}

// at is matrix i of the batch.
func (b Batch[T]) at(i int) Matrix[T] {
	return Matrix[T]{Data: b.Data[min(i*b.Step, len(b.Data)):], Stride: b.Stride}
}

func batchPart(b *batch, w *cpu.Worker, lo, hi int) {
	for i := lo; i < hi; i++ {
		t := b.tiling
		t.p = b.call.product(i / b.parts)
		t.run(w, i%b.parts)
	}
}
