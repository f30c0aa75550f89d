package rmsnorm

import (
	"fmt"
	"testing"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
)

const eps = 1e-6

type inputs struct{ x, w, gate, dy []float64 }

func draw(r, d int, gated bool) inputs {
	rnd := check.Rand(uint64(r*1000 + d))
	in := inputs{x: check.Normal(rnd, r*d, 1.5), w: check.Normal(rnd, d, 1), dy: check.Normal(rnd, r*d, 1)}
	if gated {
		in.gate = check.Normal(rnd, r*d, 2)
	}
	return in
}

func forward64(in inputs) []float64 {
	y := make([]float64, len(in.x))
	ReferenceForward(&ForwardArgs[float64]{Y: y, X: in.x, W: in.w, Gate: in.gate, Eps: eps})
	return y
}

func backward64(in inputs) (dx, dw, dgate []float64) {
	dx, dw = make([]float64, len(in.x)), make([]float64, len(in.w))
	if in.gate != nil {
		dgate = make([]float64, len(in.x))
	}
	ReferenceBackward(&BackwardArgs[float64]{DX: dx, DW: dw, DGate: dgate, DY: in.dy, X: in.x, W: in.w, Gate: in.gate, Eps: eps})
	return dx, dw, dgate
}

func TestReferenceGradient(t *testing.T) {
	for _, gated := range []bool{false, true} {
		in := draw(5, 7, gated)
		loss := func() float64 {
			var sum float64
			for i, y := range forward64(in) {
				sum += y * in.dy[i]
			}
			return sum
		}
		dx, dw, dgate := backward64(in)
		check.Gradient(t, "x", in.x, dx, loss)
		check.Gradient(t, "w", in.w, dw, loss)
		if gated {
			check.Gradient(t, "gate", in.gate, dgate, loss)
		}
	}
}

func TestFastAgainstReference(t *testing.T) {
	for _, gated := range []bool{false, true} {
		for _, r := range check.Sizes() {
			for _, d := range []int{1, 7, 37, 96, 256, 530} {
				t.Run(fmt.Sprintf("gated=%v/%dx%d", gated, r, d), func(t *testing.T) { compare(t, r, d, gated) })
			}
		}
	}
}

func compare(t *testing.T, r, d int, gated bool) {
	in := draw(r, d, gated)
	wantY := forward64(in)
	wantDX, wantDW, wantDGate := backward64(in)
	x, w, gate, dy := check.To[float32](in.x), check.To[float32](in.w), check.To[float32](in.gate), check.To[float32](in.dy)
	unchanged := check.Unchanged(t, x, w, gate, dy)
	var first [4][]float32
	for threads := 1; threads <= 3; threads++ {
		c := cpu.New(threads)
		y, dx, dw := check.Poisoned[float32](r*d), check.Poisoned[float32](r*d), check.Poisoned[float32](d)
		var dgate check.Out[float32]
		if gated {
			dgate = check.Poisoned[float32](r * d)
		}
		scratch := check.Poisoned[float32](ScratchLen(r, d))
		Forward(c, &ForwardArgs[float32]{Y: y.Data, X: x, W: w, Gate: gate, Eps: eps})
		back := BackwardArgs[float32]{DX: dx.Data, DW: dw.Data, DGate: dgate.Data, DY: dy, X: x, W: w, Gate: gate, Eps: eps,
			Scratch: scratch.Data}
		Backward(c, &back)
		check.Written(t, "y", y, wantY, check.Kernel32)
		if d > 1 { // a row of one feature is a sign: its gradient is rounding
			check.Written(t, "dx", dx, wantDX, check.Kernel32)
		}
		check.Written(t, "dw", dw, wantDW, check.Kernel32)
		if gated {
			check.Written(t, "dgate", dgate, wantDGate, check.Kernel32)
		}
		got := [4][]float32{y.Data, dx.Data, dw.Data, dgate.Data}
		if threads == 1 {
			first = got
		}
		for i := range got {
			same(t, fmt.Sprintf("result %d with %d threads", i, threads), got[i], first[i])
		}
		inPlace(t, c, back, y.Data, dx.Data)
		c.Close()
	}
	unchanged()
}

// inPlace computes y over x, and dx over dy and alone.
func inPlace(t *testing.T, c *cpu.Cores, a BackwardArgs[float32], y, dx []float32) {
	t.Helper()
	over := append([]float32(nil), a.X...)
	Forward(c, &ForwardArgs[float32]{Y: over, X: over, W: a.W, Gate: a.Gate, Eps: eps})
	same(t, "y in place of x", over, y)
	over = append([]float32(nil), a.DY...)
	a.DX, a.DY, a.DW, a.DGate, a.Scratch = over, over, nil, nil, nil
	Backward(c, &a)
	same(t, "dx in place of dy", over, dx)
}

func same(t *testing.T, name string, got, want []float32) {
	t.Helper()
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%s: value %d is %v, want exactly %v", name, i, got[i], want[i])
			return
		}
	}
}

func TestWrongLengthsPanic(t *testing.T) {
	f := func(n int) []float32 { return make([]float32, n) }
	for _, tc := range []struct {
		want string
		call func(c *cpu.Cores)
	}{
		{"rmsnorm: x has 7 values, want whole rows of 3, the length of w",
			func(c *cpu.Cores) { Forward(c, &ForwardArgs[float32]{Y: f(7), X: f(7), W: f(3)}) }},
		{"rmsnorm: y has 5 values, want 6",
			func(c *cpu.Cores) { Forward(c, &ForwardArgs[float32]{Y: f(5), X: f(6), W: f(3)}) }},
		{"rmsnorm: scratch has 0 values, want 3",
			func(c *cpu.Cores) { Backward(c, &BackwardArgs[float32]{DW: f(3), DY: f(6), X: f(6), W: f(3)}) }},
		{"rmsnorm: gate has 0 values, want 6",
			func(c *cpu.Cores) { Backward(c, &BackwardArgs[float32]{DGate: f(6), DY: f(6), X: f(6), W: f(3)}) }},
	} {
		c := cpu.New(1)
		func() {
			defer func() {
				if r := recover(); r != tc.want {
					t.Errorf("panic %v, want %q", r, tc.want)
				}
			}()
			tc.call(c)
		}()
		c.Close()
	}
}

func TestNoAllocation(t *testing.T) {
	const r, d = 130, 96
	in := draw(r, d, true)
	x, w, gate := check.To[float32](in.x), check.To[float32](in.w), check.To[float32](in.gate)
	y, dx, dw, dgate := make([]float32, r*d), make([]float32, r*d), make([]float32, d), make([]float32, r*d)
	scratch := make([]float32, ScratchLen(r, d))
	c := cpu.New(2)
	defer c.Close()
	call := func() {
		Forward(c, &ForwardArgs[float32]{Y: y, X: x, W: w, Gate: gate, Eps: eps})
		Backward(c, &BackwardArgs[float32]{DX: dx, DW: dw, DGate: dgate, DY: y, X: x, W: w, Gate: gate, Eps: eps, Scratch: scratch})
	}
	for range 50 { // until both workers have grown their scratch
		call()
	}
	if n := testing.AllocsPerRun(50, call); n > 0 {
		t.Errorf("one call allocates %v times, want 0", n)
	}
}

func BenchmarkForward(b *testing.B)  { benchmark(b, false) }
func BenchmarkBackward(b *testing.B) { benchmark(b, true) }

func benchmark(b *testing.B, backward bool) {
	const r, d = 1024, 1536
	for _, gated := range []bool{false, true} {
		b.Run(fmt.Sprintf("gated=%v/%dx%d", gated, r, d), func(b *testing.B) {
			in := draw(r, d, gated)
			x, w, gate, dy := check.To[float32](in.x), check.To[float32](in.w), check.To[float32](in.gate), check.To[float32](in.dy)
			f := ForwardArgs[float32]{Y: make([]float32, r*d), X: x, W: w, Gate: gate, Eps: eps}
			g := BackwardArgs[float32]{DX: f.Y, DW: make([]float32, d), DY: dy, X: x, W: w, Gate: gate, Eps: eps,
				Scratch: make([]float32, ScratchLen(r, d))}
			streams := 2
			if backward {
				streams++
			}
			if gated {
				streams++
			}
			if gated && backward {
				g.DGate = make([]float32, r*d)
				streams++
			}
			c := cpu.New(0)
			defer c.Close()
			b.SetBytes(int64(streams * r * d * 4))
			for b.Loop() {
				if backward {
					Backward(c, &g)
				} else {
					Forward(c, &f)
				}
			}
		})
	}
}
