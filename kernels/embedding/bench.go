package embedding

import (
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
)

// Benchmarks are Qwen2.5-1.5B's table and two sequences of 4096 tokens, drawn as unevenly as words are.
func Benchmarks() []check.Benchmark {
	const n, vocab, d = 8192, 151936, 1536
	bench := func(backward bool) func(q *device.Device) (func(*device.Queue), func()) {
		return func(q *device.Device) (func(*device.Queue), func()) {
			r := check.Rand(n)
			ids := make([]int32, n)
			for t := range ids {
				x := r.Float64()
				ids[t] = int32(vocab * x * x * x * x)
			}
			which, y := check.Ints(q, ids), check.Random(q, device.BF16, n*d, 1)
			w, scratch := check.Random(q, device.BF16, vocab*d, 1), q.New(device.Float32, int(DeviceBackwardScratch(n)/4))
			run := func(q *device.Queue) {
				if backward {
					DeviceBackward(q, &DeviceBackwardArgs{N: n, Vocab: vocab, D: d, DW: w, DY: y, IDs: which, Scratch: scratch})
				} else {
					DeviceForward(q, &DeviceForwardArgs{N: n, Vocab: vocab, D: d, Y: y, W: w, IDs: which})
				}
			}
			return run, func() {
				for _, t := range []device.Tensor{which, y, w, scratch} {
					q.Free(t)
				}
			}
		}
	}
	const shape = "N 8192, D 1536, Vocab 151936"
	return []check.Benchmark{
		{Name: "embedding, forward", Shape: shape, Type: device.BF16, Bytes: 4 * n * d, Setup: bench(false)},
		{Name: "embedding, backward", Shape: shape, Type: device.BF16, Bytes: 2*n*d + 2*vocab*d, Setup: bench(true)},
	}
}
