package rows

import (
	"fmt"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/packed"
)

// Conformance is last tokens of sequences, for tests and for doctor.
func Conformance() []check.Case {
	return []check.Case{
		lastCase(1, 1, []int32{0, 1}),
		lastCase(65, 37, []int32{1, 3, 3, 60, 64}),
		lastCase(130, 1032, []int32{0, 0, 130}),
		lastCase(8, 96, []int32{0, 1, 2, 3, 4, 5, 6, 7, 8}),
	}
}

func lastCase(n, d int, cu []int32) check.Case {
	s := len(cu) - 1
	q := packed.Sequences{Cu: cu}
	buffer := make([]int32, 3*(s+1))
	copy(buffer, cu)
	return check.Case{
		Op: "last tokens", Size: fmt.Sprintf("N %d, D %d, cu %v", n, d, cu),
		Args: []check.Operand{{Name: "sequences", Int: buffer}, {Name: "x", Float: check.Normal(check.Rand(1), n*d, 1)},
			{Name: "y", Role: check.Result, Float: make([]float64, s*d)}},
		Reference: func(a [][]float64) { Last(a[2], a[1], d, q) },
		CPU:       func(_ *cpu.Cores, a [][]float32) { Last(a[2], a[1], d, q) },
		GPU:       func(q *device.Queue, a []device.Tensor, _ device.Tensor) { DeviceLast(q, a[2], a[1], a[0], d) },
	}
}
