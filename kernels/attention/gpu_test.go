package attention

import (
	"slices"
	"testing"

	"github.com/gojet/gojet/bf16"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/packed"
)

func TestConformance(t *testing.T) {
	check.Battery(t, Conformance(), Large)
}

// Few of many sequences have tokens.
func TestMostlyEmpty(t *testing.T) {
	seqs := packed.Sequences{Cu: []int32{1}, Pos: make([]int32, 700), Slot: make([]int32, 700)}
	for s := range 700 {
		seqs.Cu = append(seqs.Cu, seqs.Cu[s])
		if slot := slices.Index([]int{130, 0, 699, 131}, s); slot >= 0 {
			seqs.Cu[s+1] += int32(s%7 + 1)
			seqs.Pos[s], seqs.Slot[s] = int32(s%50), int32(slot)
		}
	}
	check.Battery(t, []check.Case{cachedCase(Config{Heads: 2, KVHeads: 1, Dim: 16}, 60, seqs)})
}

// A sequence's result has the same bits whatever else is in the batch, and however many keys a block of decoding walks over;
// and it does not depend on what lies in the cache beyond the sequence.
func TestDeviceAlone(t *testing.T) {
	d := check.OpenDevice(t)
	const capacity, rows = 4700, 3
	c := Config{Heads: 2, KVHeads: 1, Dim: 64}
	r := check.Rand(3)
	upload := func(n int) device.Tensor {
		h := make([]bf16.BF16, n)
		for i := range h {
			h[i] = bf16.From(float32(r.NormFloat64()))
		}
		x := d.New(device.BF16, n)
		device.Upload(d, x, h)
		return x
	}
	lengths, positions := []int{1, 30, 3}, []int32{4650, 20, 700}
	cache := func() device.Tensor {
		x := upload(rows * capacity * c.stride())
		for s, p := range positions {
			d.Poison(x.Slice((s*capacity+int(p))*c.stride(), (capacity-int(p))*c.stride()))
		}
		return x
	}
	kc, vc := cache(), cache()
	n := 34
	q, k, v := upload(n*c.width()), upload(n*c.stride()), upload(n*c.stride())
	// run gives the result of sequences first to end.
	run := func(first, end, walk int) []bf16.BF16 {
		lo, seqs := 0, packed.Sequences{Cu: []int32{0}}
		for s, m := range lengths {
			if s < first {
				lo += m
			} else if s < end {
				seqs.Cu = append(seqs.Cu, seqs.Cu[s-first]+int32(m))
				seqs.Pos, seqs.Slot = append(seqs.Pos, positions[s]), append(seqs.Slot, int32(s))
			}
		}
		m := int(seqs.Cu[len(seqs.Cu)-1])
		o, scratch := d.New(device.BF16, m*c.width()), d.New(device.Float32, int(forwardScratch(c, m, seqs.Len(), capacity, device.BF16, walk)/4))
		d.Poison(o)
		d.Poison(scratch)
		DeviceForward(d, &DeviceForwardArgs{Config: c, Seqs: check.Ints(d, sequenceBuffer(seqs)), Q: q.Slice(lo*c.width(), m*c.width()),
			K: k.Slice(lo*c.stride(), m*c.stride()), V: v.Slice(lo*c.stride(), m*c.stride()), KCache: kc, VCache: vc, Cap: capacity, O: o, Scratch: scratch, walk: walk})
		h := make([]bf16.BF16, o.Len)
		if err := device.Download(d, h, o); err != nil {
			t.Fatal(err)
		}
		return h
	}
	together := run(0, 3, 1)
	for _, x := range together {
		if y := x.Float32(); y != y {
			t.Fatal("a result is not a number")
		}
	}
	if alone := slices.Concat(run(0, 1, 1), run(1, 2, 1), run(2, 3, 1)); !slices.Equal(together, alone) {
		t.Error("a sequence's result depends on the others in the batch")
	}
	for _, folds := range []int{1, 2} {
		if !slices.Equal(together, run(0, 3, folds*foldLeaves)) {
			t.Errorf("a sequence's result depends on the keys of a block: it is another with %d folds", folds)
		}
	}
}
