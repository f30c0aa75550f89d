package swiglu

import (
	"fmt"
	"testing"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
)

type inputs struct{ gate, up, dy []float64 }

func draw(n int) inputs {
	rnd := check.Rand(uint64(n))
	return inputs{check.Normal(rnd, n, 3), check.Normal(rnd, n, 1), check.Normal(rnd, n, 1)}
}

func forward64(in inputs) []float64 {
	y := make([]float64, len(in.gate))
	ReferenceForward(&ForwardArgs[float64]{Y: y, Gate: in.gate, Up: in.up})
	return y
}

func backward64(in inputs) (dgate, dup []float64) {
	dgate, dup = make([]float64, len(in.gate)), make([]float64, len(in.gate))
	ReferenceBackward(&BackwardArgs[float64]{DGate: dgate, DUp: dup, DY: in.dy, Gate: in.gate, Up: in.up})
	return dgate, dup
}

func TestReferenceGradient(t *testing.T) {
	in := draw(35)
	loss := func() float64 {
		var sum float64
		for i, y := range forward64(in) {
			sum += y * in.dy[i]
		}
		return sum
	}
	dgate, dup := backward64(in)
	check.Gradient(t, "gate", in.gate, dgate, loss)
	check.Gradient(t, "up", in.up, dup, loss)
}

func TestFastAgainstReference(t *testing.T) {
	for _, tokens := range check.Sizes() {
		for _, f := range []int{1, 37, 256} {
			t.Run(fmt.Sprintf("%dx%d", tokens, f), func(t *testing.T) { compare(t, tokens*f) })
		}
	}
}

func compare(t *testing.T, n int) {
	in := draw(n)
	wantY := forward64(in)
	wantDGate, wantDUp := backward64(in)
	gate, up, dy := check.To[float32](in.gate), check.To[float32](in.up), check.To[float32](in.dy)
	unchanged := check.Unchanged(t, gate, up, dy)
	var first []float32
	for threads := 1; threads <= 3; threads++ {
		c := cpu.New(threads)
		y, dgate, dup := check.Poisoned[float32](n), check.Poisoned[float32](n), check.Poisoned[float32](n)
		gateOnly, upOnly := check.Poisoned[float32](n), check.Poisoned[float32](n)
		Forward(c, &ForwardArgs[float32]{Y: y.Data, Gate: gate, Up: up})
		Backward(c, &BackwardArgs[float32]{DGate: dgate.Data, DUp: dup.Data, DY: dy, Gate: gate, Up: up})
		Backward(c, &BackwardArgs[float32]{DGate: gateOnly.Data, DY: dy, Gate: gate, Up: up})
		Backward(c, &BackwardArgs[float32]{DUp: upOnly.Data, DY: dy, Gate: gate})
		check.Written(t, "y", y, wantY, check.Kernel32)
		check.Written(t, "dgate", dgate, wantDGate, check.Kernel32)
		check.Written(t, "dup", dup, wantDUp, check.Kernel32)
		check.Written(t, "dgate alone", gateOnly, wantDGate, check.Kernel32)
		check.Written(t, "dup alone", upOnly, wantDUp, check.Kernel32)
		got := append(append(append([]float32(nil), y.Data...), dgate.Data...), dup.Data...)
		if threads == 1 {
			first = got
		}
		for i, v := range first {
			if got[i] != v {
				t.Fatalf("%d threads: value %d is %v, want exactly %v", threads, i, got[i], v)
			}
		}
		c.Close()
	}
	unchanged()
	inPlace(t, gate, up, dy, first)
}

// inPlace writes y over up, dgate over gate and dup over up; want holds y, dgate and dup.
func inPlace(t *testing.T, gate, up, dy, want []float32) {
	c := cpu.New(2)
	defer c.Close()
	n := len(gate)
	over := append([]float32(nil), up...)
	Forward(c, &ForwardArgs[float32]{Y: over, Gate: gate, Up: over})
	check.Close(t, "y in place", over, want[:n], 0)
	g, u := append([]float32(nil), gate...), append([]float32(nil), up...)
	Backward(c, &BackwardArgs[float32]{DGate: g, DUp: u, DY: dy, Gate: g, Up: u})
	check.Close(t, "dgate in place", g, want[n:2*n], 0)
	check.Close(t, "dup in place", u, want[2*n:], 0)
	g = append([]float32(nil), gate...)
	Backward(c, &BackwardArgs[float32]{DGate: g, DY: dy, Gate: g, Up: up})
	check.Close(t, "dgate alone in place", g, want[n:2*n], check.Kernel32)
}

func TestWrongLengthsPanic(t *testing.T) {
	const want = "swiglu: up has 2 values, want 3, the length of gate"
	defer func() {
		if r := recover(); r != want {
			t.Errorf("panic %v, want %q", r, want)
		}
	}()
	Forward(cpu.New(1), &ForwardArgs[float32]{Y: make([]float32, 3), Gate: make([]float32, 3), Up: make([]float32, 2)})
}

func TestNoAllocation(t *testing.T) {
	const n = 100_000
	in := draw(n)
	gate, up, y := check.To[float32](in.gate), check.To[float32](in.up), make([]float32, n)
	c := cpu.New(2)
	defer c.Close()
	call := func() {
		Forward(c, &ForwardArgs[float32]{Y: y, Gate: gate, Up: up})
		Backward(c, &BackwardArgs[float32]{DGate: y, DY: y, Gate: gate, Up: up})
	}
	for range 20 { // until both workers have grown their scratch
		call()
	}
	if n := testing.AllocsPerRun(20, call); n > 0 {
		t.Errorf("one call allocates %v times, want 0", n)
	}
}

func BenchmarkForward(b *testing.B) {
	a, _ := buffers()
	c := cpu.New(0)
	defer c.Close()
	b.SetBytes(int64(3 * len(a.Y) * 4))
	for b.Loop() {
		Forward(c, a)
	}
}

func BenchmarkBackward(b *testing.B) {
	_, a := buffers()
	c := cpu.New(0)
	defer c.Close()
	b.SetBytes(int64(5 * len(a.DY) * 4))
	for b.Loop() {
		Backward(c, a)
	}
}

func buffers() (*ForwardArgs[float32], *BackwardArgs[float32]) {
	const n = 256 * 8960
	in := draw(n)
	f := &ForwardArgs[float32]{Y: make([]float32, n), Gate: check.To[float32](in.gate), Up: check.To[float32](in.up)}
	return f, &BackwardArgs[float32]{DGate: make([]float32, n), DUp: f.Y, DY: check.To[float32](in.dy), Gate: f.Gate, Up: f.Up}
}
