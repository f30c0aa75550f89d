package gradnorm

import (
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
)

// Benchmarks is the norm of 375 million bfloat16 gradients.
func Benchmarks() []check.Benchmark {
	const each, count = 4096 * 1536, 60
	return []check.Benchmark{{
		Name: "gradient norm", Shape: "375 M bfloat16 gradients", Type: device.BF16, FLOPs: 2 * each * count, Bytes: 2 * each * count,
		Setup: func(d *device.Device) (func(*device.Queue), func()) {
			var grads []device.Tensor
			for range count {
				grads = append(grads, check.Random(d, device.BF16, each, 0.01))
			}
			t := NewTable(d, grads)
			result, sums := d.New(device.Float32, 2), d.New(device.Float64, t.Blocks)
			a := &DeviceClipArgs{Table: t, Limit: 1, Result: result, Sums: sums}
			return func(q *device.Queue) { DeviceClip(q, a) }, func() {
				t.Free()
				for _, x := range append(grads, result, sums) {
					d.Free(x)
				}
			}
		},
	}}
}
