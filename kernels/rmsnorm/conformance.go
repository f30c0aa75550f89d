package rmsnorm

import (
	"fmt"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
)

// caseEps is what models have.
const caseEps = 1e-6

// Conformance is the battery of the operation.
func Conformance() []check.Case {
	var cases []check.Case
	for i, size := range []struct{ r, d int }{{1, 2}, {3, 5}, {65, 96}, {17, 256}, {9, 1536}, {2, 2500}, {1300, 24}} {
		for _, gated := range []bool{false, true} {
			cases = append(cases, forwardCase(uint64(i), size.r, size.d, gated), backwardCase(uint64(i), size.r, size.d, gated))
		}
	}
	for _, c := range []check.Case{forwardCase(7, 3000, 2048, false), backwardCase(7, 3000, 2048, false), backwardCase(7, 20000, 256, true)} {
		c.Large = true
		cases = append(cases, c)
	}
	return cases
}

func describe(r, d int, gated bool) string {
	return fmt.Sprintf("R %d, D %d%s", r, d, map[bool]string{true: ", gated"}[gated])
}

// some returns x for the gated form and nothing for the plain one.
func some(gated bool, x []float64) []float64 {
	if !gated {
		return nil
	}
	return x
}

// given is none for an operand without values.
func given(t device.Tensor) device.Tensor {
	if t.Len == 0 {
		return device.Tensor{}
	}
	return t
}

func forwardCase(seed uint64, r, d int, gated bool) check.Case {
	rnd := check.Rand(seed)
	return check.Case{
		Op: "rmsnorm", Size: describe(r, d, gated),
		Args: []check.Operand{
			{Name: "y", Role: check.Result, Float: make([]float64, r*d)},
			{Name: "x", Float: check.Normal(rnd, r*d, 2)},
			{Name: "w", Float: check.Normal(rnd, d, 1), Wide: true},
			{Name: "gate", Float: some(gated, check.Normal(rnd, r*d, 2))},
		},
		Reference: func(a [][]float64) { ReferenceForward(forwardArgs(a)) },
		CPU:       func(c *cpu.Cores, a [][]float32) { Forward(c, forwardArgs(a)) },
		GPU: func(q *device.Queue, a []device.Tensor, _ device.Tensor) {
			DeviceForward(q, &DeviceForwardArgs{Y: a[0], X: a[1], W: a[2], Gate: given(a[3]), Eps: caseEps})
		},
	}
}

func forwardArgs[T kernels.Float](a [][]T) *ForwardArgs[T] {
	return &ForwardArgs[T]{Y: a[0], X: a[1], W: a[2], Gate: a[3], Eps: caseEps}
}

func backwardCase(seed uint64, r, d int, gated bool) check.Case {
	rnd := check.Rand(seed)
	return check.Case{
		Op: "rmsnorm backward", Size: describe(r, d, gated),
		Args: []check.Operand{
			{Name: "dx", Role: check.Result, Float: make([]float64, r*d)},
			{Name: "dw", Role: check.Result, Float: make([]float64, d), Wide: true},
			{Name: "dgate", Role: check.Result, Float: some(gated, make([]float64, r*d))},
			{Name: "dy", Float: check.Normal(rnd, r*d, 1)},
			{Name: "x", Float: check.Normal(rnd, r*d, 2)},
			{Name: "w", Float: check.Normal(rnd, d, 1), Wide: true},
			{Name: "gate", Float: some(gated, check.Normal(rnd, r*d, 2))},
		},
		Reference: func(a [][]float64) { ReferenceBackward(backwardArgs(a)) },
		CPU: func(c *cpu.Cores, a [][]float32) {
			b := backwardArgs(a)
			b.Scratch = make([]float32, ScratchLen(r, d))
			Backward(c, b)
		},
		GPU: func(q *device.Queue, a []device.Tensor, scratch device.Tensor) {
			DeviceBackward(q, &DeviceBackwardArgs{DX: a[0], DW: a[1], DGate: given(a[2]), DY: a[3], X: a[4], W: a[5], Gate: given(a[6]), Eps: caseEps, Scratch: scratch})
		},
		Scratch: func(device.Type) int64 { return DeviceScratch(r, d) },
	}
}

func backwardArgs[T kernels.Float](a [][]T) *BackwardArgs[T] {
	return &BackwardArgs[T]{DX: a[0], DW: a[1], DGate: a[2], DY: a[3], X: a[4], W: a[5], Gate: a[6], Eps: caseEps}
}
