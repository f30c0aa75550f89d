package attention

import (
	"math"

	"github.com/gojet/gojet/kernels"
)

// ReferenceForward is the softmax over all visible keys, straight from the formula.
func ReferenceForward[T kernels.Float](a *ForwardArgs[T]) {
	must(a.check())
	clear(a.O)
	clear(a.LSE)
	scores, o := []float64{}, make([]float64, a.Dim)
	for s := range a.Seqs.Len() {
		lo, hi := a.Seqs.Span(s)
		for i := lo; i < hi; i++ {
			p := a.start(s) + i - lo
			first := a.oldest(p)
			for h := range a.Heads {
				q := a.Q[(i*a.Heads+h)*a.Dim:][:a.Dim]
				scores = scores[:0]
				top := math.Inf(-1)
				for j := first; j <= p; j++ {
					k, _ := a.keyValue(s, j, h/a.group())
					scores = append(scores, a.scale()*dot(q, k))
					top = math.Max(top, scores[j-first])
				}
				var sum float64
				for j, x := range scores {
					scores[j] = math.Exp(x - top)
					sum += scores[j]
				}
				clear(o)
				for j, e := range scores {
					_, v := a.keyValue(s, first+j, h/a.group())
					for d, x := range v {
						o[d] += e / sum * float64(x)
					}
				}
				narrow(a.O[(i*a.Heads+h)*a.Dim:][:a.Dim], o)
				if a.LSE != nil {
					a.LSE[i*a.Heads+h] = T(top + math.Log(sum))
				}
			}
		}
	}
	if a.cached() {
		for s := range a.Seqs.Len() {
			a.remember(s)
		}
	}
}

// keyValue returns the key and value of one head at a position of sequence s, new or cached.
func (a *ForwardArgs[T]) keyValue(s, position, head int) (k, v []T) {
	if start := a.start(s); position >= start {
		lo, _ := a.Seqs.Span(s)
		at := ((lo+position-start)*a.KVHeads + head) * a.Dim
		return a.K[at:][:a.Dim], a.V[at:][:a.Dim]
	}
	at := ((a.Seqs.Row(s)*a.Cap+position%a.Cap)*a.KVHeads + head) * a.Dim
	return a.KCache[at:][:a.Dim], a.VCache[at:][:a.Dim]
}

// remember writes the new keys and values of sequence s into its row of the cache.
func (a *ForwardArgs[T]) remember(s int) {
	lo, hi := a.Seqs.Span(s)
	for i := max(lo, hi-a.Cap); i < hi; i++ {
		a.store(s, i)
	}
}

// store writes the key and value of token i of sequence s into the cache.
func (a *ForwardArgs[T]) store(s, i int) {
	lo, _ := a.Seqs.Span(s)
	slot := (a.start(s) + i - lo) % a.Cap
	at := (a.Seqs.Row(s)*a.Cap + slot) * a.stride()
	copy(a.KCache[at:][:a.stride()], a.K[i*a.stride():])
	copy(a.VCache[at:][:a.stride()], a.V[i*a.stride():])
}

// ReferenceBackward gives the gradients of Σ o·do, straight from the formula: with p = softmax(s),
//
//	dv_j = Σ_i p_ij do_i    ds_ij = p_ij (do_i·v_j − do_i·o_i)    dq_i = scale Σ_j ds_ij k_j    dk_j = scale Σ_i ds_ij q_i
func ReferenceBackward[T kernels.Float](a *BackwardArgs[T]) {
	must(a.check())
	dq, dk, dv := make([]float64, len(a.Q)), make([]float64, len(a.K)), make([]float64, len(a.V))
	for s := range a.Seqs.Len() {
		lo, hi := a.Seqs.Span(s)
		for i := lo; i < hi; i++ {
			for h := range a.Heads {
				at := (i*a.Heads + h) * a.Dim
				q, o, do := a.Q[at:][:a.Dim], a.O[at:][:a.Dim], a.DO[at:][:a.Dim]
				delta := dot(do, o)
				for j := lo + a.oldest(i-lo); j <= i; j++ {
					from := (j*a.KVHeads + h/a.group()) * a.Dim
					k, v := a.K[from:][:a.Dim], a.V[from:][:a.Dim]
					p := math.Exp(a.scale()*dot(q, k) - float64(a.LSE[i*a.Heads+h]))
					ds := a.scale() * p * (dot(do, v) - delta)
					for d := range a.Dim {
						dq[at+d] += ds * float64(k[d])
						dk[from+d] += ds * float64(q[d])
						dv[from+d] += p * float64(do[d])
					}
				}
			}
		}
	}
	narrow(a.DQ, dq)
	narrow(a.DK, dk)
	narrow(a.DV, dv)
}

func dot[T kernels.Float](a, b []T) float64 {
	var s float64
	for i, x := range a {
		s += float64(x) * float64(b[i])
	}
	return s
}

// narrow writes src to dst unless dst is nil.
func narrow[T kernels.Float](dst []T, src []float64) {
	for i := range dst {
		dst[i] = T(src[i])
	}
}
