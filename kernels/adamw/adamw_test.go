package adamw_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/adamw"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
)

func newArgs[T kernels.Float](n, step int) *adamw.Args[T] {
	r := check.Rand(uint64(n))
	v := check.Normal(r, n, 0.1)
	for i := range v {
		v[i] *= v[i]
	}
	return &adamw.Args[T]{
		LearningRate: 3e-3, Beta1: 0.9, Beta2: 0.95, Epsilon: 1e-8, WeightDecay: 0.1, Step: step, GradScale: 0.37,
		Param: check.To[T](check.Normal(r, n, 1)), M: check.To[T](check.Normal(r, n, 0.1)), V: check.To[T](v),
		G: check.To[T](check.Normal(r, n, 0.3)),
	}
}

// guarded moves the tensors of a between guard words.
func guarded(a *adamw.Args[float32]) (p, m, v check.Out[float32]) {
	move := func(s *[]float32) check.Out[float32] {
		o := check.Poisoned[float32](len(*s))
		copy(o.Data, *s)
		*s = o.Data
		return o
	}
	return move(&a.Param), move(&a.M), move(&a.V)
}

func TestStep(t *testing.T) {
	c := cpu.New(3)
	defer c.Close()
	for _, n := range []int{0, 1, 7, 8, 15, 33, 1000, 40000} {
		for _, step := range []int{1, 2, 1000} {
			want, got := newArgs[float64](n, step), newArgs[float32](n, step)
			p, m, v := guarded(got)
			same := check.Unchanged(t, got.G)
			adamw.Reference(want)
			adamw.Step(c, got)
			same()
			name := fmt.Sprintf("%d values, step %d: ", n, step)
			check.Written(t, name+"param", p, want.Param, check.Kernel32)
			check.Written(t, name+"m", m, want.M, check.Kernel32)
			check.Written(t, name+"v", v, want.V, check.Kernel32)
		}
	}
}

// The first step moves a parameter by the learning rate against the gradient's sign, whatever its size.
func TestFirstStepIsTheLearningRate(t *testing.T) {
	c := cpu.New(1)
	defer c.Close()
	a := &adamw.Args[float32]{LearningRate: 0.01, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, Step: 1, GradScale: 1,
		Param: []float32{1, 1, 1}, M: make([]float32, 3), V: make([]float32, 3), G: []float32{5, -1e-3, 0}}
	adamw.Step(c, a)
	check.Close(t, "param", a.Param, []float64{0.99, 1.01, 1}, 1e-6)
}

// Weight decay is decoupled: without a gradient a parameter shrinks by lr·λ and the moments stay.
func TestDecayAlone(t *testing.T) {
	c := cpu.New(1)
	defer c.Close()
	a := &adamw.Args[float32]{LearningRate: 0.5, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, WeightDecay: 0.25, Step: 3, GradScale: 1,
		Param: []float32{8}, M: []float32{0}, V: []float32{0}, G: []float32{0}}
	adamw.Step(c, a)
	if a.Param[0] != 7 || a.M[0] != 0 || a.V[0] != 0 {
		t.Errorf("param %v, m %v, v %v; want 7, 0, 0", a.Param[0], a.M[0], a.V[0])
	}
}

func TestThreadsAndPlacesDoNotMatter(t *testing.T) {
	const n = 50003
	var want []float32
	for threads := 1; threads <= 3; threads++ {
		c := cpu.New(threads)
		a := newArgs[float32](n, 5)
		adamw.Step(c, a)
		if threads > 1 && !slices.Equal(a.Param, want) {
			t.Errorf("parameters differ between 1 and %d threads", threads)
		}
		want = a.Param
		c.Close()
	}
	// A tensor stepped as two shards is the tensor stepped whole.
	c := cpu.New(2)
	defer c.Close()
	a, cut := newArgs[float32](n, 5), 12345
	b := *a
	b.Param, b.M, b.V, b.G = a.Param[cut:], a.M[cut:], a.V[cut:], a.G[cut:]
	adamw.Step(c, &b)
	b.Param, b.M, b.V, b.G = a.Param[:cut], a.M[:cut], a.V[:cut], a.G[:cut]
	adamw.Step(c, &b)
	if !slices.Equal(a.Param, want) {
		t.Error("parameters differ between one tensor and two shards of it")
	}
}

func TestMistakes(t *testing.T) {
	c := cpu.New(1)
	defer c.Close()
	short, zero := newArgs[float32](4, 1), newArgs[float32](4, 0)
	short.V = short.V[:3]
	for want, a := range map[string]*adamw.Args[float32]{
		"adamw: m, v and g have 4, 3 and 4 values, want 4 each": short,
		"adamw: step is 0, want 1 or more":                      zero,
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, want) {
					t.Errorf("panic %q, want %q", got, want)
				}
			}()
			adamw.Step(c, a)
		}()
	}
}

func TestNaNIsNotHidden(t *testing.T) {
	c := cpu.New(1)
	defer c.Close()
	a := newArgs[float32](20, 1)
	a.G[9] = float32(math.NaN())
	adamw.Step(c, a)
	if x := a.Param[9]; x == x {
		t.Errorf("a NaN gradient gave parameter %v", x)
	}
}

func TestAllocatesNothing(t *testing.T) {
	c := cpu.New(2)
	defer c.Close()
	a := newArgs[float32](50000, 3)
	if n := testing.AllocsPerRun(10, func() { adamw.Step(c, a) }); n != 0 {
		t.Errorf("%v allocations a call, want 0", n)
	}
}

func BenchmarkStep(b *testing.B) {
	c := cpu.New(0)
	defer c.Close()
	a := newArgs[float32](1<<22, 3)
	b.SetBytes(int64(len(a.Param)) * 4 * 7)
	for b.Loop() {
		adamw.Step(c, a)
	}
}
