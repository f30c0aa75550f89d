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
	both := backwardBenchmark("causal attention, forward + backward", c, 4, 4096, true, DeviceBackwardArgs{})
	both.Peer, both.PeerMS, both.Goal = "cuDNN", 1.75, 1.75
	rows := []check.Benchmark{both}
	for _, variant := range []int{1, 3} {
		for _, b := range []int{4, 2, 1} {
			for _, split := range []int{2, 3, 6} {
				like := DeviceBackwardArgs{variant: variant, split: split}
				rows = append(rows, backwardBenchmark(fmt.Sprintf("attention backward trial, variant %d, split %d", variant, split), c, b, 4096, false, like))
			}
		}
	}
	for _, split := range []int{1, 2, 3} {
		like := DeviceBackwardArgs{split: split}
		rows = append(rows, backwardBenchmark(fmt.Sprintf("attention backward trial, split %d", split), windowed, 2, 4096, false, like))
	}
	return append(rows,
		backwardBenchmark("causal attention, backward", c, 2, 4096, false, DeviceBackwardArgs{}),
		backwardBenchmark("sliding window attention, backward", windowed, 2, 4096, false, DeviceBackwardArgs{}),
	)
}

// backwardBenchmark is the backward of b sequences of t tokens, with the forward before it or alone.
func backwardBenchmark(name string, c Config, b, t int, forward bool, like DeviceBackwardArgs) check.Benchmark {
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
		scratch := max(backwardScratch(c, n, b, like.split, device.BF16), DeviceForwardScratch(c, n, b, 0, device.BF16))
		f.Scratch = d.New(device.Float32, int(scratch/4))
		a := like
		a.Config, a.Seqs, a.Q, a.K, a.V, a.O, a.LSE, a.DO, a.Scratch = c, seqs, f.Q, f.K, f.V, f.O, f.LSE, random(c.width()), f.Scratch
		a.DQ, a.DK, a.DV = d.New(device.BF16, n*c.width()), d.New(device.BF16, n*c.stride()), d.New(device.BF16, n*c.stride())
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
