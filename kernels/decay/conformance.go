package decay

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
	for i, size := range [][2]int{{1, 1}, {65, 12}, {300, 5}, {130, 300}} {
		n, h := size[0], size[1]
		rnd := check.Rand(uint64(i))
		a := check.Operand{Name: "a", Float: check.Normal(rnd, n*h, 2)}
		aLog := check.Operand{Name: "a_log", Float: check.Normal(rnd, h, 1), Wide: true}
		dtBias := check.Operand{Name: "dt_bias", Float: check.Normal(rnd, h, 1), Wide: true}
		cases = append(cases, check.Case{
			Op: "decay", Size: fmt.Sprintf("N %d, H %d", n, h),
			Args:      []check.Operand{{Name: "g", Role: check.Result, Float: make([]float64, n*h), Wide: true}, a, aLog, dtBias},
			Reference: func(a [][]float64) { ReferenceForward(caseForward(a)) },
			CPU:       func(c *cpu.Cores, a [][]float32) { Forward(c, caseForward(a)) },
			GPU: func(q *device.Queue, a []device.Tensor, _ device.Tensor) {
				DeviceForward(q, &DeviceForwardArgs{G: a[0], A: a[1], ALog: a[2], DTBias: a[3]})
			},
		}, check.Case{
			Op: "decay backward", Size: fmt.Sprintf("N %d, H %d", n, h),
			Args: []check.Operand{
				{Name: "da", Role: check.Result, Float: make([]float64, n*h)},
				{Name: "da_log", Role: check.Result, Float: make([]float64, h), Wide: true},
				{Name: "ddt_bias", Role: check.Result, Float: make([]float64, h), Wide: true},
				{Name: "dg", Float: check.Normal(rnd, n*h, 1), Wide: true}, a, aLog, dtBias,
			},
			Reference: func(a [][]float64) { ReferenceBackward(caseBackward(a)) },
			CPU: func(c *cpu.Cores, a [][]float32) {
				b := caseBackward(a)
				b.Scratch = make([]float32, ScratchLen(n, h))
				Backward(c, b)
			},
			GPU: func(q *device.Queue, a []device.Tensor, scratch device.Tensor) {
				DeviceBackward(q, &DeviceBackwardArgs{DA: a[0], DALog: a[1], DDTBias: a[2], DG: a[3], A: a[4], ALog: a[5], DTBias: a[6], Scratch: scratch})
			},
			Scratch: func(device.Type) int64 { return DeviceScratch(n, h) },
		})
	}
	return cases
}

func caseForward[T kernels.Float](a [][]T) *ForwardArgs[T] {
	return &ForwardArgs[T]{G: a[0], A: a[1], ALog: a[2], DTBias: a[3]}
}

func caseBackward[T kernels.Float](a [][]T) *BackwardArgs[T] {
	return &BackwardArgs[T]{DA: a[0], DALog: a[1], DDTBias: a[2], DG: a[3], A: a[4], ALog: a[5], DTBias: a[6]}
}
