package rope

import (
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/packed"
)

// Benchmarks are the operation's rows: the queries of the 2B model over 4 × 4096 tokens.
func Benchmarks() []check.Benchmark {
	const heads, dim, n = 12, 128, 4 * 4096 * 12 * 128
	row := func(name string, turn func(*device.Queue, float64, int, *DeviceArgs)) check.Benchmark {
		return check.Benchmark{Name: name, Shape: "B 4, T 4096, H 12, D 128", Type: device.BF16, Bytes: 2 * 2 * n,
			Setup: func(d *device.Device) (func(*device.Queue), func()) {
				a := DeviceArgs{Y: d.New(device.BF16, n), X: check.Random(d, device.BF16, n, 1), Heads: heads, Sequences: check.Ints(d, packed.Batch(4, 4096).Buffer())}
				return func(q *device.Queue) { turn(q, 1e6, dim, &a) }, func() { d.Free(a.Y); d.Free(a.X); d.Free(a.Sequences) }
			}}
	}
	return []check.Benchmark{row("rope, forward", DeviceForward), row("rope, backward", DeviceBackward)}
}
