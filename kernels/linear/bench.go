package linear

import (
	"fmt"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
)

// Benchmarks are layers of a model of 2 billion parameters on the few tokens of decoding, beside matrix products that do the
// same.
func Benchmarks() []check.Benchmark {
	var rows []check.Benchmark
	for _, n := range []int{1, mostFew} {
		for _, size := range [][2]int{{1536, 8960}, {8960, 1536}, {3072, 1536}, {384, 12288}, {1536, 151936}} {
			rows = append(rows, decoding("linear, few tokens", n, size[0], size[1], DeviceForward),
				decoding("linear, few tokens, a product", n, size[0], size[1], func(q *device.Queue, y, x, w, _ device.Tensor, n, in, out int) {
					q.Product(device.Product{M: n, N: out, K: in, A: x, B: w, C: y, TransB: true})
				}))
		}
	}
	return append(rows, ownBenchmarks()...)
}

func decoding(name string, n, in, out int, forward func(q *device.Queue, y, x, w, bias device.Tensor, n, in, out int)) check.Benchmark {
	return check.Benchmark{
		Name: name, Shape: fmt.Sprintf("N %d, In %d, Out %d", n, in, out), Type: device.BF16,
		Bytes: 2 * float64(out) * float64(in), FLOPs: 2 * float64(n) * float64(out) * float64(in),
		Setup: func(d *device.Device) (func(*device.Queue), func()) {
			x, w, y := check.Random(d, device.BF16, n*in, 1), check.Random(d, device.BF16, out*in, 1), d.New(device.BF16, n*out)
			return func(q *device.Queue) { forward(q, y, x, w, device.Tensor{}, n, in, out) }, func() {
				for _, t := range []device.Tensor{x, w, y} {
					d.Free(t)
				}
			}
		},
	}
}
