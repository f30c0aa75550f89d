package gatedlinear

import (
	"fmt"
	"testing"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/packed"
)

// kinds are the forms of the rule, for heads, key dim and value dim.
func kinds(h, k, v int) []Config {
	f := Config{Heads: h, KeyDim: k, ValueDim: v}
	channels := f
	channels.Channels = true
	lowRank := channels
	lowRank.LowRank = true
	return []Config{f, channels, lowRank, {Heads: h, KeyDim: k, ValueDim: v, LowRank: true, Scale: 1}}
}

func forwardArgs[T kernels.Float](p *problem) *ForwardArgs[T] {
	return &ForwardArgs[T]{Config: p.Config, Seqs: p.seqs, Q: check.To[T](p.q), K: check.To[T](p.k), V: check.To[T](p.v),
		G: check.To[T](p.g), A: check.To[T](p.a), B: check.To[T](p.b), H0: check.To[T](p.h0)}
}

func backwardArgs[T kernels.Float](p *problem) *BackwardArgs[T] {
	return &BackwardArgs[T]{Config: p.Config, Seqs: p.seqs, Q: check.To[T](p.q), K: check.To[T](p.k), V: check.To[T](p.v),
		G: check.To[T](p.g), A: check.To[T](p.a), B: check.To[T](p.b), H0: check.To[T](p.h0), DO: check.To[T](p.do), DHT: check.To[T](p.dhT),
		DQ: make([]T, len(p.q)), DK: make([]T, len(p.k)), DV: make([]T, len(p.v)), DG: make([]T, len(p.g)),
		DA: make([]T, len(p.a)), DB: make([]T, len(p.b)), DH0: make([]T, len(p.h0))}
}

func TestReferenceGradients(t *testing.T) {
	for _, f := range kinds(2, 5, 6) {
		p := draw(shape{f: f, lengths: []int{7, 0, 1, 4, 67}, gap: 2, decay: 0.5})
		bw := backwardArgs[float64](p)
		ReferenceBackward(bw)
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
		for _, x := range []struct {
			name  string
			x, dx []float64
		}{{"q", fw.Q, bw.DQ}, {"k", fw.K, bw.DK}, {"v", fw.V, bw.DV}, {"g", fw.G, bw.DG}, {"a", fw.A, bw.DA}, {"b", fw.B, bw.DB}, {"h0", fw.H0, bw.DH0}} {
			if len(x.x) > 0 {
				check.Gradient(t, fmt.Sprintf("%s of %s", x.name, f.op()), x.x, x.dx, loss)
			}
		}
	}
}

// TestSameOnAnyTeam runs shapes that split in different ways on one to three threads: the same bits.
func TestSameOnAnyTeam(t *testing.T) {
	for _, f := range kinds(1, 17, 259) {
		p := draw(shape{f: f, lengths: []int{1, 67, 130}, decay: 0.1})
		var first [][]float32
		for threads := 1; threads <= 3; threads++ {
			c := cpu.New(threads)
			fw, bw := forwardArgs[float32](p), backwardArgs[float32](p)
			fw.O, fw.HT = make([]float32, len(p.v)), make([]float32, len(p.h0))
			fw.States = make([]float32, StatesLen(f, p.n, p.seqs.Len()))
			bw.States = fw.States
			Forward(c, fw)
			Backward(c, bw)
			c.Close()
			all := [][]float32{fw.O, fw.HT, bw.DQ, bw.DK, bw.DV, bw.DG, bw.DA, bw.DB, bw.DH0}
			if first == nil {
				first = all
			}
			for i := range all {
				check.Close(t, fmt.Sprintf("result %d of %s", i, f.op()), all[i], first[i], 0)
			}
		}
	}
}

// Documents in one pack must not see each other: alone, each gives the same bits.
func TestPackedEqualsAlone(t *testing.T) {
	for _, f := range kinds(2, 24, 40) {
		p := draw(shape{f: f, lengths: []int{65, 0, 3, 1, 130}, gap: 5, decay: 0.3})
		c := cpu.New(2)
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
			check.Close(t, fmt.Sprintf("sequence %d of %s", s, f.op()), alone.O[lo*width:hi*width], whole.O[lo*width:hi*width], 0)
		}
		c.Close()
	}
}

// A sequence in pieces, the state carried in place, gives what it gives at once.
func TestPiecesEqualWhole(t *testing.T) {
	for _, f := range kinds(2, 24, 40) {
		p := draw(shape{f: f, lengths: []int{130}, decay: 0.2})
		c := cpu.New(2)
		want := forwardArgs[float64](p)
		want.O, want.HT = make([]float64, len(p.v)), make([]float64, len(p.h0))
		ReferenceForward(want)
		a := forwardArgs[float32](p)
		o := check.Poisoned[float32](len(p.v))
		at := 0
		for _, n := range []int{1, 1, 70, 3, 54, 1} {
			piece := *a
			key, value, gate := p.Heads*p.KeyDim, p.Heads*p.ValueDim, p.Heads*p.Gates()
			piece.Seqs = packed.Sequences{Cu: []int32{0, int32(n)}, Slot: p.seqs.Slot}
			piece.Q, piece.K = a.Q[at*key:(at+n)*key], a.K[at*key:(at+n)*key]
			piece.V, piece.O = a.V[at*value:(at+n)*value], o.Data[at*value:(at+n)*value]
			piece.G = a.G[at*gate : (at+n)*gate]
			if f.LowRank {
				piece.A, piece.B = a.A[at*key:(at+n)*key], a.B[at*key:(at+n)*key]
			}
			piece.HT = piece.H0
			Forward(c, &piece)
			at += n
		}
		check.Written(t, "o of "+f.op(), o, want.O, check.Chunked32)
		check.Close(t, "hT of "+f.op(), a.H0[p.StateLen():], want.HT[p.StateLen():], check.Chunked32)
		c.Close()
	}
}

func TestWrongLengthsPanic(t *testing.T) {
	c := cpu.New(1)
	defer c.Close()
	for _, test := range []struct {
		want  string
		spoil func(a *ForwardArgs[float32])
	}{
		{"gatedlinear: k has 95 values, want 96 ([N, H, K]; N 2, H 2, K 24, V 40, rows 2)", func(a *ForwardArgs[float32]) { a.K = a.K[1:] }},
		{"gatedlinear: a has 96 values, want 0 ([N, H, K]; N 2, H 2, K 24, V 40, rows 2)", func(a *ForwardArgs[float32]) { a.A = a.K }},
		{"gatedlinear: hT has 1 values, want 3840 ([rows, H, K, V]; N 2, H 2, K 24, V 40, rows 2)", func(a *ForwardArgs[float32]) { a.HT = make([]float32, 1) }},
		{"gatedlinear: states has 1 values, want 1920 or more (StatesLen of 2 tokens in 1 sequences)", func(a *ForwardArgs[float32]) { a.States = make([]float32, 1) }},
		{"gatedlinear: packed: cu_seqlens ends at 3, beyond the 2 tokens", func(a *ForwardArgs[float32]) { a.Seqs.Cu = []int32{0, 3} }},
		{"gatedlinear: heads 2, key dim 0, value dim 40, want all 1 or more", func(a *ForwardArgs[float32]) { a.KeyDim = 0 }},
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
	for _, f := range kinds(2, 24, 40) {
		p := draw(shape{f: f, lengths: []int{65, 0, 3, 1}, decay: 0.3})
		c := cpu.New(1)
		fw, bw := forwardArgs[float32](p), backwardArgs[float32](p)
		fw.O = make([]float32, len(fw.V))
		fw.States = make([]float32, StatesLen(f, p.n, p.seqs.Len()))
		bw.States = fw.States
		if n := testing.AllocsPerRun(5, func() { Forward(c, fw); Backward(c, bw) }); n > 0 {
			t.Errorf("%s: %v allocations a call, want none", f.op(), n)
		}
		c.Close()
	}
}
