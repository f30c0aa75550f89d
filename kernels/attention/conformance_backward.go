package attention

import (
	"fmt"
	"math"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/packed"
)

// grouped is a usual shape of heads.
func grouped() Config { return Config{Heads: 6, KVHeads: 2, Dim: 128} }

// backwardCases are the backward's part of Conformance. They share shapes, because every shape is compiled.
func backwardCases() []check.Case {
	whole := func(n int) []int32 { return []int32{0, int32(n)} }
	awkward := []int32{3, 4, 6, 6, 71, 203} // of 210 tokens: outside ones, single ones, an empty sequence
	fused, portable := DeviceBackwardArgs{}, DeviceBackwardArgs{portable: true}
	one, two := DeviceBackwardArgs{split: 1}, DeviceBackwardArgs{split: 2}
	wide := grouped()
	narrow := Config{Heads: 2, KVHeads: 1, Dim: 64, Window: 129, Scale: 0.2}
	cases := []check.Case{
		backwardCase(wide, 1, fused, whole(1)...),
		backwardCase(wide, 210, fused, awkward...),
		backwardCase(wide, 320, one, whole(320)...),
		backwardCase(Config{Heads: 4, KVHeads: 1, Dim: 128, Window: 200}, 500, two, 0, 1, 466, 500),
		backwardCase(Config{Heads: 2, KVHeads: 1, Dim: 128, Window: 40}, 300, one, whole(300)...),
		backwardCase(narrow, 400, fused, whole(400)...),
		backwardCase(Config{Heads: 4, KVHeads: 2, Dim: 64}, 210, one, awkward...),
	}
	for i := range cases {
		cases[i].Only = []device.Type{device.BF16}
	}
	return append(cases,
		backwardCase(wide, 210, portable, awkward...),
		backwardCase(narrow, 200, portable, whole(200)...),
		backwardCase(Config{Heads: 2, KVHeads: 1, Dim: 96}, 65, portable, whole(65)...),
		backwardCase(Config{Heads: 3, KVHeads: 3, Dim: 33, Scale: 0.3}, 131, portable, 1, 66, 129),
		backwardCase(Config{Heads: 2, KVHeads: 1, Dim: 7, Window: 5}, 63, portable, whole(63)...),
		backwardCase(Config{Heads: 2, KVHeads: 1, Dim: 256, Window: 50}, 97, portable, 0, 30, 97),
	)
}

// backwardCase is the backward of n random tokens in sequences with offsets cu, by the path that like names. The
// log-sum-exp is what scores of random queries and keys have on average, and o is random too.
func backwardCase(c Config, n int, like DeviceBackwardArgs, cu ...int32) check.Case {
	r := check.Rand(uint64(n*31 + c.Dim))
	seqs := packed.Sequences{Cu: cu}
	q, lse := check.Normal(r, n*c.width(), 1), make([]float64, n*c.Heads)
	for s := range seqs.Len() {
		lo, hi := seqs.Span(s)
		for i := lo * c.Heads; i < hi*c.Heads; i++ {
			at := i/c.Heads - lo
			x := q[i*c.Dim:][:c.Dim]
			lse[i] = math.Log(float64(at-c.oldest(at)+1)) + c.scale()*c.scale()*dot(x, x)/2
		}
	}
	path := ""
	if like.portable {
		path = ", portable"
	} else if like.split > 0 {
		path = fmt.Sprintf(", split %d", like.split)
	}
	return check.Case{
		Op:   "attention backward",
		Size: fmt.Sprintf("N %d, S %d, %d/%d heads, D %d, window %d%s", n, seqs.Len(), c.Heads, c.KVHeads, c.Dim, c.Window, path),
		Args: []check.Operand{
			{Name: "q", Float: q}, {Name: "k", Float: check.Normal(r, n*c.stride(), 1)}, {Name: "v", Float: check.Normal(r, n*c.stride(), 1)},
			{Name: "o", Float: check.Normal(r, n*c.width(), 0.3)}, {Name: "do", Float: check.Normal(r, n*c.width(), 1)},
			{Name: "lse", Float: lse, Wide: true}, {Name: "sequences", Int: sequenceBuffer(seqs)},
			{Name: "dq", Role: check.Result, Float: make([]float64, n*c.width())},
			{Name: "dk", Role: check.Result, Float: make([]float64, n*c.stride())},
			{Name: "dv", Role: check.Result, Float: make([]float64, n*c.stride())},
		},
		Reference: func(a [][]float64) {
			ReferenceBackward(&BackwardArgs[float64]{Config: c, Seqs: seqs, Q: a[0], K: a[1], V: a[2], O: a[3], DO: a[4], LSE: a[5], DQ: a[7], DK: a[8], DV: a[9]})
		},
		CPU: func(cores *cpu.Cores, a [][]float32) {
			Backward(cores, &BackwardArgs[float32]{Config: c, Seqs: seqs, Q: a[0], K: a[1], V: a[2], O: a[3], DO: a[4], LSE: a[5], DQ: a[7], DK: a[8], DV: a[9],
				Scratch: make([]float32, BackwardScratch(c, n))})
		},
		GPU: func(q *device.Queue, a []device.Tensor, scratch device.Tensor) {
			b := like
			b.Config, b.Q, b.K, b.V, b.O, b.DO, b.LSE, b.Seqs, b.DQ, b.DK, b.DV = c, a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9]
			b.Scratch = scratch
			DeviceBackward(q, &b)
		},
		Scratch: func(t device.Type) int64 { return backwardScratch(c, n, seqs.Len(), like.split, t) },
	}
}
