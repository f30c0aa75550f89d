package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// writer adds the shorthands that the kernels share to avo's context.
type writer struct {
	*build.Context
	ones  operand.Mem // eight words of ones, then eight of zeros
	upper operand.Mem // the upper halves of eight words
}

func newWriter() writer {
	g := writer{Context: build.NewContext()}
	g.ones = g.StaticGlobal("ones")
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := range 16 {
		word := uint32(0)
		if i < 8 {
			word = ^word
		}
		g.AddDatum(4*i, operand.U32(word))
	}
	g.upper = g.StaticGlobal("upper")
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := range 8 {
		g.AddDatum(4*i, operand.U32(0xffff0000))
	}
	return g
}

// function begins a function that keeps no pointer.
func (g writer) function(name, signature string) {
	g.Function(name)
	g.Attributes(attr.NOSPLIT)
	g.Pragma("noescape")
	g.SignatureExpr(signature)
}

// set is an instruction set: the width of its vectors and the micro-kernels that fit its registers.
type set struct {
	name, title string
	lanes       int
	tiles       []tile
	maxVectors  int // input vectors that one pass of rows multiplies
	maxColumns  int // and that one pass of columns does
}

// tile is a micro-kernel's block of C, kept in registers: rows × vectors·lanes.
type tile struct{ rows, vectors int }

var (
	avx2   = set{name: "256", title: "AVX2", lanes: 8, tiles: tiles(6, 2, wide{1, 8}, wide{2, 4}), maxVectors: 2, maxColumns: 4}
	avx512 = set{name: "512", title: "AVX-512", lanes: 16, tiles: tiles(14, 2, wide{3, 8}, wide{6, 4}), maxVectors: 4, maxColumns: 8}
)

// wide asks for tiles of up to rows rows and more vectors than usual, for products of few rows.
type wide struct{ rows, vectors int }

func tiles(rows, vectors int, wides ...wide) []tile {
	var all []tile
	for v := 1; v <= vectors; v++ {
		for r := 1; r <= rows; r++ {
			all = append(all, tile{r, v})
		}
	}
	first := 1
	for _, w := range wides {
		for r := first; r <= w.rows; r++ {
			all = append(all, tile{r, w.vectors})
		}
		first = w.rows + 1
	}
	return all
}

func (s set) tileName(t tile) string { return fmt.Sprintf("tile%sx%dx%d", s.name, t.rows, t.vectors) }

// vector returns a new vector register of the set.
func (g writer) vector(s set) reg.VecVirtual {
	if s.lanes == 16 {
		return g.ZMM()
	}
	return g.YMM()
}

// zero clears v.
func (g writer) zero(v reg.VecVirtual) {
	if v.Size() == 64 {
		g.VPXORD(v, v, v)
	} else {
		g.VXORPS(v, v, v)
	}
}

// bytes loads the parameter name, a distance in elements of 1<<shift bytes, as a distance in bytes.
func (g writer) bytes(name string, shift uint64) reg.GPVirtual {
	r := g.param(name)
	g.SHLQ(operand.U8(shift), r)
	return r
}

// param loads the integer or pointer parameter name.
func (g writer) param(name string) reg.GPVirtual {
	r := g.GP64()
	g.Load(g.Param(name), r)
	return r
}

// address is where the parameter name lies on the stack.
func (g writer) address(name string) operand.Mem {
	p, err := g.Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return p.Addr
}

// mask returns a mask of the first n of a vector's lanes, 0 ≤ n ≤ lanes: a mask register for AVX-512, a vector of
// ones and zeros for AVX2.
func (g writer) mask(s set, n reg.GPVirtual) reg.Register {
	if s.lanes == 16 {
		ones, k := g.GP32(), g.K()
		g.MOVL(operand.U32(0xffff), ones)
		g.BZHIL(n.As32(), ones, ones)
		g.KMOVW(ones, k)
		return k
	}
	// The table holds eight words of ones and eight of zeros; the mask starts 8-n words into it.
	at, m := g.GP64(), g.YMM()
	g.LEAQ(g.ones.Offset(32), at)
	bytes := g.GP64()
	g.MOVQ(n, bytes)
	g.SHLQ(operand.U8(2), bytes)
	g.SUBQ(bytes, at)
	g.VMOVUPS(operand.Mem{Base: at}, m)
	return m
}

// sumLanes adds the lanes of v and returns the sum in the lowest lane.
func (g writer) sumLanes(s set, v reg.VecVirtual) reg.VecVirtual {
	sum, t := g.XMM(), g.XMM()
	if s.lanes == 16 {
		// These forms reach all 32 registers.
		half := g.YMM()
		g.VEXTRACTF64X4(operand.U8(1), v.AsZ(), half)
		g.VADDPS(half, v.AsY(), half)
		g.VEXTRACTF32X4(operand.U8(1), half, sum)
		g.VADDPS(sum, half.AsX(), sum)
	} else {
		g.VEXTRACTF128(operand.U8(1), v.AsY(), sum)
		g.VADDPS(sum, v.AsX(), sum)
	}
	g.VPERMILPD(operand.U8(1), sum, t)
	g.VADDPS(t, sum, sum)
	g.VMOVSHDUP(sum, t)
	g.VADDSS(t, sum, sum)
	return sum
}
