package gatedlinear

import (
	"fmt"
	"testing"

	"github.com/gojet/gojet/kernels/cpu"
)

// BenchmarkForwardBackward is a training step's share of one layer: 512 tokens, 4 heads.
func BenchmarkForwardBackward(b *testing.B) {
	for _, size := range [][2]int{{64, 64}, {96, 256}} {
		for _, f := range kinds(4, size[0], size[1])[:3] {
			b.Run(fmt.Sprintf("%s/K%d/V%d", f.op(), f.KeyDim, f.ValueDim), func(b *testing.B) {
				p := draw(shape{f: f, lengths: []int{512}, decay: 0.1})
				c := cpu.New(2)
				defer c.Close()
				fw, bw := forwardArgs[float32](p), backwardArgs[float32](p)
				fw.O = make([]float32, len(fw.V))
				fw.States = make([]float32, StatesLen(f, p.n, 1))
				bw.States = fw.States
				b.ReportAllocs()
				for b.Loop() {
					Forward(c, fw)
					Backward(c, bw)
				}
				b.ReportMetric(float64(p.n*b.N)/b.Elapsed().Seconds(), "tokens/s")
			})
		}
	}
}
