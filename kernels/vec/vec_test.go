package vec

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/gojet/gojet/bf16"
	"github.com/gojet/gojet/kernels/check"
)

// each runs a test on every implementation that this processor has.
func each(t *testing.T, test func(t *testing.T)) {
	best := fast
	defer func() { fast = best }()
	for _, l := range implementations() {
		fast = l
		t.Run(l.name, test)
	}
}

// op is a loop with its slices in two lists.
type op struct {
	name      string
	outs, ins int
	call      func(out, in [][]float32)
}

// ops are all loops over float32. Those that add to y copy it from their first input.
func ops() []op {
	one := func(f func(out, in []float32)) func(out, in [][]float32) {
		return func(out, in [][]float32) { f(out[0], in[0]) }
	}
	two := func(f func(out, a, b []float32)) func(out, in [][]float32) {
		return func(out, in [][]float32) { f(out[0], in[0], in[1]) }
	}
	return []op{
		{"scale", 1, 1, one(func(y, x []float32) { Scale(y, 1.7, x) })},
		{"axpy", 1, 2, func(out, in [][]float32) { copy(out[0], in[0]); Axpy(out[0], -0.7, in[1]) }},
		{"combine", 1, 2, two(func(y, a, b []float32) { Combine(y, 1.7, a, -0.3, b) })},
		{"add", 1, 2, two(Add)},
		{"mul", 1, 2, two(Mul)},
		{"scaleMul", 1, 2, two(func(y, a, b []float32) { ScaleMul(y, 1.7, a, b) })},
		{"axpyMul", 1, 3, func(out, in [][]float32) { copy(out[0], in[0]); AxpyMul(out[0], -0.7, in[1], in[2]) }},
		{"rotate", 2, 4, func(out, in [][]float32) { Rotate(out[0], out[1], in[0], in[1], in[2], in[3]) }},
		{"exp", 1, 1, one(Exp)},
		{"expSum", 2, 1, func(out, in [][]float32) {
			clear(out[1])
			if s := ExpSum(out[0], in[0], 0.5); len(out[1]) > 0 {
				out[1][0] = s / float32(len(out[1]))
			}
		}},
		{"sigmoid", 1, 1, one(Sigmoid)},
		{"sigmoidGrad", 1, 2, two(SigmoidGrad)},
		{"softplus", 1, 1, one(Softplus)},
		{"silu", 1, 1, one(SiLU)},
		{"siluGrad", 1, 2, two(SiLUGrad)},
		{"siluMul", 1, 2, two(SiLUMul)},
		{"siluMulGrad", 2, 3, func(out, in [][]float32) { SiLUMulGrad(out[0], out[1], in[0], in[1], in[2]) }},
		{"bf16", 1, 1, one(func(y, x []float32) {
			words := make([]bf16.BF16, len(x))
			ToBF16(words, x)
			FromBF16(y, words)
		})},
	}
}

// numbers are the loops that return one number.
var numbers = []struct {
	name string
	call func(a, b []float32) float32
}{
	{"dot", Dot},
	{"sum", func(a, _ []float32) float32 { return Sum(a) }},
	{"sumSquares", func(a, _ []float32) float32 { return SumSquares(a) }},
	{"max", func(a, _ []float32) float32 { return Max(a) }},
}

func lengths() []int {
	ns := []int{127, 128, 129, 1000}
	for n := range 71 {
		ns = append(ns, n)
	}
	return ns
}

// shifted returns a copy of x that starts at the given distance from where memory is aligned.
func shifted(x []float32, by int) []float32 {
	return append(make([]float32, by, by+len(x)), x...)[by:]
}

func normal(seed uint64, n int) []float32 {
	return check.To[float32](check.Normal(check.Rand(seed), n, 2))
}

// Every loop, at every length and alignment, gives what plain Go gives, the same bits wherever its slices
// lie and whether or not the result replaces an input, and touches nothing else.
func TestEveryLoop(t *testing.T) {
	each(t, func(t *testing.T) {
		for _, o := range ops() {
			for _, n := range lengths() {
				loop(t, o, n)
			}
		}
	})
}

func loop(t *testing.T, o op, n int) {
	t.Helper()
	in := make([][]float32, o.ins)
	for i := range in {
		in[i] = normal(uint64(i), n)
	}
	unchanged := check.Unchanged(t, in...)
	want := make([][]float32, o.outs)
	for i := range want {
		want[i] = make([]float32, n)
	}
	this := fast
	fast = inGo()
	o.call(want, in)
	fast = this
	var first [][]float32
	for by := range 4 {
		outs, data, from := make([]check.Out[float32], o.outs), make([][]float32, o.outs), make([][]float32, o.ins)
		for i := range outs {
			outs[i] = check.Poisoned[float32](n + by) // begins by words later
			clear(outs[i].Data[:by])
			data[i] = outs[i].Data[by:]
		}
		for i := range from {
			from[i] = shifted(in[i], by+i)
		}
		o.call(data, from)
		for i := range outs {
			if err := outs[i].Whole(); err != nil {
				t.Fatalf("%s of %d: %v", o.name, n, err)
			}
			near(t, fmt.Sprintf("%s of %d, result %d", o.name, n, i), data[i], want[i], 2e-6)
		}
		if by == 0 {
			first = data
		}
		for i := range data {
			near(t, fmt.Sprintf("%s of %d, moved by %d", o.name, n, by), data[i], first[i], 0)
		}
	}
	unchanged()
	for i := range o.ins {
		inPlace(t, o, i, in, first)
	}
}

// inPlace puts the first result over input i, and a second one over the next input.
func inPlace(t *testing.T, o op, i int, in, want [][]float32) {
	t.Helper()
	from, out := make([][]float32, o.ins), make([][]float32, o.outs)
	for k := range from {
		from[k] = append([]float32(nil), in[k]...)
	}
	for k := range out {
		out[k] = make([]float32, len(in[0]))
		if over := (i + k) % o.ins; k == 0 || over != i {
			out[k] = from[over]
		}
	}
	if strings.HasPrefix(o.name, "axpy") && i > 0 {
		return // what is added to y is not y
	}
	o.call(out, from)
	for k := range out {
		near(t, fmt.Sprintf("%s of %d over input %d", o.name, len(in[0]), i), out[k], want[k], 0)
	}
}

func near(t *testing.T, name string, got, want []float32, tol float64) {
	t.Helper()
	for i, w := range want {
		if d := math.Abs(float64(got[i]) - float64(w)); !(d <= tol*(1+math.Abs(float64(w)))) {
			t.Fatalf("%s: value %d is %v, want %v", name, i, got[i], w)
		}
	}
}

// Numbers are near those of plain Go and depend on nothing but the values.
func TestEveryNumber(t *testing.T) {
	each(t, func(t *testing.T) {
		for _, f := range numbers {
			for _, n := range lengths() {
				a, b := normal(1, n), normal(2, n)
				this := fast
				fast = inGo()
				want := f.call(a, b)
				fast = this
				got := f.call(a, b)
				if d := math.Abs(float64(got - want)); got != want && !(d <= 1e-6*math.Abs(float64(want))+1e-5*math.Sqrt(float64(n))) {
					t.Errorf("%s of %d: %v, want %v", f.name, n, got, want)
				}
				for by := 1; by < 4; by++ {
					if moved := f.call(shifted(a, by), shifted(b, by+1)); moved != got {
						t.Errorf("%s of %d moved by %d: %v, want exactly %v", f.name, n, by, moved, got)
					}
				}
			}
		}
	})
}

func TestSumsAreAccurate(t *testing.T) {
	each(t, func(t *testing.T) {
		const n = 100_003
		a, b := normal(1, n), normal(2, n)
		var dot, size float64
		for i := range a {
			dot += float64(a[i]) * float64(b[i])
			size += math.Abs(float64(a[i]) * float64(b[i]))
		}
		if e := math.Abs(float64(Dot(a, b))-dot) / size; e > 1e-7 {
			t.Errorf("dot of %d: error %.2g of the sum of sizes", n, e)
		}
	})
}

func TestMax(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	each(t, func(t *testing.T) {
		for n := range 140 {
			x := make([]float32, n)
			for i := range x {
				x[i] = -inf
			}
			if m := Max(x); m != -inf {
				t.Errorf("%d times -Inf: %v", n, m)
			}
			for i := range x {
				x[i] = -3
				if m := Max(x); m != -3 {
					t.Errorf("-3 at %d of %d: %v", i, n, m)
				}
				x[i] = nan
				if m := Max(x); m == m {
					t.Errorf("NaN at %d of %d: %v", i, n, m)
				}
				x[i] = -inf
			}
		}
	})
}
