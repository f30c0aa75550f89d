// Package heads multiplies the features of tokens, x [N, D], with factors that several of them share, and adds up what they
// share: D features are D/W groups, as the heads of a linear attention are, of W neighbours each.
//
//	scale   y_nd = x_nd s_g          g is the group of d, or with Rows that group's in row n: s [D/W] or [N, D/W]
//	dot     s_g = Σ x_nd y_nd        over the group's features, and without Rows over all rows
//	repeat  y [N, G·R, W] of x [N, G, W], every group R times in a row
//	fold    x of y, which adds up what repeat made copies of
//
// Each pair are each other's gradients.
package heads

import (
	"fmt"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/vec"
)

// Config says which features share a factor.
type Config struct {
	Dim   int  // D
	Width int  // W; 1 gives every feature its own
	Rows  bool // factors of their own for every row
}

// Groups is D/W.
func (f Config) Groups() int { return f.Dim / f.Width }

// Args are the buffers of Scale and Dot. Dot's result is S, Scale's is Y.
type Args[T kernels.Float] struct {
	Config
	X, Y []T // [N, D]; Scale may have Y in X
	S    []T // [D/W], or with Rows [N, D/W]
}

// factors are those of row n.
func (a *Args[T]) factors(n int) []T {
	g := a.Groups()
	if !a.Rows {
		n = 0
	}
	return a.S[n*g:][:g]
}

func (a *Args[T]) row(x []T, n int) []T { return x[n*a.Dim:][:a.Dim] }

// check returns N.
func (a *Args[T]) check() int {
	if a.Width < 1 || a.Dim < 1 || a.Dim%a.Width != 0 {
		panic(fmt.Sprintf("heads: %d features in groups of %d, want whole groups", a.Dim, a.Width))
	}
	n := len(a.X) / a.Dim
	want := a.Groups()
	if a.Rows {
		want *= n
	}
	if len(a.X) != n*a.Dim || len(a.Y) != len(a.X) || len(a.S) != want {
		panic(fmt.Sprintf("heads: x has %d values, y %d and s %d, want rows of %d and %d factors", len(a.X), len(a.Y), len(a.S), a.Dim, want))
	}
	return n
}

// ReferenceScale is Scale straight from the formula.
func ReferenceScale[T kernels.Float](a *Args[T]) {
	for n := range a.check() {
		x, y, s := a.row(a.X, n), a.row(a.Y, n), a.factors(n)
		for d := range x {
			y[d] = x[d] * s[d/a.Width]
		}
	}
}

// ReferenceDot is Dot straight from the formula.
func ReferenceDot[T kernels.Float](a *Args[T]) {
	rows := a.check()
	sums := make([]float64, len(a.S))
	for n := range rows {
		x, y, at := a.row(a.X, n), a.row(a.Y, n), 0
		if a.Rows {
			at = n * a.Groups()
		}
		for d := range x {
			sums[at+d/a.Width] += float64(x[d]) * float64(y[d])
		}
	}
	for i, s := range sums {
		a.S[i] = T(s)
	}
}

const (
	rowBlock     = 32  // rows of a part
	featureBlock = 256 // features of a part of a sum over rows
)

// Scale sets Y.
func Scale(c *cpu.Cores, a *Args[float32]) {
	n := a.check()
	j := cpu.Borrow(c, *a)
	defer j.Return()
	j.For(n, rowBlock, scaleRows)
}

func scaleRows(a *Args[float32], _ *cpu.Worker, lo, hi int) {
	for n := lo; n < hi; n++ {
		x, y, s := a.row(a.X, n), a.row(a.Y, n), a.factors(n)
		if a.Width == 1 {
			vec.Mul(y, x, s)
			continue
		}
		for g, v := range s {
			vec.Scale(y[g*a.Width:], v, x[g*a.Width:][:a.Width])
		}
	}
}

// Dot sets S.
func Dot(c *cpu.Cores, a *Args[float32]) {
	n := a.check()
	j := cpu.Borrow(c, *a)
	defer j.Return()
	switch {
	case a.Rows:
		j.For(n, rowBlock, dotRows)
	case a.Width == 1:
		j.For(a.Dim, featureBlock, sumFeatures)
	default:
		j.For(a.Groups(), 1, sumGroup)
	}
}

func dotRows(a *Args[float32], _ *cpu.Worker, lo, hi int) {
	for n := lo; n < hi; n++ {
		x, y, s := a.row(a.X, n), a.row(a.Y, n), a.factors(n)
		if a.Width == 1 {
			vec.Mul(s, x, y)
			continue
		}
		for g := range s {
			s[g] = vec.Dot(x[g*a.Width:][:a.Width], y[g*a.Width:])
		}
	}
}

func sumFeatures(a *Args[float32], _ *cpu.Worker, lo, hi int) {
	sum := a.S[lo:hi]
	clear(sum)
	for at := lo; at < len(a.X); at += a.Dim {
		vec.AxpyMul(sum, 1, a.X[at:][:hi-lo], a.Y[at:])
	}
}

func sumGroup(a *Args[float32], _ *cpu.Worker, g, _ int) {
	var sum float64
	for at := g * a.Width; at < len(a.X); at += a.Dim {
		sum += float64(vec.Dot(a.X[at:][:a.Width], a.Y[at:]))
	}
	a.S[g] = float32(sum)
}

// Copies are the buffers of Repeat, whose result is Y, and Fold, whose result is X.
type Copies[T kernels.Float] struct {
	Width, Times int // W and R
	X            []T // [N·G, W]
	Y            []T // [N·G, R, W]
}

// check returns N·G.
func (a *Copies[T]) check() int {
	if a.Width < 1 || a.Times < 1 || len(a.X)%a.Width != 0 || len(a.Y) != len(a.X)*a.Times {
		panic(fmt.Sprintf("heads: x has %d values and y %d, want whole groups of %d, and %d times as many", len(a.X), len(a.Y), a.Width, a.Times))
	}
	return len(a.X) / a.Width
}

func (a *Copies[T]) group(i int) (x, y []T) {
	return a.X[i*a.Width:][:a.Width], a.Y[i*a.Width*a.Times:][:a.Width*a.Times]
}

// ReferenceRepeat is Repeat straight from the formula.
func ReferenceRepeat[T kernels.Float](a *Copies[T]) {
	for i := range a.check() {
		x, y := a.group(i)
		for k := range y {
			y[k] = x[k%a.Width]
		}
	}
}

// ReferenceFold is Fold straight from the formula.
func ReferenceFold[T kernels.Float](a *Copies[T]) {
	for i := range a.check() {
		x, y := a.group(i)
		clear(x)
		for k := range y {
			x[k%a.Width] += y[k]
		}
	}
}

// Repeat sets Y.
func Repeat(c *cpu.Cores, a *Copies[float32]) {
	n := a.check()
	j := cpu.Borrow(c, *a)
	defer j.Return()
	j.For(n, rowBlock, repeatGroups)
}

func repeatGroups(a *Copies[float32], _ *cpu.Worker, lo, hi int) {
	for i := lo; i < hi; i++ {
		x, y := a.group(i)
		for at := 0; at < len(y); at += a.Width {
			copy(y[at:], x)
		}
	}
}

// Fold sets X.
func Fold(c *cpu.Cores, a *Copies[float32]) {
	n := a.check()
	j := cpu.Borrow(c, *a)
	defer j.Return()
	j.For(n, rowBlock, foldGroups)
}

func foldGroups(a *Copies[float32], _ *cpu.Worker, lo, hi int) {
	for i := lo; i < hi; i++ {
		x, y := a.group(i)
		copy(x, y)
		for at := a.Width; at < len(y); at += a.Width {
			vec.Add(x, x, y[at:])
		}
	}
}
