package gateddelta

import (
	"testing"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/packed"
)

// The shapes are those of dev/peers/gateddelta.py, which times the same work elsewhere.
func BenchmarkGatedDelta(b *testing.B) {
	for _, x := range []struct {
		name              string
		f                 Config
		sequences, tokens int
	}{
		{"H4K64V128T1024", Config{Heads: 4, KeyDim: 64, ValueDim: 128, NormQK: true}, 1, 1024},
		{"H12K96V256T1024", Config{Heads: 12, KeyDim: 96, ValueDim: 256, NormQK: true}, 1, 1024},
		{"H12K96V256B16decode", Config{Heads: 12, KeyDim: 96, ValueDim: 256, NormQK: true}, 16, 1},
	} {
		b.Run(x.name, func(b *testing.B) { bench(b, x.f, packed.Batch(x.sequences, x.tokens), x.sequences*x.tokens) })
	}
}

func bench(b *testing.B, f Config, seqs packed.Sequences, n int) {
	c := cpu.New(0)
	defer c.Close()
	r := check.Rand(3)
	normal := func(n int) []float32 { return check.To[float32](check.Normal(r, n, 1)) }
	fw := &ForwardArgs[float32]{Config: f, Seqs: seqs,
		Q: normal(n * f.Heads * f.KeyDim), K: normal(n * f.Heads * f.KeyDim), V: normal(n * f.Heads * f.ValueDim),
		G: make([]float32, n*f.Heads), Beta: make([]float32, n*f.Heads),
		O: make([]float32, n*f.Heads*f.ValueDim)}
	for i := range fw.G {
		fw.G[i], fw.Beta[i] = -0.1*r.Float32(), r.Float32()
	}
	if n == seqs.Len() {
		fw.H0 = normal(seqs.Len() * f.StateLen())
		fw.HT = fw.H0
		b.Run("forward", func(b *testing.B) {
			for b.Loop() {
				Forward(c, fw)
			}
		})
		return
	}
	bw := &BackwardArgs[float32]{Config: f, Seqs: seqs, Q: fw.Q, K: fw.K, V: fw.V, G: fw.G, Beta: fw.Beta,
		DO: normal(len(fw.V)), DQ: make([]float32, len(fw.Q)), DK: make([]float32, len(fw.Q)), DV: make([]float32, len(fw.V)),
		DG: make([]float32, len(fw.G)), DBeta: make([]float32, len(fw.G))}
	b.Run("forward", func(b *testing.B) {
		for b.Loop() {
			Forward(c, fw)
		}
	})
	b.Run("backward", func(b *testing.B) {
		for b.Loop() {
			Backward(c, bw)
		}
	})
	fw.States = make([]float32, StatesLen(f, n, seqs.Len()))
	bw.States = fw.States
	b.Run("both", func(b *testing.B) {
		for b.Loop() {
			Forward(c, fw)
			Backward(c, bw)
		}
	})
}
