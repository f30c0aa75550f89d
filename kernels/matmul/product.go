package matmul

import (
	"fmt"

	"github.com/gojet/gojet/kernels/cpu"
)

// product is one call with its transposes turned into strides.
type product struct {
	engine      engine
	way         way
	m, n, k     int
	alpha, beta float32
	a           []float32
	ai, ax      int // A[i, x] is a[i·ai + x·ax]
	b           operand
	bx, bj      int // B[x, j] is b[x·bx + j·bj]
	c           []float32
	ci          int       // C[i, j] is c[i·ci + j]
	bias        []float32 // what rows of C start with, and beta is 1; or nil
}

// way is how a product is computed. It follows from the shape alone.
type way uint8

const (
	// inBlocks multiplies packed panels in registers, see block.go.
	inBlocks way = iota
	// byColumn takes columns of C as rows of Bᵀ, turned in registers, times the few rows of A; see few.go. It sums in
	// the order of inBlocks, so that a row's result does not depend on its company.
	byColumn
	// byRow takes every row of C as a row of A times the few columns of B.
	byRow
	// nothing is what sums of no products do: C = beta·C.
	nothing
)

// Up to so many vectors a matrix is read where it lies, without packing it: there the reading of the matrix, not the
// arithmetic, sets the pace.
const (
	fewColumns = 8
	fewRows    = 16
)

// shortest sum for which a row-wise dot product pays: below, adding up the lanes at its end is most of the work.
const shortest = 32

// newProduct makes rows of C start as bias where there is one, else as beta·C.
func newProduct(e engine, tr Trans, m, n, k int, alpha float32, a Matrix[float32], b operand, bStride int, beta float32, c Matrix[float32], bias []float32) product {
	p := product{engine: e, m: m, n: n, k: k, alpha: alpha, beta: beta,
		a: a.Data, ai: a.Stride, ax: 1, b: b, bx: bStride, bj: 1, c: c.Data, ci: c.Stride}
	am, ak, bk, bn := m, k, k, n
	if tr == TN || tr == TT {
		p.ai, p.ax, am, ak = 1, a.Stride, k, m
	}
	if tr == NT || tr == TT {
		p.bx, p.bj, bk, bn = 1, bStride, n, k
	}
	fits("A", len(a.Data), a.Stride, am, ak)
	fits("B", b.len(), bStride, bk, bn)
	fits("C", len(c.Data), c.Stride, m, n)
	if m > 1 && c.Stride < n {
		panic(fmt.Sprintf("matmul: rows of C are %d apart, want at least their %d columns", c.Stride, n))
	}
	if bias != nil {
		if len(bias) != n {
			panic(fmt.Sprintf("matmul: bias has %d values, want %d, the columns of C", len(bias), n))
		}
		p.bias, p.beta = bias, 1
	}
	switch {
	case k == 0 || m == 0 || n == 0:
		p.way = nothing
	case n <= fewColumns && p.ax == 1 && k >= shortest:
		p.way = byRow
	case m <= fewRows && p.bx == 1 && k%e.turnStep(b) == 0:
		p.way = byColumn
	case n == 1 && p.ci == 1 && p.ai == 1 && b.half == nil && bias == nil:
		// C and the columns of A lie as rows of their transposes: C' = B' · A.
		p.m, p.n = 1, m
		p.a, p.ai, p.ax = b.full, 0, p.bx
		p.b, p.bx, p.bj = operand{full: a.Data}, a.Stride, 1
		p.ci = m
	}
	return p
}

func fits(name string, have, stride, rows, cols int) {
	if rows < 0 || cols < 0 || stride < 0 {
		panic(fmt.Sprintf("matmul: %s is %d × %d with stride %d, want no negative number", name, rows, cols, stride))
	}
	if want := (rows-1)*stride + cols; rows > 0 && cols > 0 && have < want {
		panic(fmt.Sprintf("matmul: %s has %d values, want at least %d (%d rows of %d, stride %d)",
			name, have, want, rows, cols, stride))
	}
}

// run computes the rows [i0, i1) and columns [j0, j1) of C.
func (p *product) run(w *cpu.Worker, i0, i1, j0, j1 int) {
	mark := w.Mark()
	if p.bias != nil {
		for i := i0; i < i1; i++ {
			copy(p.c[i*p.ci+j0:i*p.ci+j1], p.bias[j0:j1])
		}
	}
	switch p.way {
	case inBlocks:
		p.blocks(w, i0, i1, j0, j1)
	case byColumn:
		p.turning(w, i0, i1, j0, j1)
	case byRow:
		x, stride := p.columns(w, j0, j1)
		p.rows(p.a, p.ai, i0, i1, j1-j0, x, stride, p.c[j0:], p.ci, 1)
	case nothing:
		for i := i0; i < i1; i++ {
			for j := j0; j < j1; j++ {
				put(p.c, i*p.ci+j, 0, p.beta)
			}
		}
	}
	w.Release(mark)
}

// rows multiplies the rows [lo, hi) of the matrix with m vectors. Element r of vector i's product goes to
// y[r·ys + i·ym].
func (p *product) rows(matrix []float32, stride, lo, hi, m int, x []float32, xs int, y []float32, ys, ym int) {
	if m <= p.engine.maxInputs() {
		p.engine.rows(m, hi-lo, p.k, matrix[lo*stride:], stride, x, xs, y[lo*ys:], ys, ym, p.alpha, p.beta)
		return
	}
	// Rows that the first vectors brought into the cache are there for the others.
	const cached = 8192
	step := max(1, cached/p.k)
	for r := lo; r < hi; r += step {
		for i := 0; i < m; i += p.engine.maxInputs() {
			p.engine.rows(min(m-i, p.engine.maxInputs()), min(step, hi-r), p.k, matrix[r*stride:], stride,
				x[i*xs:], xs, y[r*ys+i*ym:], ys, ym, p.alpha, p.beta)
		}
	}
}

// inputs returns the vectors [lo, hi) of x contiguous: element e of vector i is x[i·xi + e·xe].
func (p *product) inputs(w *cpu.Worker, x []float32, xi, xe, lo, hi int) ([]float32, int) {
	if xe == 1 {
		return x[lo*xi:], xi
	}
	out := floats(w, (hi-lo)*p.k)
	for i := lo; i < hi; i++ {
		row := out[(i-lo)*p.k:][:p.k]
		for e := range row {
			row[e] = x[i*xi+e*xe]
		}
	}
	return out, p.k
}

// columns returns the columns [lo, hi) of B, each contiguous.
func (p *product) columns(w *cpu.Worker, lo, hi int) ([]float32, int) {
	if p.b.half == nil {
		return p.inputs(w, p.b.full, p.bj, p.bx, lo, hi)
	}
	out := floats(w, (hi-lo)*p.k)
	for j := lo; j < hi; j++ {
		for x := range p.k {
			out[(j-lo)*p.k+x] = p.b.half[x*p.bx+j*p.bj].Float32()
		}
	}
	return out, p.k
}
