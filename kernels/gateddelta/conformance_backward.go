package gateddelta

import (
	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
)

func backwardCases(shapes []shape) []check.Case {
	var cases []check.Case
	for i, sh := range shapes {
		p := draw(sh)
		if i%2 == 1 {
			for j := 0; j < len(p.beta); j += 5 {
				p.beta[j] = 0
			}
		}
		cases = append(cases, backwardCase(p, sh))
	}
	return cases
}

func backwardShapes() []shape {
	return []shape{
		{name: "T 1", f: norm(2, 24, 40), lengths: []int{1}, decay: 0.1},
		{name: "T 63", f: norm(2, 24, 40), lengths: []int{63}, decay: 0.1},
		{name: "T 65, 0, 3, 130, tokens outside", f: norm(2, 24, 40), lengths: []int{65, 0, 3, 130}, gap: 5, decay: 0.3},
		{name: "T 64, 10, 0, no state", f: norm(2, 24, 40), lengths: []int{64, 10, 0}, gap: 70, decay: 0.3, noState: true},
		{name: "T 130, strong decay", f: norm(2, 24, 40), lengths: []int{130}, decay: 50},
		{name: "T 130, mixed decay", f: norm(2, 24, 40), lengths: []int{130}, decay: -20},
		{name: "T 130, no decay", f: norm(2, 24, 40), lengths: []int{130}},
		{name: "T 70, 1, raw keys, odd", f: Config{Heads: 3, KeyDim: 5, ValueDim: 7, Scale: 0.7}, lengths: []int{70, 1}, decay: 0.2},
		{name: "T 70", f: norm(1, 96, 256), lengths: []int{70}, decay: 0.1},
		{name: "T 70", f: norm(1, 136, 48), lengths: []int{70}, decay: 0.1},
		{name: "T 700", f: norm(2, 24, 40), lengths: []int{700}, decay: 0.1},
		{name: "T 400, 0, 70, 128, 129, segments", f: short(2, 24, 40), lengths: []int{400, 0, 70, 128, 129}, gap: 130, decay: 0.1},
		{name: "T 500, strong decay, segments", f: short(1, 96, 136), lengths: []int{500}, decay: 50},
		{name: "T 640, no decay, segments, no state", f: short(1, 96, 136), lengths: []int{640}, noState: true},
	}
}

func largeBackwardShapes() []shape {
	return []shape{
		{name: "T 300, 40", f: norm(4, 128, 256), lengths: []int{300, 40}, decay: 0.1},
		// Many states, because dg is a sum over K·V products of random signs, of which one alone may all but cancel.
		{name: "T 150, 100, 64, 30", f: norm(3, 256, 512), lengths: []int{150, 100, 64, 30}, gap: 70, decay: 0.1},
		{name: "T 4096, 100", f: norm(2, 96, 256), lengths: []int{4096, 100}, decay: 0.05},
		{name: "T 4096, 100, 3000, segments", f: short(2, 128, 256), lengths: []int{4096, 100, 3000}, decay: 0.05},
	}
}

// backwardCase is a backward pass, on a device after the forward pass that leaves it its States.
func backwardCase(p *problem, sh shape) check.Case {
	result := func(name string, like []float64, wide bool) check.Operand {
		return check.Operand{Name: name, Role: check.Result, Float: make([]float64, len(like)), Wide: wide}
	}
	args := append(p.inputs(), check.Operand{Name: "do", Float: p.do},
		result("dq", p.q, false), result("dk", p.k, false), result("dv", p.v, false), result("dg", p.g, true), result("dbeta", p.beta, true))
	if p.h0 != nil {
		args = append(args, check.Operand{Name: "h0", Float: p.h0, Wide: true}, check.Operand{Name: "dhT", Float: p.dhT, Wide: true}, result("dh0", p.h0, true))
	}
	n, s := p.n, p.seqs.Len()
	states := func(t device.Type) int64 { return int64(DeviceStatesLen(p.Config, n, s, t)) * int64(t.Size()) }
	return check.Case{Op: "gated delta rule backward", Size: p.size(sh), Args: args,
		Reference: func(a [][]float64) { ReferenceBackward(caseBackward(p, a)) },
		CPU:       func(c *cpu.Cores, a [][]float32) { Backward(c, caseBackward(p, a)) },
		Scratch:   func(t device.Type) int64 { return device.Aligned(states(t)) + DeviceBackwardScratch(p.Config, n, s, t) },
		GPU: func(q *device.Queue, a []device.Tensor, scratch device.Tensor) {
			t := a[0].Type
			kept, rest := scratch.Carve(t, DeviceStatesLen(p.Config, n, s, t))
			fw := &DeviceForwardArgs{Config: p.Config, Q: a[0], K: a[1], V: a[2], G: a[3], Beta: a[4], Sequences: a[5], States: kept}
			bw := &DeviceBackwardArgs{Config: p.Config, Q: a[0], K: a[1], Sequences: a[5], States: kept, DO: a[6],
				DQ: a[7], DK: a[8], DV: a[9], DG: a[10], DBeta: a[11], Scratch: rest}
			if p.h0 != nil {
				fw.H0, bw.DHT, bw.DH0 = a[12], a[13], a[14]
			}
			DeviceForward(q, fw)
			DeviceBackward(q, bw)
		},
	}
}

func caseBackward[T kernels.Float](p *problem, a [][]T) *BackwardArgs[T] {
	b := &BackwardArgs[T]{Config: p.Config, Seqs: p.seqs, Q: a[0], K: a[1], V: a[2], G: a[3], Beta: a[4], DO: a[6],
		DQ: a[7], DK: a[8], DV: a[9], DG: a[10], DBeta: a[11]}
	if len(a) > 12 {
		b.H0, b.DHT, b.DH0 = a[12], a[13], a[14]
	}
	return b
}
