package linear

import (
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/pointwise"
)

// fewCases are projections of so few tokens that one launch does all, with a bias on every second part.
func fewCases() []check.Case {
	var cases []check.Case
	for _, p := range []Projections{
		{1, 24, []Part{{40, true}, {5, false}, {3, false}, {1, true}}},
		{2, 8, []Part{{33, false}}},
		{3, 4104, []Part{{12, false}, {50, true}}},
		{4, 1032, []Part{{3, true}, {1, false}, {2, false}, {7, false}, {31, true}, {32, false}, {33, false}, {65, true}}},
	} {
		cases = append(cases, p.few())
	}
	return cases
}

func (p Projections) few() check.Case {
	k := len(p.Parts)
	args := []check.Operand{drawn("x", 1, p.N*p.In)}
	for i, part := range p.Parts {
		bias := drawn("bias", 50+i, part.Out)
		bias.Wide = true
		args = append(args, drawn("w", 2+i, part.Out*p.In), bias, empty("y", p.N*part.Out))
	}
	return check.Case{
		Op: "projections, few tokens", Size: projectionCase{Projections: p}.size(), Args: args, Scratch: p.ForwardScratch,
		Reference: func(a [][]float64) {
			for i, part := range p.Parts {
				bias, y := a[2+3*i], a[3+3*i]
				if i%2 == 0 {
					bias = nil
				}
				ReferenceForward(y, a[0], a[1+3*i], bias, p.N, p.In, part.Out)
				if part.SiLU {
					pointwise.ReferenceForward(pointwise.SiLU, y, y)
				}
			}
		},
		GPU: func(q *device.Queue, a []device.Tensor, scratch device.Tensor) {
			f := &ProjectionsForwardArgs{Projections: p, X: a[0], Before: make([]device.Tensor, k), Scratch: scratch}
			for i := range k {
				bias := a[2+3*i]
				if i%2 == 0 {
					bias = device.Tensor{}
				}
				f.W, f.Bias, f.Y = append(f.W, a[1+3*i]), append(f.Bias, bias), append(f.Y, a[3+3*i])
			}
			DeviceProjections(q, f)
		},
	}
}
