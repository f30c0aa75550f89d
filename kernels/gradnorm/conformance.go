package gradnorm

import (
	"fmt"
	"math"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
)

// Conformance is norms of gradients, for tests and for doctor.
func Conformance() []check.Case {
	return []check.Case{
		normCase([]int{1}, 1, 1),
		normCase([]int{7, 0, 300, 255, 256, 257}, 0.02, 1),
		normCase([]int{devicePart*2 + 3, 5, 7000, devicePart}, 1, 0),
		normCase([]int{100, 64}, 1e25, 1),
		normCase([]int{100, 64}, 1e-25, 1),
	}
}

// normCase is gradients of these lengths and this size. The first is float32 in all runs, as vectors of parameters are.
func normCase(lengths []int, size, limit float64) check.Case {
	args := []check.Operand{{Name: "norm and factor", Role: check.Result, Float: make([]float64, 2), Wide: true, Tolerance: check.Device32}}
	for i, n := range lengths {
		args = append(args, check.Operand{Name: fmt.Sprintf("gradient %d", i), Float: check.Normal(check.Rand(uint64(n+i)), n, size), Wide: i == 0})
	}
	factor := func(norm float64) float64 {
		if limit > 0 {
			return ClipFactor(norm, limit)
		}
		return 1
	}
	return check.Case{
		Op: "gradient norm", Size: fmt.Sprintf("lengths %v of %g, limit %v", lengths, size, limit), Args: args,
		Reference: func(a [][]float64) {
			a[0][0] = math.Sqrt(ReferenceSumSquares(a[1:]))
			a[0][1] = factor(a[0][0])
		},
		CPU: func(c *cpu.Cores, a [][]float32) {
			norm := Norm(c, a[1:])
			a[0][0], a[0][1] = float32(norm), float32(factor(norm))
		},
		GPU: func(q *device.Queue, a []device.Tensor, _ device.Tensor) {
			t := NewTable(q, a[1:])
			sums := q.New(device.Float64, t.Blocks)
			DeviceClip(q, &DeviceClipArgs{Table: t, Limit: limit, Result: a[0], Sums: sums})
			q.Free(sums)
			t.Free()
		},
	}
}
