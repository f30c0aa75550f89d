package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// ahead is how far, in bytes, rows asks for weights before it needs them: far enough to cover the latency of
// memory, and across the ends of pages, where the hardware's own prefetching stops. They go to the second-level
// cache: the first has too few requests in flight to keep memory busy.
const ahead = 8192

// unroll is the number of vectors of a row in flight.
const unroll = 4

// rows writes the product of a matrix, row by row, with m vectors:
//
//	y[r·ys + i·ym] = alpha · Σ_x w[r·ws + x] · x[i·xs + x] + beta · y[r·ys + i·ym],  i < m
//
// y is not read where beta is 0.
func (g writer) rows(s set, m int) {
	name := s.rowsName(m)
	g.function(name, "func("+rowsParams+")")
	g.Doc(name + " multiplies rows of a matrix with " + fmt.Sprint(m) + " vectors of k values.")
	r := rowWriter{writer: g, set: s, m: m}
	rows := g.param("rows")
	row, ws := g.param("w"), g.bytes("ws", 2)
	y, ys := g.param("y"), g.bytes("ys", 2)
	r.xs, r.xs3 = g.bytes("xs", 2), g.GP64()
	g.LEAQ(Mem{Base: r.xs, Index: r.xs, Scale: 2}, r.xs3)

	g.Label("row")
	r.w, r.x = g.GP64(), g.param("x")
	g.MOVQ(row, r.w)
	r.sum()
	at, ym := g.GP64(), g.bytes("ym", 2)
	g.MOVQ(y, at)
	alpha, beta := g.XMM(), g.XMM()
	g.VMOVSS(g.address("alpha"), alpha)
	g.VMOVSS(g.address("beta"), beta)
	bits := g.GP32()
	g.MOVL(g.address("beta"), bits)
	g.TESTL(bits, bits)
	g.JZ(LabelRef("new"))
	for _, a := range r.acc {
		g.VMULSS(alpha, a.AsX(), a.AsX())
		g.VFMADD231SS(Mem{Base: at}, beta, a.AsX())
		g.VMOVSS(a.AsX(), Mem{Base: at})
		g.ADDQ(ym, at)
	}
	g.JMP(LabelRef("next"))
	g.Label("new")
	for _, a := range r.acc {
		g.VMULSS(alpha, a.AsX(), a.AsX())
		g.VMOVSS(a.AsX(), Mem{Base: at})
		g.ADDQ(ym, at)
	}
	g.Label("next")
	g.ADDQ(ws, row)
	g.ADDQ(ys, y)
	g.DECQ(rows)
	g.JNZ(LabelRef("row"))
	g.VZEROUPPER()
	g.RET()
}

const rowsParams = "rows, k int, w *float32, ws int, x *float32, xs int, y *float32, ys, ym int, alpha, beta float32"

func (s set) rowsName(m int) string { return fmt.Sprintf("rows%sx%d", s.name, m) }

// rowWriter is the state of one row's sum.
type rowWriter struct {
	writer
	set     set
	m       int
	w, x    reg.GPVirtual // where the sum has got to
	xs, xs3 reg.GPVirtual
	acc     []reg.VecVirtual // the sums, one a vector
	parts   [][]reg.VecVirtual
}

// vectorOf addresses vector i of x, u vectors of lanes further on.
func (r *rowWriter) vectorOf(i, u int) Mem {
	at := Mem{Base: r.x, Disp: u * r.set.lanes * 4}
	switch i {
	case 1:
		at.Index, at.Scale = r.xs, 1
	case 2:
		at.Index, at.Scale = r.xs, 2
	case 3:
		at.Index, at.Scale = r.xs3, 1
	}
	return at
}

// weights loads vector u of the row, restricted to mask where given.
func (r *rowWriter) weights(u int, mask reg.Register) reg.VecVirtual {
	v := r.vector(r.set)
	at := Mem{Base: r.w, Disp: u * r.set.lanes * 4}
	if mask != nil {
		r.VMOVUPS_Z(at, mask, v)
	} else {
		r.VMOVUPS(at, v)
	}
	return v
}

// sum leaves the m sums of one row in the lowest lanes of acc. Several partial sums hide the latency of the
// additions; their number does not depend on m, so that a vector's result does not depend on its company.
func (r *rowWriter) sum() {
	r.acc, r.parts = nil, nil
	for range unroll {
		var part []reg.VecVirtual
		for range r.m {
			v := r.vector(r.set)
			r.zero(v)
			part = append(part, v)
		}
		r.parts = append(r.parts, part)
	}
	k := r.param("k")
	r.loop("wide", k, unroll, true)
	for _, part := range r.parts[1:] {
		for i, v := range part {
			r.VADDPS(v, r.parts[0][i], r.parts[0][i])
		}
	}
	r.parts = r.parts[:1]
	r.loop("narrow", k, 1, false)
	if r.set.lanes == 16 {
		r.TESTQ(k, k)
		r.JZ(LabelRef("whole"))
		mask := r.mask(r.set, k)
		w := r.weights(0, mask)
		for i, v := range r.parts[0] {
			r.VFMADD231PS(r.vectorOf(i, 0), w, mask, v)
		}
		r.Label("whole")
	}
	for _, v := range r.parts[0] {
		r.acc = append(r.acc, r.sumLanes(r.set, v))
	}
	if r.set.lanes == 8 {
		r.scalars(k)
	}
}

// loop adds the products of u vectors of the row at a time while k lasts.
func (r *rowWriter) loop(name string, k reg.GPVirtual, u int, prefetch bool) {
	step := u * r.set.lanes
	r.SUBQ(U32(step), k)
	r.JL(LabelRef(name + "end"))
	r.Label(name)
	for j := range u {
		w := r.weights(j, nil)
		for i, v := range r.parts[j] {
			r.VFMADD231PS(r.vectorOf(i, j), w, v)
		}
	}
	if prefetch {
		for at := 0; at < step*4; at += 64 {
			r.PREFETCHT1(Mem{Base: r.w, Disp: ahead + at})
		}
	}
	r.ADDQ(U32(step*4), r.w)
	r.ADDQ(U32(step*4), r.x)
	r.SUBQ(U32(step), k)
	r.JGE(LabelRef(name))
	r.Label(name + "end")
	r.ADDQ(U32(step), k)
}

// scalars adds the last k products one by one.
func (r *rowWriter) scalars(k reg.GPVirtual) {
	r.TESTQ(k, k)
	r.JZ(LabelRef("whole"))
	r.Label("scalar")
	w := r.XMM()
	r.VMOVSS(Mem{Base: r.w}, w)
	for i, a := range r.acc {
		r.VFMADD231SS(r.vectorOf(i, 0), w, a.AsX())
	}
	r.ADDQ(Imm(4), r.w)
	r.ADDQ(Imm(4), r.x)
	r.DECQ(k)
	r.JNZ(LabelRef("scalar"))
	r.Label("whole")
}
