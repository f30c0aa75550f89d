package sums

import (
	"fmt"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
)

// Conformance is the battery of the operation.
func Conformance() []check.Case {
	var cases []check.Case
	for i, size := range [][2]int{{1, 1}, {0, 5}, {33, 31}, {70, 65}} {
		r, d := size[0], size[1]
		rnd := check.Rand(uint64(i))
		cases = append(cases, check.Case{
			Op: "sums", Size: fmt.Sprintf("R %d, D %d", r, d),
			Args: []check.Operand{
				{Name: "y", Role: check.Result, Float: make([]float64, d), Wide: true},
				{Name: "x", Float: check.Normal(rnd, r*d, 1)},
			},
			Reference: func(a [][]float64) { Reference(a[0], a[1]) },
			GPU:       func(q *device.Queue, a []device.Tensor, _ device.Tensor) { DeviceForward(q, a[0], a[1]) },
		})
	}
	return cases
}
