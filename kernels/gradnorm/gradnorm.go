// Package gradnorm measures gradients before the optimiser uses them: their global norm, the factor that
// clips it, and whether all of them are finite.
package gradnorm

import (
	"math"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/vec"
)

// ReferenceSumSquares returns Σ g² over all tensors, in float64.
func ReferenceSumSquares[T kernels.Float](grads [][]T) float64 {
	var sum float64
	for _, g := range grads {
		sum += exact(g)
	}
	return sum
}

// SumSquares is ReferenceSumSquares on all cores: NaN or +Inf if and only if some value is not finite.
func SumSquares(c *cpu.Cores, grads [][]float32) float64 {
	n := 0
	for _, g := range grads {
		n += len(g)
	}
	j := cpu.Borrow(c, job{grads: grads, size: max(minPart, (n+parts-1)/parts)})
	j.For(n, j.Args.size, sumPart)
	var sum float64
	for _, x := range j.Args.sums {
		sum += x
	}
	j.Return()
	return sum
}

// ClipFactor returns what gradients of this global norm are multiplied with so that it becomes at most limit:
// min(1, limit/(norm+1e-6)), as PyTorch's clip_grad_norm_ does.
func ClipFactor(norm, limit float64) float64 { return min(1, limit/(norm+1e-6)) }

// FirstNonFinite returns the place of the first value that is NaN or infinite, or −1, −1 if all are finite.
// It reads everything on one core: it is for the message after a sum that is not finite.
func FirstNonFinite(tensors [][]float32) (tensor, element int) {
	for t, x := range tensors {
		for i, v := range x {
			if v-v != 0 {
				return t, i
			}
		}
	}
	return -1, -1
}

const (
	parts   = 256     // partial sums
	minPart = 1 << 14 // values that one adds at least
	block   = 256     // values that are added in float32
)

// job takes the tensors as one row of values, cut into parts of equal size.
type job struct {
	grads [][]float32
	size  int
	sums  [parts]float64
}

func sumPart(a *job, _ *cpu.Worker, lo, hi int) {
	var sum float64
	at := 0 // of the tensor in the row
	for _, g := range a.grads {
		if from, to := max(lo-at, 0), min(hi-at, len(g)); from < to {
			sum += blocks(g[from:to])
		}
		at += len(g)
		if at >= hi {
			break
		}
	}
	a.sums[lo/a.size] = sum
}

// blocks returns Σ x², added in float32 within a block where that cannot overflow or vanish.
func blocks(x []float32) float64 {
	var sum float64
	for len(x) > 0 {
		n := min(block, len(x))
		s := vec.SumSquares(x[:n])
		if s > 1e-25 && s < 1e35 {
			sum += float64(s)
		} else {
			sum += exact(x[:n])
		}
		x = x[n:]
	}
	return sum
}

func exact[T kernels.Float](x []T) float64 {
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return sum
}

// Norm is the square root of SumSquares.
func Norm(c *cpu.Cores, grads [][]float32) float64 { return math.Sqrt(SumSquares(c, grads)) }
