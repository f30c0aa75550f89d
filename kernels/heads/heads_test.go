package heads

import (
	"testing"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
)

// TestPairs holds each operation against its partner: ⟨y, A x⟩ = ⟨Aᵀ y, x⟩.
func TestPairs(t *testing.T) {
	r := check.Rand(1)
	for _, f := range []Config{{Dim: 12, Width: 3}, {Dim: 12, Width: 3, Rows: true}, {Dim: 12, Width: 1}, {Dim: 12, Width: 1, Rows: true}} {
		const n = 5
		factors := f.Groups()
		if f.Rows {
			factors *= n
		}
		x, y, s := check.Normal(r, n*f.Dim, 1), check.Normal(r, n*f.Dim, 1), check.Normal(r, factors, 1)
		scaled, sums := make([]float64, len(x)), make([]float64, factors)
		ReferenceScale(&Args[float64]{f, x, scaled, s})
		ReferenceDot(&Args[float64]{f, x, y, sums})
		check.Close(t, "scale and dot", []float64{dot(scaled, y)}, []float64{dot(sums, s)}, 1e-12)
	}
	x, y := check.Normal(r, 4*6, 1), check.Normal(r, 4*6*3, 1)
	many, few := make([]float64, len(y)), make([]float64, len(x))
	ReferenceRepeat(&Copies[float64]{6, 3, x, many})
	ReferenceFold(&Copies[float64]{6, 3, few, y})
	check.Close(t, "repeat and fold", []float64{dot(many, y)}, []float64{dot(few, x)}, 1e-12)
}

func dot(a, b []float64) float64 {
	var sum float64
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

func TestWrongLengthsPanic(t *testing.T) {
	c := cpu.New(1)
	defer c.Close()
	defer func() {
		const want = "heads: x has 12 values, y 12 and s 3, want rows of 6 and 2 factors"
		if got := recover(); got != want {
			t.Errorf("panic %v, want %v", got, want)
		}
	}()
	Scale(c, &Args[float32]{Config{Dim: 6, Width: 3}, make([]float32, 12), make([]float32, 12), make([]float32, 3)})
}
