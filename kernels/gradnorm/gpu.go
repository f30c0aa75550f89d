package gradnorm

import (
	_ "embed"

	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/multi"
)

//go:embed gradnorm.cu
var text string

// Threads of a block, and the elements that it takes.
const (
	deviceThreads = 256
	devicePart    = 16384
)

// NewTable uploads where the gradients, float32 or bfloat16, are. They must stay there.
func NewTable(d *device.Device, grads []device.Tensor) *multi.Table {
	entries, lengths := make([]multi.Entry, len(grads)), make([]int, len(grads))
	for i, g := range grads {
		lengths[i] = g.Len
		entries[i].Pointer(g)
		entries[i].Long(g.Len)
		entries[i].Int(multi.Flags(g.Type == device.BF16, multi.Wide(g)))
		entries[i].Int(0)
	}
	return multi.New(d, entries, lengths, devicePart)
}

// DeviceClipArgs are a table of gradients and what is made of them.
type DeviceClipArgs struct {
	Table  *multi.Table
	Limit  float64       // of the norm; 0 clips nothing
	Result device.Tensor // float32 [2]: Norm and ClipFactor

	Sums device.Tensor // temporary, float64 [Table.Blocks]
}

// DeviceClip queues Norm and ClipFactor.
func DeviceClip(q *device.Queue, a *DeviceClipArgs) {
	kernel := func(name string) *device.Kernel {
		return q.Kernel(&device.Source{File: "gradnorm.cu", Text: text}, name,
			device.Define{Name: "BLOCK", Value: deviceThreads}, device.Define{Name: "LENGTH", Value: devicePart})
	}
	q.Launch(kernel("sum_squares"), device.Grid{X: a.Table.Blocks, Threads: deviceThreads}, a.Table.Entries, a.Table.Parts, a.Sums)
	q.Launch(kernel("clip"), device.Grid{X: 1, Threads: 1024}, a.Result, a.Sums, a.Table.Blocks, a.Limit)
}
