package gateddelta

import (
	"math"

	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/vec"
)

// step is the recurrence for a sequence of one token, on columns [from, to) of the state. With γ = exp(g)
// and the state S before the token, u = beta (v − γ Sᵀk) and o = γ Sᵀq + (k·q) u, so that one reading of S
// serves both products, and a second one, from the cache, its advance.
func step(w *cpu.Worker, a *ForwardArgs[float32], x *head, from, to int) {
	t, _ := x.seqs.Span(x.s)
	at, m := t*x.Heads+x.h, to-from
	q, k := w.Floats(x.KeyDim), w.Floats(x.KeyDim)
	x.normalise(q, x.key(a.Q, t), float32(x.scale()))
	x.normalise(k, x.key(a.K, t), 1)
	decay, beta := float32(math.Exp(float64(a.G[at]))), a.Beta[at]

	sq, u := w.Floats(m), w.Floats(m)
	clear(sq)
	clear(u)
	var before []float32
	if a.H0 != nil {
		before = x.row(a.H0)
		for i := range k {
			s := before[i*x.ValueDim+from:][:m]
			vec.Axpy(u, k[i], s)
			vec.Axpy(sq, q[i], s)
		}
	}
	vec.Combine(u, beta, x.value(a.V, t)[from:to], -beta*decay, u)
	if a.O != nil {
		vec.Combine(x.value(a.O, t)[from:to], decay, sq, vec.Dot(k, q), u)
	}
	if a.HT == nil {
		return
	}
	after := x.row(a.HT)
	for i := range k {
		s := after[i*x.ValueDim+from:][:m]
		if before == nil {
			vec.Scale(s, k[i], u)
		} else {
			vec.Combine(s, decay, before[i*x.ValueDim+from:][:m], k[i], u)
		}
	}
}
