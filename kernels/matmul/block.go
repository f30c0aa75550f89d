package matmul

import "github.com/gojet/gojet/kernels/cpu"

// The product in blocks after Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008
// (https://doi.org/10.1145/1356052.1356053): a block of B, packed in strips as wide as a micro-kernel, stays in the
// second-level cache, a panel of A as high as a micro-kernel in the first.
const (
	depth   = 512 // rows of a block of B
	breadth = 256 // columns of a block of B

	// Up to so many rows of C, packing B costs more than reading it where it lies.
	rowsUnpacked = 64
	// Up to so many columns of C, packing A costs more than reading it where it lies.
	colsUnpacked = 128

	stripStep = 16 // packed strips are multiples of so many columns wide
)

func (p *product) blocks(w *cpu.Worker, i0, i1, j0, j1 int) {
	depth := min(depth, p.k)
	bBlock := floats(w, depth*roundUp(min(breadth, j1-j0)))
	aPanel := floats(w, p.engine.maxRows()*(depth+stripStep)+stripStep*depth)
	for j := j0; j < j1; j += breadth {
		jEnd := min(j+breadth, j1)
		for x := 0; x < p.k; x += depth {
			b := block{p: p, x: x, depth: min(depth, p.k-x), j: j, n: jEnd - j, m: i1 - i0, packed: bBlock}
			b.pack()
			beta := p.beta
			if x > 0 {
				beta = 1
			}
			panels := (b.m + p.engine.maxRows() - 1) / p.engine.maxRows()
			for q := range panels {
				b.panel(i0+b.m*q/panels, i0+b.m*(q+1)/panels, aPanel, beta)
			}
		}
	}
}

func roundUp(n int) int { return (n + stripStep - 1) / stripStep * stripStep }

// block is the rows [x, x+depth) and columns [j, j+n) of B, to be multiplied with m rows of A.
type block struct {
	p        *product
	x, depth int
	j, n, m  int
	packed   []float32
}

// strip is a run of a block's columns for one micro-kernel.
type strip struct {
	vectors, cols int
	data          []float32
	stride        int
}

// strip returns the strip that begins at the block's column j.
func (b *block) strip(j int) strip {
	v := b.p.engine.vectors(b.m, b.n-j)
	wide := v * b.p.engine.lanes()
	s := strip{vectors: v, cols: min(wide, b.n-j)}
	if b.direct() && s.cols == wide {
		s.data, s.stride = b.p.b.full[b.x*b.p.bx+b.j+j:], b.p.bx
	} else {
		s.data, s.stride = b.packed[j*b.depth:], roundUp(wide)
	}
	return s
}

// direct reports whether whole strips are read where they lie.
func (b *block) direct() bool {
	return b.m <= rowsUnpacked && b.p.bj == 1 && b.p.b.half == nil
}

// pack copies the strips that are not read directly, and widens bfloat16 on the way.
func (b *block) pack() {
	for j := 0; j < b.n; {
		s := b.strip(j)
		if !b.direct() || s.cols < s.vectors*b.p.engine.lanes() {
			src := b.p.b.from(b.x*b.p.bx + (b.j+j)*b.p.bj)
			if b.p.bj == 1 {
				for g := 0; g < s.stride; g += stripStep {
					b.p.engine.copyStrip(s.data[g:], s.stride, src.from(g), b.p.bx, b.depth, min(stripStep, s.cols-g))
				}
			} else {
				b.turn(s, src)
			}
		}
		j += s.cols
	}
}

// turn packs a strip of columns that lie as rows.
func (b *block) turn(s strip, src operand) {
	const side = 8
	stride := b.p.bj
	if s.cols < side || b.depth < side {
		transposeGo(s.data, s.stride, src, stride, s.cols, b.depth)
	} else {
		for g := 0; g < s.cols; g += side {
			// The last squares overlap those before them rather than stick out.
			g := min(g, s.cols-side)
			b.p.engine.transpose(s.data[g:], s.stride, src.from(g*stride), stride, b.depth/side)
			if x := b.depth - side; b.depth%side != 0 {
				b.p.engine.transpose(s.data[x*s.stride+g:], s.stride, src.from(g*stride+x), stride, 1)
			}
		}
	}
	if s.cols < s.stride {
		for x := range b.depth {
			clear(s.data[x*s.stride+s.cols : (x+1)*s.stride])
		}
	}
}

// panel multiplies the rows [i0, i1) of A, at most maxRows, with the block.
func (b *block) panel(i0, i1 int, scratch []float32, beta float32) {
	p := b.p
	a, rs, ks := p.a[i0*p.ai+b.x*p.ax:], p.ai, p.ax
	rows := i1 - i0
	if b.n > colsUnpacked {
		if ks == 1 {
			stride := b.depth + stripStep
			for i := range rows {
				copy(scratch[i*stride:][:b.depth], a[i*rs:])
			}
			a, rs = scratch, stride
		} else {
			p.engine.copyStrip(scratch, stripStep, operand{full: a}, ks, b.depth, rows)
			a, rs, ks = scratch, 1, stripStep
		}
	}
	for j := 0; j < b.n; {
		s := b.strip(j)
		p.engine.tile(rows, s.vectors, b.depth, a, rs, ks, s.data, s.stride, p.c[i0*p.ci+b.j+j:], p.ci, s.cols, p.alpha, beta)
		j += s.cols
	}
}
