package l2norm

import (
	"fmt"
	"testing"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
)

func forward64(x []float64, k int, scale float64) []float64 {
	y := make([]float64, len(x))
	ReferenceForward(&ForwardArgs[float64]{Y: y, X: x, K: k, Scale: scale})
	return y
}

func backward64(dy, x []float64, k int, scale float64) []float64 {
	dx := make([]float64, len(x))
	ReferenceBackward(&BackwardArgs[float64]{DX: dx, DY: dy, X: x, K: k, Scale: scale})
	return dx
}

func TestReferenceGradient(t *testing.T) {
	const r, k, scale = 5, 7, 0.3
	rnd := check.Rand(1)
	x, dy := check.Normal(rnd, r*k, 1), check.Normal(rnd, r*k, 1)
	check.Gradient(t, "x", x, backward64(dy, x, k, scale), func() float64 {
		var sum float64
		for i, y := range forward64(x, k, scale) {
			sum += y * dy[i]
		}
		return sum
	})
}

// A row of zeros stays zero, and its gradient is dy·scale/√Eps.
func TestZeros(t *testing.T) {
	dy := []float32{1, -2, 3}
	y, dx := check.Poisoned[float32](3), check.Poisoned[float32](3)
	c := cpu.New(1)
	defer c.Close()
	Forward(c, &ForwardArgs[float32]{Y: y.Data, X: make([]float32, 3), K: 3, Scale: 0.5})
	Backward(c, &BackwardArgs[float32]{DX: dx.Data, DY: dy, X: make([]float32, 3), K: 3, Scale: 0.5})
	check.Written(t, "y", y, []float32{0, 0, 0}, 0)
	check.Written(t, "dx", dx, []float64{500, -1000, 1500}, check.Kernel32)
}

func TestFastAgainstReference(t *testing.T) {
	for _, r := range check.Sizes() {
		for _, k := range []int{2, 7, 37, 96, 128, 300} {
			for _, size := range []float64{1, 1e-3} { // with small rows Eps counts
				t.Run(fmt.Sprintf("%dx%d/%v", r, k, size), func(t *testing.T) { compare(t, r, k, size) })
			}
		}
	}
}

func compare(t *testing.T, r, k int, size float64) {
	const scale = 0.125
	rnd := check.Rand(uint64(r*1000 + k))
	x64, dy64 := check.Normal(rnd, r*k, size), check.Normal(rnd, r*k, 1)
	wantY, wantDX := forward64(x64, k, scale), backward64(dy64, x64, k, scale)
	x, dy := check.To[float32](x64), check.To[float32](dy64)
	unchanged := check.Unchanged(t, x, dy)
	for threads := 1; threads <= 3; threads++ {
		c := cpu.New(threads)
		y, dx := check.Poisoned[float32](r*k), check.Poisoned[float32](r*k)
		Forward(c, &ForwardArgs[float32]{Y: y.Data, X: x, K: k, Scale: scale})
		Backward(c, &BackwardArgs[float32]{DX: dx.Data, DY: dy, X: x, K: k, Scale: scale})
		check.Written(t, "y", y, wantY, check.Kernel32)
		check.Written(t, "dx", dx, wantDX, check.Kernel32)
		// Rows do not know of each other, so that one thread in place must give the same bits.
		one := cpu.New(1)
		over, dover := append([]float32(nil), x...), append([]float32(nil), dy...)
		Forward(one, &ForwardArgs[float32]{Y: over, X: over, K: k, Scale: scale})
		Backward(one, &BackwardArgs[float32]{DX: dover, DY: dover, X: x, K: k, Scale: scale})
		check.Close(t, "y in place", over, y.Data, 0)
		check.Close(t, "dx in place", dover, dx.Data, 0)
		one.Close()
		c.Close()
	}
	unchanged()
}

func TestWrongLengthsPanic(t *testing.T) {
	const want = "l2norm: x has 5 values, want whole rows of 3"
	defer func() {
		if r := recover(); r != want {
			t.Errorf("panic %v, want %q", r, want)
		}
	}()
	Forward(cpu.New(1), &ForwardArgs[float32]{Y: make([]float32, 5), X: make([]float32, 5), K: 3})
}

func BenchmarkForward(b *testing.B)  { benchmark(b, false) }
func BenchmarkBackward(b *testing.B) { benchmark(b, true) }

func benchmark(b *testing.B, backward bool) {
	const r, k = 1024 * 12, 96
	x, y := check.To[float32](check.Normal(check.Rand(1), r*k, 1)), make([]float32, r*k)
	dx := make([]float32, r*k)
	c := cpu.New(0)
	defer c.Close()
	if backward {
		b.SetBytes(3 * r * k * 4)
	} else {
		b.SetBytes(2 * r * k * 4)
	}
	for b.Loop() {
		if backward {
			Backward(c, &BackwardArgs[float32]{DX: dx, DY: y, X: x, K: k, Scale: 0.1})
		} else {
			Forward(c, &ForwardArgs[float32]{Y: y, X: x, K: k, Scale: 0.1})
		}
	}
}
