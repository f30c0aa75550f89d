package decay

import (
	"fmt"
	"testing"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
)

type inputs struct{ a, aLog, bias, dg []float64 }

func draw(n, h int) inputs {
	rnd := check.Rand(uint64(n*100 + h))
	return inputs{check.Normal(rnd, n*h, 3), check.Normal(rnd, h, 1), check.Normal(rnd, h, 2), check.Normal(rnd, n*h, 1)}
}

func forward64(in inputs) []float64 {
	g := make([]float64, len(in.a))
	ReferenceForward(&ForwardArgs[float64]{G: g, A: in.a, ALog: in.aLog, DTBias: in.bias})
	return g
}

func backward64(in inputs) (da, dALog, dBias []float64) {
	da, dALog, dBias = make([]float64, len(in.a)), make([]float64, len(in.aLog)), make([]float64, len(in.aLog))
	ReferenceBackward(&BackwardArgs[float64]{DA: da, DALog: dALog, DDTBias: dBias, DG: in.dg, A: in.a, ALog: in.aLog, DTBias: in.bias})
	return da, dALog, dBias
}

func TestReferenceGradient(t *testing.T) {
	in := draw(5, 3)
	loss := func() float64 {
		var sum float64
		for i, g := range forward64(in) {
			sum += g * in.dg[i]
		}
		return sum
	}
	da, dALog, dBias := backward64(in)
	check.Gradient(t, "a", in.a, da, loss)
	check.Gradient(t, "a_log", in.aLog, dALog, loss)
	check.Gradient(t, "dt_bias", in.bias, dBias, loss)
}

func TestFastAgainstReference(t *testing.T) {
	for _, n := range append(check.Sizes(), 0, 300) {
		for _, h := range []int{1, 3, 12, 17} {
			t.Run(fmt.Sprintf("%dx%d", n, h), func(t *testing.T) { compare(t, n, h) })
		}
	}
}

func compare(t *testing.T, n, h int) {
	in := draw(n, h)
	wantG := forward64(in)
	wantDA, wantDALog, wantDBias := backward64(in)
	a, aLog, bias, dg := check.To[float32](in.a), check.To[float32](in.aLog), check.To[float32](in.bias), check.To[float32](in.dg)
	unchanged := check.Unchanged(t, a, aLog, bias, dg)
	var first []float32
	for threads := 1; threads <= 3; threads++ {
		c := cpu.New(threads)
		g, da := check.Poisoned[float32](n*h), check.Poisoned[float32](n*h)
		dALog, dBias := check.Poisoned[float32](h), check.Poisoned[float32](h)
		scratch := check.Poisoned[float32](ScratchLen(n, h))
		Forward(c, &ForwardArgs[float32]{G: g.Data, A: a, ALog: aLog, DTBias: bias})
		back := BackwardArgs[float32]{DA: da.Data, DALog: dALog.Data, DDTBias: dBias.Data, DG: dg, A: a, ALog: aLog, DTBias: bias,
			Scratch: scratch.Data}
		Backward(c, &back)
		check.Written(t, "g", g, wantG, check.Kernel32)
		check.Written(t, "da", da, wantDA, check.Kernel32)
		check.Written(t, "da_log", dALog, wantDALog, check.Kernel32)
		check.Written(t, "ddt_bias", dBias, wantDBias, check.Kernel32)
		got := append(append(append([]float32(nil), da.Data...), dALog.Data...), dBias.Data...)
		if threads == 1 {
			first = got
		}
		check.Close(t, "gradients of another number of threads", got, first, 0)

		over := append([]float32(nil), a...)
		Forward(c, &ForwardArgs[float32]{G: over, A: over, ALog: aLog, DTBias: bias})
		check.Close(t, "g in place", over, g.Data, 0)
		over = append([]float32(nil), dg...)
		back.DA, back.DG, back.DALog, back.DDTBias = over, over, nil, nil
		Backward(c, &back)
		check.Close(t, "da in place", over, da.Data, 0)
		c.Close()
	}
	unchanged()
}

// Far from zero softplus is the positive part, and nothing overflows.
func TestExtremes(t *testing.T) {
	a := []float32{-1000, -100, 0, 100, 1e30}
	g, da := check.Poisoned[float32](5), check.Poisoned[float32](5)
	zero, ones := []float32{0}, []float32{1, 1, 1, 1, 1}
	c := cpu.New(1)
	defer c.Close()
	Forward(c, &ForwardArgs[float32]{G: g.Data, A: a, ALog: zero, DTBias: zero})
	Backward(c, &BackwardArgs[float32]{DA: da.Data, DG: ones, A: a, ALog: zero, DTBias: zero, Scratch: make([]float32, ScratchLen(5, 1))})
	check.Written(t, "g", g, []float64{0, 0, -0.6931471805599453, -100, -1e30}, check.Kernel32)
	check.Written(t, "da", da, []float64{0, 0, -0.5, -1, -1}, check.Kernel32)
}

func TestWrongLengthsPanic(t *testing.T) {
	const want = "decay: a has 5 values, want whole tokens of 2 heads, the length of a_log"
	defer func() {
		if r := recover(); r != want {
			t.Errorf("panic %v, want %q", r, want)
		}
	}()
	Forward(cpu.New(1), &ForwardArgs[float32]{G: make([]float32, 5), A: make([]float32, 5), ALog: make([]float32, 2)})
}

func BenchmarkForward(b *testing.B)  { benchmark(b, false) }
func BenchmarkBackward(b *testing.B) { benchmark(b, true) }

func benchmark(b *testing.B, backward bool) {
	const n, h = 4096, 12
	a, g, da := make([]float32, n*h), make([]float32, n*h), make([]float32, n*h)
	aLog, bias, dALog, dBias := make([]float32, h), make([]float32, h), make([]float32, h), make([]float32, h)
	scratch := make([]float32, ScratchLen(n, h))
	c := cpu.New(0)
	defer c.Close()
	if backward {
		b.SetBytes(3 * n * h * 4)
	} else {
		b.SetBytes(2 * n * h * 4)
	}
	for b.Loop() {
		if backward {
			Backward(c, &BackwardArgs[float32]{DA: da, DALog: dALog, DDTBias: dBias, DG: g, A: a, ALog: aLog, DTBias: bias, Scratch: scratch})
		} else {
			Forward(c, &ForwardArgs[float32]{G: g, A: a, ALog: aLog, DTBias: bias})
		}
	}
}
