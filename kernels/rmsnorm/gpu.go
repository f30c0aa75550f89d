package rmsnorm

import (
	_ "embed"

	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/sums"
)

//go:embed rmsnorm.cu
var text string

// DeviceForwardArgs are the buffers of DeviceForward. X, Gate and Y are of one type, W is float32; D is the length of W.
type DeviceForwardArgs struct {
	Y    device.Tensor // [R, D] result; may be X
	X    device.Tensor // [R, D]
	W    device.Tensor // [D]
	Gate device.Tensor // [R, D]; none for the plain form
	Eps  float64       // added to the mean square
}

// DeviceBackwardArgs are the buffers of DeviceBackward. W and DW are float32, the others of the type of X.
type DeviceBackwardArgs struct {
	DX    device.Tensor // [R, D] result; may be DY
	DW    device.Tensor // [D] result, summed over rows
	DGate device.Tensor // [R, D] result; none for the plain form
	DY    device.Tensor // [R, D]
	X     device.Tensor // [R, D] as in DeviceForward
	W     device.Tensor // [D]
	Gate  device.Tensor // [R, D]; none for the plain form
	Eps   float64       // as in DeviceForward

	Scratch device.Tensor // DeviceScratch(R, D) bytes; without DW, none
}

func kernel(q *device.Queue, name string, r device.Rows, t device.Type, gated, sum bool) *device.Kernel {
	return q.Kernel(&device.Source{File: "rmsnorm.cu", Text: text}, name, r.Defines(
		device.Define{Name: "ELEMENT", Value: t}, device.Define{Name: "GATED", Value: gated}, device.Define{Name: "SUM", Value: sum})...)
}

// DeviceForward queues the computation of a.Y.
func DeviceForward(q *device.Queue, a *DeviceForwardArgs) {
	d := a.W.Len
	want("y", a.Y.Len, a.X.Len)
	rows := rowsOf(a.X.Len, d)
	if !a.Gate.None() {
		want("gate", a.Gate.Len, a.X.Len)
	}
	r := device.NewRows(d, 64, a.Y, a.X, a.W, a.Gate)
	k := kernel(q, "forward", r, a.X.Type, !a.Gate.None(), false)
	q.Launch(k, r.Grid(rows), a.Y, a.X, a.W, a.Gate, rows, a.Eps)
}

// parts is the most partial sums of DW that a backward pass makes: as many as there are blocks that keep a large GPU busy.
func parts(d int) int {
	if d <= 512 {
		return 1056
	}
	return 264
}

// DeviceScratch is the size of DeviceBackwardArgs.Scratch in bytes, for r rows of d features.
func DeviceScratch(r, d int) int64 { return int64(min(r, parts(d))) * int64(d) * 4 }

// DeviceBackward queues the computation of the gradients that are wanted.
func DeviceBackward(q *device.Queue, a *DeviceBackwardArgs) {
	d := a.W.Len
	rows := rowsOf(a.X.Len, d)
	want("dy", a.DY.Len, a.X.Len)
	for _, b := range []struct {
		name string
		t    device.Tensor
	}{{"dx", a.DX}, {"gate", a.Gate}, {"dgate", a.DGate}} {
		if !b.t.None() {
			want(b.name, b.t.Len, a.X.Len)
		}
	}
	if rows == 0 {
		q.Zero(a.DW)
		return
	}
	r := device.NewRows(d, 48, a.DX, a.DGate, a.DY, a.X, a.W, a.Gate)
	grid := r.Grid(rows)
	grid.X = min(grid.X, parts(d))
	k := kernel(q, "backward", r, a.X.Type, !a.Gate.None(), !a.DW.None())
	var part device.Tensor
	if !a.DW.None() {
		part, _ = a.Scratch.Carve(device.Float32, grid.X*d)
	}
	q.Launch(k, grid, a.DX, part, a.DGate, a.DY, a.X, a.W, a.Gate, rows, a.Eps)
	if !a.DW.None() {
		sums.DeviceForward(q, a.DW, part)
	}
}
