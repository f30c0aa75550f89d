package attention_test

import (
	"fmt"
	"testing"

	"github.com/gojet/gojet/kernels/attention"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/packed"
)

// The attention of Jet-Nemotron-2B.
var jet2B = attention.Config{Heads: 12, KVHeads: 2, Dim: 128}

// report gives the speed in GFLOP/s from the multiplications of visible pairs.
func report(b *testing.B, flops float64) {
	b.ReportMetric(flops*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}

func BenchmarkPrefill(b *testing.B) {
	for _, tokens := range []int{256, 1024} {
		b.Run(fmt.Sprint(tokens), func(b *testing.B) {
			c := cpu.New(0)
			defer c.Close()
			p := newProblem(jet2B, tokens, 0, int32(tokens))
			a := forwardArgs(p, make([]float32, len(p.q)), nil)
			for b.Loop() {
				attention.Forward(c, a)
			}
			report(b, 4*float64(len(p.q))*float64(tokens)/2)
		})
	}
}

func BenchmarkBackward(b *testing.B) {
	const tokens = 1024
	c := cpu.New(0)
	defer c.Close()
	p := newProblem(jet2B, tokens, 0, tokens)
	o, lse := make([]float32, len(p.q)), make([]float32, p.n*jet2B.Heads)
	attention.Forward(c, forwardArgs(p, o, lse))
	a := backwardArgs(p, o, lse, make([]float32, len(p.q)), make([]float32, len(p.k)), make([]float32, len(p.v)))
	for b.Loop() {
		attention.Backward(c, a)
	}
	report(b, 10*float64(len(p.q))*tokens/2)
}

// One new token for each sequence; bytes are those of the cache that must be read.
func BenchmarkDecode(b *testing.B) {
	for _, tc := range []struct{ sequences, length int }{{1, 1024}, {1, 65536}, {16, 4096}} {
		b.Run(fmt.Sprintf("%dx%d", tc.sequences, tc.length), func(b *testing.B) {
			c := cpu.New(0)
			defer c.Close()
			p := newProblem(jet2B, tc.sequences)
			p.seqs = packed.Batch(tc.sequences, 1)
			for range tc.sequences {
				p.seqs.Pos = append(p.seqs.Pos, int32(tc.length-1))
			}
			a := forwardArgs(p, make([]float32, len(p.q)), nil)
			values := tc.sequences * tc.length * jet2B.KVHeads * jet2B.Dim
			a.Cap, a.KCache, a.VCache = tc.length, make([]float32, values), make([]float32, values)
			r := check.Rand(1)
			for i := range a.KCache {
				a.KCache[i], a.VCache[i] = r.Float32()-0.5, r.Float32()-0.5
			}
			b.SetBytes(int64(values) * 8)
			for b.Loop() {
				attention.Forward(c, a)
			}
		})
	}
}
