// Package rope is the rotary position embedding of RoFormer (https://arxiv.org/abs/2104.09864): the features of
// every head, taken as D/2 pairs, turn by an angle that grows with the token's position, so that the
// product of a query and a key depends on their distance.
//
//	y_i       = x_i·cos(p·f_i) − x_{i+D/2}·sin(p·f_i)
//	y_{i+D/2} = x_{i+D/2}·cos(p·f_i) + x_i·sin(p·f_i),     f_i = θ^(−2i/D), p the position
//
// Feature i is paired with i + D/2, as the checkpoints of the Qwen and Llama families have it, not with its neighbour.
package rope

import (
	"fmt"
	"math"
	"sort"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/packed"
	"github.com/gojet/gojet/kernels/vec"
)

// Args are the buffers of Forward and of Backward, which is the turn by the opposite angle: there X is dy, and Y is dx.
type Args[T kernels.Float] struct {
	Y     []T              // [N, H, D] result; may be X; zero for tokens outside every sequence
	X     []T              // [N, H, D]
	Heads int              // H
	Seqs  packed.Sequences // token t of sequence s is at position Start(s) + t − Cu[s]
}

// ReferenceForward is Forward straight from the formula, for base theta and heads of d features.
func ReferenceForward[T kernels.Float](theta float64, d int, a *Args[T]) {
	reference(theta, d, a, 1)
}

// ReferenceBackward is Backward straight from the formula.
func ReferenceBackward[T kernels.Float](theta float64, d int, a *Args[T]) {
	reference(theta, d, a, -1)
}

func reference[T kernels.Float](theta float64, d int, a *Args[T], sign float64) {
	n := a.check(d)
	freq := frequencies(theta, d)
	for t := range n {
		s, pos := a.position(t)
		for h := range a.Heads {
			at := (t*a.Heads + h) * d
			x1, x2 := halves(a.X[at : at+d])
			y1, y2 := halves(a.Y[at : at+d])
			if s < 0 {
				clear(y1)
				clear(y2)
				continue
			}
			for i, f := range freq {
				sin, cos := math.Sincos(sign * float64(pos) * f)
				u, v := float64(x1[i]), float64(x2[i])
				y1[i] = T(u*cos - v*sin)
				y2[i] = T(v*cos + u*sin)
			}
		}
	}
}

type job struct {
	Args[float32]
	table *Table
	back  bool
}

// Forward computes a.Y on all cores. The table grows to the positions in a.Seqs.
func Forward(c *cpu.Cores, t *Table, a *Args[float32]) { rotate(c, t, a, false) }

// Backward sets a.Y, the gradient of the input, from a.X, the gradient of the result.
func Backward(c *cpu.Cores, t *Table, a *Args[float32]) { rotate(c, t, a, true) }

func rotate(c *cpu.Cores, t *Table, a *Args[float32], back bool) {
	n := a.check(t.d)
	for s := range a.Seqs.Len() {
		lo, hi := a.Seqs.Span(s)
		t.Grow(a.Seqs.Start(s), a.Seqs.Start(s)+hi-lo)
	}
	j := cpu.Borrow(c, job{*a, t, back})
	j.For(n, max(1, 1<<13/(a.Heads*t.d)), rotateTokens)
	j.Return()
}

func rotateTokens(a *job, _ *cpu.Worker, lo, hi int) {
	d := a.table.d
	for t := lo; t < hi; t++ {
		s, pos := a.position(t)
		if s < 0 {
			clear(a.Y[t*a.Heads*d : (t+1)*a.Heads*d])
			continue
		}
		cos, sin := a.table.at(pos)
		for h := range a.Heads {
			at := (t*a.Heads + h) * d
			x1, x2 := halves(a.X[at : at+d])
			y1, y2 := halves(a.Y[at : at+d])
			if a.back {
				vec.Rotate(y2, y1, x2, x1, cos, sin)
			} else {
				vec.Rotate(y1, y2, x1, x2, cos, sin)
			}
		}
	}
}

// position returns the sequence of token t and its position there, or -1 where t belongs to none.
func (a *Args[T]) position(t int) (s, pos int) {
	// The first offset beyond t closes the sequence of t, if one is open.
	s = sort.Search(len(a.Seqs.Cu), func(i int) bool { return int(a.Seqs.Cu[i]) > t }) - 1
	if s < 0 || s >= a.Seqs.Len() {
		return -1, 0
	}
	return s, a.Seqs.Start(s) + t - int(a.Seqs.Cu[s])
}

// check panics if the buffers do not fit heads of d features, and returns N.
func (a *Args[T]) check(d int) int {
	n := tokensOf(len(a.X), len(a.Y), a.Heads, d)
	if err := a.Seqs.Validate(n, -1); err != nil {
		panic("rope: " + err.Error())
	}
	return n
}

// tokensOf is N for buffers of x and y values.
func tokensOf(x, y, heads, d int) int {
	if heads < 1 || x%(heads*d) != 0 {
		panic(fmt.Sprintf("rope: x has %d values, want whole tokens of %d (H %d × D %d)", x, heads*d, heads, d))
	}
	if y != x {
		panic(fmt.Sprintf("rope: y has %d values, want %d, the length of x", y, x))
	}
	return x / (heads * d)
}
