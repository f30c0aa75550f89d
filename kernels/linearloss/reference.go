package linearloss

import (
	"math"

	"github.com/gojet/gojet/kernels"
)

// ReferenceCrossEntropy is the loss and its gradients straight from the formula:
// dlogits = (softmax − onehot(label)) · GradScale / tokens that count.
func ReferenceCrossEntropy[T kernels.Float](a *CrossEntropyArgs[T]) Result {
	must(a.check())
	r := Result{Tokens: counted(a.Labels, len(a.Labels))}
	scale := mean(a.GradScale, r.Tokens)
	w := a.W.wide()
	head := newGradients(a.DH, a.DW, a.H, w, a.D)
	clear(a.Token)
	var sum float64
	for i, label := range a.Labels {
		if label == Ignore {
			continue
		}
		z := logits(a.H, w, a.Vocab, a.D, i, 1)
		if z[label] == z[largest(z)] {
			r.Agree++
		}
		logp := logSoftmax(z)
		sum -= logp[label]
		if a.Token != nil {
			a.Token[i] = T(-logp[label])
		}
		for v := range logp {
			g := math.Exp(logp[v])
			if v == int(label) {
				g--
			}
			head.add(i, v, scale*g)
		}
	}
	head.write()
	r.Loss = mean(sum, r.Tokens)
	return r
}

// ReferenceKL is the loss and its gradients straight from the formula:
// dlogits = τ (q − p) · GradScale / tokens that count.
func ReferenceKL[T kernels.Float](a *KLArgs[T]) Result {
	must(a.check())
	n := len(a.HStudent) / a.DStudent
	r := Result{Tokens: counted(a.Labels, n)}
	scale := mean(a.GradScale, r.Tokens)
	wt, ws := a.WTeacher.wide(), a.WStudent.wide()
	head := newGradients(a.DH, a.DW, a.HStudent, ws, a.DStudent)
	clear(a.Token)
	var sum float64
	for i := range n {
		if !counts(a.Labels, i) {
			continue
		}
		zt := logits(a.HTeacher, wt, a.Vocab, a.DTeacher, i, a.Temperature)
		zs := logits(a.HStudent, ws, a.Vocab, a.DStudent, i, a.Temperature)
		if zs[largest(zt)] == zs[largest(zs)] {
			r.Agree++
		}
		logp, logq := logSoftmax(zt), logSoftmax(zs)
		var kl float64
		for v := range logp {
			p, q := math.Exp(logp[v]), math.Exp(logq[v])
			kl += p * (logp[v] - logq[v])
			head.add(i, v, scale*a.Temperature*(q-p))
		}
		kl *= a.Temperature * a.Temperature
		sum += kl
		if a.Token != nil {
			a.Token[i] = T(kl)
		}
	}
	head.write()
	r.Loss = mean(sum, r.Tokens)
	return r
}

// ReferenceMSE is the loss and its gradient straight from the formula.
func ReferenceMSE[T kernels.Float](a *MSEArgs[T]) Result {
	must(a.check())
	r := Result{Tokens: counted(a.Labels, len(a.A)/a.D)}
	clear(a.DA)
	var sum float64
	for i := range a.A {
		if !counts(a.Labels, i/a.D) {
			continue
		}
		d := float64(a.A[i]) - float64(a.B[i])
		sum += d * d
		if a.DA != nil {
			a.DA[i] = T(2 * d * a.GradScale / float64(r.Tokens*a.D))
		}
	}
	r.Loss = mean(sum, r.Tokens*a.D)
	return r
}

// wide returns the weights in T.
func (w Head[T]) wide() []T {
	if w.BF16 == nil {
		return w.Full
	}
	out := make([]T, len(w.BF16))
	for i, x := range w.BF16 {
		out[i] = T(x.Float32())
	}
	return out
}

// logits returns W h_i / temperature.
func logits[T kernels.Float](h, w []T, vocab, d, i int, temperature float64) []float64 {
	z := make([]float64, vocab)
	for v := range z {
		for x := range d {
			z[v] += float64(h[i*d+x]) * float64(w[v*d+x])
		}
		z[v] /= temperature
	}
	return z
}

func logSoftmax(z []float64) []float64 {
	top := z[largest(z)]
	var sum float64
	for _, x := range z {
		sum += math.Exp(x - top)
	}
	out := make([]float64, len(z))
	for v, x := range z {
		out[v] = x - top - math.Log(sum)
	}
	return out
}

// largest returns the first place of the largest value.
func largest[T kernels.Float](z []T) int {
	best := 0
	for v, x := range z {
		if x > z[best] {
			best = v
		}
	}
	return best
}

// gradients sums a head's dh and dw in float64.
type gradients[T kernels.Float] struct {
	h, w, dh, dw []T
	d            int
	sumH, sumW   []float64
}

func newGradients[T kernels.Float](dh, dw, h, w []T, d int) *gradients[T] {
	return &gradients[T]{h, w, dh, dw, d, make([]float64, len(dh)), make([]float64, len(dw))}
}

// add takes the gradient g of logit v of token i.
func (r *gradients[T]) add(i, v int, g float64) {
	for x := range r.d {
		if r.dh != nil {
			r.sumH[i*r.d+x] += g * float64(r.w[v*r.d+x])
		}
		if r.dw != nil {
			r.sumW[v*r.d+x] += g * float64(r.h[i*r.d+x])
		}
	}
}

func (r *gradients[T]) write() {
	for i, x := range r.sumH {
		r.dh[i] = T(x)
	}
	for i, x := range r.sumW {
		r.dw[i] = T(x)
	}
}
