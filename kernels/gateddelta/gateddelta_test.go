package gateddelta

import (
	"fmt"
	"math"
	"testing"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/packed"
)

func shapes() []shape {
	norm := Config{Heads: 2, KeyDim: 24, ValueDim: 40, NormQK: true}
	list := []shape{
		{name: "packed", f: norm, lengths: []int{65, 0, 3, 1, 130}, gap: 5, decay: 0.3},
		{name: "packed, no state", f: norm, lengths: []int{64, 10, 0}, gap: 1, decay: 0.3, noState: true},
		{name: "raw keys", f: Config{Heads: 3, KeyDim: 8, ValueDim: 20, Scale: 0.7}, lengths: []int{70, 1}, decay: 0.2},
		{name: "strong decay", f: norm, lengths: []int{130}, decay: 50},
		{name: "mixed decay", f: norm, lengths: []int{130}, decay: -50},
		{name: "no decay", f: norm, lengths: []int{130}, decay: 0},
		{name: "one head, split values", f: Config{Heads: 1, KeyDim: 17, ValueDim: 259, NormQK: true}, lengths: []int{1, 67}, decay: 0.1},
		{name: "decode", f: norm, lengths: []int{1, 1, 1, 0, 1}, gap: 2, decay: 0.5},
		{name: "decode, no state", f: norm, lengths: []int{1, 1}, decay: 0.5, noState: true},
	}
	for _, t := range check.Sizes() {
		list = append(list, shape{name: fmt.Sprint("T=", t), f: norm, lengths: []int{t}, decay: 0.1})
	}
	return list
}

// results allocates every result of the backward pass, poisoned.
func results[T kernels.Float](p *problem, a *BackwardArgs[T]) (out []check.Out[T], names []string) {
	for _, x := range []struct {
		name string
		dst  *[]T
		n    int
	}{
		{"dq", &a.DQ, len(p.q)}, {"dk", &a.DK, len(p.k)}, {"dv", &a.DV, len(p.v)},
		{"dg", &a.DG, len(p.g)}, {"dbeta", &a.DBeta, len(p.beta)}, {"dh0", &a.DH0, len(p.h0)},
	} {
		o := check.Poisoned[T](x.n)
		if x.n > 0 {
			*x.dst = o.Data
		}
		out, names = append(out, o), append(names, x.name)
	}
	return out, names
}

// solve runs the reference in float64.
func (p *problem) solve() {
	fw := forwardArgs[float64](p)
	fw.O = make([]float64, len(p.v))
	if p.h0 != nil {
		fw.HT = make([]float64, len(p.h0))
	}
	ReferenceForward(fw)
	p.o, p.hT = fw.O, fw.HT
	bw := backwardArgs[float64](p)
	results(p, bw)
	ReferenceBackward(bw)
	p.dq, p.dk, p.dv, p.dg, p.dbeta, p.dh0 = bw.DQ, bw.DK, bw.DV, bw.DG, bw.DBeta, bw.DH0
}

func (p *problem) gradients() [][]float64 {
	return [][]float64{p.dq, p.dk, p.dv, p.dg, p.dbeta, p.dh0}
}

func TestReferenceGradients(t *testing.T) {
	for _, norm := range []bool{true, false} {
		p := draw(shape{f: Config{Heads: 2, KeyDim: 5, ValueDim: 6, NormQK: norm, Scale: 0.6}, lengths: []int{7, 0, 1, 4}, gap: 2, decay: 0.5})
		p.solve()
		fw := forwardArgs[float64](p)
		fw.O, fw.HT = make([]float64, len(p.v)), make([]float64, len(p.h0))
		loss := func() float64 {
			ReferenceForward(fw)
			var sum float64
			for i := range fw.O {
				sum += fw.O[i] * p.do[i]
			}
			for i := range fw.HT {
				sum += fw.HT[i] * p.dhT[i]
			}
			return sum
		}
		for i, x := range [][]float64{fw.Q, fw.K, fw.V, fw.G, fw.Beta, fw.H0} {
			check.Gradient(t, fmt.Sprintf("input %d, norm %v", i, norm), x, p.gradients()[i], loss)
		}
	}
}

func TestForwardMatchesReference(t *testing.T) {
	for _, sh := range shapes() {
		t.Run(sh.name, func(t *testing.T) {
			p := draw(sh)
			p.solve()
			for threads := 1; threads <= 3; threads++ {
				for _, keep := range []bool{false, true} {
					p.forward(t, threads, keep)
				}
			}
		})
	}
}

func (p *problem) forward(t *testing.T, threads int, keep bool) {
	c := cpu.New(threads)
	defer c.Close()
	a := forwardArgs[float32](p)
	unchanged := check.Unchanged(t, a.Q, a.K, a.V, a.G, a.Beta, a.H0)
	o := check.Poisoned[float32](len(p.v))
	a.O = o.Data
	if keep {
		a.States = make([]float32, StatesLen(p.Config, p.n, p.seqs.Len()))
	}
	if p.h0 != nil {
		a.HT = p.poisonedRows()
	}
	Forward(c, a)
	unchanged()
	check.Written(t, "o", o, p.o, check.Kernel32)
	if p.h0 != nil {
		p.checkFinal(t, a.HT)
	}
}

// poisonedRows is a state buffer that is NaN in the rows of sequences and 0 in the spare one.
func (p *problem) poisonedRows() []float32 {
	h := make([]float32, len(p.h0))
	for i := p.StateLen(); i < len(h); i++ {
		h[i] = float32(math.NaN())
	}
	return h
}

func (p *problem) checkFinal(t *testing.T, hT []float32) {
	t.Helper()
	for _, v := range hT[:p.StateLen()] {
		if v != 0 {
			t.Fatal("hT: a row that belongs to no sequence was written")
		}
	}
	check.Close(t, "hT", hT, p.hT, check.Kernel32)
}

func TestStateAdvancesInPlace(t *testing.T) {
	for _, sh := range shapes() {
		if sh.noState {
			continue
		}
		p := draw(sh)
		p.solve()
		c := cpu.New(2)
		a := forwardArgs[float32](p)
		a.HT = a.H0
		clear(a.HT[:p.StateLen()])
		Forward(c, a)
		p.checkFinal(t, a.HT)
		c.Close()
	}
}

func TestBackwardMatchesReference(t *testing.T) {
	for _, sh := range shapes() {
		t.Run(sh.name, func(t *testing.T) {
			p := draw(sh)
			p.solve()
			var first []check.Out[float32]
			for threads := 1; threads <= 3; threads++ {
				for _, keep := range []bool{true, false} {
					out := p.backward(t, threads, keep)
					if first == nil {
						first = out
					}
					for i := range out {
						for j := range out[i].Data {
							if out[i].Data[j] != first[i].Data[j] {
								t.Fatalf("result %d differs at %d with %d threads", i, j, threads)
							}
						}
					}
				}
			}
		})
	}
}

func (p *problem) backward(t *testing.T, threads int, keep bool) []check.Out[float32] {
	c := cpu.New(threads)
	defer c.Close()
	a := backwardArgs[float32](p)
	unchanged := check.Unchanged(t, a.Q, a.K, a.V, a.G, a.Beta, a.H0, a.DO, a.DHT)
	if keep {
		fw := forwardArgs[float32](p)
		fw.States = check.Poisoned[float32](StatesLen(p.Config, p.n, p.seqs.Len()) + 3).Data
		Forward(c, fw)
		a.States = fw.States
	}
	out, names := results(p, a)
	Backward(c, a)
	unchanged()
	for i, want := range p.gradients() {
		if want != nil {
			check.Written(t, names[i], out[i], want, check.Kernel32)
		}
	}
	return out
}

func TestForwardSameOnAnyTeam(t *testing.T) {
	for _, sh := range shapes() {
		p := draw(sh)
		var first []float32
		for threads := 1; threads <= 3; threads++ {
			c := cpu.New(threads)
			a := forwardArgs[float32](p)
			a.O = make([]float32, len(a.V))
			Forward(c, a)
			if first == nil {
				first = a.O
			}
			for i := range first {
				if first[i] != a.O[i] {
					t.Fatalf("%s: o differs at %d with %d threads", sh.name, i, threads)
				}
			}
			c.Close()
		}
	}
}

// Documents in one pack must not see each other: alone, each gives the same bits.
func TestPackedEqualsAlone(t *testing.T) {
	p := draw(shapes()[0])
	c := cpu.New(2)
	defer c.Close()
	whole := forwardArgs[float32](p)
	whole.O, whole.HT = make([]float32, len(whole.V)), make([]float32, len(whole.H0))
	Forward(c, whole)
	for s := range p.seqs.Len() {
		alone := *whole
		alone.Seqs = packed.Sequences{Cu: p.seqs.Cu[s : s+2], Slot: p.seqs.Slot[s : s+1]}
		alone.O, alone.HT = make([]float32, len(whole.V)), make([]float32, len(whole.H0))
		Forward(c, &alone)
		lo, hi := p.seqs.Span(s)
		width := p.Heads * p.ValueDim
		for i := lo * width; i < hi*width; i++ {
			if alone.O[i] != whole.O[i] {
				t.Fatalf("sequence %d: o differs at %d", s, i)
			}
		}
	}
}

// A sequence in pieces, the state carried in place, gives what it gives at once.
func TestPiecesEqualWhole(t *testing.T) {
	p := draw(shape{f: Config{Heads: 2, KeyDim: 24, ValueDim: 40, NormQK: true}, lengths: []int{130}, decay: 0.2})
	p.solve()
	c := cpu.New(2)
	defer c.Close()
	a := forwardArgs[float32](p)
	o := check.Poisoned[float32](len(p.v))
	at := 0
	for _, n := range []int{1, 1, 70, 3, 54, 1} {
		piece := *a
		key, value := p.Heads*p.KeyDim, p.Heads*p.ValueDim
		piece.Seqs = packed.Sequences{Cu: []int32{0, int32(n)}, Slot: p.seqs.Slot}
		piece.Q, piece.K = a.Q[at*key:(at+n)*key], a.K[at*key:(at+n)*key]
		piece.V, piece.O = a.V[at*value:(at+n)*value], o.Data[at*value:(at+n)*value]
		piece.G, piece.Beta = a.G[at*p.Heads:(at+n)*p.Heads], a.Beta[at*p.Heads:(at+n)*p.Heads]
		piece.HT = piece.H0
		Forward(c, &piece)
		at += n
	}
	check.Written(t, "o", o, p.o, check.Chunked32)
	check.Close(t, "hT", a.H0[p.StateLen():], p.hT[p.StateLen():], check.Chunked32)
}

// A long sequence without saved states makes the backward pass compute them in more than one segment.
func TestLongReplay(t *testing.T) {
	p := draw(shape{f: Config{Heads: 1, KeyDim: 8, ValueDim: 9, NormQK: true}, lengths: []int{16*Chunk*2 + 70}, decay: 0.05})
	p.solve()
	p.backward(t, 2, false)
}

func TestWrongLengthsPanic(t *testing.T) {
	c := cpu.New(1)
	defer c.Close()
	for _, test := range []struct {
		want  string
		spoil func(a *ForwardArgs[float32])
	}{
		{"gateddelta: k has 95 values, want 96 ([N, H, K]; N 2, H 2, K 24, V 40, rows 2)", func(a *ForwardArgs[float32]) { a.K = a.K[1:] }},
		{"gateddelta: hT has 1 values, want 3840 ([rows, H, K, V]; N 2, H 2, K 24, V 40, rows 2)", func(a *ForwardArgs[float32]) { a.HT = make([]float32, 1) }},
		{"gateddelta: states has 1 values, want 1920 or more (StatesLen of 2 tokens in 1 sequences)", func(a *ForwardArgs[float32]) { a.States = make([]float32, 1) }},
		{"gateddelta: packed: cu_seqlens ends at 3, beyond the 2 tokens", func(a *ForwardArgs[float32]) { a.Seqs.Cu = []int32{0, 3} }},
		{"gateddelta: heads 2, key dim 0, value dim 40, want all 1 or more", func(a *ForwardArgs[float32]) { a.KeyDim = 0 }},
	} {
		a := forwardArgs[float32](draw(shape{f: Config{Heads: 2, KeyDim: 24, ValueDim: 40}, lengths: []int{2}}))
		test.spoil(a)
		func() {
			defer func() {
				if got := recover(); got != test.want {
					t.Errorf("panic %v, want %v", got, test.want)
				}
			}()
			Forward(c, a)
		}()
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	p := draw(shapes()[0])
	c := cpu.New(1)
	defer c.Close()
	fw, bw := forwardArgs[float32](p), backwardArgs[float32](p)
	fw.O = make([]float32, len(fw.V))
	results(p, bw)
	if n := testing.AllocsPerRun(5, func() { Forward(c, fw); Backward(c, bw) }); n > 0 {
		t.Errorf("%v allocations a call, want none", n)
	}
}
