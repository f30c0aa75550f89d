package vec

import (
	"math"

	"github.com/gojet/gojet/bf16"
)

// inGo is the implementation in Go: what every processor runs and what the assembly is judged by.
// Transcendental functions are computed in float64 and rounded once.
func inGo() *loops {
	return &loops{
		name: "go",
		dot:  dotGo, sum: sumGo, max: maxGo,
		scale: scaleGo, axpy: axpyGo, combine: combineGo, add: addGo,
		mul: mulGo, scaleMul: scaleMulGo, axpyMul: axpyMulGo, rotate: rotateGo,
		exp: expGo, expSum: expSumGo,
		sigmoid: sigmoidGo, sigmoidGrad: sigmoidGradGo, softplus: softplusGo,
		silu: siluGo, siluGrad: siluGradGo, siluMul: siluMulGo, siluMulGrad: siluMulGradGo,
		toBF16: toBF16Go, fromBF16: fromBF16Go,
	}
}

// dotGo keeps four sums, which is faster and rounds less than one.
func dotGo(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	i := 0
	for ; i+4 <= len(a); i += 4 {
		x, y := a[i:i+4:i+4], b[i:i+4:i+4]
		s0 += x[0] * y[0]
		s1 += x[1] * y[1]
		s2 += x[2] * y[2]
		s3 += x[3] * y[3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return (s0 + s1) + (s2 + s3)
}

func sumGo(x []float32) float32 {
	var s0, s1, s2, s3 float32
	i := 0
	for ; i+4 <= len(x); i += 4 {
		v := x[i : i+4 : i+4]
		s0 += v[0]
		s1 += v[1]
		s2 += v[2]
		s3 += v[3]
	}
	for ; i < len(x); i++ {
		s0 += x[i]
	}
	return (s0 + s1) + (s2 + s3)
}

func maxGo(x []float32) float32 {
	m := float32(math.Inf(-1))
	for _, v := range x {
		m = max(m, v)
	}
	return m
}

func scaleGo(y []float32, alpha float32, x []float32) {
	for i, v := range x {
		y[i] = alpha * v
	}
}

func axpyGo(y []float32, alpha float32, x []float32) {
	for i, v := range x {
		y[i] += alpha * v
	}
}

func combineGo(y []float32, alpha float32, a []float32, beta float32, b []float32) {
	for i, v := range a {
		y[i] = alpha*v + beta*b[i]
	}
}

func addGo(y, a, b []float32) {
	for i, v := range a {
		y[i] = v + b[i]
	}
}

func mulGo(y, a, b []float32) {
	for i, v := range a {
		y[i] = v * b[i]
	}
}

func scaleMulGo(y []float32, alpha float32, a, b []float32) {
	for i, v := range a {
		y[i] = alpha * v * b[i]
	}
}

func axpyMulGo(y []float32, alpha float32, a, b []float32) {
	for i, v := range a {
		y[i] += alpha * v * b[i]
	}
}

func rotateGo(ya, yb, a, b, cos, sin []float32) {
	for i, u := range a {
		v, c, s := b[i], cos[i], sin[i]
		ya[i] = u*c - v*s
		yb[i] = v*c + u*s
	}
}

func expGo(y, x []float32) {
	for i, v := range x {
		y[i] = float32(math.Exp(float64(v)))
	}
}

func expSumGo(y, x []float32, shift float32) float32 {
	for i, v := range x {
		y[i] = float32(math.Exp(float64(v - shift)))
	}
	return sumGo(y)
}

func sigmoid(x float32) float64 { return 1 / (1 + math.Exp(-float64(x))) }

func silu(x float32) float64 { return float64(x) * sigmoid(x) }

// siluSlope is d silu(x)/dx = s·(1 + x·(1−s)), s = sigmoid(x).
func siluSlope(x float32) float64 {
	s := sigmoid(x)
	return s * (1 + float64(x)*(1-s))
}

func sigmoidGo(y, x []float32) {
	for i, v := range x {
		y[i] = float32(sigmoid(v))
	}
}

func sigmoidGradGo(dx, dy, x []float32) {
	for i, v := range x {
		dx[i] = float32(float64(dy[i]) * sigmoid(v) * sigmoid(-v))
	}
}

func softplusGo(y, x []float32) {
	for i, v := range x {
		u := float64(v)
		y[i] = float32(max(u, 0) + math.Log1p(math.Exp(-math.Abs(u))))
	}
}

func siluGo(y, x []float32) {
	for i, v := range x {
		y[i] = float32(silu(v))
	}
}

func siluGradGo(dx, dy, x []float32) {
	for i, v := range x {
		dx[i] = float32(float64(dy[i]) * siluSlope(v))
	}
}

func siluMulGo(y, gate, up []float32) {
	for i, g := range gate {
		y[i] = float32(silu(g) * float64(up[i]))
	}
}

func siluMulGradGo(dgate, dup, dy, gate, up []float32) {
	for i, g := range gate {
		d, u := float64(dy[i]), float64(up[i])
		dgate[i] = float32(d * u * siluSlope(g))
		dup[i] = float32(d * silu(g))
	}
}

func toBF16Go(y []uint16, x []float32) {
	for i, v := range x {
		y[i] = uint16(bf16.From(v))
	}
}

func fromBF16Go(y []float32, x []uint16) {
	for i, v := range x {
		y[i] = bf16.BF16(v).Float32()
	}
}
