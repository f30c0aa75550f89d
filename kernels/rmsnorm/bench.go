package rmsnorm

import (
	"fmt"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
)

// Benchmarks are the operation's rows: the norms of a layer, alone and with the residual connection before it, and of the
// heads of a JetBlock of the 2B model, over 2 × 4096 and 4 × 4096 tokens.
func Benchmarks() []check.Benchmark {
	var rows []check.Benchmark
	for _, form := range []struct {
		name              string
		size              size
		forward, backward int // tensors [R, D] that are read or written
	}{
		{"rmsnorm", size{r: 16384, d: 1536}, 2, 3},
		{"rmsnorm", size{r: 8192, d: 1536}, 2, 3},
		{"add + rmsnorm", size{r: 8192, d: 1536, added: true}, 4, 4},
		{"gated rmsnorm", size{r: 16384 * 12, d: 256, gated: true}, 3, 5},
	} {
		bytes := float64(2 * form.size.r * form.size.d)
		shape := fmt.Sprintf("R %d, D %d", form.size.r, form.size.d)
		rows = append(rows,
			check.Benchmark{Name: form.name + ", forward", Shape: shape, Type: device.BF16, Bytes: float64(form.forward) * bytes, Setup: benchSetup(form.size, false)},
			check.Benchmark{Name: form.name + ", backward", Shape: shape, Type: device.BF16, Bytes: float64(form.backward) * bytes, Setup: benchSetup(form.size, true)})
	}
	return rows
}

func benchSetup(s size, backward bool) func(*device.Device) (func(*device.Queue), func()) {
	return func(dev *device.Device) (func(*device.Queue), func()) {
		n := s.r * s.d
		var made []device.Tensor
		keep := func(t device.Tensor) device.Tensor {
			made = append(made, t)
			return t
		}
		random := func(has bool) device.Tensor {
			if !has {
				return device.Tensor{}
			}
			return keep(check.Random(dev, device.BF16, n, 1))
		}
		w := keep(check.Random(dev, device.Float32, s.d, 1))
		f := DeviceForwardArgs{Y: random(true), Sum: random(s.added), X: random(true), Add: random(s.added), W: w, Gate: random(s.gated), Eps: caseEps}
		b := DeviceBackwardArgs{DX: f.Y, DW: keep(dev.New(device.Float32, s.d)), DGate: random(s.gated), DY: random(true), DSum: f.Add, X: f.X, W: w, Gate: f.Gate,
			Eps: caseEps, Scratch: keep(dev.New(device.Float32, int(DeviceScratch(s.r, s.d)/4)))}
		run := func(q *device.Queue) {
			if backward {
				DeviceBackward(q, &b)
			} else {
				DeviceForward(q, &f)
			}
		}
		return run, func() {
			for _, t := range made {
				dev.Free(t)
			}
		}
	}
}
