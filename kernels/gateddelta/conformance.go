package gateddelta

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
	return append(forwardCases(forwardShapes()), backwardCases(backwardShapes())...)
}

// Large is the part of the battery for GPUs alone.
func Large() []check.Case {
	return append(forwardCases(largeForwardShapes()), backwardCases(largeBackwardShapes())...)
}

func forwardCases(shapes []shape) []check.Case {
	var cases []check.Case
	for _, sh := range shapes {
		p := draw(sh)
		for i := range p.seqs.Slot { // so that the spare row is the last
			p.seqs.Slot[i]--
		}
		cases = append(cases, forwardCase(p, sh, false))
		if !sh.noState {
			cases = append(cases, forwardCase(p, sh, true))
		}
	}
	return cases
}

// norm is a shape of heads with normalised queries and keys.
func norm(h, k, v int) Config { return Config{Heads: h, KeyDim: k, ValueDim: v, NormQK: true} }

// short is a shape whose sequences are cut into segments of two chunks, where a device has the kernels for it.
func short(h, k, v int) Config {
	f := norm(h, k, v)
	f.every = 2 * Chunk
	return f
}

func forwardShapes() []shape {
	some := norm(2, 24, 40)
	return []shape{
		{name: "T 1", f: some, lengths: []int{1}, decay: 0.1},
		{name: "T 63", f: some, lengths: []int{63}, decay: 0.1},
		{name: "T 65, 0, 3, 1, 130, tokens outside", f: some, lengths: []int{65, 0, 3, 1, 130}, gap: 5, decay: 0.3},
		{name: "T 64, 10, 0, no state", f: some, lengths: []int{64, 10, 0}, gap: 1, decay: 0.3, noState: true},
		{name: "T 130, strong decay", f: some, lengths: []int{130}, decay: 50},
		{name: "T 130, mixed decay", f: some, lengths: []int{130}, decay: -20},
		{name: "T 130, no decay", f: some, lengths: []int{130}},
		{name: "T 700", f: some, lengths: []int{700}, decay: 0.1},
		{name: "T 400, 0, 70, 128, 129, segments", f: short(2, 24, 40), lengths: []int{400, 0, 70, 128, 129}, gap: 130, decay: 0.1},
		{name: "T 500, strong decay, segments", f: short(1, 96, 136), lengths: []int{500}, decay: 50},
		{name: "T 640, no decay, segments, no state", f: short(1, 96, 136), lengths: []int{640}, noState: true},
		{name: "T 70, 1, raw keys, odd", f: Config{Heads: 3, KeyDim: 5, ValueDim: 7, Scale: 0.7}, lengths: []int{70, 1}, decay: 0.2},
		{name: "T 70", f: norm(1, 96, 256), lengths: []int{70}, decay: 0.1},
		{name: "decode", f: norm(1, 96, 256), lengths: []int{1, 1, 0, 2}, gap: 2, decay: 0.5},
		{name: "decode, odd", f: norm(2, 33, 7), lengths: []int{1, 1}, decay: 0.5},
	}
}

func largeForwardShapes() []shape {
	return []shape{
		{name: "T 300, 40", f: norm(4, 128, 256), lengths: []int{300, 40}, decay: 0.1},
		{name: "T 150", f: norm(3, 256, 512), lengths: []int{150}, gap: 70, decay: 0.1},
		{name: "T 4096, 100", f: norm(2, 96, 256), lengths: []int{4096, 100}, decay: 0.05},
		{name: "T 4096, 100, 3000, segments", f: short(2, 128, 256), lengths: []int{4096, 100, 3000}, decay: 0.05},
		{name: "decode", f: norm(12, 96, 256), lengths: []int{1, 1, 1, 0, 1, 1, 1}, decay: 0.1},
	}
}

// size names a problem in a report.
func (p *problem) size(sh shape) string {
	return fmt.Sprintf("%s, H %d, K %d, V %d", sh.name, p.Heads, p.KeyDim, p.ValueDim)
}

// inputs are the operands q, k, v, g, beta and sequences.
func (p *problem) inputs() []check.Operand {
	return []check.Operand{
		{Name: "q", Float: p.q}, {Name: "k", Float: p.k}, {Name: "v", Float: p.v},
		{Name: "g", Float: p.g, Wide: true}, {Name: "beta", Float: p.beta, Wide: true}, {Name: "sequences", Int: p.sequences()},
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

// forwardCase is a forward pass: one that keeps what the backward pass needs, from h0 to another hT; or, inPlace, one that
// keeps nothing and advances the state where it is.
func forwardCase(p *problem, sh shape, inPlace bool) check.Case {
	args := append(p.inputs(), check.Operand{Name: "o", Role: check.Result, Float: make([]float64, len(p.v))})
	switch {
	case inPlace:
		args = append(args, check.Operand{Name: "state", Role: check.State, Float: p.h0, Wide: true})
	case p.h0 != nil:
		used := p.seqs.Len() * p.StateLen() // rows that belong to no sequence are not written
		args = append(args, check.Operand{Name: "h0", Float: p.h0[:used], Wide: true},
			check.Operand{Name: "hT", Role: check.Result, Float: make([]float64, used), Wide: true})
	}
	c := check.Case{Op: "gated delta rule", Size: p.size(sh), Args: args,
		Reference: func(a [][]float64) { ReferenceForward(caseForward(p, a)) },
		CPU:       func(c *cpu.Cores, a [][]float32) { Forward(c, caseForward(p, a)) },
		Scratch:   func(t device.Type) int64 { return DeviceForwardScratch(p.Config, p.n, p.seqs.Len(), t) },
	}
	if inPlace {
		c.Op = "gated delta rule, in place"
	} else {
		c.Scratch = func(t device.Type) int64 {
			return int64(DeviceStatesLen(p.Config, p.n, p.seqs.Len(), t)) * int64(t.Size())
		}
	}
	c.GPU = func(q *device.Queue, a []device.Tensor, scratch device.Tensor) {
		f := &DeviceForwardArgs{Config: p.Config, Q: a[0], K: a[1], V: a[2], G: a[3], Beta: a[4], Sequences: a[5], O: a[6], Scratch: scratch}
		if inPlace {
			f.H0, f.HT = a[7], a[7]
		} else {
			f.States, f.Scratch = scratch.As(f.V.Type).Slice(0, DeviceStatesLen(p.Config, p.n, p.seqs.Len(), f.V.Type)), device.Tensor{}
			if p.h0 != nil {
				f.H0, f.HT = a[7], a[8]
			}
		}
		DeviceForward(q, f)
	}
	return c
}

func caseForward[T kernels.Float](p *problem, a [][]T) *ForwardArgs[T] {
	f := &ForwardArgs[T]{Config: p.Config, Seqs: p.seqs, Q: a[0], K: a[1], V: a[2], G: a[3], Beta: a[4], O: a[6]}
	switch len(a) {
	case 8:
		f.H0, f.HT = a[7], a[7]
	case 9:
		f.H0, f.HT = a[7], a[8]
	}
	return f
}

// problem is a set of inputs in float64, and the gradients of its results.
type problem struct {
	Config
	seqs                              packed.Sequences
	n, rows                           int
	q, k, v, g, beta, h0, do, dhT     []float64
	o, hT, dq, dk, dv, dg, dbeta, dh0 []float64 // of the reference
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
// alternates strong gates with weak ones.
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
	std := 1.0
	if !f.NormQK {
		std = 0.3
	}
	p.q = check.Normal(r, p.n*f.Heads*f.KeyDim, std)
	p.k = check.Normal(r, p.n*f.Heads*f.KeyDim, std)
	p.v = check.Normal(r, p.n*f.Heads*f.ValueDim, 1)
	p.do = check.Normal(r, p.n*f.Heads*f.ValueDim, 1)
	p.g = make([]float64, p.n*f.Heads)
	p.beta = make([]float64, p.n*f.Heads)
	for i := range p.g {
		p.g[i] = -sh.decay * r.Float64()
		if sh.decay < 0 {
			p.g[i] = sh.decay * r.Float64()
			if i/f.Heads%7 < 5 {
				p.g[i] *= 1e-3
			}
		}
		p.beta[i] = r.Float64()
	}
	if !sh.noState {
		p.h0 = check.Normal(r, p.rows*f.StateLen(), 1)
		p.dhT = check.Normal(r, p.rows*f.StateLen(), 1)
	}
	// Both versions compute from what float32 can hold.
	for _, x := range [][]float64{p.q, p.k, p.v, p.g, p.beta, p.h0, p.do, p.dhT} {
		for i := range x {
			x[i] = float64(float32(x[i]))
		}
	}
	return p
}

func forwardArgs[T kernels.Float](p *problem) *ForwardArgs[T] {
	return &ForwardArgs[T]{Config: p.Config, Seqs: p.seqs, Q: check.To[T](p.q), K: check.To[T](p.k), V: check.To[T](p.v),
		G: check.To[T](p.g), Beta: check.To[T](p.beta), H0: check.To[T](p.h0)}
}

func backwardArgs[T kernels.Float](p *problem) *BackwardArgs[T] {
	return &BackwardArgs[T]{Config: p.Config, Seqs: p.seqs, Q: check.To[T](p.q), K: check.To[T](p.k), V: check.To[T](p.v),
		G: check.To[T](p.g), Beta: check.To[T](p.beta), H0: check.To[T](p.h0), DO: check.To[T](p.do), DHT: check.To[T](p.dhT)}
}
