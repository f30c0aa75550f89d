package conv

import (
	"fmt"
	"math/rand/v2"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/packed"
)

// Conformance is the battery of the operation.
func Conformance() []check.Case {
	return problemCases([]problemCase{
		{Config: Config{Dim: 64, Taps: 4, SiLU: true}, lengths: []int{62, 1, 0, 2, 70}, gap: 3, cache: true, bias: true},
		{Config: Config{Dim: 320, Taps: 4, SiLU: true}, lengths: []int{131}},
		{Config: Config{Dim: 19, Taps: 4, SiLU: true}, lengths: []int{1, 2, 0, 1, 63, 65}, cache: true},
		{Config: Config{Dim: 12, Taps: 4}, lengths: []int{1, 1, 0, 1, 3, 1}, gap: 2, cache: true},
		{Config: Config{Dim: 8, Taps: 4, SiLU: true}, lengths: []int{1, 1, 1}, cache: true},
		{Config: Config{Dim: 22, Taps: 3, SiLU: true}, lengths: []int{5, 0, 30}, gap: 40, cache: true},
		{Config: Config{Dim: 24, Taps: 1}, lengths: []int{3, 4}},
		{Config: Config{Dim: 16, Taps: 2, SiLU: true}, lengths: []int{33}, cache: true},
		{Config: Config{Dim: 10, Taps: 7, SiLU: true}, lengths: []int{3, 66}, cache: true, bias: true},
	})
}

// Large is the part of the battery for GPUs alone.
func Large() []check.Case {
	return problemCases([]problemCase{
		{Config: Config{Dim: 3072, Taps: 4, SiLU: true}, lengths: []int{300, 0, 211}, gap: 5, cache: true},
	})
}

func problemCases(problems []problemCase) []check.Case {
	var cases []check.Case
	for _, dynamic := range []bool{false, true} {
		for _, p := range problems {
			p.Dynamic = dynamic
			p.bias = p.bias && !dynamic
			cases = append(cases, p.forward(), p.backward())
		}
	}
	return cases
}

// problemCase is a convolution with sequences of given lengths and gap tokens before and after them. Cache rows stand in
// reverse.
type problemCase struct {
	Config
	lengths     []int
	gap         int
	bias, cache bool
}

func (p problemCase) sequences() (q packed.Sequences, tokens int) {
	tokens = p.gap
	q.Cu = []int32{int32(tokens)}
	for i, t := range p.lengths {
		tokens += t
		q.Cu = append(q.Cu, int32(tokens))
		q.Slot = append(q.Slot, int32(len(p.lengths)-1-i))
	}
	return q, tokens + p.gap
}

// inputs are x, kernel, bias, cache and the sequences.
func (p problemCase) inputs(r *rand.Rand) []check.Operand {
	q, n := p.sequences()
	kernel, _ := p.kernelLen(n)
	in := []check.Operand{
		{Name: "x", Float: check.Normal(r, n*p.Dim, 1)},
		{Name: "kernel", Float: check.Normal(r, kernel, 0.7), Wide: !p.Dynamic},
		{Name: "bias", Wide: true},
		{Name: "cache"},
		{Name: "sequences", Int: q.Buffer()},
	}
	if p.bias {
		in[2].Float = check.Normal(r, p.Dim, 1)
	}
	if p.cache {
		in[3].Float = check.Normal(r, len(p.lengths)*p.CacheLen(), 1)
	}
	return in
}

func (p problemCase) size() string {
	return fmt.Sprintf("D %d, W %d, dynamic %v, T %v", p.Dim, p.Taps, p.Dynamic, p.lengths)
}

// given is none for an operand without values.
func given(t device.Tensor) device.Tensor {
	if t.Len == 0 {
		return device.Tensor{}
	}
	return t
}

// forward advances one cache in place and writes another anew.
func (p problemCase) forward() check.Case {
	q, n := p.sequences()
	r := check.Rand(uint64(n))
	args := append([]check.Operand{
		{Name: "y", Role: check.Result, Float: make([]float64, n*p.Dim)},
		{Name: "new cache", Role: check.Result},
		{Name: "advanced cache", Role: check.State},
		{Name: "y of few tokens", Role: check.Result, Float: make([]float64, n*p.Dim)},
	}, p.inputs(r)...)
	if p.cache {
		args[1].Float = make([]float64, len(p.lengths)*p.CacheLen())
		args[2].Float = check.Normal(r, len(args[1].Float), 1)
	}
	return check.Case{
		Op: "conv", Size: p.size(), Args: args,
		Reference: func(a [][]float64) {
			ReferenceForward(caseForward(p, q, a, a[7], a[1], a[0]))
			ReferenceForward(caseForward(p, q, a, a[2], a[2], a[3]))
		},
		CPU: func(c *cpu.Cores, a [][]float32) {
			Forward(c, caseForward(p, q, a, a[7], a[1], a[0]))
			Forward(c, caseForward(p, q, a, a[2], a[2], a[3]))
		},
		GPU: func(queue *device.Queue, a []device.Tensor, _ device.Tensor) {
			f := DeviceForwardArgs{Config: p.Config, Sequences: a[8], X: a[4], Kernel: a[5], Bias: given(a[6]), Cache: given(a[7]), NewCache: given(a[1]), Y: a[0]}
			DeviceForward(queue, &f)
			f.Cache, f.NewCache, f.Y = given(a[2]), given(a[2]), a[3]
			DeviceForward(queue, &f)
		},
	}
}

func caseForward[T kernels.Float](p problemCase, q packed.Sequences, a [][]T, cache, newCache, y []T) *ForwardArgs[T] {
	return &ForwardArgs[T]{Config: p.Config, Seqs: q, X: a[4], Kernel: a[5], Bias: a[6], Cache: cache, NewCache: newCache, Y: y}
}

func (p problemCase) backward() check.Case {
	q, n := p.sequences()
	r := check.Rand(uint64(n))
	in := p.inputs(r)
	args := append([]check.Operand{
		{Name: "dx", Role: check.Result, Float: make([]float64, n*p.Dim)},
		{Name: "dkernel", Role: check.Result, Float: make([]float64, len(in[1].Float)), Wide: !p.Dynamic},
		{Name: "dbias", Role: check.Result, Wide: true},
		{Name: "dcache", Role: check.Result},
		{Name: "dy", Float: check.Normal(r, n*p.Dim, 1)},
	}, in...)
	if p.bias {
		args[2].Float = make([]float64, p.Dim)
	}
	if p.cache {
		args[3].Float = make([]float64, len(in[3].Float))
	}
	sum := check.Operand{Name: "sum of dkernel", Role: check.Result, Wide: true}
	if p.Dynamic {
		sum.Float = make([]float64, p.Dim*p.Taps)
	}
	args = append(args, sum)
	return check.Case{
		Op: "conv backward", Size: p.size(), Args: args,
		Reference: func(a [][]float64) {
			ReferenceBackward(caseBackward(p, q, a))
			sumKernels(a[10], a[1])
		},
		CPU: func(c *cpu.Cores, a [][]float32) {
			Backward(c, caseBackward(p, q, a))
			sumKernels(a[10], a[1]) // whoever adds a bias to kernels has it
		},
		GPU: func(queue *device.Queue, a []device.Tensor, scratch device.Tensor) {
			DeviceBackward(queue, &DeviceBackwardArgs{Config: p.Config, Sequences: a[9], X: a[5], Kernel: a[6], Bias: given(a[7]), Cache: given(a[8]), DY: a[4],
				DX: a[0], DKernel: a[1], DBias: given(a[2]), DCache: given(a[3]), DKernelSum: given(a[10]), Scratch: scratch})
		},
		Scratch: func(device.Type) int64 { return p.DeviceScratch(n) },
	}
}

// sumKernels adds up the kernels of all tokens.
func sumKernels[T kernels.Float](to, kernels []T) {
	clear(to)
	for i, x := range kernels {
		if len(to) > 0 {
			to[i%len(to)] += x
		}
	}
}

func caseBackward[T kernels.Float](p problemCase, q packed.Sequences, a [][]T) *BackwardArgs[T] {
	return &BackwardArgs[T]{Config: p.Config, Seqs: q, X: a[5], Kernel: a[6], Bias: a[7], Cache: a[8], DY: a[4],
		DX: a[0], DKernel: a[1], DBias: a[2], DCache: a[3]}
}
