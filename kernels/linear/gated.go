package linear

import (
	_ "embed"

	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/swiglu"
)

//go:embed gated.cu
var gatedText string

//go:embed gated_backward.cu
var gatedBackwardText string

// GatedForwardArgs are the buffers of DeviceGated, all of one type.
type GatedForwardArgs struct {
	N, In, F int
	Y        device.Tensor // result [N, F], or none
	Gate, Up device.Tensor // results [N, F], the two products, or none
	X        device.Tensor // [N, In]
	WGate    device.Tensor // [F, In]
	WUp      device.Tensor // [F, In]
	Scratch  device.Tensor // of GatedForwardScratch bytes

	tuning tuning
}

// GatedForwardScratch is in bytes, for elements of type t.
func GatedForwardScratch(n, f int, t device.Type) int64 {
	return device.Aligned(int64(n) * int64(f) * int64(t.Size()))
}

// DeviceGated queues y = silu(x·wgᵀ)·(x·wuᵀ), the first half of a gated feed-forward layer.
func DeviceGated(q *device.Queue, a *GatedForwardArgs) {
	fits("x", a.X.Len, a.N, "In", a.In)
	fits("gate's w", a.WGate.Len, a.F, "In", a.In)
	fits("up's w", a.WUp.Len, a.F, "In", a.In)
	both := !a.Gate.None() && !a.Up.None()
	if a.Y.None() && a.Gate.None() && a.Up.None() {
		return
	}
	if (both || a.Gate.None() && a.Up.None()) && a.tuning.own(q, a.N, []int{a.In, a.F}, a.X, a.WGate, a.WUp, a.Y, a.Gate, a.Up) {
		const half = ownColumns / 2
		launch(q, "gated", gatedText, a.N, (a.F+half-1)/half, left(q, a.X, a.N, a.In), right(q, a.WGate, a.F, a.In), right(q, a.WUp, a.F, a.In),
			a.Y, a.Gate, a.Up, a.N, a.F, a.In)
		return
	}
	gate, up := a.Gate, a.Up
	if !a.Y.None() {
		if gate.None() {
			gate = a.Y
		}
		if up.None() {
			up, _ = a.Scratch.Carve(a.X.Type, a.N*a.F)
		}
	}
	if !gate.None() {
		DeviceForward(q, gate, a.X, a.WGate, device.Tensor{}, a.N, a.In, a.F)
	}
	if !up.None() {
		DeviceForward(q, up, a.X, a.WUp, device.Tensor{}, a.N, a.In, a.F)
	}
	if !a.Y.None() {
		swiglu.DeviceForward(q, &swiglu.DeviceForwardArgs{Y: a.Y, Gate: gate, Up: up})
	}
}

// GatedBackwardArgs are the buffers of DeviceGatedBackward, all of one type.
type GatedBackwardArgs struct {
	N, F, Out int
	DGate     device.Tensor // result [N, F]
	DUp       device.Tensor // result [N, F]
	Y         device.Tensor // result [N, F], what DeviceGated computes, for those who did not keep it; or none
	DY        device.Tensor // [N, Out], the gradient of y·wᵀ
	W         device.Tensor // [Out, F]
	Gate, Up  device.Tensor // [N, F], as DeviceGated leaves them

	tuning tuning
}

// DeviceGatedBackward queues the gradients with respect to gate and up of silu(gate)·up·wᵀ.
func DeviceGatedBackward(q *device.Queue, a *GatedBackwardArgs) {
	fits("dy", a.DY.Len, a.N, "Out", a.Out)
	fits("w", a.W.Len, a.Out, "F", a.F)
	fits("gate", a.Gate.Len, a.N, "F", a.F)
	fits("up", a.Up.Len, a.N, "F", a.F)
	fits("dgate", a.DGate.Len, a.N, "F", a.F)
	fits("dup", a.DUp.Len, a.N, "F", a.F)
	if a.tuning.own(q, a.N, []int{a.Out, a.F}, a.DY, a.W, a.Gate, a.Up, a.DGate, a.DUp, a.Y) {
		launch(q, "gated_backward", gatedBackwardText, a.N, (a.F+ownColumns-1)/ownColumns, left(q, a.DY, a.N, a.Out), right(q, a.W, a.Out, a.F),
			a.Gate, a.Up, a.DGate, a.DUp, a.Y, a.N, a.F, a.Out)
		return
	}
	DeviceBackwardInput(q, a.DGate, a.DY, a.W, a.N, a.F, a.Out)
	swiglu.DeviceBackward(q, &swiglu.DeviceBackwardArgs{DGate: a.DGate, DUp: a.DUp, Y: a.Y, DY: a.DGate, Gate: a.Gate, Up: a.Up})
}
