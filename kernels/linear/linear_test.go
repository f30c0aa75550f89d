package linear

import (
	"fmt"
	"math"
	"testing"

	"github.com/gojet/gojet/bf16"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
)

// layer is a linear layer with random contents, exact in float32.
type layer struct {
	n, in, out     int
	x, w, bias, dy []float64
}

func newLayer(n, in, out int) layer {
	r := check.Rand(uint64(n*1000 + in*10 + out))
	exact := func(n int) []float64 { return check.To[float64](check.To[float32](check.Normal(r, n, 1))) }
	return layer{n, in, out, exact(n * in), exact(in * out), exact(out), exact(n * out)}
}

func (l layer) forward() []float64 {
	y := make([]float64, l.n*l.out)
	ReferenceForward(y, l.x, l.w, l.bias, l.n, l.in, l.out)
	return y
}

func (l layer) backward() (dx, dw, dbias []float64) {
	dx, dw, dbias = make([]float64, len(l.x)), make([]float64, len(l.w)), make([]float64, l.out)
	ReferenceBackwardInput(dx, l.dy, l.w, l.n, l.in, l.out)
	ReferenceBackwardWeight(dw, dbias, l.dy, l.x, l.n, l.in, l.out)
	return dx, dw, dbias
}

func TestReferenceGradient(t *testing.T) {
	l := newLayer(5, 7, 3)
	loss := func() float64 {
		var sum float64
		for i, y := range l.forward() {
			sum += y * l.dy[i]
		}
		return sum
	}
	dx, dw, dbias := l.backward()
	check.Gradient(t, "x", l.x, dx, loss)
	check.Gradient(t, "w", l.w, dw, loss)
	check.Gradient(t, "bias", l.bias, dbias, loss)
}

func layers() []layer {
	var all []layer
	for i, n := range append(check.Sizes(), 3, 7, 9, 300) {
		all = append(all, newLayer(n, 1+i*37%90, 5+i*29%120), newLayer(n, 96, 64))
	}
	return append(all, newLayer(0, 3, 4), newLayer(4, 900, 1), newLayer(1, 70, 5000))
}

// types are the layer's weights as float32, and as bfloat16 after rounding the layer's own.
func (l *layer) types(visit func(name string, w Weight)) {
	visit("float32", Float32(check.To[float32](l.w)))
	half := make([]bf16.BF16, len(l.w))
	for i, v := range l.w {
		half[i] = bf16.From(float32(v))
		l.w[i] = float64(half[i].Float32())
	}
	visit("bfloat16", BFloat16(half))
}

func TestFastAgainstReference(t *testing.T) {
	for _, l := range layers() {
		x, dy, bias := check.To[float32](l.x), check.To[float32](l.dy), check.To[float32](l.bias)
		l.types(func(name string, w Weight) {
			name = fmt.Sprintf("%s N %d In %d Out %d", name, l.n, l.in, l.out)
			wantY := l.forward()
			wantDX, wantDW, wantDBias := l.backward()
			var first [][]float32
			for _, threads := range []int{1, 2, 3} {
				c := cpu.New(threads)
				unchanged := check.Unchanged(t, x, dy, bias, w.F32)
				y, dx := check.Poisoned[float32](len(l.dy)), check.Poisoned[float32](len(l.x))
				dw, dbias := check.Poisoned[float32](len(l.w)), check.Poisoned[float32](l.out)
				Forward(c, y.Data, x, w, bias, l.n, l.in, l.out)
				BackwardInput(c, dx.Data, dy, w, l.n, l.in, l.out)
				BackwardWeight(c, dw.Data, dbias.Data, dy, x, l.n, l.in, l.out)
				c.Close()
				unchanged()
				check.Written(t, name+" y", y, wantY, check.Kernel32)
				check.Written(t, name+" dx", dx, wantDX, check.Kernel32)
				check.Written(t, name+" dw", dw, wantDW, check.Kernel32)
				check.Written(t, name+" dbias", dbias, wantDBias, check.Kernel32)
				results := [][]float32{y.Data, dx.Data, dw.Data, dbias.Data}
				if first == nil {
					first = results
				}
				for i := range results {
					same(t, fmt.Sprintf("%s result %d with %d threads", name, i, threads), results[i], first[i])
				}
			}
		})
	}
}

func same(t *testing.T, name string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: %v at %d, want the same bits as %v", name, got[i], i, want[i])
		}
	}
}

func TestUnwantedResults(t *testing.T) {
	c := cpu.New(1)
	defer c.Close()
	l := newLayer(4, 6, 5)
	x, dy := check.To[float32](l.x), check.To[float32](l.dy)
	_, wantDW, wantDBias := l.backward()
	dw, dbias := check.Poisoned[float32](len(l.w)), check.Poisoned[float32](l.out)
	BackwardWeight(c, dw.Data, nil, dy, x, l.n, l.in, l.out)
	BackwardWeight(c, nil, dbias.Data, dy, nil, l.n, l.in, l.out)
	check.Written(t, "dw alone", dw, wantDW, check.Kernel32)
	check.Written(t, "dbias alone", dbias, wantDBias, check.Kernel32)

	l.bias = nil
	y := check.Poisoned[float32](len(l.dy))
	Forward(c, y.Data, x, Float32(check.To[float32](l.w)), nil, l.n, l.in, l.out)
	check.Written(t, "y without bias", y, l.forward(), check.Kernel32)
}

func TestNoAllocations(t *testing.T) {
	c := cpu.New(1)
	defer c.Close()
	l := newLayer(70, 90, 110)
	x, dy, bias := check.To[float32](l.x), check.To[float32](l.dy), check.To[float32](l.bias)
	y, dx, dw, dbias := make([]float32, len(dy)), make([]float32, len(x)), make([]float32, len(l.w)), make([]float32, l.out)
	l.types(func(name string, w Weight) {
		call := func() {
			Forward(c, y, x, w, bias, l.n, l.in, l.out)
			BackwardInput(c, dx, dy, w, l.n, l.in, l.out)
			BackwardWeight(c, dw, dbias, dy, x, l.n, l.in, l.out)
		}
		call()
		call()
		if n := testing.AllocsPerRun(5, call); n > 0 {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
	})
}

func TestWrongLengthsPanic(t *testing.T) {
	c := cpu.New(1)
	defer c.Close()
	s := func(n int) []float32 { return make([]float32, n) }
	w := Float32(s(6)) // In 2, Out 3; N 4
	for _, tc := range []struct {
		want string
		call func()
	}{
		{"linear: y has 11 values, want 12 (4 rows × Out 3)", func() { Forward(c, s(11), s(8), w, nil, 4, 2, 3) }},
		{"linear: x has 9 values, want 8 (4 rows × In 2)", func() { Forward(c, s(12), s(9), w, nil, 4, 2, 3) }},
		{"linear: bias has 2 values, want 3 (1 rows × Out 3)", func() { Forward(c, s(12), s(8), w, s(2), 4, 2, 3) }},
		{"linear: w has 0 values, want 6 (3 rows × In 2)", func() { Forward(c, s(12), s(8), Weight{}, nil, 4, 2, 3) }},
		{"linear: w has float32 and bfloat16 values, want one of them", func() {
			BackwardInput(c, s(8), s(12), Weight{s(6), make([]bf16.BF16, 6)}, 4, 2, 3)
		}},
		{"linear: dx has 7 values, want 8 (4 rows × In 2)", func() { BackwardInput(c, s(7), s(12), w, 4, 2, 3) }},
		{"linear: dw has 5 values, want 6 (3 rows × In 2)", func() { BackwardWeight(c, s(5), nil, s(12), s(8), 4, 2, 3) }},
		{"linear: dbias has 2 values, want 3 (1 rows × Out 3)", func() { BackwardWeight(c, nil, s(2), s(12), s(8), 4, 2, 3) }},
	} {
		func() {
			defer func() {
				if got := recover(); got != tc.want {
					t.Errorf("panic %v, want %q", got, tc.want)
				}
			}()
			tc.call()
		}()
	}
}
