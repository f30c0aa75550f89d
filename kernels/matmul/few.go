package matmul

import "github.com/gojet/gojet/kernels/cpu"

// turning computes the rows [i0, i1) and columns [j0, j1) of C from weights that lie as rows, for few rows of C. Columns
// that fill no vector are left to blocks.
func (p *product) turning(w *cpu.Worker, i0, i1, j0, j1 int) {
	x, xs := p.inputs(w, p.a, p.ai, p.ax, i0, i1)
	j := j0
	for ; j+p.engine.lanes() <= j1; j += p.engine.lanes() {
		p.turn(i0, i1, j, x, xs)
	}
	if j < j1 {
		p.blocks(w, i0, i1, j, j1)
	}
}

// turn computes the vector of columns at j in the depths of blocks. A vector of weights is widened and turned once for
// maxColumns rows.
func (p *product) turn(i0, i1, j int, x []float32, xs int) {
	m := i1 - i0
	passes := (m + p.engine.maxColumns() - 1) / p.engine.maxColumns()
	for at := 0; at < p.k; at += depth {
		weights, beta := p.b.from(j*p.bj+at), p.beta
		if at > 0 {
			beta = 1
		}
		// The rows after these are due next. Each depth asks for its share of them.
		ahead := p.engine.lanes()*(p.bj+at) - at
		for q := range passes {
			i, end := m*q/passes, m*(q+1)/passes
			p.engine.columns(end-i, min(depth, p.k-at), weights, p.bj, ahead,
				x[i*xs+at:], xs, p.c[(i0+i)*p.ci+j:], p.ci, p.alpha, beta)
		}
	}
}
