package pointwise

import (
	"testing"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
)

func TestAdd(t *testing.T) {
	c := cpu.New(2)
	defer c.Close()
	for _, n := range []int{1, 63, 65, span + 1, 3*span - 7} {
		a, b := check.Normal(check.Rand(1), n, 1), check.Normal(check.Rand(2), n, 1)
		a32, b32 := check.To[float32](a), check.To[float32](b)
		want := make([]float64, n)
		ReferenceAdd(want, a, b)
		y := check.Poisoned[float32](n)
		same := check.Unchanged(t, a32, b32)
		Add(c, y.Data, a32, b32)
		same()
		check.Written(t, "sum", y, want, check.Kernel32)
		Add(c, a32, a32, b32)
		check.Close(t, "sum over a", a32, want, check.Kernel32)
	}
}

func TestScale(t *testing.T) {
	c := cpu.New(2)
	defer c.Close()
	for _, n := range []int{1, 65, span + 1} {
		x := check.To[float32](check.Normal(check.Rand(1), n, 1))
		want := make([]float32, n)
		ReferenceScale(want, -2.5, x)
		y := check.Poisoned[float32](n)
		Scale(c, y.Data, -2.5, x)
		check.Written(t, "scaled", y, want, 0)
	}
}

func TestActivations(t *testing.T) {
	for _, f := range []Activation{SiLU, Sigmoid} {
		t.Run(f.String(), func(t *testing.T) {
			x := check.Normal(check.Rand(1), 50, 3)
			dy := check.Normal(check.Rand(2), 50, 1)
			y, dx := make([]float64, 50), make([]float64, 50)
			ReferenceBackward(f, dx, dy, x)
			check.Gradient(t, "x", x, dx, func() float64 {
				ReferenceForward(f, y, x)
				var s float64
				for i := range y {
					s += y[i] * dy[i]
				}
				return s
			})
			for _, threads := range []int{1, 3} {
				c := cpu.New(threads)
				defer c.Close()
				for _, n := range []int{1, 63, 65, span + 1} {
					fast(t, c, f, n)
				}
			}
		})
	}
}

func fast(t *testing.T, c *cpu.Cores, f Activation, n int) {
	x, dy := check.Normal(check.Rand(3), n, 4), check.Normal(check.Rand(4), n, 1)
	x32, dy32 := check.To[float32](x), check.To[float32](dy)
	x, dy = check.To[float64](x32), check.To[float64](dy32)
	y, dx := make([]float64, n), make([]float64, n)
	ReferenceForward(f, y, x)
	ReferenceBackward(f, dx, dy, x)
	same := check.Unchanged(t, x32, dy32)
	gotY, gotDX := check.Poisoned[float32](n), check.Poisoned[float32](n)
	Forward(c, f, gotY.Data, x32)
	Backward(c, f, gotDX.Data, dy32, x32)
	same()
	check.Written(t, "y", gotY, y, check.Kernel32)
	check.Written(t, "dx", gotDX, dx, check.Kernel32)
	Backward(c, f, dy32, dy32, x32)
	check.Close(t, "dx over dy", dy32, dx, check.Kernel32)
}
