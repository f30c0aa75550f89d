package gradnorm_test

import (
	"math"
	"testing"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/gradnorm"
)

func tensors(sizes ...int) [][]float32 {
	r := check.Rand(3)
	var list [][]float32
	for i, n := range sizes {
		list = append(list, check.To[float32](check.Normal(r, n, float64(i+1)*0.01)))
	}
	return list
}

var lists = [][]int{{}, {0}, {1}, {7, 0, 300, 255, 256, 257}, {100003, 5, 70000, 16384}, {1, 1, 1}}

func TestSumSquares(t *testing.T) {
	for _, sizes := range lists {
		list := tensors(sizes...)
		want := gradnorm.ReferenceSumSquares(list)
		var first float64
		for threads := 1; threads <= 3; threads++ {
			c := cpu.New(threads)
			same := check.Unchanged(t, list...)
			got := gradnorm.SumSquares(c, list)
			same()
			check.Close(t, "sum", []float64{got}, []float64{want}, check.Loss32)
			if threads == 1 {
				first = got
			}
			if got != first {
				t.Errorf("%v: %v with 1 thread, %v with %d", sizes, first, got, threads)
			}
			if norm := gradnorm.Norm(c, list); norm != math.Sqrt(got) {
				t.Errorf("norm %v, want √%v", norm, got)
			}
			c.Close()
		}
	}
}

// Squares beyond float32 are still summed; what is not finite shows.
func TestRange(t *testing.T) {
	c := cpu.New(1)
	defer c.Close()
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, tc := range []struct {
		value  float32
		finite bool
	}{{1e30, true}, {math.MaxFloat32, true}, {1e-30, true}, {math.SmallestNonzeroFloat32, true}, {inf, false}, {-inf, false}, {nan, false}} {
		list := tensors(700, 300)
		for _, x := range list {
			clear(x)
		}
		list[1][299] = tc.value
		sum := gradnorm.SumSquares(c, list)
		if finite := sum-sum == 0; finite != tc.finite {
			t.Errorf("with %v the sum is %v", tc.value, sum)
		}
		tensor, at := gradnorm.FirstNonFinite(list)
		if tc.finite {
			check.Close(t, "sum", []float64{sum}, []float64{float64(tc.value) * float64(tc.value)}, check.Loss32)
			if tensor != -1 || at != -1 {
				t.Errorf("with %v the first value not finite is at %d, %d", tc.value, tensor, at)
			}
		} else if tensor != 1 || at != 299 {
			t.Errorf("with %v the first value not finite is at %d, %d; want 1, 299", tc.value, tensor, at)
		}
	}
}

func TestClipFactor(t *testing.T) {
	for _, tc := range []struct{ norm, limit, want float64 }{{0, 1, 1}, {0.5, 1, 1}, {2, 1, 1 / 2.000001}, {3, 6, 1}, {1, 1, 1 / 1.000001}} {
		if got := gradnorm.ClipFactor(tc.norm, tc.limit); math.Abs(got-tc.want) > 1e-15 {
			t.Errorf("norm %v, limit %v: %v, want %v", tc.norm, tc.limit, got, tc.want)
		}
	}
	if got := gradnorm.ClipFactor(math.NaN(), 1); got == got {
		t.Errorf("norm NaN: %v, want NaN", got)
	}
}

func TestAllocatesNothing(t *testing.T) {
	c := cpu.New(2)
	defer c.Close()
	list := tensors(100003, 5, 70000)
	if n := testing.AllocsPerRun(10, func() { gradnorm.SumSquares(c, list) }); n != 0 {
		t.Errorf("%v allocations a call, want 0", n)
	}
}

func BenchmarkSumSquares(b *testing.B) {
	c := cpu.New(0)
	defer c.Close()
	list := tensors(1<<22, 1<<20)
	b.SetBytes((1<<22 + 1<<20) * 4)
	for b.Loop() {
		gradnorm.SumSquares(c, list)
	}
}
