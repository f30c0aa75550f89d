package normal

import (
	"fmt"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
)

// Conformance is the battery of the draws on a device.
func Conformance() []check.Case {
	var cases []check.Case
	for _, n := range []int{1, 63, 65, 4099} {
		const std, seed = 0.02, 0x1234567890
		cases = append(cases, check.Case{
			Op: "normal", Size: fmt.Sprintf("N %d", n),
			Args: []check.Operand{
				{Name: "y", Role: check.Result, Float: make([]float64, n)},
				{Name: "full", Role: check.Result, Wide: true, Float: make([]float64, n)},
			},
			Reference: func(a [][]float64) {
				Reference(a[0], std, seed)
				copy(a[1], a[0])
			},
			GPU: func(q *device.Queue, a []device.Tensor, _ device.Tensor) { Fill(q, a[0], a[1], std, seed) },
		})
	}
	return cases
}
