package gatedlinear

import (
	"fmt"
	"math"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/packed"
)

// Conformance is the battery of the operation.
func Conformance() []check.Case { return shapeCases(conformanceShapes()) }

// Large is the part of the battery for GPUs alone.
func Large() []check.Case { return shapeCases(largeShapes()) }

func shapeCases(shapes []shape) []check.Case {
	var cases []check.Case
	for _, sh := range shapes {
		p := draw(sh)
		for i := range p.seqs.Slot { // so that the spare row is the last
			p.seqs.Slot[i]--
		}
		cases = append(cases, forwardCase(p, sh, false), backwardCase(p, sh))
		if !sh.noState {
			cases = append(cases, forwardCase(p, sh, true))
		}
	}
	return cases
}

func conformanceShapes() []shape {
	var list []shape
	for _, f := range []Config{{}, {Channels: true}, {Channels: true, LowRank: true}} {
		with := func(h, k, v int) Config {
			f.Heads, f.KeyDim, f.ValueDim = h, k, v
			return f
		}
		some := with(2, 24, 40)
		list = append(list,
			shape{name: "T 1", f: some, lengths: []int{1}, decay: 0.1},
			shape{name: "T 63", f: some, lengths: []int{63}, decay: 0.1},
			shape{name: "T 65, 0, 3, 1, 70, tokens outside", f: some, lengths: []int{65, 0, 3, 1, 70}, gap: 5, decay: 0.3},
			shape{name: "T 64, 10, 0, no state", f: some, lengths: []int{64, 10, 0}, gap: 1, decay: 0.3, noState: true},
			shape{name: "T 80, strong decay", f: some, lengths: []int{80}, decay: 50},
			shape{name: "T 80, mixed decay", f: some, lengths: []int{80}, decay: -20},
			shape{name: "T 70, 1, odd", f: with(3, 5, 7), lengths: []int{70, 1}, decay: 0.2},
			shape{name: "T 33", f: with(1, 96, 256), lengths: []int{33}, decay: 0.1},
			shape{name: "decode", f: with(2, 33, 7), lengths: []int{1, 1, 0, 2}, gap: 2, decay: 0.5},
			shape{name: "steps, odd", f: with(3, 5, 7), lengths: []int{0, 2, 0, 0, 1, 0}, gap: 1, decay: 0.2},
			shape{name: "steps", f: with(2, 96, 136), lengths: []int{0, 3, 1}, decay: 0.2},
			shape{name: "steps, no state", f: with(1, 264, 68), lengths: []int{2, 1}, decay: 0.1, noState: true},
			shape{name: "steps, long keys", f: with(1, 260, 66), lengths: []int{2}, gap: 1, decay: 0.1},
		)
	}
	short := Config{Heads: 2, KeyDim: 24, ValueDim: 40, every: 2 * Chunk} // in segments, where a device has the kernels for it
	wide := Config{Heads: 1, KeyDim: 96, ValueDim: 136, Scale: 1, every: 2 * Chunk}
	return append(list,
		shape{name: "T 400, 0, 70, 128, 129, segments", f: short, lengths: []int{400, 0, 70, 128, 129}, gap: 130, decay: 0.1},
		shape{name: "T 500, strong decay, segments", f: wide, lengths: []int{500}, decay: 50},
		shape{name: "T 330, no decay, segments, no state", f: wide, lengths: []int{330}, noState: true},
		shape{name: "T 70", f: Config{Heads: 1, KeyDim: 136, ValueDim: 48}, lengths: []int{70}, decay: 0.1},
	)
}

func largeShapes() []shape {
	list := []shape{
		{name: "T 150, 100, 64", f: Config{Heads: 3, KeyDim: 256, ValueDim: 512}, lengths: []int{150, 100, 64}, gap: 70, decay: 0.1},
		{name: "T 4096, 100", f: Config{Heads: 2, KeyDim: 128, ValueDim: 64}, lengths: []int{4096, 100}, decay: 0.05},
	}
	for _, f := range []Config{{}, {Channels: true}, {Channels: true, LowRank: true}} {
		long := f
		f.Heads, f.KeyDim, f.ValueDim = 4, 128, 256
		long.Heads, long.KeyDim, long.ValueDim = 2, 64, 64
		list = append(list,
			shape{name: "T 300, 40", f: f, lengths: []int{300, 40}, decay: 0.1},
			shape{name: "T 1030, 100", f: long, lengths: []int{1030, 100}, decay: 0.05},
		)
	}
	return list
}

// op names the operation in a report.
func (f Config) op() string {
	switch {
	case f.LowRank:
		return "gated linear attention, low rank"
	case f.Channels:
		return "gated linear attention, gated channels"
	}
	return "gated linear attention, gated heads"
}

// size names a problem in a report.
func (p *problem) size(sh shape) string {
	return fmt.Sprintf("%s, H %d, K %d, V %d", sh.name, p.Heads, p.KeyDim, p.ValueDim)
}

// inputs are the operands q, k, v, g, sequences, a and b; the last two are empty without LowRank.
func (p *problem) inputs() []check.Operand {
	return []check.Operand{
		{Name: "q", Float: p.q}, {Name: "k", Float: p.k}, {Name: "v", Float: p.v}, {Name: "g", Float: p.g, Wide: true},
		{Name: "sequences", Int: p.sequences()}, {Name: "a", Float: p.a}, {Name: "b", Float: p.b},
	}
}

// sequences is the buffer that kernels read.
func (p *problem) sequences() []int32 {
	s := p.seqs.Len()
	buf := make([]int32, 3*(s+1))
	copy(buf, p.seqs.Cu)
	copy(buf[2*(s+1):], p.seqs.Slot)
	return buf
}

// forwardCase is a forward pass: from h0 to another hT; or, inPlace, one that advances the state where it is. It keeps states for
// a backward pass but in place and for few tokens, where without those a device has other kernels.
func forwardCase(p *problem, sh shape, inPlace bool) check.Case {
	args := append(p.inputs(), check.Operand{Name: "o", Role: check.Result, Float: make([]float64, len(p.v))})
	op := p.op()
	switch {
	case inPlace:
		op += ", in place"
		args = append(args, check.Operand{Name: "state", Role: check.State, Float: p.h0, Wide: true})
	case p.h0 != nil:
		used := p.seqs.Len() * p.StateLen() // rows that belong to no sequence are not written
		args = append(args, check.Operand{Name: "h0", Float: p.h0[:used], Wide: true},
			check.Operand{Name: "hT", Role: check.Result, Float: make([]float64, used), Wide: true})
	}
	n, s := p.n, p.seqs.Len()
	keeps := !inPlace && !few(n, s)
	return check.Case{Op: op, Size: p.size(sh), Args: args,
		Reference: func(a [][]float64) { ReferenceForward(caseForward(p, a)) },
		CPU:       func(c *cpu.Cores, a [][]float32) { Forward(c, caseForward(p, a)) },
		Scratch: func(t device.Type) int64 {
			if keeps {
				return 4 * int64(DeviceStatesLen(p.Config, n, s, t))
			}
			return DeviceForwardScratch(p.Config, n, s, t)
		},
		GPU: func(q *device.Queue, a []device.Tensor, scratch device.Tensor) {
			f := &DeviceForwardArgs{Config: p.Config, Q: a[0], K: a[1], V: a[2], G: a[3], Sequences: a[4], A: a[5], B: a[6], O: a[7]}
			if keeps {
				f.States = scratch.As(device.Float32).Slice(0, DeviceStatesLen(p.Config, n, s, f.V.Type))
			} else {
				f.Scratch = scratch
			}
			switch len(a) {
			case 9:
				f.H0, f.HT = a[8], a[8]
			case 10:
				f.H0, f.HT = a[8], a[9]
			}
			DeviceForward(q, f)
		},
	}
}

func caseForward[T kernels.Float](p *problem, a [][]T) *ForwardArgs[T] {
	f := &ForwardArgs[T]{Config: p.Config, Seqs: p.seqs, Q: a[0], K: a[1], V: a[2], G: a[3], A: a[5], B: a[6], O: a[7]}
	switch len(a) {
	case 9:
		f.H0, f.HT = a[8], a[8]
	case 10:
		f.H0, f.HT = a[8], a[9]
	}
	return f
}

// backwardCase is a backward pass, after the forward pass that leaves it its States.
func backwardCase(p *problem, sh shape) check.Case {
	result := func(name string, like []float64, wide bool) check.Operand {
		return check.Operand{Name: name, Role: check.Result, Float: make([]float64, len(like)), Wide: wide}
	}
	args := append(p.inputs(), check.Operand{Name: "do", Float: p.do},
		result("dq", p.q, false), result("dk", p.k, false), result("dv", p.v, false), result("dg", p.g, true),
		result("da", p.a, false), result("db", p.b, false))
	if p.h0 != nil {
		args = append(args, check.Operand{Name: "h0", Float: p.h0, Wide: true}, check.Operand{Name: "dhT", Float: p.dhT, Wide: true}, result("dh0", p.h0, true))
	}
	n, s := p.n, p.seqs.Len()
	return check.Case{Op: p.op() + " backward", Size: p.size(sh), Args: args,
		Reference: func(a [][]float64) { ReferenceBackward(caseBackward(p, a)) },
		CPU: func(c *cpu.Cores, a [][]float32) {
			bw := caseBackward(p, a)
			bw.States = make([]float32, StatesLen(p.Config, n, s))
			Forward(c, &ForwardArgs[float32]{Config: bw.Config, Seqs: bw.Seqs, Q: bw.Q, K: bw.K, V: bw.V, G: bw.G, A: bw.A, B: bw.B, H0: bw.H0, States: bw.States})
			Backward(c, bw)
		},
		Scratch: func(t device.Type) int64 {
			return device.Aligned(4*int64(DeviceStatesLen(p.Config, n, s, t))) + DeviceBackwardScratch(p.Config, n, s, t)
		},
		GPU: func(q *device.Queue, a []device.Tensor, scratch device.Tensor) {
			kept, rest := scratch.Carve(device.Float32, DeviceStatesLen(p.Config, n, s, a[0].Type))
			fw := &DeviceForwardArgs{Config: p.Config, Q: a[0], K: a[1], V: a[2], G: a[3], Sequences: a[4], A: a[5], B: a[6], States: kept}
			bw := &DeviceBackwardArgs{Config: p.Config, Q: a[0], K: a[1], V: a[2], G: a[3], Sequences: a[4], A: a[5], B: a[6], DO: a[7],
				DQ: a[8], DK: a[9], DV: a[10], DG: a[11], DA: a[12], DB: a[13], States: kept, Scratch: rest}
			if p.h0 != nil {
				fw.H0, bw.DHT, bw.DH0 = a[14], a[15], a[16]
			}
			DeviceForward(q, fw)
			DeviceBackward(q, bw)
		},
	}
}

func caseBackward[T kernels.Float](p *problem, a [][]T) *BackwardArgs[T] {
	b := &BackwardArgs[T]{Config: p.Config, Seqs: p.seqs, Q: a[0], K: a[1], V: a[2], G: a[3], A: a[5], B: a[6], DO: a[7],
		DQ: a[8], DK: a[9], DV: a[10], DG: a[11], DA: a[12], DB: a[13]}
	if len(a) > 14 {
		b.H0, b.DHT, b.DH0 = a[14], a[15], a[16]
	}
	return b
}

// problem is a set of inputs in float64, and the gradients of its results.
type problem struct {
	Config
	seqs                 packed.Sequences
	n, rows              int
	q, k, v, g, a, b, h0 []float64
	do, dhT              []float64
}

type shape struct {
	name    string
	f       Config
	lengths []int
	gap     int // tokens before and after every sequence
	decay   float64
	noState bool
}

// draw makes a problem of a shape. Rows of state stand in reverse, with one to spare. A negative decay
// alternates strong gates with weak ones. A low-rank term takes away at most what is there, as a delta rule does.
func draw(sh shape) *problem {
	r := check.Rand(7)
	p := &problem{Config: sh.f}
	p.seqs.Cu = []int32{int32(sh.gap)}
	p.n = sh.gap
	for i, t := range sh.lengths {
		p.n += t
		p.seqs.Cu = append(p.seqs.Cu, int32(p.n))
		p.seqs.Slot = append(p.seqs.Slot, int32(len(sh.lengths)-i))
	}
	p.n += sh.gap
	p.rows = len(sh.lengths) + 1
	f := sh.f
	key := p.n * f.Heads * f.KeyDim
	p.q = check.Normal(r, key, 0.5)
	p.k = check.Normal(r, key, 0.5)
	p.v = check.Normal(r, p.n*f.Heads*f.ValueDim, 1)
	p.do = check.Normal(r, p.n*f.Heads*f.ValueDim, 1)
	p.g = make([]float64, p.n*f.Heads*f.Gates())
	for i := range p.g {
		p.g[i] = -sh.decay * r.Float64()
		if sh.decay < 0 {
			p.g[i] = sh.decay * r.Float64()
			if i/f.Heads%7 < 5 {
				p.g[i] *= 1e-3
			}
		}
	}
	if f.LowRank {
		p.a, p.b = check.Normal(r, key, 1), make([]float64, key)
		for lo := 0; lo < key; lo += f.KeyDim {
			var norm float64
			for _, x := range p.a[lo : lo+f.KeyDim] {
				norm += x * x
			}
			for i := lo; i < lo+f.KeyDim; i++ {
				p.a[i] /= math.Sqrt(norm)
				p.b[i] = -p.a[i] * r.Float64()
			}
		}
	}
	if !sh.noState {
		p.h0 = check.Normal(r, p.rows*f.StateLen(), 1)
		p.dhT = check.Normal(r, p.rows*f.StateLen(), 1)
	}
	// Both versions compute from what float32 can hold.
	for _, x := range [][]float64{p.q, p.k, p.v, p.g, p.a, p.b, p.h0, p.do, p.dhT} {
		for i := range x {
			x[i] = float64(float32(x[i]))
		}
	}
	return p
}
