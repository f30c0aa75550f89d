package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The conversions treat bfloat16 as 16-bit words, the upper halves of float32. AVX2 cannot mask words, and does
// what is left after the last whole vector one by one.

const lowest, almostHalf, quiet = 1, 0x7fff, 0x40

// toBF16 rounds to nearest, ties to even.
func (w *writer) toBF16() {
	w.function("toBF16", "(y []uint16, x []float32)", "rounds x to the nearest bfloat16, ties to even.", lowest, almostHalf, quiet)
	p := w.pointers([]string{"y", "x"})
	y, x, n := p[0], p[1], w.length("x")
	if w.set == avx512 {
		w.loops(n, 1, func(i reg.Register, _ int, mask reg.Register) {
			v := w.vector()
			w.load(w.lane(x, i, 0), mask, v)
			if mask == nil {
				w.VPMOVDW(w.roundBF16(v), word(y, i, 0))
			} else {
				w.VPMOVDW(w.roundBF16(v), mask, word(y, i, 0))
			}
		})
	} else {
		i := w.whole(n, 2, func(i reg.Register, vectors int) {
			var v [2]reg.VecVirtual
			for at := range vectors {
				v[at] = w.vector()
				w.VMOVUPS(w.lane(x, i, at), v[at])
				v[at] = w.roundBF16(v[at])
			}
			if vectors == 1 {
				v[1] = v[0]
			}
			// Packing works within the halves of the vectors, a0 b0 a1 b1; wanted is a0 a1 b0 b1.
			w.VPACKUSDW(v[1], v[0], v[0])
			w.VPERMQ(operand.U8(0b11_01_10_00), v[0], v[0])
			if vectors == 2 {
				w.VMOVDQU(v[0], word(y, i, 0))
			} else {
				w.VMOVDQU(v[0].AsX(), word(y, i, 0))
			}
		})
		w.repeat(i, n, 1, func() {
			v := w.XMM()
			w.VMOVSS(w.lane(x, i, 0), v)
			w.VPEXTRW(operand.U8(0), w.roundBF16(v), word(y, i, 0))
		})
	}
	w.VZEROUPPER()
	w.RET()
}

// roundBF16 rounds in integers: x + 0x7fff + the lowest bit that stays, then the upper half. NaN keeps its upper
// half and is made quiet.
func (w *writer) roundBF16(x reg.VecVirtual) reg.VecVirtual {
	half, rounded := w.like(x), w.like(x)
	w.VPSRLD(operand.U8(16), x, half)
	w.and(w.constant(lowest), half, rounded)
	w.VPADDD(w.constant(almostHalf), rounded, rounded)
	w.VPADDD(x, rounded, rounded)
	w.VPSRLD(operand.U8(16), rounded, rounded)
	w.or(w.constant(quiet), half, half)
	unordered := operand.U8(3)
	if w.set == avx512 {
		nan := w.K()
		w.VCMPPS(unordered, x, x, nan)
		w.VMOVDQU32(half, nan, rounded)
	} else {
		nan := w.like(x)
		w.VCMPPS(unordered, x, x, nan)
		w.VBLENDVPS(nan, half, rounded, rounded)
	}
	return rounded
}

// fromBF16 widens.
func (w *writer) fromBF16() {
	w.function("fromBF16", "(y []float32, x []uint16)", "widens x.")
	p := w.pointers([]string{"y", "x"})
	y, x, n := p[0], p[1], w.length("x")
	widen := func(i reg.Register, vectors int, mask reg.Register) {
		for v := range vectors {
			f := w.vector()
			if mask == nil {
				w.VPMOVZXWD(word(x, i, v*w.lanes), f)
			} else {
				w.VPMOVZXWD_Z(word(x, i, 0), mask, f)
			}
			w.VPSLLD(operand.U8(16), f, f)
			w.store(f, mask, w.lane(y, i, v))
		}
	}
	if w.set == avx512 {
		w.loops(n, 4, widen)
	} else {
		i := w.whole(n, 4, func(i reg.Register, vectors int) { widen(i, vectors, nil) })
		w.repeat(i, n, 1, func() {
			bits := w.GP32()
			w.MOVWLZX(word(x, i, 0), bits)
			w.SHLL(operand.U8(16), bits)
			w.MOVL(bits, w.lane(y, i, 0))
		})
	}
	w.VZEROUPPER()
	w.RET()
}

// word returns the place of the 16-bit word skip words after word i of p.
func word(p, i reg.Register, skip int) operand.Mem {
	return operand.Mem{Base: p, Index: i, Scale: 2, Disp: 2 * skip}
}

// like returns a new register of the size of x.
func (w *writer) like(x reg.VecVirtual) reg.VecVirtual {
	if x.Size() == 16 {
		return w.XMM()
	}
	return w.vector()
}
