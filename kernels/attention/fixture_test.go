package attention_test

import (
	"math"
	"testing"

	"github.com/gojet/gojet/internal/fixtures"
	"github.com/gojet/gojet/kernels/attention"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/packed"
)

// swapped turns [B, H, T, D] into [B, T, H, D] or, with h and t exchanged, back.
func swapped(x []float32, b, h, t, d int) []float32 {
	out := make([]float32, 0, len(x))
	for i := range b {
		for j := range t {
			for k := range h {
				out = append(out, x[((i*h+k)*t+j)*d:][:d]...)
			}
		}
	}
	return out
}

// rotated turns the two halves of each head of x [B, T, H, D] by the angle of its position, or back.
func rotated(x []float32, b, t, h, d int, theta, direction float64) []float32 {
	out := make([]float32, len(x))
	for row := range b * t * h {
		position := float64(row / h % t)
		src, dst := x[row*d:][:d], out[row*d:][:d]
		for i := range d / 2 {
			sin, cos := math.Sincos(direction * position * math.Pow(theta, -2*float64(i)/float64(d)))
			a, b := float64(src[i]), float64(src[i+d/2])
			dst[i], dst[i+d/2] = float32(a*cos-b*sin), float32(b*cos+a*sin)
		}
	}
	return out
}

func TestFixtures(t *testing.T) {
	c := cpu.New(2)
	defer c.Close()
	for _, path := range fixtures.Glob(t, "ops/rope_causal_gqa_attention_*.safetensors") {
		f := fixtures.Load(t, path)
		shape, heads := f.Shape("k"), f.Shape("q")[1]
		batch, kv, n, d := shape[0], shape[1], shape[2], shape[3]
		theta := float64(f.Float32("rope_theta")[0])
		read := func(name string, heads int) []float32 { return swapped(f.Float32(name), batch, heads, n, d) }

		cfg := attention.Config{Heads: heads, KVHeads: kv, Dim: d, Window: int(f.Int64("window")[0])}
		q := rotated(read("q", heads), batch, n, heads, d, theta, 1)
		k := rotated(read("k", kv), batch, n, kv, d, theta, 1)
		fwd := &attention.ForwardArgs[float32]{Config: cfg, Seqs: packed.Batch(batch, n), Q: q, K: k, V: read("v", kv),
			O: make([]float32, len(q)), LSE: make([]float32, batch*n*heads), Scratch: make([]float32, attention.ForwardScratch(cfg, n))}
		attention.Forward(c, fwd)
		check.Close(t, path+": o", fwd.O, read("o", heads), check.Fixture32)

		bwd := &attention.BackwardArgs[float32]{Config: cfg, Seqs: fwd.Seqs, Q: q, K: k, V: fwd.V, O: fwd.O, LSE: fwd.LSE, DO: read("do", heads),
			DQ: make([]float32, len(q)), DK: make([]float32, len(k)), DV: make([]float32, len(k)),
			Scratch: make([]float32, attention.BackwardScratch(cfg, batch*n))}
		attention.Backward(c, bwd)
		check.Close(t, path+": dq", rotated(bwd.DQ, batch, n, heads, d, theta, -1), read("dq", heads), check.Fixture32)
		check.Close(t, path+": dk", rotated(bwd.DK, batch, n, kv, d, theta, -1), read("dk", kv), check.Fixture32)
		check.Close(t, path+": dv", bwd.DV, read("dv", kv), check.Fixture32)
	}
}
