package embedding

import (
	"fmt"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
)

// Conformance is lookups and their gradients, for tests and for doctor.
func Conformance() []check.Case {
	var cases []check.Case
	for _, s := range []tableSize{{1, 1, 1}, {63, 50, 37}, {65, 7, 96}, {130, 5000, 8}, {1100, 3, 8}, {1200, 900, 16}, {0, 4, 8}} {
		cases = append(cases, s.forward(), s.backward())
	}
	return cases
}

type tableSize struct{ n, vocab, d int }

func (s tableSize) String() string { return fmt.Sprintf("N %d, Vocab %d, D %d", s.n, s.vocab, s.d) }

// ids are n rows of which several tokens meet in one, and some have none.
func (s tableSize) ids() []int32 {
	r := check.Rand(uint64(s.n + s.vocab))
	ids := make([]int32, s.n)
	for t := range ids {
		ids[t] = int32(min(r.IntN(s.vocab), r.IntN(s.vocab)))
	}
	return ids
}

func (s tableSize) forward() check.Case {
	ids := s.ids()
	return check.Case{
		Op: "embedding", Size: s.String(),
		Args: []check.Operand{{Name: "ids", Int: ids}, {Name: "w", Float: check.Normal(check.Rand(1), s.vocab*s.d, 1)},
			{Name: "y", Role: check.Result, Float: make([]float64, s.n*s.d)}},
		Reference: func(a [][]float64) { ReferenceForward(a[2], a[1], ids, s.d) },
		CPU:       func(c *cpu.Cores, a [][]float32) { Forward(c, a[2], Table{F32: a[1]}, ids, s.d) },
		GPU: func(q *device.Queue, a []device.Tensor, _ device.Tensor) {
			DeviceForward(q, &DeviceForwardArgs{N: s.n, Vocab: s.vocab, D: s.d, Y: a[2], W: a[1], IDs: a[0]})
		},
	}
}

func (s tableSize) backward() check.Case {
	ids := s.ids()
	return check.Case{
		Op: "embedding backward", Size: s.String(),
		Args: []check.Operand{{Name: "ids", Int: ids}, {Name: "dy", Float: check.Normal(check.Rand(2), s.n*s.d, 1)},
			{Name: "dw", Role: check.Result, Float: make([]float64, s.vocab*s.d)}},
		Reference: func(a [][]float64) { ReferenceBackward(a[2], a[1], ids, s.d) },
		CPU:       func(c *cpu.Cores, a [][]float32) { Backward(c, a[2], a[1], ids, s.d) },
		GPU: func(q *device.Queue, a []device.Tensor, scratch device.Tensor) {
			DeviceBackward(q, &DeviceBackwardArgs{N: s.n, Vocab: s.vocab, D: s.d, DW: a[2], DY: a[1], IDs: a[0], Scratch: scratch})
		},
		Scratch: func(device.Type) int64 { return DeviceBackwardScratch(s.n) },
	}
}
