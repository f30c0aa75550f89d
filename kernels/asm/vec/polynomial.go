package main

import "math"

// The polynomials interpolate a power series at the Chebyshev nodes of an interval, which is within a small factor of
// the best polynomial of that degree.

// economise returns the coefficients, lowest first, of the polynomial of the given degree that interpolates
// Σ series(k)·x^k on [lo, hi].
func economise(series func(k int) float64, lo, hi float64, degree int) []float64 {
	n := degree + 1
	x, f := make([]float64, n), make([]float64, n)
	for i := range n {
		x[i] = (lo+hi)/2 + (hi-lo)/2*math.Cos(math.Pi*(float64(i)+0.5)/float64(n))
		for k := 30; k >= 0; k-- {
			f[i] = f[i]*x[i] + series(k)
		}
	}
	for step := 1; step < n; step++ { // Newton's divided differences
		for i := n - 1; i >= step; i-- {
			f[i] = (f[i] - f[i-1]) / (x[i] - x[i-step])
		}
	}
	c := make([]float64, n)
	for i := n - 1; i >= 0; i-- { // c = c·(x − x_i) + f_i
		for k := n - 1; k > 0; k-- {
			c[k] = c[k-1] - x[i]*c[k]
		}
		c[0] = f[i] - x[i]*c[0]
	}
	return c
}

func floats(c []float64) []uint32 {
	bits := make([]uint32, len(c))
	for i, v := range c {
		bits[i] = float(v)
	}
	return bits
}

func float(v float64) uint32 { return math.Float32bits(float32(v)) }

// expTail are the coefficients from r² on of exp(r), |r| ≤ ln(2)/2. What remains is 7e-9 of exp(r).
var expTail = floats(economise(func(k int) float64 { return 1 / math.Gamma(float64(k+3)) }, -math.Ln2/2, math.Ln2/2, 4))

// logTail are the coefficients of Q in log1p(e) = t·(1 + t²·Q(t²)), t = 2e/(2+e), 0 ≤ e ≤ 1: the series of the
// inverse hyperbolic tangent, 2·atanh(t/2) = Σ t·(t²/4)^k/(2k+1). What remains is 1e-9 of log1p(e).
var logTail = floats(economise(func(k int) float64 { return math.Pow(0.25, float64(k+1)) / float64(2*k+3) }, 0, 4./9, 4))
