package heads

import (
	"fmt"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
)

// Conformance is the battery of the operations.
func Conformance() []check.Case {
	var cases []check.Case
	for i, n := range []int{1, 63, 65, 200} {
		for _, f := range []Config{{Dim: 96, Width: 1}, {Dim: 96, Width: 24}, {Dim: 15, Width: 5}, {Dim: 520, Width: 1}} {
			for _, rows := range []bool{false, true} {
				f.Rows = rows
				cases = append(cases, factorCases(f, n, uint64(i))...)
			}
		}
		cases = append(cases, copyCases(24, 4, n, uint64(i))...)
		cases = append(cases, copyCases(7, 3, n, uint64(i))...)
	}
	return cases
}

func result(name string, n int, wide bool) check.Operand {
	return check.Operand{Name: name, Role: check.Result, Float: make([]float64, n), Wide: wide}
}

// factorCases have factors in float32, as gates and parameters are.
func factorCases(f Config, n int, seed uint64) []check.Case {
	r := check.Rand(seed)
	factors := f.Groups()
	if f.Rows {
		factors *= n
	}
	size := fmt.Sprintf("N %d, D %d, W %d, rows %v", n, f.Dim, f.Width, f.Rows)
	x, y, s := check.Normal(r, n*f.Dim, 1), check.Normal(r, n*f.Dim, 1), check.Normal(r, factors, 1)
	return []check.Case{{
		Op: "scale heads", Size: size,
		Args:      []check.Operand{{Name: "x", Float: x}, result("y", n*f.Dim, false), {Name: "s", Float: s, Wide: true}},
		Reference: func(a [][]float64) { ReferenceScale(&Args[float64]{f, a[0], a[1], a[2]}) },
		CPU:       func(c *cpu.Cores, a [][]float32) { Scale(c, &Args[float32]{f, a[0], a[1], a[2]}) },
		GPU: func(q *device.Queue, a []device.Tensor, _ device.Tensor) {
			DeviceScale(q, &DeviceArgs{Config: f, X: a[0], Y: a[1], S: a[2]})
		},
	}, {
		Op: "dot heads", Size: size,
		Args:      []check.Operand{{Name: "x", Float: x}, {Name: "y", Float: y}, result("s", factors, true)},
		Reference: func(a [][]float64) { ReferenceDot(&Args[float64]{f, a[0], a[1], a[2]}) },
		CPU:       func(c *cpu.Cores, a [][]float32) { Dot(c, &Args[float32]{f, a[0], a[1], a[2]}) },
		Scratch:   func(device.Type) int64 { return f.DeviceScratch(n) },
		GPU: func(q *device.Queue, a []device.Tensor, scratch device.Tensor) {
			DeviceDot(q, &DeviceArgs{Config: f, X: a[0], Y: a[1], S: a[2], Scratch: scratch})
		},
	}}
}

func copyCases(width, times, n int, seed uint64) []check.Case {
	r := check.Rand(seed)
	few, many := n*width, n*width*times
	size := fmt.Sprintf("N %d, W %d, %d times", n, width, times)
	return []check.Case{{
		Op: "repeat heads", Size: size,
		Args:      []check.Operand{{Name: "x", Float: check.Normal(r, few, 1)}, result("y", many, false)},
		Reference: func(a [][]float64) { ReferenceRepeat(&Copies[float64]{width, times, a[0], a[1]}) },
		CPU:       func(c *cpu.Cores, a [][]float32) { Repeat(c, &Copies[float32]{width, times, a[0], a[1]}) },
		GPU: func(q *device.Queue, a []device.Tensor, _ device.Tensor) {
			DeviceRepeat(q, &DeviceCopies{width, times, a[0], a[1]})
		},
	}, {
		Op: "fold heads", Size: size,
		Args:      []check.Operand{result("x", few, false), {Name: "y", Float: check.Normal(r, many, 1)}},
		Reference: func(a [][]float64) { ReferenceFold(&Copies[float64]{width, times, a[0], a[1]}) },
		CPU:       func(c *cpu.Cores, a [][]float32) { Fold(c, &Copies[float32]{width, times, a[0], a[1]}) },
		GPU: func(q *device.Queue, a []device.Tensor, _ device.Tensor) {
			DeviceFold(q, &DeviceCopies{width, times, a[0], a[1]})
		},
	}}
}
