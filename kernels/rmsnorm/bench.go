package rmsnorm

import (
	"fmt"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
)

// Benchmarks are the operation's rows: the norms of a layer and of the heads of a JetBlock of the 2B model, over 4 × 4096
// tokens.
func Benchmarks() []check.Benchmark {
	var rows []check.Benchmark
	for _, size := range []struct {
		name  string
		r, d  int
		gated bool
	}{{"rmsnorm", 16384, 1536, false}, {"gated rmsnorm", 16384 * 12, 256, true}} {
		values := float64(2 * size.r * size.d)
		forward, backward := 2*values, 3*values
		if size.gated {
			forward, backward = 3*values, 5*values
		}
		shape := fmt.Sprintf("R %d, D %d", size.r, size.d)
		rows = append(rows,
			check.Benchmark{Name: size.name + ", forward", Shape: shape, Type: device.BF16, Bytes: forward, Setup: benchSetup(size.r, size.d, size.gated, false)},
			check.Benchmark{Name: size.name + ", backward", Shape: shape, Type: device.BF16, Bytes: backward, Setup: benchSetup(size.r, size.d, size.gated, true)})
	}
	return rows
}

func benchSetup(r, d int, gated, backward bool) func(*device.Device) (func(*device.Queue), func()) {
	return func(dev *device.Device) (func(*device.Queue), func()) {
		random := func() device.Tensor { return check.Random(dev, device.BF16, r*d, 1) }
		w, x, dy, y := check.Random(dev, device.Float32, d, 1), random(), random(), dev.New(device.BF16, r*d)
		dw, scratch := dev.New(device.Float32, d), dev.New(device.Float32, int(DeviceScratch(r, d)/4))
		var gate, dGate device.Tensor
		if gated {
			gate, dGate = random(), dev.New(device.BF16, r*d)
		}
		run := func(q *device.Queue) {
			if backward {
				DeviceBackward(q, &DeviceBackwardArgs{DX: y, DW: dw, DGate: dGate, DY: dy, X: x, W: w, Gate: gate, Eps: caseEps, Scratch: scratch})
			} else {
				DeviceForward(q, &DeviceForwardArgs{Y: y, X: x, W: w, Gate: gate, Eps: caseEps})
			}
		}
		return run, func() {
			for _, t := range []device.Tensor{w, x, dy, y, dw, scratch, gate, dGate} {
				dev.Free(t)
			}
		}
	}
}
