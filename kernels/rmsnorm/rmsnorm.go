// Package rmsnorm divides every row by its root mean square: https://arxiv.org/abs/1910.07467.
//
//	y = x · rsqrt(mean(x²) + eps) · w                   plain
//	y = x · rsqrt(mean(x²) + eps) · w · silu(gate)      gated, the output norm of a linear attention block
//
// x may be the sum of two terms, as after a residual connection: the sum is a result then, and the backward pass adds what
// reaches it from elsewhere.
//
// Rows are R vectors of D features: R = N for the norms of a layer, R = N·H for norms of single heads.
package rmsnorm

import (
	"fmt"
	"math"

	"github.com/gojet/gojet/kernels"
)

// ForwardArgs are the buffers of Forward. D is the length of W.
type ForwardArgs[T kernels.Float] struct {
	Y    []T     // [R, D] result; may be X or Add
	Sum  []T     // [R, D] result X + Add, which is what is normalised; may be X or Add; nil if not wanted
	X    []T     // [R, D]
	Add  []T     // [R, D] added to X; nil for nothing
	W    []T     // [D]
	Gate []T     // [R, D]; nil for the plain form
	Eps  float64 // added to the mean square
}

// BackwardArgs are the buffers of Backward.
type BackwardArgs[T kernels.Float] struct {
	DX    []T     // [R, D] result; may be DY or DSum
	DW    []T     // [D] result, summed over rows
	DGate []T     // [R, D] result; nil for the plain form
	DY    []T     // [R, D]
	DSum  []T     // [R, D] added to DX: what reaches X from elsewhere; nil for nothing
	X     []T     // [R, D] as in Forward; with Add, the sum
	W     []T     // [D]
	Gate  []T     // [R, D]; nil for the plain form
	Eps   float64 // as in Forward

	Scratch []T // ScratchLen(R, D) values; the reference, and Backward without DW, need none
}

// blockRows is how many rows make one partial sum of DW.
const blockRows = 32

// ScratchLen is the length of BackwardArgs.Scratch for r rows of d features.
func ScratchLen(r, d int) int { return (r + blockRows - 1) / blockRows * d }

// ReferenceForward is Forward straight from the formula.
func ReferenceForward[T kernels.Float](a *ForwardArgs[T]) {
	a.check()
	d := len(a.W)
	for lo := 0; lo < len(a.X); lo += d {
		x := a.X[lo : lo+d]
		if a.Add != nil {
			x = a.total(lo, lo+d)
			for i, v := range a.Add[lo : lo+d] {
				x[i] = a.X[lo+i] + v
			}
		}
		r := rsqrtMean(x, a.Eps)
		for i, v := range x {
			y := float64(v) * r * float64(a.W[i])
			if a.Gate != nil {
				g, _ := silu(float64(a.Gate[lo+i]))
				y *= g
			}
			a.Y[lo+i] = T(y)
		}
	}
}

// total is where a part of the sum goes.
func (a *ForwardArgs[T]) total(lo, hi int) []T {
	if a.Sum != nil {
		return a.Sum[lo:hi]
	}
	return a.Y[lo:hi]
}

// ReferenceBackward is Backward straight from the formula. With n = x·r, r = rsqrt(mean(x²)+eps) and
// u = dy·w·silu(gate), the gradient of n,
//
//	dx = r·(u − n·mean(u·n)) + dsum,  dw = Σ_rows dy·n·silu(gate),  dgate = dy·n·w·silu'(gate).
func ReferenceBackward[T kernels.Float](a *BackwardArgs[T]) {
	a.check()
	d := len(a.W)
	dw := make([]float64, d)
	u := make([]float64, d)
	for lo := 0; lo < len(a.X); lo += d {
		x := a.X[lo : lo+d]
		r := rsqrtMean(x, a.Eps)
		var mean float64
		for i, v := range x {
			dy, w, n := float64(a.DY[lo+i]), float64(a.W[i]), float64(v)*r
			s := 1.0
			if a.Gate != nil {
				var slope float64
				s, slope = silu(float64(a.Gate[lo+i]))
				if a.DGate != nil {
					a.DGate[lo+i] = T(dy * n * w * slope)
				}
			}
			dw[i] += dy * n * s
			u[i] = dy * w * s
			mean += u[i] * n / float64(d)
		}
		if a.DX == nil {
			continue
		}
		for i, v := range x {
			dx := r * (u[i] - float64(v)*r*mean)
			if a.DSum != nil {
				dx += float64(a.DSum[lo+i])
			}
			a.DX[lo+i] = T(dx)
		}
	}
	if a.DW != nil {
		for i, v := range dw {
			a.DW[i] = T(v)
		}
	}
}

func rsqrtMean[T kernels.Float](x []T, eps float64) float64 {
	var ss float64
	for _, v := range x {
		ss += float64(v) * float64(v)
	}
	return 1 / math.Sqrt(ss/float64(len(x))+eps)
}

// silu returns x·sigmoid(x) and its slope.
func silu(x float64) (y, slope float64) {
	s := 1 / (1 + math.Exp(-x))
	return x * s, s * (1 + x*(1-s))
}

func (a *ForwardArgs[T]) check() {
	rowsOf(len(a.X), len(a.W))
	want("y", len(a.Y), len(a.X))
	if a.Gate != nil {
		want("gate", len(a.Gate), len(a.X))
	}
	if a.Add != nil {
		want("add", len(a.Add), len(a.X))
	}
	if a.Sum != nil {
		want("sum", len(a.Sum), len(a.X))
	}
}

func (a *BackwardArgs[T]) check() {
	rowsOf(len(a.X), len(a.W))
	want("dy", len(a.DY), len(a.X))
	if a.DX != nil {
		want("dx", len(a.DX), len(a.X))
	}
	if a.DSum != nil {
		want("dsum", len(a.DSum), len(a.X))
	}
	if a.DW != nil {
		want("dw", len(a.DW), len(a.W))
	}
	if a.Gate != nil {
		want("gate", len(a.Gate), len(a.X))
	}
	if a.DGate != nil {
		want("gate", len(a.Gate), len(a.X))
		want("dgate", len(a.DGate), len(a.X))
	}
}

// rowsOf is the number of rows of d features in n values.
func rowsOf(n, d int) int {
	if d == 0 || n%d != 0 {
		panic(fmt.Sprintf("rmsnorm: x has %d values, want whole rows of %d, the length of w", n, d))
	}
	return n / d
}

func want(name string, got, want int) {
	if got != want {
		panic(fmt.Sprintf("rmsnorm: %s has %d values, want %d", name, got, want))
	}
}
