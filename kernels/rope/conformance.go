package rope

import (
	"fmt"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/packed"
)

// Conformance is the battery of the operation.
func Conformance() []check.Case {
	const theta = 1e6
	var cases []check.Case
	for i, size := range []struct{ n, h, d int }{{1, 1, 2}, {63, 3, 10}, {65, 2, 128}, {130, 6, 64}} {
		n := int32(size.n)
		for _, q := range []packed.Sequences{
			{Cu: []int32{0, n}, Pos: []int32{131072 - n}, Slot: []int32{0}},
			{Cu: []int32{n / 3, n / 2, n / 2, n - n/4}, Pos: []int32{5, 70, 131000}, Slot: []int32{0, 1, 2}},
		} {
			for _, back := range []bool{false, true} {
				cases = append(cases, newCase(uint64(i), theta, size.n, size.h, size.d, q, back))
			}
		}
	}
	return cases
}

func newCase(seed uint64, theta float64, n, h, d int, q packed.Sequences, back bool) check.Case {
	rnd := check.Rand(seed)
	c := check.Case{
		Op: "rope", Size: fmt.Sprintf("N %d, H %d, D %d, cu %v", n, h, d, q.Cu),
		Args: []check.Operand{
			{Name: "y", Role: check.Result, Float: make([]float64, n*h*d)},
			{Name: "x", Float: check.Normal(rnd, n*h*d, 1)},
			{Name: "sequences", Int: q.Buffer()},
		},
	}
	reference, onCPU, onGPU := ReferenceForward[float64], Forward, DeviceForward
	if back {
		c.Op += " backward"
		reference, onCPU, onGPU = ReferenceBackward[float64], Backward, DeviceBackward
	}
	c.Reference = func(a [][]float64) { reference(theta, d, caseArgs(a, h, q)) }
	c.CPU = func(c *cpu.Cores, a [][]float32) { onCPU(c, NewTable(theta, d), caseArgs(a, h, q)) }
	c.GPU = func(queue *device.Queue, a []device.Tensor, _ device.Tensor) {
		onGPU(queue, theta, d, &DeviceArgs{Y: a[0], X: a[1], Heads: h, Sequences: a[2]})
	}
	return c
}

func caseArgs[T kernels.Float](a [][]T, h int, q packed.Sequences) *Args[T] {
	return &Args[T]{Y: a[0], X: a[1], Heads: h, Seqs: q}
}
