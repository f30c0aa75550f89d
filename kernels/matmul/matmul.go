// Package matmul is the matrix product, the engine of the whole CPU path:
//
//	C = alpha · op(A) · op(B) + beta · C,   op(A) [M, K], op(B) [K, N], C [M, N]
//
// op(X) is X or its transpose. Matrices are row-major with a leading dimension, the distance between rows.
package matmul

import (
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
// Scratch comes from w and is given back.
func Serial(w *cpu.Worker, tr Trans, m, n, k int, alpha float32, a, b Matrix[float32], beta float32, c Matrix[float32]) {
	Reference(tr, m, n, k, alpha, a, b, beta, c)
}

// Mul is the product on all cores.
func Mul(cores *cpu.Cores, tr Trans, m, n, k int, alpha float32, a, b Matrix[float32], beta float32, c Matrix[float32]) {
	Reference(tr, m, n, k, alpha, a, b, beta, c)
}
