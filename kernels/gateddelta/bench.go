package gateddelta

import (
	"fmt"
	"math"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
)

// Benchmarks are the rows that other software was measured on.
func Benchmarks() []check.Benchmark {
	two := Config{Heads: 12, KeyDim: 96, ValueDim: 256, NormQK: true}
	four := Config{Heads: 16, KeyDim: 128, ValueDim: 256, NormQK: true}
	largest := Config{Heads: 6, KeyDim: 256, ValueDim: 512, NormQK: true}
	return []check.Benchmark{
		benchmark("2B", two, 4, 4096, false, 1.22, 0.40),
		benchmark("2B", two, 4, 4096, true, 3.53, 1.40),
		benchmark("4B", four, 4, 4096, false, 1.33, 0.50),
		benchmark("4B", four, 4, 4096, true, 4.11, 1.70),
		benchmark("2B", two, 1, 32768, false, 2.48, 0.90),
		benchmark("2B", two, 1, 32768, true, 7.81, 3.0),
		benchmark("K 256, V 512", largest, 16, 4096, false, 0, 0),
		benchmark("2B", two, 128, 1, false, 0.339, 0.12),
	}
}

// benchmark is the rule on b sequences of t tokens, forward or forward and backward; one token is a step of decoding, which
// advances the state in place.
func benchmark(model string, f Config, b, t int, backward bool, peer, goal float64) check.Benchmark {
	n, decode := b*t, t == 1
	row := check.Benchmark{
		Name: "gated delta rule, forward, " + model, Type: device.BF16, Peer: "flash-linear-attention", PeerMS: peer, Goal: goal,
		Shape: fmt.Sprintf("B %d, T %d, H %d, K %d, V %d", b, t, f.Heads, f.KeyDim, f.ValueDim),
		FLOPs: 6 * float64(n) * float64(f.StateLen()),
		Bytes: float64(n*f.Heads) * float64(2*(2*f.KeyDim+2*f.ValueDim)+8),
	}
	switch {
	case decode:
		row.Name = "gated delta rule, decode step, " + model
		row.Bytes += 8 * float64(b) * float64(f.StateLen())
	case backward:
		row.Name = "gated delta rule, forward + backward, " + model
		row.FLOPs *= 3
		row.Bytes += float64(n*f.Heads) * float64(2*(2*f.KeyDim+2*f.ValueDim)+8)
	}
	row.Setup = func(d *device.Device) (func(*device.Queue), func()) {
		var all []device.Tensor
		keep := func(x device.Tensor) device.Tensor {
			all = append(all, x)
			return x
		}
		kind := device.BF16
		random := func(width int) device.Tensor { return keep(check.Random(d, kind, n*f.Heads*width, 1)) }
		empty := func(t device.Type, length int) device.Tensor { return keep(d.New(t, length)) }
		fw := &DeviceForwardArgs{Config: f, Sequences: keep(check.Ints(d, batch(b, t))),
			Q: random(f.KeyDim), K: random(f.KeyDim), V: random(f.ValueDim), O: empty(kind, n*f.Heads*f.ValueDim)}
		fw.G, fw.Beta = empty(device.Float32, n*f.Heads), empty(device.Float32, n*f.Heads)
		g, beta := gates(n * f.Heads)
		device.Upload(d, fw.G, g)
		device.Upload(d, fw.Beta, beta)
		if decode {
			fw.H0 = keep(check.Random(d, device.Float32, b*f.StateLen(), 1))
			fw.HT = fw.H0
		}
		var bw *DeviceBackwardArgs
		if backward {
			fw.States = empty(kind, DeviceStatesLen(f, n, b, kind))
			bw = &DeviceBackwardArgs{Config: f, Sequences: fw.Sequences, Q: fw.Q, K: fw.K, States: fw.States, DO: random(f.ValueDim),
				DQ: empty(kind, fw.Q.Len), DK: empty(kind, fw.K.Len), DV: empty(kind, fw.V.Len),
				DG: empty(device.Float32, fw.G.Len), DBeta: empty(device.Float32, fw.G.Len),
				Scratch: empty(device.Float32, int(DeviceBackwardScratch(f, n, b, kind)+3)/4)}
		} else if bytes := DeviceForwardScratch(f, n, b, kind); bytes > 0 {
			fw.Scratch = empty(device.Float32, int(bytes+3)/4)
		}
		run := func(q *device.Queue) {
			DeviceForward(q, fw)
			if bw != nil {
				DeviceBackward(q, bw)
			}
		}
		return run, func() {
			for _, x := range all {
				d.Free(x)
			}
		}
	}
	return row
}

// batch is the sequence buffer of b sequences of t tokens.
func batch(b, t int) []int32 {
	buf := make([]int32, 3*(b+1))
	for s := range b + 1 {
		buf[s], buf[2*(b+1)+s] = int32(s*t), int32(s)
	}
	return buf
}

// gates draws n decays and betas as a layer makes them: a softplus and a sigmoid.
func gates(n int) (g, beta []float32) {
	r := check.Rand(11)
	g, beta = make([]float32, n), make([]float32, n)
	for i := range n {
		g[i] = float32(-0.1 * math.Log1p(math.Exp(r.NormFloat64())))
		beta[i] = float32(1 / (1 + math.Exp(-r.NormFloat64())))
	}
	return g, beta
}
