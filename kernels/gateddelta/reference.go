package gateddelta

import (
	"math"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/packed"
	"github.com/gojet/gojet/kernels/recurrent"
)

// ReferenceForward is the recurrence, token by token. It does not fill States.
func ReferenceForward[T kernels.Float](a *ForwardArgs[T]) {
	a.check()
	f := a.Config
	packed.ClearOutside(a.O, f.Heads*f.ValueDim, a.Seqs)
	for s := range a.Seqs.Len() {
		for h := range f.Heads {
			r := rule[T]{Config: f, seqs: a.Seqs, q: a.Q, k: a.K, v: a.V, g: a.G, beta: a.Beta}
			state := r.initial(a.H0, s, h)
			lo, hi := a.Seqs.Span(s)
			for t := lo; t < hi; t++ {
				x := r.token(t, h)
				r.step(&x, state)
				if a.O != nil {
					recurrent.Times(a.O[(t*f.Heads+h)*f.ValueDim:][:f.ValueDim], state, x.q)
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
			r := rule[T]{Config: a.Config, seqs: a.Seqs, q: a.Q, k: a.K, v: a.V, g: a.G, beta: a.Beta}
			r.backward(a, s, h)
		}
	}
}

// rule is the recurrence of one head of one sequence, in the inputs' own type.
type rule[T kernels.Float] struct {
	Config
	seqs             packed.Sequences
	q, k, v, g, beta []T
}

// token is what the rule reads of one token: normalised query and key, and what the step leaves for the
// backward pass.
type token[T kernels.Float] struct {
	q, k         []T
	qNorm, kNorm T // 1/√(Σx²+NormEps), or 1
	v            []T
	decay, beta  T
	decayed      []T // exp(g) S before the correction
	miss         []T // v − decayedᵀ k
	after        []T // S after the token
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
	x := token[T]{v: r.v[at*r.ValueDim:][:r.ValueDim], decay: T(math.Exp(float64(r.g[at]))), beta: r.beta[at]}
	x.q, x.qNorm = r.normalised(r.q[at*r.KeyDim:][:r.KeyDim], T(r.scale()))
	x.k, x.kNorm = r.normalised(r.k[at*r.KeyDim:][:r.KeyDim], 1)
	return x
}

func (r *rule[T]) normalised(x []T, scale T) ([]T, T) {
	norm := T(1)
	if r.NormQK {
		norm = T(1 / math.Sqrt(float64(recurrent.Dot(x, x))+NormEps))
	}
	y := make([]T, len(x))
	for i := range x {
		y[i] = x[i] * norm * scale
	}
	return y, norm
}

// step advances the state by one token.
func (r *rule[T]) step(x *token[T], state []T) {
	for i := range state {
		state[i] *= x.decay
	}
	x.decayed = append([]T(nil), state...)
	x.miss = make([]T, r.ValueDim)
	recurrent.Times(x.miss, state, x.k)
	for j := range x.miss {
		x.miss[j] = x.v[j] - x.miss[j]
	}
	recurrent.Outer(state, x.beta, x.k, x.miss)
}

func (r *rule[T]) backward(a *BackwardArgs[T], s, h int) {
	lo, hi := r.seqs.Span(s)
	state := r.initial(a.H0, s, h)
	tokens := make([]token[T], hi-lo)
	for i := range tokens {
		tokens[i] = r.token(lo+i, h)
		r.step(&tokens[i], state)
		tokens[i].after = append([]T(nil), state...)
	}
	dState := r.initial(a.DHT, s, h)
	for i := len(tokens) - 1; i >= 0; i-- {
		r.stepBack(a, &tokens[i], (lo+i)*r.Heads+h, dState)
	}
	if a.DH0 != nil {
		copy(r.row(a.DH0, s, h), dState)
	}
}

// stepBack writes the gradients of one token, at index at of [N, H], and takes dState from after the token
// to before it.
func (r *rule[T]) stepBack(a *BackwardArgs[T], x *token[T], at int, dState []T) {
	do := a.DO[at*r.ValueDim:][:r.ValueDim]
	dq := recurrent.TimesT(x.after, do)
	recurrent.Outer(dState, 1, x.q, do)

	du := make([]T, r.ValueDim) // u = beta·miss, S = decayed + k uᵀ
	recurrent.Times(du, dState, x.k)
	dk := recurrent.TimesT(dState, x.miss)
	for i := range dk {
		dk[i] *= x.beta
	}
	dBeta := recurrent.Dot(du, x.miss)
	back := recurrent.TimesT(x.decayed, du) // miss = v − decayedᵀ k
	for i := range dk {
		dk[i] -= x.beta * back[i]
	}
	recurrent.Outer(dState, -x.beta, x.k, du)
	dDecay := recurrent.Dot(dState, x.decayed)
	for i := range dState {
		dState[i] *= x.decay
	}

	if a.DQ != nil {
		r.normaliseBack(a.DQ[at*r.KeyDim:][:r.KeyDim], dq, a.Q[at*r.KeyDim:], x.qNorm, T(r.scale()))
	}
	if a.DK != nil {
		r.normaliseBack(a.DK[at*r.KeyDim:][:r.KeyDim], dk, a.K[at*r.KeyDim:], x.kNorm, 1)
	}
	if a.DV != nil {
		for j := range du {
			a.DV[at*r.ValueDim+j] = x.beta * du[j]
		}
	}
	if a.DG != nil {
		a.DG[at] = dDecay
	}
	if a.DBeta != nil {
		a.DBeta[at] = dBeta
	}
}

// normaliseBack is the gradient of y = scale·norm·x, where norm = 1/√(Σx²+NormEps) if the op normalises.
func (r *rule[T]) normaliseBack(dx, dy, x []T, norm, scale T) {
	var along T
	if r.NormQK {
		along = recurrent.Dot(dy, x) * norm * norm
	}
	for i := range dx {
		dx[i] = scale * norm * (dy[i] - x[i]*along)
	}
}
