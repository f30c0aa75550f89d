package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const tileParams = "k int, a *float32, rs, ks int, b *float32, bs int, c *float32, cs, cols int, alpha, beta float32"

// tile writes one micro-kernel:
//
//	C[i, j] = alpha · Σ_x A[i, x] · B[x, j] + beta · C[i, j],  i < rows, j < cols ≤ vectors·lanes
//
// with A[i, x] at a + i·rs + x·ks, B[x, j] at b + x·bs + j and C[i, j] at c + i·cs + j, all in floats, and k > 0.
// All vectors·lanes columns of B are read; only cols of C are touched, which end in the last vector, and C is not
// read where beta is 0.
func (g writer) tile(s set, t tile) {
	g.function(s.tileName(t), "func("+tileParams+")")
	g.Doc(fmt.Sprintf("%s adds k outer products into a block of %d rows and %d columns.", s.tileName(t), t.rows, t.vectors*s.lanes))

	acc := g.sums(s, t)
	g.fetch(s, t)
	g.products(s, t, acc)
	g.store(s, t, acc)
	g.RET()
}

// sums returns registers of zeros for a tile of C.
func (g writer) sums(s set, t tile) [][]reg.VecVirtual {
	acc := make([][]reg.VecVirtual, t.rows)
	for i := range acc {
		for range t.vectors {
			v := g.vector(s)
			g.zero(v)
			acc[i] = append(acc[i], v)
		}
	}
	return acc
}

// fetch asks for the block of C, which is wanted when the products are done.
func (g writer) fetch(s set, t tile) {
	c, cs := g.param("c"), g.bytes("cs", 2)
	for i := range t.rows {
		for at := 0; at < t.vectors*s.lanes*4; at += 64 {
			g.PREFETCHT0(Mem{Base: c, Disp: at})
		}
		if i < t.rows-1 {
			g.ADDQ(cs, c)
		}
	}
}

// products is the loop over k.
func (g writer) products(s set, t tile, acc [][]reg.VecVirtual) {
	k := g.param("k")
	rs, ks := g.bytes("rs", 2), g.bytes("ks", 2)
	b, bs := g.param("b"), g.bytes("bs", 2)
	// One pointer serves three rows: itself, one and two strides on.
	a := []reg.GPVirtual{g.param("a")}
	for i := 3; i < t.rows; i += 3 {
		next := g.GP64()
		g.LEAQ(Mem{Base: a[len(a)-1], Index: rs, Scale: 2}, next)
		g.ADDQ(rs, next)
		a = append(a, next)
	}
	row := func(i int) Mem {
		if i%3 == 0 {
			return Mem{Base: a[i/3]}
		}
		return Mem{Base: a[i/3], Index: rs, Scale: uint8(i % 3)}
	}

	loop := "loop"
	g.Label(loop)
	column := func(v int) Mem { return Mem{Base: b, Disp: v * s.lanes * 4} }
	// Whichever of A's column and B's row has fewer vectors waits in registers for the other.
	if t.rows <= t.vectors {
		xs := make([]reg.VecVirtual, t.rows)
		for i := range xs {
			xs[i] = g.vector(s)
			g.VBROADCASTSS(row(i), xs[i])
		}
		for v := range t.vectors {
			var col Op = column(v)
			if t.rows > 1 {
				r := g.vector(s)
				g.VMOVUPS(column(v), r)
				col = r
			}
			for i, x := range xs {
				g.VFMADD231PS(col, x, acc[i][v])
			}
		}
	} else {
		cols := make([]reg.VecVirtual, t.vectors)
		for v := range cols {
			cols[v] = g.vector(s)
			g.VMOVUPS(column(v), cols[v])
		}
		for i := range t.rows {
			x := g.vector(s)
			g.VBROADCASTSS(row(i), x)
			for v := range cols {
				g.VFMADD231PS(cols[v], x, acc[i][v])
			}
		}
	}
	for _, p := range a {
		g.ADDQ(ks, p)
	}
	g.ADDQ(bs, b)
	g.DECQ(k)
	g.JNZ(LabelRef(loop))
}

// store writes alpha·acc, plus beta·C where beta is not 0, to C.
func (g writer) store(s set, t tile, acc [][]reg.VecVirtual) {
	c, cs := g.param("c"), g.bytes("cs", 2)
	alpha, beta, bits := g.scales(s)
	last := g.param("cols")
	g.SUBQ(U32((t.vectors-1)*s.lanes), last)

	either := func(name string, mask reg.Register) {
		g.TESTL(bits, bits)
		g.JZ(LabelRef(name + "new"))
		g.block(s, t, acc, c, cs, alpha, beta, mask)
		g.JMP(LabelRef("done"))
		g.Label(name + "new")
		g.block(s, t, acc, c, cs, alpha, nil, mask)
	}
	if s.lanes == 8 {
		// Masked stores are slow on AVX2.
		g.CMPQ(last, U32(s.lanes))
		g.JNE(LabelRef("some"))
		either("all", nil)
		g.JMP(LabelRef("done"))
		g.Label("some")
	}
	either("some", g.mask(s, last))
	g.Label("done")
	g.VZEROUPPER()
}

// scales loads alpha, and beta also as the bits that say whether it is 0.
func (g writer) scales(s set) (alpha, beta reg.VecVirtual, bits reg.GPVirtual) {
	alpha, beta, bits = g.vector(s), g.vector(s), g.GP32()
	g.VBROADCASTSS(g.address("alpha"), alpha)
	g.VBROADCASTSS(g.address("beta"), beta)
	g.MOVL(g.address("beta"), bits)
	return alpha, beta, bits
}

// block writes the rows of one block; mask, where given, restricts the last vector of each row. Where beta is nil,
// C is not read.
func (g writer) block(s set, t tile, acc [][]reg.VecVirtual, c, cs reg.GPVirtual, alpha, beta reg.VecVirtual, mask reg.Register) {
	for i, row := range acc {
		for v, x := range row {
			at := Mem{Base: c, Disp: v * s.lanes * 4}
			masked := mask != nil && v == t.vectors-1
			g.VMULPS(alpha, x, x)
			switch {
			case beta == nil:
			case !masked:
				g.VFMADD231PS(at, beta, x)
			case s.lanes == 16:
				g.VFMADD231PS(at, beta, mask, x)
			default:
				old := g.vector(s)
				g.VMASKMOVPS(at, mask, old)
				g.VFMADD231PS(old, beta, x)
			}
			switch {
			case !masked:
				g.VMOVUPS(x, at)
			case s.lanes == 16:
				g.VMOVUPS(x, mask, at)
			default:
				g.VMASKMOVPS(x, mask, at)
			}
		}
		if i < len(acc)-1 {
			g.ADDQ(cs, c)
		}
	}
}
