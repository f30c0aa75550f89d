package main

import (
	"strings"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// elementwise writes a function whose results at one place depend on the inputs at that place alone. params are its
// parameters, results first; a parameter named alpha or beta is a number, broadcast for body.
type elementwise struct {
	name, doc string
	results   []string
	inputs    []string
	scalars   []string // each stands before the input of the same index
	update    bool     // the result is also the first input of body
	group     int      // vectors of one turn of the main loop
	constants []uint32
	body      func(in, scalars []reg.VecVirtual) []reg.VecVirtual
}

func (w *writer) elementwise(e elementwise) {
	var params []string
	for _, r := range e.results {
		params = append(params, r+" []float32")
	}
	for i, in := range e.inputs {
		if i < len(e.scalars) {
			params = append(params, e.scalars[i]+" float32")
		}
		params = append(params, in+" []float32")
	}
	w.function(e.name, "("+strings.Join(params, ", ")+")", e.doc, e.constants...)
	out, from := w.pointers(e.results), w.pointers(e.inputs)
	if e.update {
		from = append(out[:1:1], from...)
	}
	var scalars []reg.VecVirtual
	for _, s := range e.scalars {
		scalars = append(scalars, w.broadcast(s))
	}
	w.loops(w.length(e.inputs[0]), e.group, func(i reg.Register, vectors int, mask reg.Register) {
		for v := range vectors {
			in := make([]reg.VecVirtual, len(from))
			for x, p := range from {
				in[x] = w.vector()
				w.load(w.lane(p, i, v), mask, in[x])
			}
			for x, y := range e.body(in, scalars) {
				w.store(y, mask, w.lane(out[x], i, v))
			}
		}
	})
	w.VZEROUPPER()
	w.RET()
}

// arithmetic writes the loops that need no more than products and sums.
func (w *writer) arithmetic() {
	type vectors = []reg.VecVirtual
	y, x, ab := []string{"y"}, []string{"x"}, []string{"a", "b"}
	alpha := []string{"alpha"}
	const group = 4
	w.elementwise(elementwise{name: "scale", doc: "sets y = alpha·x.", results: y, scalars: alpha, inputs: x, group: group,
		body: func(in, s vectors) vectors {
			w.VMULPS(in[0], s[0], in[0])
			return in[:1]
		}})
	w.elementwise(elementwise{name: "axpy", doc: "adds alpha·x to y.", results: y, scalars: alpha, inputs: x, update: true,
		group: group, body: func(in, s vectors) vectors {
			w.VFMADD231PS(in[1], s[0], in[0])
			return in[:1]
		}})
	w.elementwise(elementwise{name: "combine", doc: "sets y = alpha·a + beta·b.", results: y, scalars: []string{"alpha", "beta"},
		inputs: ab, group: group, body: func(in, s vectors) vectors {
			w.VMULPS(in[1], s[1], in[1])
			w.VFMADD231PS(in[0], s[0], in[1])
			return in[1:]
		}})
	w.elementwise(elementwise{name: "add", doc: "sets y = a + b.", results: y, inputs: ab, group: group,
		body: func(in, _ vectors) vectors {
			w.VADDPS(in[1], in[0], in[0])
			return in[:1]
		}})
	w.elementwise(elementwise{name: "mul", doc: "sets y = a·b.", results: y, inputs: ab, group: group,
		body: func(in, _ vectors) vectors {
			w.VMULPS(in[1], in[0], in[0])
			return in[:1]
		}})
	w.elementwise(elementwise{name: "scaleMul", doc: "sets y = alpha·a·b.", results: y, scalars: alpha, inputs: ab, group: group,
		body: func(in, s vectors) vectors {
			w.VMULPS(in[0], s[0], in[0])
			w.VMULPS(in[1], in[0], in[0])
			return in[:1]
		}})
	w.elementwise(elementwise{name: "axpyMul", doc: "adds alpha·a·b to y.", results: y, scalars: alpha, inputs: ab, update: true,
		group: group, body: func(in, s vectors) vectors {
			w.VMULPS(in[1], s[0], in[1])
			w.VFMADD231PS(in[2], in[1], in[0])
			return in[:1]
		}})
	w.elementwise(elementwise{name: "rotate", doc: "turns the pairs (a, b).", results: []string{"ya", "yb"},
		inputs: []string{"a", "b", "cos", "sin"}, group: 1, body: func(in, _ vectors) vectors {
			a, b, cos, sin := in[0], in[1], in[2], in[3]
			ya, yb := w.vector(), w.vector()
			w.VMULPS(sin, b, ya)
			w.VFMSUB231PS(cos, a, ya)
			w.VMULPS(sin, a, yb)
			w.VFMADD231PS(cos, b, yb)
			return vectors{ya, yb}
		}})
}

// reductions writes the loops that return one number. Four vectors of partial sums hide the latency of the
// adder; they and their lanes are added in pairs at the end.
func (w *writer) reductions() {
	w.reduce("dot", []string{"a", "b"}, "returns Σ a·b.", func(in []reg.VecVirtual, sum reg.VecVirtual) {
		w.VFMADD231PS(in[1], in[0], sum)
	})
	w.reduce("sum", []string{"x"}, "returns Σ x.", func(in []reg.VecVirtual, sum reg.VecVirtual) {
		w.VADDPS(in[0], sum, sum)
	})
	w.max()
}

func (w *writer) reduce(name string, inputs []string, doc string, add func(in []reg.VecVirtual, sum reg.VecVirtual)) {
	w.function(name, "("+strings.Join(inputs, ", ")+" []float32) float32", doc)
	from := w.pointers(inputs)
	var sums [4]reg.VecVirtual
	for i := range sums {
		sums[i] = w.zeros()
	}
	w.loops(w.length(inputs[0]), len(sums), func(i reg.Register, vectors int, mask reg.Register) {
		for v := range vectors {
			in := make([]reg.VecVirtual, len(from))
			for x, p := range from {
				in[x] = w.vector()
				w.load(w.lane(p, i, v), mask, in[x])
			}
			add(in, sums[v])
		}
	})
	w.VADDPS(sums[1], sums[0], sums[0])
	w.VADDPS(sums[3], sums[2], sums[2])
	w.VADDPS(sums[2], sums[0], sums[0])
	w.finish(sums[0], func(a, b, c reg.VecVirtual) { w.VADDPS(a, b, c) })
}

// finish folds the lanes of v with op, pairwise, and returns the result from the function.
func (w *writer) finish(v reg.VecVirtual, op func(a, b, c reg.VecVirtual)) {
	if w.set == avx512 {
		half := w.YMM()
		w.VEXTRACTF64X4(operand.U8(1), v.AsZ(), half)
		low := w.YMM()
		w.VMOVAPS(v.AsY(), low)
		op(low, half, half)
		v = half
	}
	high, low := w.XMM(), w.XMM()
	w.VEXTRACTF128(operand.U8(1), v.AsY(), high)
	w.VMOVAPS(v.AsX(), low)
	op(low, high, high)
	w.VPERMILPS(operand.U8(0b01_00_11_10), high, low)
	op(low, high, high)
	w.VPERMILPS(operand.U8(0b10_11_00_01), high, low)
	op(low, high, high)
	w.VZEROUPPER()
	w.VMOVSS(high, w.address(w.ReturnIndex(0)))
	w.RET()
}

const (
	minusInf = 0xff800000
	quietNaN = 0xffc00000 // the sign lets it be found among lanes of zero
)

// max writes the largest element. The maximum of a number and NaN is either on this machine, so NaN is
// looked for beside it.
func (w *writer) max() {
	w.function("max", "(x []float32) float32", "returns the largest element, or NaN if one is.", minusInf, quietNaN)
	p := w.pointers([]string{"x"})[0]
	var most, nan [4]reg.VecVirtual
	for i := range most {
		most[i], nan[i] = w.fresh(minusInf), w.zeros()
	}
	unordered := operand.U8(3)
	w.loops(w.length("x"), len(most), func(i reg.Register, vectors int, mask reg.Register) {
		for v := range vectors {
			x := w.vector()
			switch {
			case mask == nil:
				w.VMOVUPS(w.lane(p, i, v), x)
			case w.set == avx512:
				w.VMOVAPS(most[v], x)
				w.VMOVUPS(w.lane(p, i, v), mask, x)
			default:
				w.VMASKMOVPS(w.lane(p, i, v), mask, x)
				w.VBLENDVPS(mask, x, w.value(minusInf), x)
			}
			if w.set == avx512 {
				k := w.K()
				w.VCMPPS(unordered, x, x, k)
				w.VMOVAPS(w.value(quietNaN), k, nan[v])
			} else {
				m := w.vector()
				w.VCMPPS(unordered, x, x, m)
				w.VORPS(m, nan[v], nan[v])
			}
			w.VMAXPS(x, most[v], most[v])
		}
	})
	for _, pair := range [][2]int{{0, 1}, {2, 3}, {0, 2}} {
		w.VMAXPS(most[pair[1]], most[pair[0]], most[pair[0]])
		w.or(nan[pair[1]], nan[pair[0]], nan[pair[0]])
	}
	found := w.GP32()
	if w.set == avx512 {
		k := w.K()
		w.VPMOVD2M(nan[0], k)
		w.KMOVW(k, found)
	} else {
		w.VMOVMSKPS(nan[0], found)
	}
	w.TESTL(found, found)
	ordered := w.label("ordered")
	w.JZ(operand.LabelRef(ordered))
	w.VMOVAPS(w.value(quietNaN), most[0])
	w.Label(ordered)
	w.finish(most[0], func(a, b, c reg.VecVirtual) { w.VMAXPS(a, b, c) })
}
