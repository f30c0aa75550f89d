package l2norm

import (
	"fmt"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
)

// Conformance is the battery of the operation.
func Conformance() []check.Case {
	var cases []check.Case
	for i, size := range [][2]int{{1, 2}, {3, 7}, {65, 96}, {33, 128}, {5, 2500}} {
		r, k := size[0], size[1]
		scale := 1.25
		rnd := check.Rand(uint64(i))
		x, dy := check.Normal(rnd, r*k, 1), check.Normal(rnd, r*k, 1)
		cases = append(cases, check.Case{
			Op: "l2norm", Size: fmt.Sprintf("R %d, K %d", r, k),
			Args:      []check.Operand{{Name: "y", Role: check.Result, Float: make([]float64, r*k)}, {Name: "x", Float: x}},
			Reference: func(a [][]float64) { ReferenceForward(caseForward(a, k, scale)) },
			CPU:       func(c *cpu.Cores, a [][]float32) { Forward(c, caseForward(a, k, scale)) },
			GPU: func(q *device.Queue, a []device.Tensor, _ device.Tensor) {
				DeviceForward(q, &DeviceForwardArgs{Y: a[0], X: a[1], K: k, Scale: scale})
			},
		}, check.Case{
			Op: "l2norm backward", Size: fmt.Sprintf("R %d, K %d", r, k),
			Args:      []check.Operand{{Name: "dx", Role: check.Result, Float: make([]float64, r*k)}, {Name: "dy", Float: dy}, {Name: "x", Float: x}},
			Reference: func(a [][]float64) { ReferenceBackward(caseBackward(a, k, scale)) },
			CPU:       func(c *cpu.Cores, a [][]float32) { Backward(c, caseBackward(a, k, scale)) },
			GPU: func(q *device.Queue, a []device.Tensor, _ device.Tensor) {
				DeviceBackward(q, &DeviceBackwardArgs{DX: a[0], DY: a[1], X: a[2], K: k, Scale: scale})
			},
		})
	}
	return cases
}

func caseForward[T kernels.Float](a [][]T, k int, scale float64) *ForwardArgs[T] {
	return &ForwardArgs[T]{Y: a[0], X: a[1], K: k, Scale: scale}
}

func caseBackward[T kernels.Float](a [][]T, k int, scale float64) *BackwardArgs[T] {
	return &BackwardArgs[T]{DX: a[0], DY: a[1], X: a[2], K: k, Scale: scale}
}
