package attention_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/gojet/gojet/kernels/attention"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/packed"
)

// feed gives the tokens of p, whose sequences are of equal length t, to step in chunks, with a cache that starts as
// NaN, and returns o in p's order.
func feed(t *testing.T, p problem, length, chunk, capacity int, step func(a *attention.ForwardArgs[float32])) []float32 {
	s := p.seqs.Len()
	q, kv := p.cfg.Heads*p.cfg.Dim, p.cfg.KVHeads*p.cfg.Dim
	// Rows are taken in reverse, and one row stays unused.
	slots := make([]int32, s)
	for i := range slots {
		slots[i] = int32(s - i)
	}
	kc, vc := check.Poisoned[float32]((s+1)*capacity*kv), check.Poisoned[float32]((s+1)*capacity*kv)
	result := make([]float32, len(p.q))
	for at := 0; at < length; at += chunk {
		n := min(chunk, length-at)
		part := problem{cfg: p.cfg, seqs: packed.Batch(s, n), n: s * n}
		part.seqs.Slot, part.seqs.Pos = slots, slices.Repeat([]int32{int32(at)}, s)
		for i := range s {
			lo := i*length + at
			part.q = append(part.q, p.q[lo*q:(lo+n)*q]...)
			part.k = append(part.k, p.k[lo*kv:(lo+n)*kv]...)
			part.v = append(part.v, p.v[lo*kv:(lo+n)*kv]...)
		}
		o := check.Poisoned[float32](len(part.q))
		a := forwardArgs(part, o.Data, nil)
		a.KCache, a.VCache, a.Cap = kc.Data, vc.Data, capacity
		a.Scratch = make([]float32, attention.CachedScratch(p.cfg, s*n, s, capacity))
		same := check.Unchanged(t, a.Q, a.K, a.V)
		step(a)
		same()
		if err := o.Whole(); err != nil {
			t.Fatalf("o of chunk at %d: %v", at, err)
		}
		for i := range s {
			copy(result[(i*length+at)*q:][:n*q], o.Data[i*n*q:])
		}
	}
	unused := kc.Data[:capacity*kv]
	if slices.ContainsFunc(unused, func(x float32) bool { return x == x }) {
		t.Error("a row of the cache that no sequence owns was written")
	}
	return result
}

func TestChunksWithCache(t *testing.T) {
	c := cpu.New(2)
	defer c.Close()
	const length = 150
	for _, window := range []int{0, 1, 5, 64, 1000} {
		cfg := attention.Config{Heads: 6, KVHeads: 2, Dim: 16, Window: window}
		p := newProblem(cfg, 3*length, 0, length, 2*length, 3*length)
		want, _, _, _, _ := p.reference()
		capacities := []int{length, length + 9}
		if window > 1 && window < length {
			capacities = append(capacities, window-1, window, window+6)
		}
		for _, capacity := range capacities {
			for _, chunk := range []int{1, 7, 64, length} {
				name := fmt.Sprintf("window %d, cap %d, chunk %d", window, capacity, chunk)
				fast := feed(t, p, length, chunk, capacity, func(a *attention.ForwardArgs[float32]) { attention.Forward(c, a) })
				check.Close(t, name, fast, want, check.Chunked32)
				if chunk > 1 {
					plain := feed(t, p, length, chunk, capacity, attention.ReferenceForward[float32])
					check.Close(t, name+", reference", plain, want, check.Chunked32)
				}
			}
		}
	}
}

// Sequences of different ages decode together: some long enough to be read in pieces, one new, one idle.
func TestDecodeTogether(t *testing.T) {
	for _, window := range []int{0, 1500} {
		cfg := attention.Config{Heads: 4, KVHeads: 2, Dim: 12, Window: window}
		const capacity, rows = 2100, 5
		r := check.Rand(7)
		kv := cfg.KVHeads * cfg.Dim
		kc, vc := check.Normal(r, rows*capacity*kv, 1), check.Normal(r, rows*capacity*kv, 1)
		p := newProblem(cfg, 7, 0, 1, 2, 2, 4, 5)
		p.seqs.Pos = []int32{2000, 0, 17, 1400, 513}
		p.seqs.Slot = []int32{3, 0, 1, 4, 2}
		run := func(threads int) []float32 {
			c := cpu.New(threads)
			defer c.Close()
			o := check.Poisoned[float32](len(p.q))
			a := forwardArgs(p, o.Data, nil)
			a.KCache, a.VCache, a.Cap = check.To[float32](kc), check.To[float32](vc), capacity
			a.Scratch = make([]float32, attention.CachedScratch(cfg, p.n, p.seqs.Len(), capacity))
			attention.Forward(c, a)

			want := make([]float64, len(p.q))
			ref := forwardArgs(p, want, nil)
			ref.KCache, ref.VCache, ref.Cap = slices.Clone(kc), slices.Clone(vc), capacity
			attention.ReferenceForward(ref)
			check.Written(t, "o", o, want, check.Kernel32)
			if !slices.Equal(a.KCache, check.To[float32](ref.KCache)) || !slices.Equal(a.VCache, check.To[float32](ref.VCache)) {
				t.Error("the cache after the call differs from the reference's")
			}
			return o.Data
		}
		if !slices.Equal(run(1), run(3)) {
			t.Error("decoding differs between 1 and 3 threads")
		}
	}
}

// A sequence's result has the same bits alone and beside others, whatever their lengths, and CachedScratch is enough for any.
func TestAnyCompany(t *testing.T) {
	c := cpu.New(2)
	defer c.Close()
	const capacity = 5000
	for _, window := range []int{0, 1500} {
		cfg := attention.Config{Heads: 6, KVHeads: 2, Dim: 12, Window: window}
		r := check.Rand(8)
		lengths, starts := []int{1, 1, 70, 1, 300, 2, 0, 1}, []int32{4200, 10, 3000, 1100, 600, 0, 0, 2050}
		cu := []int32{0}
		for _, n := range lengths {
			cu = append(cu, cu[len(cu)-1]+int32(n))
		}
		all := newProblem(cfg, int(cu[len(lengths)]), cu...)
		kv := cfg.KVHeads * cfg.Dim
		kc, vc := check.To[float32](check.Normal(r, len(lengths)*capacity*kv, 1)), check.To[float32](check.Normal(r, len(lengths)*capacity*kv, 1))
		run := func(p problem) []float32 {
			o := check.Poisoned[float32](len(p.q))
			a := forwardArgs(p, o.Data, nil)
			a.KCache, a.VCache, a.Cap = slices.Clone(kc), slices.Clone(vc), capacity
			a.Scratch = make([]float32, attention.CachedScratch(cfg, p.n, p.seqs.Len(), capacity))
			attention.Forward(c, a)
			return o.Data
		}
		all.seqs.Pos, all.seqs.Slot = starts, []int32{7, 6, 5, 4, 3, 2, 1, 0}
		together := run(all)
		for s, n := range lengths {
			lo, hi := int(cu[s]), int(cu[s+1])
			q := cfg.Heads * cfg.Dim
			one := problem{cfg: cfg, n: n, q: all.q[lo*q : hi*q], k: all.k[lo*kv : hi*kv], v: all.v[lo*kv : hi*kv]}
			one.seqs = packed.Sequences{Cu: []int32{0, int32(n)}, Pos: starts[s : s+1], Slot: []int32{int32(7 - s)}}
			if !slices.Equal(run(one), together[lo*q:hi*q]) {
				t.Errorf("window %d: sequence %d of %d tokens at %d has another result alone", window, s, n, starts[s])
			}
		}
	}
}

func TestCheckCache(t *testing.T) {
	seqs := packed.Sequences{Cu: []int32{0, 2, 7}, Pos: []int32{10, 4}}
	for _, tc := range []struct {
		window, capacity int
		ok               bool
	}{{0, 12, true}, {0, 11, false}, {13, 12, true}, {14, 12, true}, {14, 11, false}, {5, 4, true}} {
		err := attention.Config{Heads: 1, KVHeads: 1, Dim: 1, Window: tc.window}.CheckCache(seqs, tc.capacity)
		if (err == nil) != tc.ok {
			t.Errorf("window %d, cap %d: %v", tc.window, tc.capacity, err)
		}
	}
}

func TestForwardAllocatesNothing(t *testing.T) {
	c := cpu.New(2)
	defer c.Close()
	cfg := attention.Config{Heads: 4, KVHeads: 2, Dim: 16}
	p := newProblem(cfg, 130, 0, 65, 130)
	o, lse := make([]float32, len(p.q)), make([]float32, p.n*cfg.Heads)
	fwd := forwardArgs(p, o, lse)
	bwd := backwardArgs(p, o, lse, make([]float32, len(p.q)), make([]float32, len(p.k)), make([]float32, len(p.v)))
	if n := testing.AllocsPerRun(20, func() { attention.Forward(c, fwd); attention.Backward(c, bwd) }); n != 0 {
		t.Errorf("%v allocations a call, want 0", n)
	}
}
