// Package vec holds the loops over contiguous float32 values that other kernels are made of.
package vec

import "math"

// Dot returns Σ a·b.
func Dot(a, b []float32) float32 {
	var s float32
	for i, v := range a {
		s += v * b[i]
	}
	return s
}

// Axpy adds alpha·x to y.
func Axpy(y []float32, alpha float32, x []float32) {
	for i, v := range x {
		y[i] += alpha * v
	}
}

// Scale sets y = alpha·x. y may be x.
func Scale(y []float32, alpha float32, x []float32) {
	for i, v := range x {
		y[i] = alpha * v
	}
}

// Add sets y = a + b. y may be a or b.
func Add(y, a, b []float32) {
	for i, v := range a {
		y[i] = v + b[i]
	}
}

// Mul sets y = a·b, element by element. y may be a or b.
func Mul(y, a, b []float32) {
	for i, v := range a {
		y[i] = v * b[i]
	}
}

// Sum returns Σ x.
func Sum(x []float32) float32 {
	var s float32
	for _, v := range x {
		s += v
	}
	return s
}

// SumSquares returns Σ x².
func SumSquares(x []float32) float32 { return Dot(x, x) }

// Max returns the largest element; -Inf for none.
func Max(x []float32) float32 {
	m := float32(math.Inf(-1))
	for _, v := range x {
		m = max(m, v)
	}
	return m
}

// Exp sets y = exp(x). y may be x.
func Exp(y, x []float32) {
	for i, v := range x {
		y[i] = float32(math.Exp(float64(v)))
	}
}

// ExpSum sets y = exp(x - shift) and returns Σ y. y may be x.
func ExpSum(y, x []float32, shift float32) float32 {
	var s float32
	for i, v := range x {
		y[i] = float32(math.Exp(float64(v - shift)))
		s += y[i]
	}
	return s
}

// Sigmoid sets y = 1/(1+exp(-x)). y may be x.
func Sigmoid(y, x []float32) {
	for i, v := range x {
		y[i] = float32(1 / (1 + math.Exp(-float64(v))))
	}
}

// SiLU sets y = x·sigmoid(x). y may be x.
func SiLU(y, x []float32) {
	for i, v := range x {
		y[i] = float32(float64(v) / (1 + math.Exp(-float64(v))))
	}
}

// SiLUGrad sets dx = dy·d silu(x)/dx. dx may be dy or x.
func SiLUGrad(dx, dy, x []float32) {
	for i, v := range x {
		s := 1 / (1 + math.Exp(-float64(v)))
		dx[i] = float32(float64(dy[i]) * s * (1 + float64(v)*(1-s)))
	}
}
