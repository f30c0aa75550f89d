package swiglu

import (
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
)

// Benchmarks are the operation's rows: a feed-forward layer of the 2B model over 4 × 4096 tokens.
func Benchmarks() []check.Benchmark {
	const shape, n = "N 16384, F 8960", 16384 * 8960
	return []check.Benchmark{
		{Name: "swiglu, forward", Shape: shape, Type: device.BF16, Bytes: 3 * 2 * n, Setup: func(d *device.Device) (func(*device.Queue), func()) {
			a := DeviceForwardArgs{Y: d.New(device.BF16, n), Gate: check.Random(d, device.BF16, n, 1), Up: check.Random(d, device.BF16, n, 1)}
			return func(q *device.Queue) { DeviceForward(q, &a) }, func() { d.Free(a.Y); d.Free(a.Gate); d.Free(a.Up) }
		}},
		{Name: "swiglu, backward", Shape: shape, Type: device.BF16, Bytes: 5 * 2 * n, Setup: func(d *device.Device) (func(*device.Queue), func()) {
			a := DeviceBackwardArgs{DGate: d.New(device.BF16, n), DUp: d.New(device.BF16, n),
				DY: check.Random(d, device.BF16, n, 1), Gate: check.Random(d, device.BF16, n, 1), Up: check.Random(d, device.BF16, n, 1)}
			return func(q *device.Queue) { DeviceBackward(q, &a) }, func() {
				for _, t := range []device.Tensor{a.DGate, a.DUp, a.DY, a.Gate, a.Up} {
					d.Free(t)
				}
			}
		}},
	}
}
