package gatedlinear

import (
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/vec"
)

// walk is the recurrence, token by token, on the columns [from, to) of a head's state.
type walk struct {
	head
	from, to int
	decay    []float32 // [C]
	u        []float32 // [m], aᵀ S
	spare    []float32 // [m], a row of a state that nobody wants
}

func newWalk(w *cpu.Worker, x *head, from, to int) walk {
	m := to - from
	r := walk{head: *x, from: from, to: to}
	carve(w, piece{&r.decay, x.Gates()}, piece{&r.u, m}, piece{&r.spare, m})
	return r
}

// single is a sequence of one token. Its state goes from H0 to HT, which may be one buffer.
func single(w *cpu.Worker, a *ForwardArgs[float32], x *head, from, to int) {
	r := newWalk(w, x, from, to)
	t, _ := x.seqs.Span(x.s)
	var before, after, o []float32
	if a.H0 != nil {
		before = x.row(a.H0)
	}
	if a.HT != nil {
		after = x.row(a.HT)
	}
	if a.O != nil {
		o = x.value(a.O, t)[from:to]
	}
	r.step(t, before, after, x.ValueDim, from, o)
}

// step is token t. The row of a state for key channel i begins at i·stride + at; before is zero if it is nil, after is not
// wanted if it is, and may be before. o may be nil.
func (r *walk) step(t int, before, after []float32, stride, at int, o []float32) {
	m := r.to - r.from
	q, k, v := r.key(r.in.q, t), r.key(r.in.k, t), r.value(r.in.v, t)[r.from:r.to]
	vec.Exp(r.decay, r.gate(r.in.g, t))
	corrects := r.LowRank && before != nil
	var b []float32
	if corrects {
		r.predict(r.u, t, before, stride, at)
		b = r.key(r.in.b, t)
	}
	clear(o)
	scale := float32(r.scale())
	for i := range k {
		row := r.spare
		if after != nil {
			row = after[i*stride+at:][:m]
		}
		if before == nil {
			vec.Scale(row, k[i], v)
		} else {
			vec.Combine(row, r.decay[i%len(r.decay)], before[i*stride+at:][:m], k[i], v)
		}
		if corrects {
			vec.Axpy(row, b[i], r.u)
		}
		if o != nil {
			vec.Axpy(o, scale*q[i], row)
		}
	}
}

// predict sets u to aᵀ S.
func (r *walk) predict(u []float32, t int, state []float32, stride, at int) {
	clear(u)
	for i, a := range r.key(r.in.a, t) {
		vec.Axpy(u, a, state[i*stride+at:][:len(u)])
	}
}

// stretch is how many tokens' states the backward pass of the recurrence keeps at a time, and how many stretches of a chunk.
const stretch = 8

// walkBack is the recurrence in the other direction, over whole rows of the state.
type walkBack struct {
	walk
	a      *BackwardArgs[float32]
	dState []float32 // [K, V], of the state after the token
	marks  []float32 // [stretch, K, V], the states before the stretches of a chunk
	near   []float32 // [stretch+1, K, V], the states before the tokens of a stretch, and after
	us     []float32 // [stretch, V], aᵀ S of its tokens
	du, dv []float32 // [V]
	do     []float32 // [V], scaled
	unused []float32 // [K], results that nobody wants
}

func newWalkBack(w *cpu.Worker, x *head, a *BackwardArgs[float32], dState []float32) walkBack {
	size, v := x.KeyDim*x.ValueDim, x.ValueDim
	r := walkBack{walk: newWalk(w, x, 0, v), a: a, dState: dState}
	carve(w, piece{&r.marks, stretch * size}, piece{&r.near, (stretch + 1) * size}, piece{&r.us, stretch * v},
		piece{&r.du, v}, piece{&r.dv, v}, piece{&r.do, v}, piece{&r.unused, x.KeyDim})
	return r
}

// retreat writes the gradients of chunk i, whose state before it is given, and takes dState over it.
func (r *walkBack) retreat(i int, state []float32) {
	lo, n := r.span(i)
	size, m := len(state), r.ValueDim
	copy(r.near, state)
	for j := range n {
		if j%stretch == 0 {
			copy(r.marks[j/stretch*size:][:size], r.near)
		}
		if j/stretch < (n-1)/stretch {
			r.step(lo+j, r.near[:size], r.near[:size], m, 0, nil)
		}
	}
	for s := (n - 1) / stretch; s >= 0; s-- {
		first, end := s*stretch, min((s+1)*stretch, n)
		copy(r.near, r.marks[s*size:][:size])
		for j := first; j < end; j++ {
			at := (j - first) * size
			r.step(lo+j, r.near[at:][:size], r.near[at+size:][:size], m, 0, nil)
			copy(r.us[(j-first)*m:], r.u)
		}
		for j := end - 1; j >= first; j-- {
			at := (j - first) * size
			r.stepBack(lo+j, r.near[at:][:size], r.near[at+size:][:size], r.us[(j-first)*m:][:m])
		}
	}
}

// wanted is token t's row of a result, or memory that nobody reads.
func (r *walkBack) wanted(dst []float32, t int) []float32 {
	if dst == nil {
		return r.unused
	}
	return r.key(dst, t)
}

func (r *walkBack) stepBack(t int, before, after, u []float32) {
	m := r.ValueDim
	q, k, v := r.key(r.in.q, t), r.key(r.in.k, t), r.value(r.in.v, t)
	a, b := r.key(r.in.a, t), r.key(r.in.b, t)
	dq, dk, da, db := r.wanted(r.a.DQ, t), r.wanted(r.a.DK, t), r.wanted(r.a.DA, t), r.wanted(r.a.DB, t)
	scale := float32(r.scale())
	vec.Scale(r.do, scale, r.value(r.a.DO, t))
	vec.Exp(r.decay, r.gate(r.in.g, t))
	clear(r.du)
	clear(r.dv)
	for i := range k {
		dq[i] = vec.Dot(after[i*m:][:m], r.do)
		row := r.dState[i*m:][:m]
		vec.Axpy(row, q[i], r.do)
		vec.Axpy(r.dv, k[i], row)
		vec.Axpy(r.du, b[i], row)
		dk[i], db[i] = vec.Dot(row, v), vec.Dot(row, u)
	}
	var dg []float32
	if r.a.DG != nil {
		dg = r.gate(r.a.DG, t)
		clear(dg)
	}
	for i := range k {
		row, old, decay := r.dState[i*m:][:m], before[i*m:][:m], r.decay[i%len(r.decay)]
		da[i] = vec.Dot(old, r.du)
		if dg != nil {
			dg[i%len(dg)] += decay * vec.Dot(row, old)
		}
		vec.Combine(row, decay, row, a[i], r.du)
	}
	if r.a.DV != nil {
		copy(r.value(r.a.DV, t), r.dv)
	}
}
