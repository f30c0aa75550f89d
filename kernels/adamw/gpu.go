package adamw

import (
	_ "embed"
	"fmt"
	"math"

	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/multi"
)

//go:embed adamw.cu
var text string

// Threads of a block, and the elements that it takes.
const (
	deviceThreads = 256
	devicePart    = 16384
)

// DeviceParam is one tensor on a device: Args without what changes from step to step.
type DeviceParam struct {
	Beta1, Beta2, Epsilon, WeightDecay float64

	Param  device.Tensor // float32 or bfloat16, advanced in place
	Master device.Tensor // float32, what a bfloat16 Param is rounded from; none where Param is float32
	M, V   device.Tensor // float32, advanced in place
	G      device.Tensor // gradient, float32 or bfloat16
	Done   device.Tensor // result float32 [1]: 1 where the step was taken, 0 where not; may be none
}

func (p *DeviceParam) check() error {
	for _, t := range []device.Tensor{p.M, p.V, p.G} {
		if t.Len != p.Param.Len {
			return fmt.Errorf("adamw: m, v and g have %d, %d and %d values, want %d each", p.M.Len, p.V.Len, p.G.Len, p.Param.Len)
		}
	}
	if half := p.Param.Type == device.BF16; half == p.Master.None() || half && p.Master.Len != p.Param.Len {
		return fmt.Errorf("adamw: a %s parameter of %d values has a master of %d", p.Param.Type, p.Param.Len, p.Master.Len)
	}
	return nil
}

// NewTable uploads where the tensors are. They must stay there.
func NewTable(d *device.Device, params []DeviceParam) *multi.Table {
	entries, lengths := make([]multi.Entry, len(params)), make([]int, len(params))
	for i := range params {
		p, e := &params[i], &entries[i]
		must(p.check())
		lengths[i] = p.Param.Len
		e.Pointer(p.Param, p.Master, p.M, p.V, p.G, p.Done)
		e.Long(p.Param.Len)
		e.Int(multi.Flags(p.G.Type == device.BF16, p.Param.Type == device.BF16, multi.Wide(p.Param, p.Master, p.M, p.V, p.G)))
		e.Float(p.WeightDecay, p.Beta1, p.Beta2, 1-p.Beta1, 1-p.Beta2, math.Log(p.Beta1), math.Log(p.Beta2), p.Epsilon)
		e.Int(0)
	}
	return multi.New(d, entries, lengths, devicePart)
}

// DeviceArgs are a step of all tensors of a table.
type DeviceArgs struct {
	Table    *multi.Table
	Clip     device.Tensor // float32 [2]: the norm of all gradients and the factor that clips it; no step where the norm is not finite
	Settings device.Tensor // float32 [2]: learning rate and number of the step, from 1
}

// DeviceStep queues Step on all tensors of a table.
func DeviceStep(q *device.Queue, a *DeviceArgs) {
	q.Launch(kernel(q, "step"), device.Grid{X: a.Table.Blocks, Threads: deviceThreads}, a.Table.Entries, a.Table.Parts, a.Clip, a.Settings)
}

// DeviceSum is one tensor of a running sum of gradients.
type DeviceSum struct {
	Sum  device.Tensor // float32, advanced in place
	G    device.Tensor // float32 or bfloat16
	Done device.Tensor // result float32 [1]: 1; may be none
}

// NewSums uploads where the tensors are. They must stay there.
func NewSums(d *device.Device, sums []DeviceSum) *multi.Table {
	entries, lengths := make([]multi.Entry, len(sums)), make([]int, len(sums))
	for i, s := range sums {
		if s.G.Len != s.Sum.Len {
			panic(fmt.Sprintf("adamw: a gradient has %d values, want %d", s.G.Len, s.Sum.Len))
		}
		lengths[i] = s.Sum.Len
		entries[i].Pointer(s.Sum, s.G, s.Done)
		entries[i].Long(s.Sum.Len)
		wide := multi.Wide(s.Sum, s.G)
		entries[i].Int(multi.Flags(s.G.Type == device.BF16, false, wide))
		entries[i].Int(0)
	}
	return multi.New(d, entries, lengths, devicePart)
}

// DeviceAccumulate queues adding the gradients of a table of NewSums to their sums.
func DeviceAccumulate(q *device.Queue, t *multi.Table) {
	q.Launch(kernel(q, "accumulate"), device.Grid{X: t.Blocks, Threads: deviceThreads}, t.Entries, t.Parts)
}

func kernel(q *device.Queue, name string) *device.Kernel {
	return q.Kernel(&device.Source{File: "adamw.cu", Text: text}, name,
		device.Define{Name: "BLOCK", Value: deviceThreads}, device.Define{Name: "LENGTH", Value: devicePart})
}
