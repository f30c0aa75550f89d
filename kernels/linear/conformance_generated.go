package linear

import (
	"fmt"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/conv"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/packed"
)

// generatedCase is a dynamic convolution with generated kernels, of sequences of given lengths and gap tokens before and after
// them. Cache rows stand in reverse.
type generatedCase struct {
	conv.Config
	in      int
	lengths []int
	gap     int
	cache   bool
}

// generatedCases are by products of our own where a device has them and the shape allows it.
func generatedCases() []check.Case {
	return bothWays([]generatedCase{
		{Config: four(72), in: 136, lengths: []int{62, 1, 0, 2, 70}, gap: 3, cache: true},
		{Config: four(8), in: 200, lengths: []int{1, 2, 0, 1, 3, 2}, cache: true},
		{Config: four(136), in: 136, lengths: []int{257}},
		{Config: four(64), in: 136, lengths: []int{0, 7, 0, 0, 30}, gap: 141},
		{Config: four(328), in: 136, lengths: []int{130, 5, 131}, gap: 1, cache: true},
		{Config: four(24), in: 64, lengths: []int{33, 2}, cache: true},
		{Config: conv.Config{Dim: 10, Taps: 3, Dynamic: true}, in: 5, lengths: []int{4, 0, 9}, gap: 2, cache: true},
	})
}

func largeGeneratedCases() []check.Case {
	return bothWays([]generatedCase{
		{Config: four(1032), in: 392, lengths: []int{900, 0, 3, 1100}, gap: 2, cache: true},
	})
}

func four(d int) conv.Config { return conv.Config{Dim: d, Taps: 4, Dynamic: true, SiLU: true} }

// bothWays are cases with kernels kept and not.
func bothWays(problems []generatedCase) []check.Case {
	var cases []check.Case
	for _, c := range problems {
		for _, kept := range []bool{false, true} {
			cases = append(cases, c.forward(kept))
		}
	}
	return cases
}

func (c generatedCase) sequences() (q packed.Sequences, tokens int) {
	tokens = c.gap
	q.Cu = []int32{int32(tokens)}
	for i, t := range c.lengths {
		tokens += t
		q.Cu = append(q.Cu, int32(tokens))
		q.Slot = append(q.Slot, int32(len(c.lengths)-1-i))
	}
	return q, tokens + c.gap
}

// forward advances a cache in place where kernels are kept, and writes another anew where they are not.
func (c generatedCase) forward(kept bool) check.Case {
	q, n := c.sequences()
	d, width := c.Dim, c.Dim*c.Taps
	scaled := func(name string, seed, n int, scale float64) check.Operand {
		return check.Operand{Name: name, Float: check.Normal(check.Rand(uint64(seed)), n, scale)}
	}
	bias := scaled("bias", 4, width, 0.5)
	bias.Wide = true
	args := []check.Operand{
		empty("y", n*d), scaled("x", 1, n*d, 1), scaled("hidden", 2, n*c.in, 1), scaled("w", 3, width*c.in, 0.05), bias,
		{Name: "sequences", Int: q.Buffer()}, {Name: "cache"}, {Name: "new cache", Role: check.Result}, {Name: "kernel", Role: check.Result},
	}
	if c.cache {
		args[6] = scaled("cache", 5, len(c.lengths)*c.CacheLen(), 1)
		if kept {
			args[6].Role = check.State
		} else {
			args[7] = empty("new cache", len(args[6].Float))
		}
	}
	op := "generated conv"
	if kept {
		args[8] = empty("kernel", n*width)
		op += ", kernels kept"
	}
	given := func(t device.Tensor) device.Tensor {
		if t.Len == 0 {
			return device.Tensor{}
		}
		return t
	}
	return check.Case{
		Op: op, Size: fmt.Sprintf("In %d, D %d, W %d, T %v", c.in, d, c.Taps, c.lengths), Args: args,
		Scratch: func(t device.Type) int64 { return GeneratedConvScratch(c.Config, n, t) },
		Reference: func(a [][]float64) {
			kernel := make([]float64, n*width)
			ReferenceForward(kernel, a[2], a[3], a[4], n, c.in, width)
			copy(a[8], kernel)
			f := conv.ForwardArgs[float64]{Config: c.Config, Seqs: q, X: a[1], Kernel: kernel, Cache: a[6], Y: a[0], NewCache: a[7]}
			if kept {
				f.NewCache = a[6]
			}
			conv.ReferenceForward(&f)
		},
		GPU: func(queue *device.Queue, a []device.Tensor, scratch device.Tensor) {
			g := GeneratedConvArgs{
				Config: c.Config, In: c.in, Sequences: a[5], X: a[1], Hidden: a[2], W: a[3], Bias: a[4], Cache: given(a[6]),
				Y: a[0], Kernel: given(a[8]), NewCache: given(a[7]), Scratch: scratch, tuning: tuning{always: true},
			}
			if kept {
				g.NewCache = g.Cache
			}
			DeviceGeneratedConv(queue, &g)
		},
	}
}
