package swiglu

import (
	_ "embed"

	"github.com/gojet/gojet/kernels/device"
)

//go:embed swiglu.cu
var text string

// DeviceForwardArgs are the buffers of DeviceForward, all of one type.
type DeviceForwardArgs struct {
	Y    device.Tensor // [N, F] result; may be Gate or Up
	Gate device.Tensor // [N, F]
	Up   device.Tensor // [N, F]
}

// DeviceBackwardArgs are the buffers of DeviceBackward, all of one type.
type DeviceBackwardArgs struct {
	DGate device.Tensor // [N, F] result; may be any of the inputs
	DUp   device.Tensor // [N, F] result; may be any of the inputs
	Y     device.Tensor // [N, F] result: what DeviceForward computes, for those who did not keep it
	DY    device.Tensor // [N, F]
	Gate  device.Tensor // [N, F] as in DeviceForward
	Up    device.Tensor // [N, F]; not needed where DGate and Y are none
}

// DeviceForward queues the computation of a.Y.
func DeviceForward(q *device.Queue, a *DeviceForwardArgs) {
	want("y", a.Y.Len, a.Gate.Len)
	want("up", a.Up.Len, a.Gate.Len)
	k, grid := launch(q, "forward", a.Gate, a.Y, a.Up)
	q.Launch(k, grid, a.Y, a.Gate, a.Up, int64(a.Gate.Len))
}

// DeviceBackward queues the computation of the gradients that are not none.
func DeviceBackward(q *device.Queue, a *DeviceBackwardArgs) {
	want("dy", a.DY.Len, a.Gate.Len)
	if !a.DUp.None() {
		want("dup", a.DUp.Len, a.Gate.Len)
	}
	if !a.DGate.None() {
		want("dgate", a.DGate.Len, a.Gate.Len)
		want("up", a.Up.Len, a.Gate.Len)
	}
	if !a.Y.None() {
		want("y", a.Y.Len, a.Gate.Len)
		want("up", a.Up.Len, a.Gate.Len)
	}
	k, grid := launch(q, "backward", a.Gate, a.DGate, a.DUp, a.Y, a.DY, a.Up)
	q.Launch(k, grid, a.DGate, a.DUp, a.Y, a.DY, a.Gate, a.Up, int64(a.Gate.Len))
}

// blockPacks is how many packs a block takes.
const blockPacks = 512

func launch(q *device.Queue, name string, x device.Tensor, others ...device.Tensor) (*device.Kernel, device.Grid) {
	pack := device.Width(x.Len, append(others, x)...)
	k := q.Kernel(&device.Source{File: "swiglu.cu", Text: text}, name,
		device.Define{Name: "ELEMENT", Value: x.Type}, device.Define{Name: "PACK", Value: pack})
	return k, device.Grid{X: (x.Len/pack + blockPacks - 1) / blockPacks, Threads: 256}
}
