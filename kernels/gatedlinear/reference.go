package gatedlinear

import (
	"math"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/packed"
	"github.com/gojet/gojet/kernels/recurrent"
)

// ReferenceForward is the recurrence, token by token. It does not fill States.
func ReferenceForward[T kernels.Float](a *ForwardArgs[T]) {
	a.check()
	packed.ClearOutside(a.O, a.Heads*a.ValueDim, a.Seqs)
	for s := range a.Seqs.Len() {
		for h := range a.Heads {
			r := rule[T]{a.Config, a.Seqs, a.Q, a.K, a.V, a.G, a.A, a.B}
			state := r.initial(a.H0, s, h)
			lo, hi := a.Seqs.Span(s)
			for t := lo; t < hi; t++ {
				x := r.token(t, h)
				r.step(&x, state)
				if a.O != nil {
					o := a.O[(t*r.Heads+h)*r.ValueDim:][:r.ValueDim]
					recurrent.Times(o, state, x.q)
					for j := range o {
						o[j] *= T(r.scale())
					}
				}
			}
			if a.HT != nil {
				copy(r.row(a.HT, s, h), state)
			}
		}
	}
}

// ReferenceBackward walks the recurrence back, token by token. It does not read States.
func ReferenceBackward[T kernels.Float](a *BackwardArgs[T]) {
	a.check()
	a.clearOutside()
	for s := range a.Seqs.Len() {
		for h := range a.Heads {
			r := rule[T]{a.Config, a.Seqs, a.Q, a.K, a.V, a.G, a.A, a.B}
			r.backward(a, s, h)
		}
	}
}

// rule is the recurrence of one head of one sequence, in the inputs' own type.
type rule[T kernels.Float] struct {
	Config
	seqs             packed.Sequences
	q, k, v, g, a, b []T
}

// token is what the rule reads of one token, and what the step leaves for the backward pass.
type token[T kernels.Float] struct {
	q, k, v, a, b []T
	decay         []T // [K], exp(g)
	before, after []T // S
	u             []T // aᵀ S
}

// row is the state of head h of sequence s within a buffer of states.
func (r *rule[T]) row(states []T, s, h int) []T {
	n := r.KeyDim * r.ValueDim
	return states[(r.seqs.Row(s)*r.Heads+h)*n:][:n]
}

func (r *rule[T]) initial(h0 []T, s, h int) []T {
	state := make([]T, r.KeyDim*r.ValueDim)
	if h0 != nil {
		copy(state, r.row(h0, s, h))
	}
	return state
}

func (r *rule[T]) token(t, h int) token[T] {
	at := t*r.Heads + h
	x := token[T]{q: r.q[at*r.KeyDim:][:r.KeyDim], k: r.k[at*r.KeyDim:][:r.KeyDim], v: r.v[at*r.ValueDim:][:r.ValueDim]}
	if r.LowRank {
		x.a, x.b = r.a[at*r.KeyDim:][:r.KeyDim], r.b[at*r.KeyDim:][:r.KeyDim]
	}
	x.decay = make([]T, r.KeyDim)
	for i := range x.decay {
		x.decay[i] = T(math.Exp(float64(r.g[at*r.Gates()+i%r.Gates()])))
	}
	return x
}

// step advances the state by one token.
func (r *rule[T]) step(x *token[T], state []T) {
	if r.LowRank {
		x.u = make([]T, r.ValueDim)
		recurrent.Times(x.u, state, x.a)
	}
	for i, d := range x.decay {
		s := state[i*r.ValueDim:][:r.ValueDim]
		for j := range s {
			s[j] = d*s[j] + x.k[i]*x.v[j]
			if r.LowRank {
				s[j] += x.b[i] * x.u[j]
			}
		}
	}
}

// backward computes the states of a stretch of tokens at a time, from those kept before each stretch.
func (r *rule[T]) backward(a *BackwardArgs[T], s, h int) {
	lo, hi := r.seqs.Span(s)
	state := r.initial(a.H0, s, h)
	var marks [][]T
	for t := lo; t < hi; t++ {
		if (t-lo)%Chunk == 0 {
			marks = append(marks, append([]T(nil), state...))
		}
		x := r.token(t, h)
		r.step(&x, state)
	}
	dState := r.initial(a.DHT, s, h)
	for m := len(marks) - 1; m >= 0; m-- {
		first := lo + m*Chunk
		tokens := make([]token[T], min(Chunk, hi-first))
		state := marks[m]
		for i := range tokens {
			x := r.token(first+i, h)
			x.before = append([]T(nil), state...)
			r.step(&x, state)
			x.after = append([]T(nil), state...)
			tokens[i] = x
		}
		for i := len(tokens) - 1; i >= 0; i-- {
			r.stepBack(a, &tokens[i], (first+i)*r.Heads+h, dState)
		}
	}
	if a.DH0 != nil {
		copy(r.row(a.DH0, s, h), dState)
	}
}

// stepBack writes the gradients of one token, at index at of [N, H], and takes dState from after the token
// to before it.
func (r *rule[T]) stepBack(a *BackwardArgs[T], x *token[T], at int, dState []T) {
	n, m := r.KeyDim, r.ValueDim
	do := append([]T(nil), a.DO[at*m:][:m]...)
	for j := range do {
		do[j] *= T(r.scale())
	}
	put(a.DQ, at*n, recurrent.TimesT(x.after, do))
	recurrent.Outer(dState, 1, x.q, do)
	put(a.DK, at*n, recurrent.TimesT(dState, x.v))
	dv := make([]T, m)
	recurrent.Times(dv, dState, x.k)
	put(a.DV, at*m, dv)

	du := make([]T, m)
	if r.LowRank {
		put(a.DB, at*n, recurrent.TimesT(dState, x.u))
		recurrent.Times(du, dState, x.b)
		put(a.DA, at*n, recurrent.TimesT(x.before, du))
	}
	c := r.Gates()
	dg := make([]T, c)
	for i, d := range x.decay {
		row := dState[i*m:][:m]
		dg[i%c] += d * recurrent.Dot(row, x.before[i*m:][:m])
		for j := range row {
			row[j] *= d
			if r.LowRank {
				row[j] += x.a[i] * du[j]
			}
		}
	}
	put(a.DG, at*c, dg)
}

// put copies a result to its place in a buffer, if that is wanted.
func put[T kernels.Float](dst []T, at int, src []T) {
	if dst != nil {
		copy(dst[at:], src)
	}
}
