// Package matmul is the matrix product, the engine of the whole CPU path:
//
//	C = alpha · op(A) · op(B) + beta · C,   op(A) [M, K], op(B) [K, N], C [M, N]
//
// op(X) is X or its transpose. Matrices are row-major with a leading dimension, the distance between rows.
package matmul

import (
	"github.com/gojet/gojet/bf16"
	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/cpu"
)

// Trans says for each operand whether its transpose is meant.
type Trans uint8

// The four products. NT is a linear layer's forward, NN its input gradient, TN its weight gradient.
const (
	NN Trans = iota
	NT
	TN
	TT
)

// Element is what B may consist of.
type Element interface{ float32 | bf16.BF16 }

// Matrix is a row-major matrix inside a buffer: element (i, j) is Data[i·Stride+j].
type Matrix[T any] struct {
	Data   []T
	Stride int
}

// Of is the matrix of n columns that fills data.
func Of[T any](data []T, n int) Matrix[T] { return Matrix[T]{Data: data, Stride: n} }

// Reference is the product straight from its definition, summed in float64.
// Where beta is 0, C is not read.
func Reference[T kernels.Float](tr Trans, m, n, k int, alpha T, a, b Matrix[T], beta T, c Matrix[T]) {
	for i := range m {
		for j := range n {
			var sum float64
			for x := range k {
				av, bv := a.Data, b.Data
				ai, bi := i*a.Stride+x, x*b.Stride+j
				if tr == TN || tr == TT {
					ai = x*a.Stride + i
				}
				if tr == NT || tr == TT {
					bi = j*b.Stride + x
				}
				sum += float64(av[ai]) * float64(bv[bi])
			}
			r := alpha * T(sum)
			if beta != 0 {
				r += beta * c.Data[i*c.Stride+j]
			}
			c.Data[i*c.Stride+j] = r
		}
	}
}

// Serial is the product on the calling goroutine, for use inside the parts of other kernels.
// Scratch comes from w and is given back. C overlaps neither A nor B.
func Serial(w *cpu.Worker, tr Trans, m, n, k int, alpha float32, a, b Matrix[float32], beta float32, c Matrix[float32]) {
	p := newProduct(best(), tr, m, n, k, alpha, a, operand{full: b.Data}, b.Stride, beta, c, nil)
	p.run(w, 0, p.m, 0, p.n)
}

// Mul is the product on all cores. B may be bfloat16: it is widened while it is packed or in registers, and A stays
// what it is. The result does not depend on the number of cores.
func Mul[B Element](cores *cpu.Cores, tr Trans, m, n, k int, alpha float32, a Matrix[float32], b Matrix[B], beta float32, c Matrix[float32]) {
	p := newProduct(best(), tr, m, n, k, alpha, a, operandOf(b.Data), b.Stride, beta, c, nil)
	p.mul(cores)
}

// MulBias is Mul with a row of N values added to every row of the product: C = alpha · op(A) · op(B) + bias.
// Without bias, nil, it is Mul with beta 0.
func MulBias[B Element](cores *cpu.Cores, tr Trans, m, n, k int, alpha float32, a Matrix[float32], b Matrix[B], bias []float32, c Matrix[float32]) {
	p := newProduct(best(), tr, m, n, k, alpha, a, operandOf(b.Data), b.Stride, 0, c, bias)
	p.mul(cores)
}

// Batch is count matrices in one buffer: matrix i begins Step values after matrix i-1.
type Batch[T any] struct {
	Matrix[T]
	Step int
}

// Batched is the product of count pairs of matrices on all cores. A Step of 0 means the same factor for all.
func Batched(cores *cpu.Cores, tr Trans, count, m, n, k int, alpha float32, a, b Batch[float32], beta float32, c Batch[float32]) {
	batch := call{best(), tr, m, n, k, alpha, beta, a, b, c}
	batch.mul(cores, count)
}
