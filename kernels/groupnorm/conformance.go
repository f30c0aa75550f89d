package groupnorm

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
	for i, n := range []int{1, 63, 65, 200} {
		for _, sh := range [][2]int{{24, 1}, {24, 4}, {5, 3}, {96, 2}} {
			cases = append(cases, sizeCases(uint64(i), n, sh[0], sh[0]*sh[1])...)
		}
	}
	return cases
}

func sizeCases(seed uint64, n, width, d int) []check.Case {
	r := check.Rand(seed)
	f := Config{Width: width, Eps: 1e-5 * float64(width)}
	if width == 1 {
		f.Eps = 1
	}
	x := check.Normal(r, n*d, 1)
	for i := range x {
		x[i] += 0.5
	}
	result := func(name string, n int, wide bool) check.Operand {
		return check.Operand{Name: name, Role: check.Result, Float: make([]float64, n), Wide: wide}
	}
	w, size := check.Normal(r, d, 1), fmt.Sprintf("N %d, D %d, W %d", n, d, width)
	return []check.Case{{
		Op: "group norm", Size: size,
		Args:      []check.Operand{{Name: "x", Float: x}, {Name: "w", Float: w, Wide: true}, {Name: "b", Float: check.Normal(r, d, 1), Wide: true}, result("y", n*d, false)},
		Reference: func(a [][]float64) { ReferenceForward(caseForward(f, a)) },
		CPU:       func(c *cpu.Cores, a [][]float32) { Forward(c, caseForward(f, a)) },
		GPU: func(q *device.Queue, a []device.Tensor, _ device.Tensor) {
			DeviceForward(q, &DeviceForwardArgs{Config: f, X: a[0], W: a[1], B: a[2], Y: a[3]})
		},
	}, {
		Op: "group norm backward", Size: size,
		Args: []check.Operand{{Name: "x", Float: x}, {Name: "w", Float: w, Wide: true}, {Name: "dy", Float: check.Normal(r, n*d, 1)},
			result("dx", n*d, false), result("dw", d, true), result("db", d, true)},
		Reference: func(a [][]float64) { ReferenceBackward(caseBackward(f, a)) },
		CPU: func(c *cpu.Cores, a [][]float32) {
			b := caseBackward(f, a)
			b.Scratch = make([]float32, ScratchLen(n, d))
			Backward(c, b)
		},
		Scratch: func(device.Type) int64 { return f.DeviceScratch(n, d) },
		GPU: func(q *device.Queue, a []device.Tensor, scratch device.Tensor) {
			DeviceBackward(q, &DeviceBackwardArgs{Config: f, X: a[0], W: a[1], DY: a[2], DX: a[3], DW: a[4], DB: a[5], Scratch: scratch})
		},
	}}
}

func caseForward[T kernels.Float](f Config, a [][]T) *ForwardArgs[T] {
	return &ForwardArgs[T]{Config: f, X: a[0], W: a[1], B: a[2], Y: a[3]}
}

func caseBackward[T kernels.Float](f Config, a [][]T) *BackwardArgs[T] {
	return &BackwardArgs[T]{Config: f, X: a[0], W: a[1], DY: a[2], DX: a[3], DW: a[4], DB: a[5]}
}
