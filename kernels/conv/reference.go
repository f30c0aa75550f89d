package conv

import (
	"math"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/packed"
)

// series is one feature of one sequence: its inputs at any time, those of the cache included.
type series[T kernels.Float] struct {
	Config
	x, kernel, bias []T
	past            []T // [W−1] of the cache, or nil
	lo, hi, d       int
}

func newSeries[T kernels.Float](f Config, seqs packed.Sequences, x, kernel, bias, cache []T, s, d int) series[T] {
	r := series[T]{Config: f, x: x, kernel: kernel, bias: bias, d: d}
	r.lo, r.hi = seqs.Span(s)
	if len(cache) > 0 {
		r.past = cache[(seqs.Row(s)*f.Dim+d)*(f.Taps-1):][:f.Taps-1]
	}
	return r
}

// at is the input at token t, which may lie before the sequence.
func (r *series[T]) at(t int) T {
	if t >= r.lo {
		return r.x[t*r.Dim+r.d]
	}
	if i := t - r.lo + r.Taps - 1; r.past != nil {
		return r.past[i]
	}
	return 0
}

// tap is where tap w of token t stands in the kernel.
func (r *series[T]) tap(t, w int) int {
	if !r.Dynamic {
		t = 0
	}
	return (t*r.Dim+r.d)*r.Taps + w
}

// sum is the convolution at token t before the activation.
func (r *series[T]) sum(t int) float64 {
	var sum float64
	if len(r.bias) > 0 {
		sum = float64(r.bias[r.d])
	}
	for w := range r.Taps {
		sum += float64(r.at(t-r.Taps+1+w)) * float64(r.kernel[r.tap(t, w)])
	}
	return sum
}

// ReferenceForward is the convolution straight from its formula.
func ReferenceForward[T kernels.Float](a *ForwardArgs[T]) {
	a.check()
	packed.ClearOutside(a.Y, a.Dim, a.Seqs)
	for s := range a.Seqs.Len() {
		for d := range a.Dim {
			r := newSeries(a.Config, a.Seqs, a.X, a.Kernel, a.Bias, a.Cache, s, d)
			for t := r.lo; t < r.hi && a.Y != nil; t++ {
				y := r.sum(t)
				if a.SiLU {
					y /= 1 + math.Exp(-y)
				}
				a.Y[t*a.Dim+d] = T(y)
			}
			if len(a.NewCache) > 0 {
				row := a.NewCache[(a.Seqs.Row(s)*a.Dim+d)*(a.Taps-1):][:a.Taps-1]
				for i := range row {
					row[i] = r.at(r.hi - a.Taps + 1 + i)
				}
			}
		}
	}
}

// ReferenceBackward is its gradient. The new cache is not differentiated.
func ReferenceBackward[T kernels.Float](a *BackwardArgs[T]) {
	a.check()
	for _, x := range [][]T{a.DX, a.DKernel, a.DBias, a.DCache} {
		clear(x)
	}
	for s := range a.Seqs.Len() {
		for d := range a.Dim {
			r := newSeries(a.Config, a.Seqs, a.X, a.Kernel, a.Bias, a.Cache, s, d)
			for t := r.lo; t < r.hi; t++ {
				dSum := float64(a.DY[t*a.Dim+d])
				if a.SiLU {
					x := r.sum(t)
					sigmoid := 1 / (1 + math.Exp(-x))
					dSum *= sigmoid * (1 + x*(1-sigmoid))
				}
				r.spread(a, s, t, T(dSum))
			}
		}
	}
}

// spread adds the gradient of one sum to what it was made of.
func (r *series[T]) spread(a *BackwardArgs[T], s, t int, dSum T) {
	if a.DBias != nil {
		a.DBias[r.d] += dSum
	}
	for w := range r.Taps {
		from, tap := t-r.Taps+1+w, r.tap(t, w)
		if a.DKernel != nil {
			a.DKernel[tap] += dSum * r.at(from)
		}
		switch {
		case from >= r.lo && a.DX != nil:
			a.DX[from*r.Dim+r.d] += dSum * r.kernel[tap]
		case from < r.lo && len(a.DCache) > 0:
			a.DCache[(a.Seqs.Row(s)*r.Dim+r.d)*(r.Taps-1)+from-r.lo+r.Taps-1] += dSum * r.kernel[tap]
		}
	}
}
