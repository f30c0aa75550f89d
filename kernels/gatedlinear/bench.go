package gatedlinear

import (
	"fmt"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
)

// Benchmarks are the shapes of linear blocks in a model of 1.5B parameters.
func Benchmarks() []check.Benchmark {
	heads := Config{Heads: 12, KeyDim: 96, ValueDim: 256}
	channels, lowRank := heads, Config{Heads: 24, KeyDim: 64, ValueDim: 64, Channels: true, LowRank: true, Scale: 1}
	channels.Channels = true
	var list []check.Benchmark
	for _, f := range []Config{heads, channels, lowRank} {
		list = append(list, benchmark(f, 4, 4096, false), benchmark(f, 4, 4096, true), benchmark(f, 128, 1, false))
	}
	return list
}

// benchmark is the rule on b sequences of t tokens, forward or forward and backward; one token is a step of decoding, which
// advances the state in place.
func benchmark(f Config, b, t int, backward bool) check.Benchmark {
	n, kind := b*t, device.BF16
	each := 4.0 // operations on a value of the state: update and output
	inputs := 2*(2*f.KeyDim+2*f.ValueDim) + 4*f.Gates()
	if f.LowRank {
		each, inputs = 8, inputs+4*f.KeyDim
	}
	row := check.Benchmark{
		Name: f.op() + ", forward", Type: kind, Shape: fmt.Sprintf("B %d, T %d, H %d, K %d, V %d", b, t, f.Heads, f.KeyDim, f.ValueDim),
		FLOPs: each * float64(n) * float64(f.StateLen()), Bytes: float64(n*f.Heads) * float64(inputs),
	}
	switch {
	case t == 1:
		row.Name = f.op() + ", decode step"
		row.Bytes += 8 * float64(b) * float64(f.StateLen())
	case backward:
		row.Name = f.op() + ", forward + backward"
		row.FLOPs, row.Bytes = 3*row.FLOPs, 2*row.Bytes
	}
	row.Setup = func(d *device.Device) (func(*device.Queue), func()) {
		var all []device.Tensor
		keep := func(x device.Tensor) device.Tensor {
			all = append(all, x)
			return x
		}
		random := func(width int) device.Tensor { return keep(check.Random(d, kind, n*f.Heads*width, 0.1)) }
		empty := func(t device.Type, length int) device.Tensor { return keep(d.New(t, length)) }
		fw := &DeviceForwardArgs{Config: f, Sequences: keep(check.Ints(d, equal(b, t))),
			Q: random(f.KeyDim), K: random(f.KeyDim), V: random(f.ValueDim), O: empty(kind, n*f.Heads*f.ValueDim), G: empty(device.Float32, n*f.Heads*f.Gates())}
		g, r := make([]float32, fw.G.Len), check.Rand(11)
		for i := range g {
			g[i] = -0.1 * r.Float32()
		}
		device.Upload(d, fw.G, g)
		if f.LowRank {
			fw.A, fw.B = random(f.KeyDim), random(f.KeyDim)
		}
		if t == 1 {
			fw.H0 = keep(check.Random(d, device.Float32, b*f.StateLen(), 1))
			fw.HT = fw.H0
		}
		if bytes := DeviceForwardScratch(f, n, b, kind); bytes > 0 && !backward {
			fw.Scratch = empty(device.Float32, int(bytes+3)/4)
		}
		run := func(q *device.Queue) { DeviceForward(q, fw) }
		if backward {
			fw.States = empty(device.Float32, DeviceStatesLen(f, n, b, kind))
			like := func(x device.Tensor) device.Tensor {
				if x.None() {
					return x
				}
				return empty(x.Type, x.Len)
			}
			bw := &DeviceBackwardArgs{Config: f, Sequences: fw.Sequences, Q: fw.Q, K: fw.K, V: fw.V, G: fw.G, A: fw.A, B: fw.B,
				States: fw.States, DO: random(f.ValueDim), DQ: like(fw.Q), DK: like(fw.K), DV: like(fw.V), DG: like(fw.G), DA: like(fw.A), DB: like(fw.B),
				Scratch: empty(device.Float32, int(DeviceBackwardScratch(f, n, b, kind)+3)/4)}
			run = func(q *device.Queue) {
				DeviceForward(q, fw)
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

// equal is the sequence buffer of b sequences of t tokens.
func equal(b, t int) []int32 {
	buf := make([]int32, 3*(b+1))
	for s := range b + 1 {
		buf[s], buf[2*(b+1)+s] = int32(s*t), int32(s)
	}
	return buf
}
