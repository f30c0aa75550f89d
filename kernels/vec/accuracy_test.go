package vec

import (
	"math"
	"testing"

	"github.com/gojet/gojet/bf16"
)

// sweep returns float32 values of all sizes, infinities and NaN among them, and densely those where exponentials
// are neither 0 nor 1.
func sweep() []float32 {
	inf := float32(math.Inf(1))
	xs := []float32{0, float32(math.Copysign(0, -1)), inf, -inf, float32(math.NaN()), math.MaxFloat32, -math.MaxFloat32,
		math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32}
	for b := uint64(0); b < 1<<32; b += 16381 {
		xs = append(xs, math.Float32frombits(uint32(b)))
	}
	for x := -110.0; x < 110; x += 0.0017 {
		xs = append(xs, float32(x))
	}
	return xs
}

// step is the distance of subnormal float32 values.
const step = math.SmallestNonzeroFloat32

// within fails unless got is want with an error of at most tol·scale + floor; where want is not finite, or beyond
// float32, got must be just that. It returns the error relative to scale.
func within(t *testing.T, name string, x, got float32, want, scale, tol, floor float64) (rel float64) {
	t.Helper()
	rounded := float32(want)
	switch {
	case want != want:
		if got == got {
			t.Fatalf("%s(%v) = %v, want NaN", name, x, got)
		}
	case math.IsInf(float64(rounded), 0) || math.IsInf(float64(got), 0):
		// At the very edge of float32 one may round to infinity where the other does not.
		edge := math.Abs(math.Abs(want)/math.MaxFloat32-1) <= tol
		if got != rounded && !(edge && got == got) {
			t.Fatalf("%s(%v) = %v, want %v", name, x, got, want)
		}
	default:
		d := math.Abs(float64(got) - want)
		if !(d <= tol*scale+floor) {
			t.Fatalf("%s(%v) = %v, want %v: relative error %.3g, tolerance %.3g", name, x, got, want, d/scale, tol)
		}
		if scale > 0 {
			rel = max(d-floor, 0) / scale
		}
	}
	return rel
}

func TestFunctionsOfOneVariable(t *testing.T) {
	one, size := func(float64) float64 { return 1 }, func(x float64) float64 { return 1 + min(x, 110) }
	xs := sweep()
	each(t, func(t *testing.T) {
		for _, f := range []struct {
			name string
			call func(y, x []float32)
			want func(x float64) float64
			tol  float64
			// floor is the error, in steps of subnormal values, that comes from rounding exp(−|x|) to one of them.
			floor func(size float64) float64
		}{
			{"exp", Exp, math.Exp, 2e-7, one},
			{"sigmoid", Sigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, 2e-7, one},
			{"silu", SiLU, func(x float64) float64 { return x * (1 / (1 + math.Exp(-x))) }, 2e-7, size},
			{"softplus", Softplus, func(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }, 2e-7, one},
		} {
			y, worst := make([]float32, len(xs)), 0.0
			f.call(y, xs)
			for i, x := range xs {
				want := f.want(float64(x))
				floor := step * f.floor(math.Abs(float64(x)))
				worst = max(worst, within(t, f.name, x, y[i], want, math.Abs(want), f.tol, floor))
			}
			t.Logf("%s: worst relative error %.3g", f.name, worst)
		}
	})
}

// The slope of SiLU passes through zero, where its error is that of its terms.
func TestSlopes(t *testing.T) {
	const dy = 0.75
	xs := sweep()
	dys := make([]float32, len(xs))
	for i := range dys {
		dys[i] = dy
	}
	each(t, func(t *testing.T) {
		for _, f := range []struct {
			name string
			call func(dx, dy, x []float32)
			want func(x float64) (slope, scale float64)
		}{
			{"sigmoidGrad", SigmoidGrad, func(x float64) (float64, float64) {
				s := math.Exp(-math.Abs(x)) / math.Pow(1+math.Exp(-math.Abs(x)), 2)
				return s, s
			}},
			{"siluGrad", SiLUGrad, func(x float64) (float64, float64) {
				s, rest := 1/(1+math.Exp(-x)), 1/(1+math.Exp(x))
				return s * (1 + x*rest), s * (1 + math.Abs(x*rest))
			}},
		} {
			dx, worst := make([]float32, len(xs)), 0.0
			f.call(dx, dys, xs)
			for i, x := range xs {
				slope, scale := f.want(float64(x))
				if s := scale * dy; s > 0 || x != x || math.IsInf(float64(x), 0) {
					worst = max(worst, within(t, f.name, x, dx[i], slope*dy, s, 4e-7, step*(2+min(math.Abs(float64(x)), 110))))
				}
			}
			t.Logf("%s: worst relative error %.3g", f.name, worst)
		}
	})
}

func TestExpSum(t *testing.T) {
	each(t, func(t *testing.T) {
		x := make([]float32, 1003)
		for i := range x {
			x[i] = float32(i) * 0.1
		}
		y := make([]float32, len(x))
		got := ExpSum(y, x, x[len(x)-1])
		var sum float64
		for i, v := range x {
			sum += math.Exp(float64(v) - float64(x[len(x)-1]))
			within(t, "exp", v, y[i], math.Exp(float64(v-x[len(x)-1])), float64(y[i]), 2e-7, step)
		}
		if math.Abs(float64(got)-sum) > 1e-6*sum {
			t.Errorf("sum is %v, want %v", got, sum)
		}
		// Far below the largest, nothing is left; -Inf is how masked scores look.
		for n := range 40 {
			row := make([]float32, n)
			for i := range row {
				row[i] = float32(math.Inf(-1))
			}
			if s := ExpSum(row, row, -200); s != 0 {
				t.Errorf("%d masked scores: sum %v, want 0", n, s)
			}
		}
	})
}

func TestBF16(t *testing.T) {
	each(t, func(t *testing.T) {
		words, back := make([]bf16.BF16, 1<<16), make([]float32, 1<<16)
		for i := range words {
			words[i] = bf16.BF16(i)
		}
		FromBF16(back, words)
		for i, w := range words {
			if got, want := math.Float32bits(back[i]), uint32(i)<<16; got != want {
				t.Fatalf("%#x widens to %#x, want %#x", w, got, want)
			}
		}
		var xs []float32
		for b := uint64(0); b < 1<<32; b += 4093 {
			xs = append(xs, math.Float32frombits(uint32(b)))
		}
		for _, b := range []uint32{0x3f808000, 0x3f818000, 0x3f808001, 0x7f7fffff, 0x7f800001, 0xff800001, 0xffffffff, 0x7fffffff, 1} {
			xs = append(xs, math.Float32frombits(b))
		}
		got := make([]bf16.BF16, len(xs))
		ToBF16(got, xs)
		for i, x := range xs {
			if want := bf16.From(x); got[i] != want {
				t.Fatalf("%v (%#x) rounds to %#x, want %#x", x, math.Float32bits(x), got[i], want)
			}
		}
	})
}

// Conversion of every short length stays within its slices.
func TestBF16Lengths(t *testing.T) {
	each(t, func(t *testing.T) {
		for n := range 71 {
			x := normal(1, n)
			words := make([]bf16.BF16, n+2)
			words[0], words[n+1] = 0xabc, 0xdef
			ToBF16(words[1:n+1], x)
			if words[0] != 0xabc || words[n+1] != 0xdef {
				t.Errorf("%d values: wrote outside the result", n)
			}
			y := make([]float32, n+2)
			y[0], y[n+1] = 7, 8
			FromBF16(y[1:n+1], words[1:n+1])
			if y[0] != 7 || y[n+1] != 8 {
				t.Errorf("%d words: wrote outside the result", n)
			}
			for i, v := range x {
				if want := bf16.From(v).Float32(); y[i+1] != want {
					t.Errorf("%d values: value %d is %v, want %v", n, i, y[i+1], want)
				}
			}
		}
	})
}
