package pointwise

import (
	"fmt"
	"math"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
)

// Conformance is the battery of the operations.
func Conformance() []check.Case {
	var cases []check.Case
	for i, n := range []int{1, 63, 1000, 5120} {
		rnd := check.Rand(uint64(i))
		normal := func() []float64 { return check.Normal(rnd, n, 2) }
		for _, f := range []Activation{SiLU, Sigmoid, Softplus, LogSigmoid, Tanh} {
			cases = append(cases, activationCases(n, f, normal)...)
		}
		cases = append(cases, sumCase(n, 2+3*i, normal), scaleCase(n, normal), convertCase(n, normal), fillCase(3*n, 3), fillCase(19*n, 19))
	}
	return cases
}

func result(name string, n int, wide bool) check.Operand {
	return check.Operand{Name: name, Role: check.Result, Float: make([]float64, n), Wide: wide}
}

// Gates are float32 on a GPU, as is their gradient.
func activationCases(n int, f Activation, normal func() []float64) []check.Case {
	wide := f.Gates()
	return []check.Case{{
		Op: f.String(), Size: fmt.Sprintf("N %d", n),
		Args:      []check.Operand{result("y", n, wide), {Name: "x", Float: normal()}},
		Reference: func(a [][]float64) { ReferenceForward(f, a[0], a[1]) },
		CPU:       func(c *cpu.Cores, a [][]float32) { Forward(c, f, a[0], a[1]) },
		GPU:       func(q *device.Queue, a []device.Tensor, _ device.Tensor) { DeviceForward(q, f, a[0], a[1]) },
	}, {
		Op: f.String() + " backward", Size: fmt.Sprintf("N %d", n),
		Args:      []check.Operand{result("dx", n, false), {Name: "dy", Float: normal(), Wide: wide}, {Name: "x", Float: normal()}},
		Reference: func(a [][]float64) { ReferenceBackward(f, a[0], a[1], a[2]) },
		CPU:       func(c *cpu.Cores, a [][]float32) { Backward(c, f, a[0], a[1], a[2]) },
		GPU:       func(q *device.Queue, a []device.Tensor, _ device.Tensor) { DeviceBackward(q, f, a[0], a[1], a[2]) },
	}}
}

func sumCase(n, terms int, normal func() []float64) check.Case {
	args := []check.Operand{result("y", n, false)}
	for range terms {
		args = append(args, check.Operand{Name: "term", Float: normal()})
	}
	return check.Case{
		Op: "add", Size: fmt.Sprintf("N %d, %d terms", n, terms), Args: args,
		Reference: func(a [][]float64) {
			copy(a[0], a[1])
			for _, b := range a[2:] {
				ReferenceAdd(a[0], a[0], b)
			}
		},
		CPU: func(c *cpu.Cores, a [][]float32) {
			copy(a[0], a[1])
			for _, b := range a[2:] {
				Add(c, a[0], a[0], b)
			}
		},
		GPU: func(q *device.Queue, a []device.Tensor, _ device.Tensor) { DeviceSum(q, a[0], a[1:]...) },
	}
}

func scaleCase(n int, normal func() []float64) check.Case {
	return check.Case{
		Op: "scale", Size: fmt.Sprintf("N %d", n),
		Args: []check.Operand{result("y", n, false), result("z", n, false), {Name: "factor", Float: []float64{-1.5}, Wide: true}, {Name: "x", Float: normal()}},
		Reference: func(a [][]float64) {
			ReferenceScale(a[0], a[2][0], a[3])
			ReferenceScale(a[1], 0.3, a[3])
		},
		CPU: func(c *cpu.Cores, a [][]float32) {
			Scale(c, a[0], a[2][0], a[3])
			Scale(c, a[1], 0.3, a[3])
		},
		GPU: func(q *device.Queue, a []device.Tensor, _ device.Tensor) {
			DeviceScaleBy(q, a[0], a[2], a[3])
			DeviceScale(q, a[1], 0.3, a[3])
		},
	}
}

// convertCase converts to float32 and from it.
func convertCase(n int, normal func() []float64) check.Case {
	return check.Case{
		Op: "convert", Size: fmt.Sprintf("N %d", n),
		Args: []check.Operand{result("wide", n, true), result("narrow", n, false), {Name: "x", Float: normal()}, {Name: "y", Float: normal(), Wide: true}},
		Reference: func(a [][]float64) {
			copy(a[0], a[2])
			copy(a[1], a[3])
		},
		GPU: func(q *device.Queue, a []device.Tensor, _ device.Tensor) {
			DeviceConvert(q, a[0], a[2])
			DeviceConvert(q, a[1], a[3])
		},
	}
}

func fillCase(n, length int) check.Case {
	pattern := make([]float64, length)
	for i := range pattern {
		pattern[i] = math.Log1p(-math.Exp2(float64(-1 - i)))
	}
	return check.Case{
		Op: "fill", Size: fmt.Sprintf("N %d, pattern of %d", n, length), Args: []check.Operand{result("y", n, true)},
		Reference: func(a [][]float64) { Fill(a[0], pattern) },
		CPU:       func(_ *cpu.Cores, a [][]float32) { Fill(a[0], pattern) },
		GPU:       func(q *device.Queue, a []device.Tensor, _ device.Tensor) { DeviceFill(q, a[0], pattern) },
	}
}
