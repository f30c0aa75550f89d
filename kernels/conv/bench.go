package conv

import (
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/packed"
)

const officialKernel = "Jet-Nemotron's own Triton kernel"

// Benchmarks are the operation's rows: the convolution of a JetBlock of the 2B model over 4 × 4096 tokens.
func Benchmarks() []check.Benchmark {
	const shape, values = "B 4, T 4096, D 3072, W 4", 4 * 4096 * 3072
	dynamic, static := Config{Dim: 3072, Taps: 4, Dynamic: true, SiLU: true}, Config{Dim: 3072, Taps: 4, SiLU: true}
	rows := []check.Benchmark{
		{Name: "dynamic conv, forward", Bytes: 12 * values, Peer: officialKernel, PeerMS: 0.854, Goal: 0.28, Setup: dynamic.benchmark(true, false, false)},
		{Name: "dynamic conv, backward", Bytes: 22 * values, Setup: dynamic.benchmark(false, true, false)},
		{Name: "dynamic conv, backward with the sum of kernels", Bytes: 22 * values, Setup: dynamic.benchmark(false, true, true)},
		{Name: "dynamic conv, forward + backward", Bytes: 34 * values, Peer: officialKernel, PeerMS: 2.53, Goal: 0.85, Setup: dynamic.benchmark(true, true, false)},
		{Name: "short conv, forward", Bytes: 4 * values, Setup: static.benchmark(true, false, false)},
		{Name: "short conv, backward", Bytes: 6 * values, Setup: static.benchmark(false, true, false)},
	}
	for i := range rows {
		rows[i].Shape, rows[i].Type = shape, device.BF16
	}
	return rows
}

func (f Config) benchmark(forward, backward, sum bool) func(d *device.Device) (func(*device.Queue), func()) {
	return func(d *device.Device) (func(*device.Queue), func()) {
		seqs := packed.Batch(4, 4096)
		n := 4 * 4096
		kernelLen, _ := f.kernelLen(n)
		kernelType := device.Float32
		if f.Dynamic {
			kernelType = device.BF16
		}
		q, kernel := check.Ints(d, seqs.Buffer()), check.Random(d, kernelType, kernelLen, 0.5)
		x, dy := check.Random(d, device.BF16, n*f.Dim, 1), check.Random(d, device.BF16, n*f.Dim, 1)
		y, dx, dKernel := d.New(device.BF16, n*f.Dim), d.New(device.BF16, n*f.Dim), d.New(kernelType, kernelLen)
		scratch := d.New(device.Float32, int(f.DeviceScratch(n)/4))
		var dKernelSum device.Tensor
		if sum {
			dKernelSum = d.New(device.Float32, f.Dim*f.Taps)
		}
		run := func(queue *device.Queue) {
			if forward {
				DeviceForward(queue, &DeviceForwardArgs{Config: f, Sequences: q, X: x, Kernel: kernel, Y: y})
			}
			if backward {
				DeviceBackward(queue, &DeviceBackwardArgs{Config: f, Sequences: q, X: x, Kernel: kernel, DY: dy, DX: dx, DKernel: dKernel, DKernelSum: dKernelSum, Scratch: scratch})
			}
		}
		return run, func() {
			for _, t := range []device.Tensor{q, kernel, x, dy, y, dx, dKernel, dKernelSum, scratch} {
				d.Free(t)
			}
		}
	}
}
