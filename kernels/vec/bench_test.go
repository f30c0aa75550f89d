package vec

import (
	"testing"

	"github.com/gojet/gojet/bf16"
)

// Bytes are those that a loop reads and writes; the slices stay in the first-level cache.
func BenchmarkLoops(b *testing.B) {
	const n = 1536
	for _, l := range implementations() {
		for _, o := range ops() {
			if o.name == "bf16" || o.name == "expSum" {
				continue
			}
			b.Run(o.name+"/"+l.name, func(b *testing.B) {
				in, out := make([][]float32, o.ins), make([][]float32, o.outs)
				for i := range in {
					in[i] = normal(uint64(i), n)
				}
				for i := range out {
					out[i] = make([]float32, n)
				}
				measure(b, l, int64(4*n*(o.ins+o.outs)), func() { o.call(out, in) })
			})
		}
		x, y, words := normal(1, n), normal(2, n), make([]bf16.BF16, n)
		for _, f := range numbers {
			b.Run(f.name+"/"+l.name, func(b *testing.B) {
				measure(b, l, 8*n, func() { f.call(x, y) })
			})
		}
		b.Run("expSum/"+l.name, func(b *testing.B) { measure(b, l, 8*n, func() { ExpSum(y, x, 4) }) })
		b.Run("toBF16/"+l.name, func(b *testing.B) { measure(b, l, 6*n, func() { ToBF16(words, x) }) })
		b.Run("fromBF16/"+l.name, func(b *testing.B) { measure(b, l, 6*n, func() { FromBF16(y, words) }) })
	}
}

func measure(b *testing.B, l *loops, bytes int64, call func()) {
	best := fast
	defer func() { fast = best }()
	fast = l
	b.SetBytes(bytes)
	for b.Loop() {
		call()
	}
}
