package swiglu

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
	for i, size := range [][2]int{{1, 1}, {3, 7}, {5, 96}, {65, 130}} {
		n, f := size[0], size[1]
		rnd := check.Rand(uint64(i))
		x := func() []float64 { return check.Normal(rnd, n*f, 2) }
		result := func() []float64 { return make([]float64, n*f) }
		cases = append(cases, check.Case{
			Op: "swiglu", Size: fmt.Sprintf("N %d, F %d", n, f),
			Args:      []check.Operand{{Name: "y", Role: check.Result, Float: result()}, {Name: "gate", Float: x()}, {Name: "up", Float: x()}},
			Reference: func(a [][]float64) { ReferenceForward(caseForward(a)) },
			CPU:       func(c *cpu.Cores, a [][]float32) { Forward(c, caseForward(a)) },
			GPU: func(q *device.Queue, a []device.Tensor, _ device.Tensor) {
				DeviceForward(q, &DeviceForwardArgs{Y: a[0], Gate: a[1], Up: a[2]})
			},
		}, check.Case{
			Op: "swiglu backward", Size: fmt.Sprintf("N %d, F %d", n, f),
			Args: []check.Operand{
				{Name: "dgate", Role: check.Result, Float: result()}, {Name: "dup", Role: check.Result, Float: result()},
				{Name: "dy", Float: x()}, {Name: "gate", Float: x()}, {Name: "up", Float: x()}, {Name: "y", Role: check.Result, Float: result()},
			},
			Reference: func(a [][]float64) {
				ReferenceBackward(caseBackward(a))
				ReferenceForward(&ForwardArgs[float64]{Y: a[5], Gate: a[3], Up: a[4]})
			},
			CPU: func(c *cpu.Cores, a [][]float32) {
				Backward(c, caseBackward(a))
				Forward(c, &ForwardArgs[float32]{Y: a[5], Gate: a[3], Up: a[4]})
			},
			GPU: func(q *device.Queue, a []device.Tensor, _ device.Tensor) {
				DeviceBackward(q, &DeviceBackwardArgs{DGate: a[0], DUp: a[1], DY: a[2], Gate: a[3], Up: a[4], Y: a[5]})
			},
		})
	}
	return cases
}

func caseForward[T kernels.Float](a [][]T) *ForwardArgs[T] {
	return &ForwardArgs[T]{Y: a[0], Gate: a[1], Up: a[2]}
}

func caseBackward[T kernels.Float](a [][]T) *BackwardArgs[T] {
	return &BackwardArgs[T]{DGate: a[0], DUp: a[1], DY: a[2], Gate: a[3], Up: a[4]}
}
