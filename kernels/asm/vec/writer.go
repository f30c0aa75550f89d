package main

import (
	"fmt"
	"math"
	"slices"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/gotypes"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// set is an instruction set: the width of its vectors and how its functions are called.
type set struct {
	name, file string
	lanes      int // float32 values in a vector
}

var (
	avx2   = set{name: "AVX2", file: "avx2", lanes: 8}
	avx512 = set{name: "AVX512", file: "avx512", lanes: 16}
)

// writer writes functions for one instruction set. Where both sets have an instruction of the same name and
// meaning, the code that calls it is the same.
type writer struct {
	*build.Context
	set
	constants map[uint32]operand.Mem    // in memory: one word for AVX-512, a whole vector for AVX2
	held      map[uint32]reg.VecVirtual // by the current function in registers, AVX-512 only
	ones      operand.Mem               // AVX2: a vector of ones, then one of zeros
	labels    int
}

func newWriter(s set) *writer {
	w := &writer{Context: build.NewContext(), set: s, constants: map[uint32]operand.Mem{}}
	if s == avx2 {
		words := make([]uint32, 2*s.lanes)
		for i := range s.lanes {
			words[i] = math.MaxUint32
		}
		w.ones = w.data("ones"+s.name, words)
	}
	return w
}

// function begins a function whose constants, given as the bits of a float32 or as an integer, are named here, so
// that registers can hold them through its loops.
func (w *writer) function(name, signature, doc string, constants ...uint32) {
	for _, c := range constants {
		w.define(c)
	}
	w.Function(name + w.name)
	w.Attributes(attr.NOSPLIT)
	w.Pragma("noescape")
	w.SignatureExpr("func" + signature)
	w.Doc(name + w.name + " " + doc)
	w.hold(constants)
}

// define puts a constant into the file.
func (w *writer) define(bits uint32) {
	if _, ok := w.constants[bits]; ok {
		return
	}
	words := []uint32{bits}
	if w.set == avx2 {
		for len(words) < w.lanes {
			words = append(words, bits)
		}
	}
	w.constants[bits] = w.data(fmt.Sprintf("c%08x%s", bits, w.name), words)
}

func (w *writer) data(name string, words []uint32) operand.Mem {
	m := w.StaticGlobal(name)
	w.DataAttributes(attr.RODATA | attr.NOPTR)
	for i, word := range words {
		w.AddDatum(4*i, operand.U32(word))
	}
	return m
}

// hold loads the constants into registers; AVX2 has too few and reads them from memory where they are used.
func (w *writer) hold(constants []uint32) {
	w.held = map[uint32]reg.VecVirtual{}
	if w.set == avx2 {
		return
	}
	for _, c := range constants {
		if w.held[c] == nil {
			v := w.vector()
			w.VBROADCASTSS(w.constants[c], v)
			w.held[c] = v
		}
	}
}

// constant returns an operand, register or memory, that has c in every lane.
func (w *writer) constant(c uint32) operand.Op {
	if v := w.held[c]; v != nil {
		return v
	}
	m, ok := w.constants[c]
	if !ok || w.set == avx512 {
		panic(fmt.Sprintf("constant %#x is used but not named by the function", c))
	}
	return m
}

// value returns a register that has c in every lane and must not be written.
func (w *writer) value(c uint32) reg.VecVirtual {
	if v := w.held[c]; v != nil {
		return v
	}
	return w.fresh(c)
}

// fresh returns a new register that has c in every lane.
func (w *writer) fresh(c uint32) reg.VecVirtual {
	v := w.vector()
	w.VMOVUPS(w.constant(c), v)
	return v
}

// vector returns a new vector register.
func (w *writer) vector() reg.VecVirtual {
	if w.set == avx512 {
		return w.ZMM()
	}
	return w.YMM()
}

// zeros returns a new register of zeros.
func (w *writer) zeros() reg.VecVirtual {
	v := w.vector()
	if w.set == avx512 {
		w.VPXORD(v, v, v)
	} else {
		w.VXORPS(v, v, v)
	}
	return v
}

// and sets z = x & y, or sets z = x | y; x may be memory.
func (w *writer) and(x, y, z operand.Op) {
	if w.set == avx512 {
		w.VPANDD(x, y, z)
	} else {
		w.VANDPS(x, y, z)
	}
}

func (w *writer) or(x, y, z operand.Op) {
	if w.set == avx512 {
		w.VPORD(x, y, z)
	} else {
		w.VORPS(x, y, z)
	}
}

// load and store move a whole vector, or the lanes of mask where there is one. Lanes outside it load as zero.
func (w *writer) load(from operand.Mem, mask, to reg.Register) {
	switch {
	case mask == nil:
		w.VMOVUPS(from, to)
	case w.set == avx512:
		w.VMOVUPS_Z(from, mask, to)
	default:
		w.VMASKMOVPS(from, mask, to)
	}
}

func (w *writer) store(from, mask reg.Register, to operand.Mem) {
	switch {
	case mask == nil:
		w.VMOVUPS(from, to)
	case w.set == avx512:
		w.VMOVUPS(from, mask, to)
	default:
		w.VMASKMOVPS(from, mask, to)
	}
}

// mask returns the mask of the first n lanes, 0 ≤ n < lanes.
func (w *writer) mask(n reg.GPVirtual) reg.Register {
	if w.set == avx512 {
		bits, k := w.GP32(), w.K()
		w.MOVL(operand.U32(0xffff), bits)
		w.BZHIL(n.As32(), bits, bits)
		w.KMOVW(bits, k)
		return k
	}
	at, skip, m := w.GP64(), w.GP64(), w.vector()
	w.LEAQ(w.ones.Offset(4*w.lanes), at)
	w.MOVQ(n, skip)
	w.SHLQ(operand.U8(2), skip)
	w.SUBQ(skip, at)
	w.VMOVUPS(operand.Mem{Base: at}, m)
	return m
}

// pointers loads the addresses of slice parameters.
func (w *writer) pointers(names []string) []reg.GPVirtual {
	ps := make([]reg.GPVirtual, len(names))
	for i, name := range names {
		ps[i] = w.GP64()
		w.Load(w.Param(name).Base(), ps[i])
	}
	return ps
}

// length loads the length of a slice parameter.
func (w *writer) length(name string) reg.GPVirtual {
	n := w.GP64()
	w.Load(w.Param(name).Len(), n)
	return n
}

// broadcast returns a new register that has the float32 parameter in every lane.
func (w *writer) broadcast(name string) reg.VecVirtual {
	v := w.vector()
	w.VBROADCASTSS(w.address(w.Param(name)), v)
	return v
}

func (w *writer) address(c gotypes.Component) operand.Mem {
	b, err := c.Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr
}

// label returns a name that no other label of the function has.
func (w *writer) label(name string) string {
	w.labels++
	return fmt.Sprintf("%s%d", name, w.labels)
}

// loops writes the loops over n elements: while a group of vectors remains, while a vector remains, and once for
// the rest under a mask. The body of each handles the given number of vectors from element i on.
func (w *writer) loops(n reg.GPVirtual, group int, body func(i reg.Register, vectors int, mask reg.Register)) {
	i := w.whole(n, group, func(i reg.Register, vectors int) { body(i, vectors, nil) })
	done := w.label("done")
	w.TESTQ(n, n)
	w.JZ(operand.LabelRef(done))
	body(i, 1, w.mask(n))
	w.Label(done)
}

// whole writes the loops over groups of vectors and over vectors, which leave i at the first of the n elements left.
func (w *writer) whole(n reg.GPVirtual, group int, body func(i reg.Register, vectors int)) (i reg.GPVirtual) {
	i = w.GP64()
	w.XORQ(i, i)
	for _, vectors := range slices.Compact([]int{group, 1}) {
		step := vectors * w.lanes
		w.repeat(i, n, step, func() { body(i, vectors) })
	}
	return i
}

// repeat writes a loop that runs while step elements are left, and advances i and n by them.
func (w *writer) repeat(i, n reg.GPVirtual, step int, body func()) {
	again, done := w.label("loop"), w.label("done")
	size := operand.U32(uint32(step))
	w.Label(again)
	w.CMPQ(n, size)
	w.JLT(operand.LabelRef(done))
	body()
	w.ADDQ(size, i)
	w.SUBQ(size, n)
	w.JMP(operand.LabelRef(again))
	w.Label(done)
}

// lane returns the place of vector v counted from element i of p.
func (w *writer) lane(p, i reg.Register, v int) operand.Mem {
	return operand.Mem{Base: p, Index: i, Scale: 4, Disp: 4 * v * w.lanes}
}
