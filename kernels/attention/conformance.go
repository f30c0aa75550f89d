package attention

import (
	"fmt"
	"slices"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/packed"
)

// Conformance is the battery of the operation.
func Conformance() []check.Case {
	return slices.Concat(forwardCases(), cachedCases(), backwardCases())
}

// Large is the part of the battery for GPUs alone: more tiles, and more ranges of a cache, than a device has processors.
func Large() []check.Case {
	offsets := []int32{5, 600, 600, 729, 1499}
	at, after := packed.Sequences{Cu: []int32{1, 2, 2, 3, 4, 64}, Pos: []int32{5999, 7, 4095, 4096, 2000}, Slot: someRows()},
		packed.Sequences{Cu: []int32{1, 2, 302, 302, 752}, Pos: []int32{999, 200, 7, 50}, Slot: someRows()}
	cases := []check.Case{
		forwardCase(Config{Heads: 12, KVHeads: 2, Dim: 128}, 1500, false, offsets...),
		forwardCase(Config{Heads: 12, KVHeads: 12, Dim: 64, Window: 300}, 1500, false, offsets...),
		cachedCase(Config{Heads: 12, KVHeads: 2, Dim: 128}, 6000, at),
		cachedCase(Config{Heads: 24, KVHeads: 2, Dim: 64}, 1000, after),
		backwardCase(grouped(), 1500, DeviceBackwardArgs{}, offsets...),
		backwardCase(grouped(), 1500, DeviceBackwardArgs{split: 1}, offsets...),
	}
	for i := range cases {
		cases[i].Only = []device.Type{device.BF16}
	}
	return cases
}

func forwardCases() []check.Case {
	whole := func(n int) []int32 { return []int32{0, int32(n)} }
	awkward := []int32{3, 4, 6, 6, 71, 203} // of 210 tokens: outside ones, single ones, an empty sequence
	var cases []check.Case
	for _, portable := range []bool{false, true} {
		cases = append(cases,
			forwardCase(Config{Heads: 2, KVHeads: 1, Dim: 128}, 1, portable, whole(1)...),
			forwardCase(Config{Heads: 6, KVHeads: 2, Dim: 128}, 210, portable, awkward...),
			forwardCase(Config{Heads: 1, KVHeads: 1, Dim: 128}, 530, portable, whole(530)...),
			forwardCase(Config{Heads: 2, KVHeads: 1, Dim: 128, Window: 40}, 330, portable, whole(330)...),
			forwardCase(Config{Heads: 1, KVHeads: 1, Dim: 128, Window: 200}, 600, portable, whole(600)...),
			forwardCase(Config{Heads: 4, KVHeads: 2, Dim: 64}, 210, portable, awkward...),
			forwardCase(Config{Heads: 1, KVHeads: 1, Dim: 64, Window: 129, Scale: 0.2}, 400, portable, whole(400)...),
		)
	}
	cases = append(cases,
		forwardCase(Config{Heads: 3, KVHeads: 1, Dim: 5}, 63, true, whole(63)...),
		forwardCase(Config{Heads: 4, KVHeads: 4, Dim: 16, Window: 1}, 65, true, whole(65)...),
		forwardCase(Config{Heads: 10, KVHeads: 2, Dim: 40, Window: 30}, 210, true, awkward...),
		forwardCase(Config{Heads: 2, KVHeads: 1, Dim: 96}, 130, true, whole(130)...),
		forwardCase(Config{Heads: 2, KVHeads: 1, Dim: 256}, 97, true, 0, 30, 97),
		forwardCase(Config{Heads: 140, KVHeads: 1, Dim: 8}, 5, true, whole(5)...),
	)
	return cases
}

// sequenceBuffer is what a device reads of q.
func sequenceBuffer(q packed.Sequences) []int32 {
	v := make([]int32, 3*len(q.Cu))
	copy(v, q.Cu)
	copy(v[len(q.Cu):], q.Pos)
	for s := range q.Len() {
		v[2*len(q.Cu)+s] = int32(q.Row(s))
	}
	return v
}

// forwardCase is the forward of n random tokens in sequences with offsets cu.
func forwardCase(c Config, n int, portable bool, cu ...int32) check.Case {
	r := check.Rand(uint64(n*37 + c.Dim))
	seqs := packed.Sequences{Cu: cu}
	path := ""
	if portable {
		path = ", portable"
	}
	return check.Case{
		Op:   "attention",
		Size: fmt.Sprintf("N %d, S %d, %d/%d heads, D %d, window %d%s", n, seqs.Len(), c.Heads, c.KVHeads, c.Dim, c.Window, path),
		Args: []check.Operand{
			{Name: "o", Role: check.Result, Float: make([]float64, n*c.width())},
			{Name: "lse", Role: check.Result, Float: make([]float64, n*c.Heads), Wide: true},
			{Name: "q", Float: check.Normal(r, n*c.width(), 1)}, {Name: "k", Float: check.Normal(r, n*c.stride(), 1)},
			{Name: "v", Float: check.Normal(r, n*c.stride(), 1)}, {Name: "sequences", Int: sequenceBuffer(seqs)},
		},
		Reference: func(a [][]float64) {
			ReferenceForward(&ForwardArgs[float64]{Config: c, Seqs: seqs, O: a[0], LSE: a[1], Q: a[2], K: a[3], V: a[4]})
		},
		CPU: func(cores *cpu.Cores, a [][]float32) {
			Forward(cores, &ForwardArgs[float32]{Config: c, Seqs: seqs, O: a[0], LSE: a[1], Q: a[2], K: a[3], V: a[4],
				Scratch: make([]float32, ForwardScratch(c, n))})
		},
		GPU: func(q *device.Queue, a []device.Tensor, scratch device.Tensor) {
			DeviceForward(q, &DeviceForwardArgs{Config: c, O: a[0], LSE: a[1], Q: a[2], K: a[3], V: a[4], Seqs: a[5], Scratch: scratch, portable: portable})
		},
		Scratch: func(t device.Type) int64 { return DeviceForwardScratch(c, n, seqs.Len(), 0, t) },
	}
}

// someRows are the rows of a cache that sequences have.
func someRows() []int32 { return []int32{3, 0, 1, 4, 2} }

// cachedCases are calls with a cache: single tokens, chunks, both together, rings that wrap within a chunk.
func cachedCases() []check.Case {
	of := func(lengths ...int32) []int32 {
		cu := []int32{1}
		for _, n := range lengths {
			cu = append(cu, cu[len(cu)-1]+n)
		}
		return cu
	}
	slots := someRows()
	return []check.Case{
		cachedCase(Config{Heads: 6, KVHeads: 2, Dim: 128}, 1200, packed.Sequences{Cu: of(1, 1, 0, 1, 1), Pos: []int32{1100, 0, 17, 1023, 31}, Slot: slots}),
		cachedCase(Config{Heads: 2, KVHeads: 1, Dim: 64}, 300, packed.Sequences{Cu: of(1, 90, 0, 9, 8), Pos: []int32{200, 70, 17, 0, 290}, Slot: slots}),
		cachedCase(Config{Heads: 2, KVHeads: 2, Dim: 128, Window: 60}, 59, packed.Sequences{Cu: of(1, 5, 130, 1, 61), Pos: []int32{1000, 100, 2000, 3, 58}, Slot: slots}),
		cachedCase(Config{Heads: 3, KVHeads: 1, Dim: 12, Window: 1300}, 1310, packed.Sequences{Cu: of(1, 2, 0, 1, 12), Pos: []int32{1022, 1309, 0, 4000, 1305}, Slot: slots}),
		cachedCase(Config{Heads: 36, KVHeads: 2, Dim: 40}, 50, packed.Sequences{Cu: of(1, 1, 2, 0, 10), Pos: []int32{48, 0, 47, 3, 20}, Slot: slots}),
		cachedCase(Config{Heads: 2, KVHeads: 1, Dim: 5, Window: 1}, 1, packed.Sequences{Cu: of(1, 10, 0, 2), Pos: []int32{48, 0, 0, 3}, Slot: slots}),
		cachedCase(Config{Heads: 2, KVHeads: 1, Dim: 256}, 80, packed.Sequences{Cu: of(1, 20), Pos: []int32{79, 30}, Slot: slots[1:]}),
		cachedCase(Config{Heads: 2, KVHeads: 1, Dim: 128}, 500, packed.Sequences{Cu: of(140, 9, 0, 129), Pos: []int32{0, 300, 2, 256}, Slot: slots}),
	}
}

// cachedCase is the forward of random tokens, one of them after the last sequence, with a cache of 5 rows.
func cachedCase(c Config, capacity int, seqs packed.Sequences) check.Case {
	const rows = 5
	n := int(seqs.Cu[seqs.Len()]) + 1
	r := check.Rand(uint64(n*41 + c.Dim))
	cache := rows * capacity * c.stride()
	return check.Case{
		Op:   "attention with a cache",
		Size: fmt.Sprintf("N %d, S %d, %d/%d heads, D %d, window %d, cap %d", n, seqs.Len(), c.Heads, c.KVHeads, c.Dim, c.Window, capacity),
		Args: []check.Operand{
			{Name: "o", Role: check.Result, Float: make([]float64, n*c.width())},
			{Name: "q", Float: check.Normal(r, n*c.width(), 1)}, {Name: "k", Float: check.Normal(r, n*c.stride(), 1)},
			{Name: "v", Float: check.Normal(r, n*c.stride(), 1)}, {Name: "sequences", Int: sequenceBuffer(seqs)},
			{Name: "k cache", Role: check.State, Float: check.Normal(r, cache, 1)}, {Name: "v cache", Role: check.State, Float: check.Normal(r, cache, 1)},
		},
		Reference: func(a [][]float64) {
			ReferenceForward(&ForwardArgs[float64]{Config: c, Seqs: seqs, O: a[0], Q: a[1], K: a[2], V: a[3], KCache: a[5], VCache: a[6], Cap: capacity})
		},
		CPU: func(cores *cpu.Cores, a [][]float32) {
			Forward(cores, &ForwardArgs[float32]{Config: c, Seqs: seqs, O: a[0], Q: a[1], K: a[2], V: a[3], KCache: a[5], VCache: a[6], Cap: capacity,
				Scratch: make([]float32, CachedScratch(c, n, seqs.Len(), capacity))})
		},
		GPU: func(q *device.Queue, a []device.Tensor, scratch device.Tensor) {
			DeviceForward(q, &DeviceForwardArgs{Config: c, O: a[0], Q: a[1], K: a[2], V: a[3], Seqs: a[4], KCache: a[5], VCache: a[6], Cap: capacity, Scratch: scratch})
		},
		Scratch: func(t device.Type) int64 { return DeviceForwardScratch(c, n, seqs.Len(), capacity, t) },
	}
}
