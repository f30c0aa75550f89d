package adamw

import (
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
)

// Benchmarks are steps of 375 million parameters in tensors of 4096 × 1536 and vectors of 1536.
func Benchmarks() []check.Benchmark {
	const each, count = 4096*1536 + 1536, 60
	const values = each * count
	return []check.Benchmark{
		{Name: "adamw", Shape: "375 M float32 parameters", Type: device.Float32, FLOPs: 12 * values, Bytes: 28 * values,
			Peer: "PyTorch, fused", PeerMS: 4.12, Goal: 4.1, Setup: benchStep(device.Float32)},
		{Name: "adamw", Shape: "375 M bfloat16 parameters with masters", Type: device.BF16, FLOPs: 12 * values, Bytes: 28 * values,
			Setup: benchStep(device.BF16)},
	}
}

func benchStep(t device.Type) func(d *device.Device) (func(*device.Queue), func()) {
	return func(d *device.Device) (func(*device.Queue), func()) {
		var held []device.Tensor
		random := func(t device.Type, n int, std float64) device.Tensor {
			x := check.Random(d, t, n, std)
			held = append(held, x)
			return x
		}
		zeros := func(n int) device.Tensor {
			x := d.New(device.Float32, n)
			d.Zero(x)
			held = append(held, x)
			return x
		}
		var params []DeviceParam
		for range 60 {
			for _, n := range []int{4096 * 1536, 1536} {
				p := DeviceParam{Beta1: 0.9, Beta2: 0.95, Epsilon: 1e-8, WeightDecay: 0.1, Param: random(t, n, 0.02), M: zeros(n), V: zeros(n), G: random(t, n, 0.01)}
				if t == device.BF16 {
					p.Master = random(device.Float32, n, 0.02)
				}
				params = append(params, p)
			}
		}
		clip, settings := d.New(device.Float32, 2), d.New(device.Float32, 2)
		device.Upload(d, clip, []float32{1, 1})
		device.Upload(d, settings, []float32{1e-4, 10})
		held = append(held, clip, settings)
		a := &DeviceArgs{Table: NewTable(d, params), Clip: clip, Settings: settings}
		return func(q *device.Queue) { DeviceStep(q, a) }, func() {
			a.Table.Free()
			for _, t := range held {
				d.Free(t)
			}
		}
	}
}
