package linear

import (
	"fmt"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/pointwise"
)

// projectionCase is a size of the battery of projections.
type projectionCase struct {
	Projections
	bias, missing int // the part with a bias; the part whose gradient is missing in the backward, or -1
}

func projectionCases() []check.Case {
	chosen := projectionPairs(tuning{}, []projectionCase{
		{Projections{65, 24, []Part{{40, true}, {5, false}, {16, true}}}, 1, -1},
		{Projections{single + 7, 16, []Part{{24, true}, {12, false}, {33, false}, {8, true}}}, 2, 1},
		{Projections{single, 8, []Part{{3, false}, {1, true}}}, 0, -1},
	})
	return append(chosen, projectionPairs(tuning{always: true}, []projectionCase{
		{Projections{65, 24, []Part{{40, true}, {5, false}, {16, true}}}, 0, -1},
		{Projections{1, 8, []Part{{1, false}}}, 0, -1},
		{Projections{130, 136, []Part{{24, true}, {200, false}, {33, true}, {8, true}, {1, false}, {65, false}, {64, true}, {2, false}}}, 1, 4},
		{Projections{200, 320, []Part{{264, false}}}, 0, -1},
		{Projections{1100, 264, []Part{{40, true}, {200, false}, {12, false}}}, 2, -1},
	})...)
}

func largeProjectionCases() []check.Case {
	chosen := projectionPairs(tuning{}, []projectionCase{
		{Projections{3000, 264, []Part{{96, true}, {96, true}, {256, false}, {12, false}, {12, false}}}, 4, -1},
	})
	return append(chosen, projectionPairs(tuning{always: true}, []projectionCase{
		{Projections{4096, 264, []Part{{192, false}, {200, false}}}, 0, -1},
		{Projections{1500, 1032, []Part{{1152, true}, {520, true}, {384, false}, {12, false}, {13, false}}}, 1, -1},
	})...)
}

// projectionPairs are forwards and backwards: as a device chooses, or always by products of our own.
func projectionPairs(how tuning, sizes []projectionCase) []check.Case {
	var cases []check.Case
	for _, s := range sizes {
		for _, c := range []check.Case{s.forward(how), s.backward(how)} {
			if how.always {
				c.Op += ", products of our own"
			}
			cases = append(cases, c)
		}
	}
	return cases
}

func (s projectionCase) size() string {
	return fmt.Sprintf("N %d, In %d, parts %v", s.N, s.In, s.Parts)
}

func drawn(name string, seed, n int) check.Operand {
	return check.Operand{Name: name, Float: check.Normal(check.Rand(uint64(seed)), n, 1)}
}

func empty(name string, n int) check.Operand {
	return check.Operand{Name: name, Role: check.Result, Float: make([]float64, n)}
}

// inputs are x, the weights and the one bias.
func (s projectionCase) inputs() []check.Operand {
	args := []check.Operand{drawn("x", 1, s.N*s.In)}
	for i, p := range s.Parts {
		args = append(args, drawn(fmt.Sprintf("w%d", i), 2+i, p.Out*s.In))
	}
	bias := drawn("bias", 50, s.Parts[s.bias].Out)
	bias.Wide = true
	return append(args, bias)
}

func (s projectionCase) forward(how tuning) check.Case {
	k := len(s.Parts)
	args := s.inputs()
	for i, p := range s.Parts {
		args = append(args, empty(fmt.Sprintf("y%d", i), s.N*p.Out), empty(fmt.Sprintf("before%d", i), s.N*p.Out))
	}
	return check.Case{
		Op: "projections", Size: s.size(), Args: args,
		Scratch: s.ForwardScratch,
		Reference: func(a [][]float64) {
			for i, p := range s.Parts {
				var bias []float64
				if i == s.bias {
					bias = a[1+k]
				}
				y, before := a[2+k+2*i], a[3+k+2*i]
				ReferenceForward(before, a[0], a[1+i], bias, s.N, s.In, p.Out)
				copy(y, before)
				if p.SiLU {
					pointwise.ReferenceForward(pointwise.SiLU, y, before)
				}
			}
		},
		GPU: func(q *device.Queue, a []device.Tensor, scratch device.Tensor) {
			args := ProjectionsForwardArgs{Projections: s.Projections, X: a[0], W: a[1 : 1+k], Bias: make([]device.Tensor, k), Scratch: scratch, tuning: how}
			args.Bias[s.bias] = a[1+k]
			for i, p := range s.Parts {
				args.Y = append(args.Y, a[2+k+2*i])
				before := device.Tensor{}
				if p.SiLU {
					before = a[3+k+2*i]
				}
				args.Before = append(args.Before, before)
			}
			DeviceProjections(q, &args)
			for i, p := range s.Parts { // without an activation nothing stands before it
				if !p.SiLU {
					q.Copy(a[3+k+2*i], a[2+k+2*i])
				}
			}
		},
	}
}

func (s projectionCase) backward(how tuning) check.Case {
	k := len(s.Parts)
	args := s.inputs()
	args = append(args, empty("dx", s.N*s.In))
	for i, p := range s.Parts {
		args = append(args, drawn(fmt.Sprintf("before%d", i), 60+i, s.N*p.Out), drawn(fmt.Sprintf("dy%d", i), 80+i, s.N*p.Out), empty(fmt.Sprintf("dw%d", i), p.Out*s.In))
	}
	dbias := empty("dbias", s.Parts[s.bias].Out)
	dbias.Wide = true
	args = append(args, dbias)
	return check.Case{
		Op: "projections backward", Size: s.size(), Args: args,
		Scratch: s.BackwardScratch,
		Reference: func(a [][]float64) {
			dx := a[2+k]
			clear(dx)
			for i, p := range s.Parts {
				before, dy, dw := a[3+k+3*i], a[4+k+3*i], a[5+k+3*i]
				if i == s.missing {
					clear(dw)
					if i == s.bias {
						clear(a[len(a)-1])
					}
					continue
				}
				g := dy
				if p.SiLU {
					g = make([]float64, len(dy))
					pointwise.ReferenceBackward(pointwise.SiLU, g, dy, before)
				}
				share := make([]float64, len(dx))
				ReferenceBackwardInput(share, g, a[1+i], s.N, s.In, p.Out)
				pointwise.ReferenceAdd(dx, dx, share)
				var db []float64
				if i == s.bias {
					db = a[len(a)-1]
				}
				ReferenceBackwardWeight(dw, db, g, a[0], s.N, s.In, p.Out)
			}
		},
		GPU: func(q *device.Queue, a []device.Tensor, scratch device.Tensor) {
			args := ProjectionsBackwardArgs{Projections: s.Projections, X: a[0], W: a[1 : 1+k], DX: a[2+k], DBias: make([]device.Tensor, k), Scratch: scratch, tuning: how}
			args.DBias[s.bias] = a[len(a)-1]
			for i := range s.Parts {
				dy := a[4+k+3*i]
				if i == s.missing {
					dy = device.Tensor{}
				}
				args.Before, args.DY, args.DW = append(args.Before, a[3+k+3*i]), append(args.DY, dy), append(args.DW, a[5+k+3*i])
			}
			DeviceProjectionsBackward(q, &args)
		},
	}
}
