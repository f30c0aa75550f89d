// Package l2norm scales every row to one length: y = x·scale/√(Σx²+Eps). The gated delta rule does so with the
// queries and keys of every head (https://arxiv.org/abs/2412.06464).
package l2norm

import (
	"fmt"
	"math"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/vec"
)

// Eps keeps the root away from zero.
const Eps = 1e-6

// ForwardArgs are the buffers of Forward.
type ForwardArgs[T kernels.Float] struct {
	Y     []T     // [R, K] result; may be X
	X     []T     // [R, K]
	K     int     // features of a row
	Scale float64 // the length that rows get
}

// BackwardArgs are the buffers of Backward.
type BackwardArgs[T kernels.Float] struct {
	DX    []T     // [R, K] result; may be DY or X
	DY    []T     // [R, K]
	X     []T     // [R, K] as in Forward
	K     int     // features of a row
	Scale float64 // as in Forward
}

// partValues is about how many values one part takes.
const partValues = 1 << 13

// ReferenceForward is Forward straight from the formula.
func ReferenceForward[T kernels.Float](a *ForwardArgs[T]) {
	a.check()
	for lo := 0; lo < len(a.X); lo += a.K {
		x := a.X[lo : lo+a.K]
		r := 1 / math.Sqrt(dot(x, x)+Eps)
		for i, v := range x {
			a.Y[lo+i] = T(float64(v) * a.Scale * r)
		}
	}
}

// ReferenceBackward is Backward straight from the formula: with r = 1/√(Σx²+Eps),
// dx = scale·r·(dy − x·r²·Σ x·dy).
func ReferenceBackward[T kernels.Float](a *BackwardArgs[T]) {
	a.check()
	for lo := 0; lo < len(a.X); lo += a.K {
		x, dy := a.X[lo:lo+a.K], a.DY[lo:lo+a.K]
		r := 1 / math.Sqrt(dot(x, x)+Eps)
		along := dot(x, dy) * r * r
		for i, v := range x {
			a.DX[lo+i] = T(a.Scale * r * (float64(dy[i]) - float64(v)*along))
		}
	}
}

func dot[T kernels.Float](a, b []T) float64 {
	var s float64
	for i, v := range a {
		s += float64(v) * float64(b[i])
	}
	return s
}

// Forward computes a.Y on all cores.
func Forward(c *cpu.Cores, a *ForwardArgs[float32]) {
	a.check()
	j := cpu.Borrow(c, *a)
	j.For(len(a.X)/a.K, max(1, partValues/a.K), forwardRows)
	j.Return()
}

func forwardRows(a *ForwardArgs[float32], _ *cpu.Worker, lo, hi int) {
	for at := lo * a.K; at < hi*a.K; at += a.K {
		x := a.X[at : at+a.K]
		r := 1 / math.Sqrt(float64(vec.SumSquares(x))+Eps)
		vec.Scale(a.Y[at:at+a.K], float32(a.Scale*r), x)
	}
}

// Backward computes a.DX on all cores.
func Backward(c *cpu.Cores, a *BackwardArgs[float32]) {
	a.check()
	j := cpu.Borrow(c, *a)
	j.For(len(a.X)/a.K, max(1, partValues/a.K), backwardRows)
	j.Return()
}

func backwardRows(a *BackwardArgs[float32], _ *cpu.Worker, lo, hi int) {
	for at := lo * a.K; at < hi*a.K; at += a.K {
		x, dy := a.X[at:at+a.K], a.DY[at:at+a.K]
		r := 1 / math.Sqrt(float64(vec.SumSquares(x))+Eps)
		along := float64(vec.Dot(x, dy)) * r * r
		vec.Combine(a.DX[at:at+a.K], float32(a.Scale*r), dy, float32(-a.Scale*r*along), x)
	}
}

func (a *ForwardArgs[T]) check() { lengths("y", len(a.Y), len(a.X), a.K) }

func (a *BackwardArgs[T]) check() {
	lengths("dx", len(a.DX), len(a.X), a.K)
	lengths("dy", len(a.DY), len(a.X), a.K)
}

func lengths(name string, got, x, k int) {
	if k < 1 || x%k != 0 {
		panic(fmt.Sprintf("l2norm: x has %d values, want whole rows of %d", x, k))
	}
	if got != x {
		panic(fmt.Sprintf("l2norm: %s has %d values, want %d, the length of x", name, got, x))
	}
}
