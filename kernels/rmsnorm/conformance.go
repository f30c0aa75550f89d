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

// size is that of a case, and its form.
type size struct {
	r, d         int
	gated, added bool
}

func (s size) String() string {
	text := fmt.Sprintf("R %d, D %d", s.r, s.d)
	if s.gated {
		text += ", gated"
	}
	if s.added {
		text += ", of a sum"
	}
	return text
}

// Conformance is the battery of the operation.
func Conformance() []check.Case {
	var cases []check.Case
	for i, s := range []size{{r: 1, d: 2}, {r: 3, d: 5}, {r: 65, d: 96}, {r: 17, d: 256}, {r: 67, d: 1536}, {r: 2, d: 2500}, {r: 1300, d: 24}} {
		for form := range 4 {
			s.gated, s.added = form%2 == 1, form/2 == 1
			if s.added && s.gated && s.d != 256 {
				continue
			}
			cases = append(cases, forwardCase(uint64(i), s), backwardCase(uint64(i), s))
		}
	}
	return cases
}

// Large is the part of the battery for GPUs alone.
func Large() []check.Case {
	var cases []check.Case
	for _, s := range []size{{r: 3000, d: 2048}, {r: 3000, d: 2048, added: true}, {r: 8192, d: 1536, added: true}, {r: 20000, d: 256, gated: true}} {
		cases = append(cases, forwardCase(7, s), backwardCase(7, s))
	}
	return cases
}

// some returns x for a form that has it and nothing for others.
func some(has bool, x []float64) []float64 {
	if !has {
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

func forwardCase(seed uint64, s size) check.Case {
	rnd := check.Rand(seed)
	n := s.r * s.d
	return check.Case{
		Op: "rmsnorm", Size: s.String(),
		Args: []check.Operand{
			{Name: "y", Role: check.Result, Float: make([]float64, n)},
			{Name: "sum", Role: check.Result, Float: some(s.added, make([]float64, n))},
			{Name: "x", Float: check.Normal(rnd, n, 2)},
			{Name: "add", Float: some(s.added, check.Normal(rnd, n, 1))},
			{Name: "w", Float: check.Normal(rnd, s.d, 1), Wide: true},
			{Name: "gate", Float: some(s.gated, check.Normal(rnd, n, 2))},
		},
		Reference: func(a [][]float64) { ReferenceForward(forwardArgs(a)) },
		CPU:       func(c *cpu.Cores, a [][]float32) { Forward(c, forwardArgs(a)) },
		GPU: func(q *device.Queue, a []device.Tensor, _ device.Tensor) {
			DeviceForward(q, &DeviceForwardArgs{Y: a[0], Sum: given(a[1]), X: a[2], Add: given(a[3]), W: a[4], Gate: given(a[5]), Eps: caseEps})
		},
	}
}

func forwardArgs[T kernels.Float](a [][]T) *ForwardArgs[T] {
	return &ForwardArgs[T]{Y: a[0], Sum: filled(a[1]), X: a[2], Add: filled(a[3]), W: a[4], Gate: filled(a[5]), Eps: caseEps}
}

// filled is nil for an operand without values.
func filled[T kernels.Float](x []T) []T {
	if len(x) == 0 {
		return nil
	}
	return x
}

func backwardCase(seed uint64, s size) check.Case {
	rnd := check.Rand(seed)
	n := s.r * s.d
	return check.Case{
		Op: "rmsnorm backward", Size: s.String(),
		Args: []check.Operand{
			{Name: "dx", Role: check.Result, Float: make([]float64, n)},
			{Name: "dw", Role: check.Result, Float: make([]float64, s.d), Wide: true},
			{Name: "dgate", Role: check.Result, Float: some(s.gated, make([]float64, n))},
			{Name: "dy", Float: check.Normal(rnd, n, 1)},
			{Name: "dsum", Float: some(s.added, check.Normal(rnd, n, 1))},
			{Name: "x", Float: check.Normal(rnd, n, 2)},
			{Name: "w", Float: check.Normal(rnd, s.d, 1), Wide: true},
			{Name: "gate", Float: some(s.gated, check.Normal(rnd, n, 2))},
		},
		Reference: func(a [][]float64) { ReferenceBackward(backwardArgs(a)) },
		CPU: func(c *cpu.Cores, a [][]float32) {
			b := backwardArgs(a)
			b.Scratch = make([]float32, ScratchLen(s.r, s.d))
			Backward(c, b)
		},
		GPU: func(q *device.Queue, a []device.Tensor, scratch device.Tensor) {
			DeviceBackward(q, &DeviceBackwardArgs{DX: a[0], DW: a[1], DGate: given(a[2]), DY: a[3], DSum: given(a[4]), X: a[5], W: a[6], Gate: given(a[7]),
				Eps: caseEps, Scratch: scratch})
		},
		Scratch: func(device.Type) int64 { return DeviceScratch(s.r, s.d) },
	}
}

func backwardArgs[T kernels.Float](a [][]T) *BackwardArgs[T] {
	return &BackwardArgs[T]{DX: a[0], DW: a[1], DGate: filled(a[2]), DY: a[3], DSum: filled(a[4]), X: a[5], W: a[6], Gate: filled(a[7]), Eps: caseEps}
}
