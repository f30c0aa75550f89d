package attention

import (
	"fmt"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/packed"
)

// backwardBenchmarks are the backward's part of Benchmarks.
func backwardBenchmarks() []check.Benchmark {
	c := Config{Heads: 12, KVHeads: 2, Dim: 128}
	windowed := c
	windowed.Window = 1152
	both := backwardBenchmark("causal attention, forward + backward", c, 4, 4096, true)
	both.Peer, both.PeerMS, both.Goal = "cuDNN", 1.75, 1.75
	return []check.Benchmark{
		both,
		backwardBenchmark("causal attention, backward", c, 2, 4096, false),
		backwardBenchmark("sliding window attention, backward", windowed, 2, 4096, false),
	}
}

// backwardBenchmark is the backward of b sequences of t tokens, with the forward before it or alone.
func backwardBenchmark(name string, c Config, b, t int, forward bool) check.Benchmark {
	n := b * t
	flops := 4 * float64(b) * c.keys(0, t) * float64(c.width())
	values := float64(n * (c.width() + c.stride()) * 2) // of q, k, v, o, and of do, dk, dv, dq
	m := check.Benchmark{Name: name, Shape: fmt.Sprintf("B %d, T %d, %d/%d heads, D %d, window %d", b, t, c.Heads, c.KVHeads, c.Dim, c.Window), Type: device.BF16,
		FLOPs: 2.5 * flops, Bytes: 4 * values}
	if forward {
		m.FLOPs += flops
		m.Bytes += 2 * values
	}
	m.Setup = func(d *device.Device) (func(*device.Queue), func()) {
		random := func(each int) device.Tensor { return check.Random(d, device.BF16, n*each, 1) }
		seqs := check.Ints(d, sequenceBuffer(packed.Batch(b, t)))
		f := &DeviceForwardArgs{Config: c, Seqs: seqs, Q: random(c.width()), K: random(c.stride()), V: random(c.stride()),
			O: d.New(device.BF16, n*c.width()), LSE: d.New(device.Float32, n*c.Heads)}
		scratch := max(DeviceBackwardScratch(c, n, b, device.BF16), DeviceForwardScratch(c, n, b, 0, device.BF16))
		f.Scratch = d.New(device.Float32, int(scratch/4))
		a := DeviceBackwardArgs{Config: c, Seqs: seqs, Q: f.Q, K: f.K, V: f.V, O: f.O, LSE: f.LSE, DO: random(c.width()), Scratch: f.Scratch,
			DQ: d.New(device.BF16, n*c.width()), DK: d.New(device.BF16, n*c.stride()), DV: d.New(device.BF16, n*c.stride())}
		DeviceForward(d, f)
		run := func(q *device.Queue) {
			if forward {
				DeviceForward(q, f)
			}
			DeviceBackward(q, &a)
		}
		return run, func() {
			for _, t := range []device.Tensor{seqs, f.Q, f.K, f.V, f.O, f.LSE, f.Scratch, a.DO, a.DQ, a.DK, a.DV} {
				d.Free(t)
			}
		}
	}
	return m
}
