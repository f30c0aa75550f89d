package attention_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/attention"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/packed"
)

// problem is one set of inputs in float64.
type problem struct {
	cfg         attention.Config
	seqs        packed.Sequences
	n           int
	q, k, v, do []float64
}

func newProblem(cfg attention.Config, n int, cu ...int32) problem {
	r := check.Rand(uint64(n*31 + cfg.Heads))
	return problem{
		cfg: cfg, seqs: packed.Sequences{Cu: cu}, n: n,
		q:  check.Normal(r, n*cfg.Heads*cfg.Dim, 1.5),
		k:  check.Normal(r, n*cfg.KVHeads*cfg.Dim, 1),
		v:  check.Normal(r, n*cfg.KVHeads*cfg.Dim, 1),
		do: check.Normal(r, n*cfg.Heads*cfg.Dim, 1),
	}
}

func longest(q packed.Sequences) int {
	n := 0
	for s := range q.Len() {
		lo, hi := q.Span(s)
		n = max(n, hi-lo)
	}
	return n
}

func forwardArgs[T kernels.Float](p problem, o, lse []T) *attention.ForwardArgs[T] {
	return &attention.ForwardArgs[T]{
		Config: p.cfg, Seqs: p.seqs, Q: check.To[T](p.q), K: check.To[T](p.k), V: check.To[T](p.v), O: o, LSE: lse,
		Scratch: make([]float32, attention.ForwardScratch(p.cfg, longest(p.seqs))),
	}
}

func backwardArgs[T kernels.Float](p problem, o, lse, dq, dk, dv []T) *attention.BackwardArgs[T] {
	return &attention.BackwardArgs[T]{
		Config: p.cfg, Seqs: p.seqs, Q: check.To[T](p.q), K: check.To[T](p.k), V: check.To[T](p.v), DO: check.To[T](p.do),
		O: o, LSE: lse, DQ: dq, DK: dk, DV: dv,
		Scratch: make([]float32, attention.BackwardScratch(p.cfg, p.n)),
	}
}

// gradients of the reference in float64, with the forward it needs.
func (p problem) reference() (o, lse, dq, dk, dv []float64) {
	o, lse = make([]float64, len(p.q)), make([]float64, p.n*p.cfg.Heads)
	attention.ReferenceForward(forwardArgs(p, o, lse))
	dq, dk, dv = make([]float64, len(p.q)), make([]float64, len(p.k)), make([]float64, len(p.v))
	attention.ReferenceBackward(backwardArgs(p, o, lse, dq, dk, dv))
	return o, lse, dq, dk, dv
}

var shapes = []struct {
	name string
	problem
}{
	{"one token", newProblem(attention.Config{Heads: 2, KVHeads: 1, Dim: 8}, 1, 0, 1)},
	{"packed, empty, outside", newProblem(attention.Config{Heads: 6, KVHeads: 2, Dim: 20}, 300, 3, 4, 6, 6, 71, 201, 294)},
	{"block borders", newProblem(attention.Config{Heads: 3, KVHeads: 3, Dim: 16}, 320, 0, 63, 127, 192, 320)},
	{"one key head", newProblem(attention.Config{Heads: 5, KVHeads: 1, Dim: 33}, 130, 0, 130)},
	{"given scale", newProblem(attention.Config{Heads: 2, KVHeads: 2, Dim: 7, Scale: 0.9}, 65, 0, 65)},
	{"window 2", newProblem(attention.Config{Heads: 4, KVHeads: 2, Dim: 16, Window: 2}, 70, 0, 70)},
	{"window 5", newProblem(attention.Config{Heads: 4, KVHeads: 2, Dim: 16, Window: 5}, 200, 0, 130, 200)},
	{"window 64", newProblem(attention.Config{Heads: 8, KVHeads: 2, Dim: 24, Window: 64}, 330, 0, 330)},
	{"window beyond", newProblem(attention.Config{Heads: 2, KVHeads: 1, Dim: 16, Window: 1000}, 130, 0, 130)},
	{"pieces", newProblem(attention.Config{Heads: 2, KVHeads: 1, Dim: 8}, 1200, 0, 1100, 1200)},
	{"no tokens", newProblem(attention.Config{Heads: 2, KVHeads: 1, Dim: 8}, 0, 0)},
}

func TestForwardAndBackward(t *testing.T) {
	c := cpu.New(3)
	defer c.Close()
	for _, tc := range shapes {
		t.Run(tc.name, func(t *testing.T) {
			p := tc.problem
			o, lse, dq, dk, dv := p.reference()
			fo, flse := check.Poisoned[float32](len(o)), check.Poisoned[float32](len(lse))
			fwd := forwardArgs(p, fo.Data, flse.Data)
			same := check.Unchanged(t, fwd.Q, fwd.K, fwd.V)
			attention.Forward(c, fwd)
			same()
			check.Written(t, "o", fo, o, check.Kernel32)
			check.Written(t, "lse", flse, lse, check.Kernel32)

			fdq, fdk, fdv := check.Poisoned[float32](len(dq)), check.Poisoned[float32](len(dk)), check.Poisoned[float32](len(dv))
			bwd := backwardArgs(p, fo.Data, flse.Data, fdq.Data, fdk.Data, fdv.Data)
			same = check.Unchanged(t, bwd.Q, bwd.K, bwd.V, bwd.O, bwd.LSE, bwd.DO)
			attention.Backward(c, bwd)
			same()
			check.Written(t, "dq", fdq, dq, check.Kernel32)
			check.Written(t, "dk", fdk, dk, check.Kernel32)
			check.Written(t, "dv", fdv, dv, check.Kernel32)
		})
	}
}

func TestReferenceGradient(t *testing.T) {
	for _, window := range []int{0, 3} {
		p := newProblem(attention.Config{Heads: 4, KVHeads: 2, Dim: 6, Window: window}, 16, 1, 2, 2, 15)
		_, _, dq, dk, dv := p.reference()
		loss := func() float64 {
			o := make([]float64, len(p.q))
			attention.ReferenceForward(forwardArgs(p, o, nil))
			var sum float64
			for i, x := range o {
				sum += x * p.do[i]
			}
			return sum
		}
		check.Gradient(t, "q", p.q, dq, loss)
		check.Gradient(t, "k", p.k, dk, loss)
		check.Gradient(t, "v", p.v, dv, loss)
	}
}

// A token that sees only itself takes its value, and its scores have no gradient: what rounding leaves of it is
// measured against do, since the gradient itself is zero.
func TestWindowOfOne(t *testing.T) {
	c := cpu.New(2)
	defer c.Close()
	p := newProblem(attention.Config{Heads: 2, KVHeads: 2, Dim: 16, Window: 1}, 70, 0, 70)
	o, lse := make([]float32, len(p.q)), make([]float32, p.n*p.cfg.Heads)
	dq, dk, dv := make([]float32, len(p.q)), make([]float32, len(p.k)), make([]float32, len(p.v))
	attention.Forward(c, forwardArgs(p, o, lse))
	attention.Backward(c, backwardArgs(p, o, lse, dq, dk, dv))
	check.Close(t, "o", o, p.v, check.Kernel32)
	check.Close(t, "dv", dv, p.do, check.Kernel32)
	size := check.RelErr(p.do, make([]float64, len(p.do)))
	for name, g := range map[string][]float32{"dq": dq, "dk": dk} {
		if rest := check.RelErr(g, make([]float64, len(g))); !(rest <= check.Kernel32*size) {
			t.Errorf("%s is %.3g, want 0", name, rest)
		}
	}
}

func TestThreadsDoNotMatter(t *testing.T) {
	for _, tc := range shapes {
		var want [5][]float32
		for threads := 1; threads <= 3; threads++ {
			c := cpu.New(threads)
			p := tc.problem
			got := [5][]float32{
				make([]float32, len(p.q)), make([]float32, p.n*p.cfg.Heads),
				make([]float32, len(p.q)), make([]float32, len(p.k)), make([]float32, len(p.v)),
			}
			attention.Forward(c, forwardArgs(p, got[0], got[1]))
			attention.Backward(c, backwardArgs(p, got[0], got[1], got[2], got[3], got[4]))
			c.Close()
			for i := range got {
				if threads > 1 && !slices.Equal(got[i], want[i]) {
					t.Errorf("%s: result %d differs between 1 and %d threads", tc.name, i, threads)
				}
			}
			want = got
		}
	}
}

func TestUnwantedResults(t *testing.T) {
	c := cpu.New(2)
	defer c.Close()
	p := newProblem(attention.Config{Heads: 4, KVHeads: 2, Dim: 16}, 90, 0, 20, 90)
	o, lse := make([]float32, len(p.q)), make([]float32, p.n*p.cfg.Heads)
	attention.Forward(c, forwardArgs(p, o, lse))
	alone := make([]float32, len(o))
	attention.Forward(c, forwardArgs(p, alone, nil))
	if !slices.Equal(o, alone) {
		t.Error("o changes when lse is not wanted")
	}
	var all, one [3][]float32
	for i, n := range []int{len(p.q), len(p.k), len(p.v)} {
		all[i] = make([]float32, n)
	}
	attention.Backward(c, backwardArgs(p, o, lse, all[0], all[1], all[2]))
	for i := range all {
		one = [3][]float32{}
		one[i] = make([]float32, len(all[i]))
		attention.Backward(c, backwardArgs(p, o, lse, one[0], one[1], one[2]))
		if !slices.Equal(one[i], all[i]) {
			t.Errorf("gradient %d changes when it is the only one wanted", i)
		}
	}
}

// Documents packed together give what each gives alone, to the bit.
func TestPackedIsOneByOne(t *testing.T) {
	c := cpu.New(2)
	defer c.Close()
	cfg := attention.Config{Heads: 4, KVHeads: 2, Dim: 16, Window: 40}
	p := newProblem(cfg, 200, 0, 70, 71, 200)
	o, lse := make([]float32, len(p.q)), make([]float32, p.n*cfg.Heads)
	dq, dk, dv := make([]float32, len(p.q)), make([]float32, len(p.k)), make([]float32, len(p.v))
	attention.Forward(c, forwardArgs(p, o, lse))
	attention.Backward(c, backwardArgs(p, o, lse, dq, dk, dv))
	for s := range p.seqs.Len() {
		lo, hi := p.seqs.Span(s)
		q, kv := cfg.Heads*cfg.Dim, cfg.KVHeads*cfg.Dim
		one := problem{cfg: cfg, seqs: packed.Batch(1, hi-lo), n: hi - lo,
			q: p.q[lo*q : hi*q], k: p.k[lo*kv : hi*kv], v: p.v[lo*kv : hi*kv], do: p.do[lo*q : hi*q]}
		o1, lse1 := make([]float32, len(one.q)), make([]float32, one.n*cfg.Heads)
		dq1, dk1, dv1 := make([]float32, len(one.q)), make([]float32, len(one.k)), make([]float32, len(one.v))
		attention.Forward(c, forwardArgs(one, o1, lse1))
		attention.Backward(c, backwardArgs(one, o1, lse1, dq1, dk1, dv1))
		for name, pair := range map[string][2][]float32{
			"o": {o[lo*q : hi*q], o1}, "dq": {dq[lo*q : hi*q], dq1}, "dk": {dk[lo*kv : hi*kv], dk1}, "dv": {dv[lo*kv : hi*kv], dv1},
		} {
			if !slices.Equal(pair[0], pair[1]) {
				t.Errorf("%s of sequence %d differs when packed", name, s)
			}
		}
	}
}

func TestMistakes(t *testing.T) {
	c := cpu.New(1)
	defer c.Close()
	for _, tc := range []struct {
		want   string
		change func(a *attention.ForwardArgs[float32])
	}{
		{"attention: k has 31 values, want 32", func(a *attention.ForwardArgs[float32]) { a.K = a.K[1:] }},
		{"attention: o has 0 values", func(a *attention.ForwardArgs[float32]) { a.O = nil }},
		{"attention: lse has 1 values, want 16", func(a *attention.ForwardArgs[float32]) { a.LSE = make([]float32, 1) }},
		{"attention: 3 heads are not a multiple of 2", func(a *attention.ForwardArgs[float32]) { a.Heads, a.KVHeads = 3, 2 }},
		{"attention: 4 heads, 0 key heads", func(a *attention.ForwardArgs[float32]) { a.KVHeads = 0 }},
		{"attention: window is -1", func(a *attention.ForwardArgs[float32]) { a.Window = -1 }},
		{"attention: scale is -1", func(a *attention.ForwardArgs[float32]) { a.Scale = -1 }},
		{"packed: cu_seqlens ends at 9", func(a *attention.ForwardArgs[float32]) { a.Seqs.Cu = []int32{0, 9} }},
		{"the cache holds 3 positions, sequence 0 needs 4", func(a *attention.ForwardArgs[float32]) {
			a.Cap, a.KCache, a.VCache = 3, make([]float32, 3*8), make([]float32, 3*8)
		}},
		{"k and v cache have 33 and 32 values", func(a *attention.ForwardArgs[float32]) {
			a.Cap, a.KCache, a.VCache = 4, make([]float32, 33), make([]float32, 32)
		}},
	} {
		cfg := attention.Config{Heads: 4, KVHeads: 2, Dim: 4}
		a := forwardArgs(newProblem(cfg, 4, 0, 4), make([]float32, 64), nil)
		tc.change(a)
		expectPanic(t, tc.want, func() { attention.Forward(c, a) })
		if tc.want[:6] != "packed" {
			expectPanic(t, tc.want, func() { attention.ReferenceForward(a) })
		}
	}
}

func expectPanic(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := fmt.Sprint(recover()); !strings.Contains(got, want) {
			t.Errorf("panic %q, want %q", got, want)
		}
	}()
	f()
}
