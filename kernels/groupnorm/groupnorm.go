// Package groupnorm gives every group of neighbouring features of a token mean 0 and variance 1, and each feature a weight
// and a bias (https://arxiv.org/abs/1803.08494): the output norm of RWKV.
//
//	n = (x − mean) / √(var + eps)      y = n·w + b
//
// N tokens, D features, W of them in a group.
package groupnorm

import (
	"fmt"
	"math"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/vec"
)

// Config is the size of a group and what is added to the variance.
type Config struct {
	Width int
	Eps   float64
}

// ForwardArgs are the buffers of Forward. D is the length of W.
type ForwardArgs[T kernels.Float] struct {
	Config
	X    []T // [N, D]
	W, B []T // [D]
	Y    []T // [N, D]; may be X
}

// BackwardArgs are the buffers of Backward.
type BackwardArgs[T kernels.Float] struct {
	Config
	X      []T // [N, D] as in Forward
	W      []T // [D]
	DY     []T // [N, D]
	DX     []T // [N, D]; may be DY
	DW, DB []T // [D], summed over tokens

	Scratch []T // ScratchLen(N, D) values; the reference needs none
}

// blockTokens is how many tokens make one partial sum.
const blockTokens = 64

// ScratchLen is the length of BackwardArgs.Scratch for n tokens of d features.
func ScratchLen(n, d int) int { return (n + blockTokens - 1) / blockTokens * 2 * d }

// check returns N and D.
func (f Config) check(x, w int, others ...int) (n, d int) {
	if w < 1 || f.Width < 1 || w%f.Width != 0 || x%w != 0 {
		panic(fmt.Sprintf("groupnorm: x has %d values and w %d, want whole rows of whole groups of %d", x, w, f.Width))
	}
	for _, l := range others {
		if l != x && l != w {
			panic(fmt.Sprintf("groupnorm: a buffer has %d values, want %d or %d", l, x, w))
		}
	}
	return x / w, w
}

// moments returns the mean of x and 1/√(var + eps).
func moments[T kernels.Float](x []T, eps float64) (mean, r float64) {
	for _, v := range x {
		mean += float64(v)
	}
	mean /= float64(len(x))
	var ss float64
	for _, v := range x {
		d := float64(v) - mean
		ss += d * d
	}
	return mean, 1 / math.Sqrt(ss/float64(len(x))+eps)
}

// ReferenceForward is Forward straight from the formula.
func ReferenceForward[T kernels.Float](a *ForwardArgs[T]) {
	_, d := a.check(len(a.X), len(a.W), len(a.B), len(a.Y))
	for lo := 0; lo < len(a.X); lo += a.Width {
		x := a.X[lo : lo+a.Width]
		mean, r := moments(x, a.Eps)
		for i, v := range x {
			at := (lo + i) % d
			a.Y[lo+i] = T((float64(v)-mean)*r*float64(a.W[at]) + float64(a.B[at]))
		}
	}
}

// ReferenceBackward is Backward straight from the formula: with u = dy·w,
//
//	dx = r (u − mean(u) − n mean(u n)),  dw = Σ dy n,  db = Σ dy.
func ReferenceBackward[T kernels.Float](a *BackwardArgs[T]) {
	_, d := a.check(len(a.X), len(a.W), len(a.DY))
	dw, db, u := make([]float64, d), make([]float64, d), make([]float64, a.Width)
	for lo := 0; lo < len(a.X); lo += a.Width {
		x := a.X[lo : lo+a.Width]
		mean, r := moments(x, a.Eps)
		var sum, along float64
		for i, v := range x {
			at, dy, n := (lo+i)%d, float64(a.DY[lo+i]), (float64(v)-mean)*r
			dw[at] += dy * n
			db[at] += dy
			u[i] = dy * float64(a.W[at])
			sum += u[i] / float64(a.Width)
			along += u[i] * n / float64(a.Width)
		}
		if a.DX == nil {
			continue
		}
		for i, v := range x {
			a.DX[lo+i] = T(r * (u[i] - sum - (float64(v)-mean)*r*along))
		}
	}
	for i := range a.DW {
		a.DW[i] = T(dw[i])
	}
	for i := range a.DB {
		a.DB[i] = T(db[i])
	}
}

// Forward computes a.Y on all cores.
func Forward(c *cpu.Cores, a *ForwardArgs[float32]) {
	n, _ := a.check(len(a.X), len(a.W), len(a.B), len(a.Y))
	j := cpu.Borrow(c, *a)
	defer j.Return()
	j.For(n, blockTokens, forwardTokens)
}

// normalise sets y to n of x and returns r. The mean goes first, so that it takes no digits away from what is left.
func normalise(y, x []float32, eps float64) float32 {
	mean := vec.Sum(x) / float32(len(x))
	for i, v := range x {
		y[i] = v - mean
	}
	r := float32(1 / math.Sqrt(float64(vec.SumSquares(y))/float64(len(y))+eps))
	vec.Scale(y, r, y)
	return r
}

func forwardTokens(a *ForwardArgs[float32], _ *cpu.Worker, lo, hi int) {
	d := len(a.W)
	for t := lo; t < hi; t++ {
		x, y := a.X[t*d:][:d], a.Y[t*d:][:d]
		for g := 0; g < d; g += a.Width {
			normalise(y[g:g+a.Width], x[g:g+a.Width], a.Eps)
		}
		vec.Mul(y, y, a.W)
		vec.Add(y, y, a.B)
	}
}

// Backward computes the gradients that are not nil on all cores. DW and DB are added up in blocks of tokens, and then block
// after block.
func Backward(c *cpu.Cores, a *BackwardArgs[float32]) {
	n, d := a.check(len(a.X), len(a.W), len(a.DY))
	if want := ScratchLen(n, d); len(a.Scratch) < want {
		panic(fmt.Sprintf("groupnorm: scratch has %d values, want %d", len(a.Scratch), want))
	}
	j := cpu.Borrow(c, *a)
	defer j.Return()
	j.For(n, blockTokens, backwardTokens)
	j.For(d, 256, sumBlocks)
}

func backwardTokens(a *BackwardArgs[float32], w *cpu.Worker, lo, hi int) {
	d := len(a.W)
	n, u := w.Floats(d), w.Floats(d)
	sums := a.Scratch[lo/blockTokens*2*d:][:2*d]
	clear(sums)
	for t := lo; t < hi; t++ {
		x, dy := a.X[t*d:][:d], a.DY[t*d:][:d]
		vec.Mul(u, dy, a.W)
		for g := 0; g < d; g += a.Width {
			n, u := n[g:g+a.Width], u[g:g+a.Width]
			r := normalise(n, x[g:g+a.Width], a.Eps)
			mean, along := vec.Sum(u)/float32(a.Width), vec.Dot(u, n)/float32(a.Width)
			for i := range u {
				u[i] = r * (u[i] - mean - n[i]*along)
			}
		}
		vec.AxpyMul(sums[:d], 1, dy, n)
		vec.Add(sums[d:], sums[d:], dy)
		if a.DX != nil {
			copy(a.DX[t*d:][:d], u)
		}
	}
}

func sumBlocks(a *BackwardArgs[float32], _ *cpu.Worker, lo, hi int) {
	d := len(a.W)
	for k, sum := range [2][]float32{a.DW, a.DB} {
		if sum == nil {
			continue
		}
		clear(sum[lo:hi])
		for at := k * d; at < ScratchLen(len(a.X)/d, d); at += 2 * d {
			vec.Add(sum[lo:hi], sum[lo:hi], a.Scratch[at+lo:])
		}
	}
}
