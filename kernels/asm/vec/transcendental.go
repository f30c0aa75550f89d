package main

import (
	"math"
	"slices"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

var (
	one     = float(1)
	two     = float(2)
	signBit = uint32(1 << 31)

	// Beyond these exp is 0 or +Inf in float32.
	expLow, expHigh = float(-104), float(89)
	log2e           = float(math.Log2E)
	// ln 2 in two pieces: the first has trailing zeros, so that whole multiples of it are exact.
	ln2High = uint32(0x3f318000)
	ln2Low  = float(math.Ln2 - float64(math.Float32frombits(ln2High)))
	// The exponent of 1 as an integer.
	bias = uint32(127)
)

// expConstants are what exp and what is made of it name.
func expConstants(more ...uint32) []uint32 {
	return slices.Concat([]uint32{expLow, expHigh, log2e, ln2High, ln2Low, one, bias}, expTail, more)
}

// exp returns exp(x), correct to less than a unit in the last place: exp(x) = 2^n·exp(r), n = round(x/ln 2),
// |r| ≤ ln(2)/2. Infinities, NaN, overflow and subnormal results come out as they should. Where x is
// known to be at most 0, its upper bound need not be checked.
func (w *writer) exp(x reg.VecVirtual, negative bool) reg.VecVirtual {
	r, n, p := w.vector(), w.vector(), w.vector()
	// Minimum and maximum return their last operand, here x, where one is NaN.
	w.VMAXPS(x, w.value(expLow), r)
	if !negative {
		w.VMINPS(r, w.value(expHigh), r)
	}
	w.VMULPS(w.constant(log2e), r, n)
	nearest := operand.U8(8)
	if w.set == avx512 {
		w.VRNDSCALEPS(nearest, n, n)
	} else {
		w.VROUNDPS(nearest, n, n)
	}
	w.VFNMADD231PS(w.constant(ln2High), n, r)
	w.VFNMADD231PS(w.constant(ln2Low), n, r)
	w.horner(expTail, r, p)
	w.VFMADD213PS(w.constant(one), r, p)
	w.VFMADD213PS(w.constant(one), r, p)
	if w.set == avx512 {
		w.VSCALEFPS(n, p, p)
		return p
	}
	// 2^n may be no float32 although the result is one, so it is multiplied in as two halves.
	half := w.vector()
	w.VCVTPS2DQ(n, n)
	w.VPSRAD(operand.U8(1), n, half)
	w.VPSUBD(half, n, n)
	for _, e := range []reg.VecVirtual{half, n} {
		w.VPADDD(w.constant(bias), e, e)
		w.VPSLLD(operand.U8(23), e, e)
		w.VMULPS(e, p, p)
	}
	return p
}

// horner sets p to the polynomial of c, lowest first, at r.
func (w *writer) horner(c []uint32, r, p reg.VecVirtual) {
	last := len(c) - 1
	w.VMOVUPS(w.constant(c[last]), p)
	for i := last - 1; i >= 0; i-- {
		w.VFMADD213PS(w.constant(c[i]), r, p)
	}
}

// sigmoid returns sigmoid(x) and, if asked for, 1 − sigmoid(x) = sigmoid(−x), neither of which loses digits on
// its side. With e = exp(−|x|) and h = e/(1+e) ≤ 1/2 they are {1, e}·(1−h), as fused differences, in which the
// rounding errors of h hardly count where they would hurt.
func (w *writer) sigmoid(x reg.VecVirtual, wantRest bool) (s, rest reg.VecVirtual) {
	negative, h := w.vector(), w.vector()
	w.or(w.constant(signBit), x, negative)
	e := w.exp(negative, true)
	ones := w.value(one)
	w.VADDPS(e, ones, h)
	w.VDIVPS(h, e, h)
	var below reg.Register = x // the lanes where x is below 0, by its sign
	if w.set == avx512 {
		below = w.K()
		w.VPMOVD2M(x, below)
	}
	times := func(positive, negative reg.VecVirtual) reg.VecVirtual {
		from, to := w.vector(), w.vector()
		if w.set == avx512 {
			w.VBLENDMPS(negative, positive, below, from)
		} else {
			w.VBLENDVPS(below, negative, positive, from)
		}
		w.VMOVAPS(from, to)
		w.VFNMADD231PS(from, h, to)
		return to
	}
	s = times(ones, e)
	if wantRest {
		rest = times(e, ones)
	}
	return s, rest
}

// siluSlope returns s = sigmoid(x) and d silu(x)/dx = s·(1 + x·(1−s)).
func (w *writer) siluSlope(x reg.VecVirtual) (s, slope reg.VecVirtual) {
	s, slope = w.sigmoid(x, true)
	w.VFMADD213PS(w.constant(one), x, slope)
	w.VMULPS(s, slope, slope)
	return s, slope
}

// transcendental writes the loops around the exponential.
func (w *writer) transcendental() {
	type vectors = []reg.VecVirtual
	y, x := []string{"y"}, []string{"x"}
	w.elementwise(elementwise{name: "exp", doc: "sets y = exp(x).", results: y, inputs: x, group: 1, constants: expConstants(),
		body: func(in, _ vectors) vectors { return vectors{w.exp(in[0], false)} }})
	w.expSum()
	constants := expConstants(signBit)
	w.elementwise(elementwise{name: "sigmoid", doc: "sets y = 1/(1+exp(-x)).", results: y, inputs: x, group: 1, constants: constants,
		body: func(in, _ vectors) vectors {
			s, _ := w.sigmoid(in[0], false)
			return vectors{s}
		}})
	w.elementwise(elementwise{name: "sigmoidGrad", doc: "sets dx = dy·d sigmoid(x)/dx.", results: []string{"dx"},
		inputs: []string{"dy", "x"}, group: 1, constants: constants, body: func(in, _ vectors) vectors {
			s, rest := w.sigmoid(in[1], true)
			w.VMULPS(rest, s, s)
			w.VMULPS(in[0], s, s)
			return vectors{s}
		}})
	w.elementwise(elementwise{name: "silu", doc: "sets y = x·sigmoid(x).", results: y, inputs: x, group: 1, constants: constants,
		body: func(in, _ vectors) vectors {
			s, _ := w.sigmoid(in[0], false)
			w.VMULPS(in[0], s, s)
			return vectors{s}
		}})
	w.elementwise(elementwise{name: "siluGrad", doc: "sets dx = dy·d silu(x)/dx.", results: []string{"dx"},
		inputs: []string{"dy", "x"}, group: 1, constants: constants, body: func(in, _ vectors) vectors {
			_, slope := w.siluSlope(in[1])
			w.VMULPS(in[0], slope, slope)
			return vectors{slope}
		}})
	w.elementwise(elementwise{name: "siluMul", doc: "sets y = silu(gate)·up.", results: y, inputs: []string{"gate", "up"},
		group: 1, constants: constants, body: func(in, _ vectors) vectors {
			s, _ := w.sigmoid(in[0], false)
			w.VMULPS(in[0], s, s)
			w.VMULPS(in[1], s, s)
			return vectors{s}
		}})
	w.elementwise(elementwise{name: "siluMulGrad", doc: "sets dgate = dy·up·d silu(gate)/dgate and dup = dy·silu(gate).",
		results: []string{"dgate", "dup"}, inputs: []string{"dy", "gate", "up"}, group: 1, constants: constants,
		body: func(in, _ vectors) vectors {
			dy, gate, up := in[0], in[1], in[2]
			s, slope := w.siluSlope(gate)
			w.VMULPS(up, dy, up)
			w.VMULPS(up, slope, slope)
			w.VMULPS(gate, s, s)
			w.VMULPS(dy, s, s)
			return vectors{slope, s}
		}})
	w.softplus()
}

// softplus is max(x, 0) + log1p(exp(−|x|)).
func (w *writer) softplus() {
	w.elementwise(elementwise{name: "softplus", doc: "sets y = log(1+exp(x)).", results: []string{"y"}, inputs: []string{"x"},
		group: 1, constants: expConstants(append(logTail, signBit, two, 0)...),
		body: func(in, _ []reg.VecVirtual) []reg.VecVirtual {
			x, negative, t, z, q := in[0], w.vector(), w.vector(), w.vector(), w.vector()
			w.or(w.constant(signBit), x, negative)
			e := w.exp(negative, true)
			// t = 2e/(2+e) as e − e·(e/(2+e)), fused: that rounds less.
			w.VADDPS(w.constant(two), e, t)
			w.VDIVPS(t, e, t)
			w.VFNMADD213PS(e, e, t)
			w.VMULPS(t, t, z)
			w.horner(logTail, z, q)
			w.VMULPS(z, q, q)
			w.VFMADD213PS(t, t, q) // t·z·Q + t
			w.VMAXPS(x, w.value(0), z)
			w.VADDPS(z, q, q)
			return []reg.VecVirtual{q}
		}})
}

// expSum sets y = exp(x − shift) and returns the sum of y.
func (w *writer) expSum() {
	w.function("expSum", "(y, x []float32, shift float32) float32", "sets y = exp(x - shift) and returns Σ y.", expConstants()...)
	p := w.pointers([]string{"y", "x"})
	shift, sum := w.broadcast("shift"), w.zeros()
	w.loops(w.length("x"), 1, func(i reg.Register, _ int, mask reg.Register) {
		x := w.vector()
		w.load(w.lane(p[1], i, 0), mask, x)
		w.VSUBPS(shift, x, x)
		y := w.exp(x, false)
		w.store(y, mask, w.lane(p[0], i, 0))
		switch {
		case mask == nil:
			w.VADDPS(y, sum, sum)
		case w.set == avx512:
			w.VADDPS(y, sum, mask, sum)
		default: // lanes outside the mask hold exp(−shift)
			w.VANDPS(mask, y, y)
			w.VADDPS(y, sum, sum)
		}
	})
	w.finish(sum, func(a, b, c reg.VecVirtual) { w.VADDPS(a, b, c) })
}
