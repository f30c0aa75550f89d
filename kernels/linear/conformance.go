package linear

import (
	"fmt"
	"slices"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
)

// Conformance is the battery of the operation.
func Conformance() []check.Case {
	cases := productCases([][3]int{{1, 1, 1}, {7, 5, 3}, {63, 40, 33}, {300, 17, 264}, {65, 96, 64}})
	return slices.Concat(cases, projectionCases(), fewCases(), gatedCases(), generatedCases())
}

// Large is the part of the battery for GPUs alone.
func Large() []check.Case {
	return slices.Concat(productCases([][3]int{{3000, 256, 392}}), largeProjectionCases(), largeGatedCases(), largeGeneratedCases())
}

// productCases are of N tokens, In and Out features.
func productCases(sizes [][3]int) []check.Case {
	var cases []check.Case
	for i, size := range sizes {
		n, in, out := size[0], size[1], size[2]
		rnd := check.Rand(uint64(i))
		x := check.Operand{Name: "x", Float: check.Normal(rnd, n*in, 1)}
		dy := check.Operand{Name: "dy", Float: check.Normal(rnd, n*out, 1)}
		w := check.Operand{Name: "w", Float: check.Normal(rnd, out*in, 1)}
		bias := check.Operand{Name: "bias", Float: check.Normal(rnd, out, 1), Wide: true}
		result := func(name string, n int) check.Operand {
			return check.Operand{Name: name, Role: check.Result, Float: make([]float64, n)}
		}
		dbias := result("dbias", out)
		dbias.Wide = true
		add := func(c check.Case) {
			c.Size = fmt.Sprintf("N %d, In %d, Out %d", n, in, out)
			cases = append(cases, c)
		}
		add(check.Case{
			Op: "linear", Args: []check.Operand{result("y", n*out), x, w},
			Reference: func(a [][]float64) { ReferenceForward(a[0], a[1], a[2], nil, n, in, out) },
			CPU:       func(c *cpu.Cores, a [][]float32) { Forward(c, a[0], a[1], Float32(a[2]), nil, n, in, out) },
			GPU: func(q *device.Queue, a []device.Tensor, _ device.Tensor) {
				DeviceForward(q, a[0], a[1], a[2], device.Tensor{}, n, in, out)
			},
		})
		add(check.Case{
			Op: "linear with bias", Args: []check.Operand{result("y", n*out), x, w, bias},
			Reference: func(a [][]float64) { ReferenceForward(a[0], a[1], a[2], a[3], n, in, out) },
			CPU:       func(c *cpu.Cores, a [][]float32) { Forward(c, a[0], a[1], Float32(a[2]), a[3], n, in, out) },
			GPU: func(q *device.Queue, a []device.Tensor, _ device.Tensor) {
				DeviceForward(q, a[0], a[1], a[2], a[3], n, in, out)
			},
		})
		add(check.Case{
			Op: "linear backward input", Args: []check.Operand{result("dx", n*in), dy, w},
			Reference: func(a [][]float64) { ReferenceBackwardInput(a[0], a[1], a[2], n, in, out) },
			CPU:       func(c *cpu.Cores, a [][]float32) { BackwardInput(c, a[0], a[1], Float32(a[2]), n, in, out) },
			GPU: func(q *device.Queue, a []device.Tensor, _ device.Tensor) {
				DeviceBackwardInput(q, a[0], a[1], a[2], n, in, out)
			},
		})
		add(check.Case{
			Op: "linear backward weight", Args: []check.Operand{result("dw", out*in), dbias, dy, x},
			Reference: func(a [][]float64) { ReferenceBackwardWeight(a[0], a[1], a[2], a[3], n, in, out) },
			CPU:       func(c *cpu.Cores, a [][]float32) { BackwardWeight(c, a[0], a[1], a[2], a[3], n, in, out) },
			GPU: func(q *device.Queue, a []device.Tensor, scratch device.Tensor) {
				DeviceBackwardWeight(q, a[0], a[1], a[2], a[3], scratch, n, in, out)
			},
			Scratch: func(device.Type) int64 { return DeviceBackwardWeightScratch(n, out) },
		})
	}
	return cases
}
