package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// transpose writes the packing of eight rows of 8·blocks elements into 8·blocks rows of eight floats:
// dst[x·ds + i] = src[i·ss + x]. It is the 8×8 transpose of AVX2: unpack pairs, then quadruples, then halves.
func (g writer) transpose(half bool) {
	name, element, shift := "transpose", "float32", uint64(2)
	if half {
		name, element, shift = "transposeBF16", "bf16.BF16", 1
	}
	g.function(name, "func(dst *float32, ds int, src *"+word(half)+", ss, blocks int)")
	g.Doc(name + " lays eight rows of 8·blocks " + element + " side by side: dst[x·ds+i] = src[i·ss+x].")
	dst, ds := g.param("dst"), g.bytes("ds", 2)
	src, ss := g.param("src"), g.bytes("ss", shift)
	blocks := g.param("blocks")
	ss3, src4 := g.GP64(), g.GP64()
	g.LEAQ(Mem{Base: ss, Index: ss, Scale: 2}, ss3)
	g.LEAQ(Mem{Base: src, Index: ss, Scale: 4}, src4)
	ds3 := g.GP64()
	g.LEAQ(Mem{Base: ds, Index: ds, Scale: 2}, ds3)

	g.Label("loop")
	r := make([]reg.VecVirtual, 8)
	for i, m := range eightRows(src, src4, ss, ss3) {
		r[i] = g.YMM()
		if half {
			g.VPMOVZXWD(m, r[i])
			g.VPSLLD(Imm(16), r[i], r[i])
		} else {
			g.VMOVUPS(m, r[i])
		}
	}
	dst4 := g.GP64()
	g.LEAQ(Mem{Base: dst, Index: ds, Scale: 4}, dst4)
	out := g.transposed(r)
	for x, m := range eightRows(dst, dst4, ds, ds3) {
		g.VMOVUPS(out[x], m)
	}
	g.LEAQ(Mem{Base: dst, Index: ds, Scale: 8}, dst)
	step := Imm(8 << shift)
	g.ADDQ(step, src)
	g.ADDQ(step, src4)
	g.DECQ(blocks)
	g.JNZ(LabelRef("loop"))
	g.VZEROUPPER()
	g.RET()
}

func word(half bool) string {
	if half {
		return "uint16"
	}
	return "float32"
}

// eightRows addresses eight rows from two pointers, the second four strides behind the first.
func eightRows(p, p4, stride, stride3 reg.GPVirtual) []Mem {
	var m []Mem
	for _, base := range []reg.GPVirtual{p, p4} {
		m = append(m, Mem{Base: base}, Mem{Base: base, Index: stride, Scale: 1},
			Mem{Base: base, Index: stride, Scale: 2}, Mem{Base: base, Index: stride3, Scale: 1})
	}
	return m
}

// transposed returns the columns of eight rows of eight words.
func (g writer) transposed(r []reg.VecVirtual) []reg.VecVirtual {
	pairs := make([]reg.VecVirtual, 8) // lanes of rows (0,1), (2,3), (4,5), (6,7): low and high
	for i := 0; i < 8; i += 2 {
		pairs[i], pairs[i+1] = g.YMM(), g.YMM()
		g.VUNPCKLPS(r[i+1], r[i], pairs[i])
		g.VUNPCKHPS(r[i+1], r[i], pairs[i+1])
	}
	fours := make([]reg.VecVirtual, 8) // column x of rows 0–3 at x, of rows 4–7 at 4+x; column x+4 in the upper half
	for h := 0; h < 8; h += 4 {
		for x := range 4 {
			fours[h+x] = g.YMM()
			g.VSHUFPS(Imm([]uint64{0x44, 0xee}[x&1]), pairs[h+2+x/2], pairs[h+x/2], fours[h+x])
		}
	}
	out := make([]reg.VecVirtual, 8)
	for x := range 4 {
		out[x], out[x+4] = g.YMM(), g.YMM()
		g.VPERM2F128(Imm(0x20), fours[4+x], fours[x], out[x])
		g.VPERM2F128(Imm(0x31), fours[4+x], fours[x], out[x+4])
	}
	return out
}

// transposed16 returns the columns of sixteen rows of sixteen words.
func (g writer) transposed16(r []reg.VecVirtual) []reg.VecVirtual {
	// In each quarter q of the vectors, words of rows i … i+3: first in pairs, then as column 4q+x at [i+x].
	fours := make([]reg.VecVirtual, 16)
	for i := 0; i < 16; i += 4 {
		var low, high [2]reg.VecVirtual
		for h := range 2 {
			low[h], high[h] = g.ZMM(), g.ZMM()
			g.VUNPCKLPS(r[i+2*h+1], r[i+2*h], low[h])
			g.VUNPCKHPS(r[i+2*h+1], r[i+2*h], high[h])
		}
		for h, pairs := range [][2]reg.VecVirtual{low, high} {
			fours[i+2*h], fours[i+2*h+1] = g.ZMM(), g.ZMM()
			g.VUNPCKLPD(pairs[1], pairs[0], fours[i+2*h])
			g.VUNPCKHPD(pairs[1], pairs[0], fours[i+2*h+1])
		}
	}
	// Then the quarters: the even and the odd ones of two vectors, and of these the first and the second.
	const even, odd = 0x88, 0xdd
	out := make([]reg.VecVirtual, 16)
	for x := range 4 {
		for q, quarters := range []uint64{even, odd} {
			upper, lower := g.ZMM(), g.ZMM()
			g.VSHUFF32X4(Imm(quarters), fours[4+x], fours[x], upper)
			g.VSHUFF32X4(Imm(quarters), fours[12+x], fours[8+x], lower)
			out[4*q+x], out[4*(q+2)+x] = g.ZMM(), g.ZMM()
			g.VSHUFF32X4(Imm(even), lower, upper, out[4*q+x])
			g.VSHUFF32X4(Imm(odd), lower, upper, out[4*(q+2)+x])
		}
	}
	return out
}

// strip writes the packing of a strip of up to sixteen columns that already lie in rows:
// dst[x·ds + j] = src[x·ss + j] for j < cols, 0 for cols ≤ j < 16. The bfloat16 version wants all sixteen.
func (g writer) strip(half bool) {
	if half {
		g.function("copyStripBF16", "func(dst *float32, ds int, src *uint16, ss, rows int)")
		g.Doc("copyStripBF16 widens rows of sixteen bfloat16: dst[x·ds+j] = src[x·ss+j].")
	} else {
		g.function("copyStrip", "func(dst *float32, ds int, src *float32, ss, rows, cols int)")
		g.Doc("copyStrip copies rows of 1 to 16 columns: dst[x·ds+j] = src[x·ss+j], and 0 from cols to 16.")
	}
	shift := uint64(2)
	if half {
		shift = 1
	}
	dst, ds := g.param("dst"), g.bytes("ds", 2)
	src, ss := g.param("src"), g.bytes("ss", shift)
	rows := g.param("rows")
	var masks [2]reg.Register
	if !half {
		cols := g.param("cols")
		eight, none := g.GP64(), g.GP64()
		g.MOVQ(U32(8), eight)
		g.XORQ(none, none)
		for v := range masks {
			n := g.GP64()
			g.MOVQ(cols, n)
			g.CMPQ(n, eight)
			g.CMOVQGT(eight, n)
			masks[v] = g.mask(avx2, n)
			g.SUBQ(Imm(8), cols)
			g.CMOVQLT(none, cols)
		}
	}
	g.Label("loop")
	for v := range 2 {
		x := g.YMM()
		at := Mem{Base: src, Disp: v * 8 << shift}
		if half {
			g.VPMOVZXWD(at, x)
			g.VPSLLD(Imm(16), x, x)
		} else {
			g.VMASKMOVPS(at, masks[v], x)
		}
		g.VMOVUPS(x, Mem{Base: dst, Disp: v * 32})
	}
	g.ADDQ(ss, src)
	g.ADDQ(ds, dst)
	g.DECQ(rows)
	g.JNZ(LabelRef("loop"))
	g.VZEROUPPER()
	g.RET()
}
