package l2norm

import (
	_ "embed"

	"github.com/gojet/gojet/kernels/device"
)

//go:embed l2norm.cu
var text string

// DeviceForwardArgs are the buffers of DeviceForward, all of one type.
type DeviceForwardArgs struct {
	Y     device.Tensor // [R, K] result; may be X
	X     device.Tensor // [R, K]
	K     int           // features of a row
	Scale float64       // the length that rows get
}

// DeviceBackwardArgs are the buffers of DeviceBackward, all of one type.
type DeviceBackwardArgs struct {
	DX    device.Tensor // [R, K] result; may be DY or X
	DY    device.Tensor // [R, K]
	X     device.Tensor // [R, K] as in DeviceForward
	K     int           // features of a row
	Scale float64       // as in DeviceForward
}

// DeviceForward queues the computation of a.Y.
func DeviceForward(q *device.Queue, a *DeviceForwardArgs) {
	lengths("y", a.Y.Len, a.X.Len, a.K)
	k, grid, rows := launch(q, "forward", a.K, a.X, a.Y)
	q.Launch(k, grid, a.Y, a.X, rows, a.Scale, Eps)
}

// DeviceBackward queues the computation of a.DX.
func DeviceBackward(q *device.Queue, a *DeviceBackwardArgs) {
	lengths("dx", a.DX.Len, a.X.Len, a.K)
	lengths("dy", a.DY.Len, a.X.Len, a.K)
	k, grid, rows := launch(q, "backward", a.K, a.X, a.DX, a.DY)
	q.Launch(k, grid, a.DX, a.DY, a.X, rows, a.Scale, Eps)
}

func launch(q *device.Queue, name string, k int, x device.Tensor, others ...device.Tensor) (*device.Kernel, device.Grid, int) {
	r := device.NewRows(k, 64, append(others, x)...)
	src := &device.Source{File: "l2norm.cu", Text: text}
	return q.Kernel(src, name, r.Defines(device.Define{Name: "ELEMENT", Value: x.Type})...), r.Grid(x.Len / k), x.Len / k
}
