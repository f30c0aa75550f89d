package groupnorm

import (
	_ "embed"

	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/sums"
)

//go:embed groupnorm.cu
var text string

// DeviceForwardArgs are the buffers of DeviceForward. X and Y are of one type, weights are float32.
type DeviceForwardArgs struct {
	Config
	X    device.Tensor // [N, D]
	W, B device.Tensor // [D]
	Y    device.Tensor // [N, D]; may be X
}

// DeviceBackwardArgs are the buffers of DeviceBackward.
type DeviceBackwardArgs struct {
	Config
	X, W   device.Tensor
	DY     device.Tensor // [N, D]
	DX     device.Tensor // [N, D]; not DY, nor X
	DW, DB device.Tensor // float32 [D]

	Scratch device.Tensor // DeviceScratch(N, D) bytes
}

func (f Config) kernel(q *device.Queue, name string, t device.Type, d int) *device.Kernel {
	return q.Kernel(&device.Source{File: "groupnorm.cu", Text: text}, name, device.Define{Name: "REAL", Value: t},
		device.Define{Name: "DIM", Value: d}, device.Define{Name: "GROUP", Value: f.Width})
}

const (
	threads    = 256
	mostShares = 128 // of the tokens in a sum over them
	shareMin   = 32  // tokens of a share, at least
)

func shares(n int) int { return max(1, min(mostShares, n/shareMin)) }

// grid gives every group a warp.
func grid(groups int) device.Grid {
	return device.Grid{X: (groups*32 + threads - 1) / threads, Threads: threads}
}

// DeviceForward queues Forward.
func DeviceForward(q *device.Queue, a *DeviceForwardArgs) {
	_, d := a.check(a.X.Len, a.W.Len, a.B.Len, a.Y.Len)
	groups := a.X.Len / a.Width
	q.Launch(a.kernel(q, "forward", a.X.Type, d), grid(groups), a.Y, a.X, a.W, a.B, groups, a.Eps)
}

// DeviceScratch returns the bytes of temporary memory of a DeviceBackward on n tokens of d features.
func (f Config) DeviceScratch(n, d int) int64 {
	return device.Aligned(8*int64(n*d/f.Width)) + 2*device.Aligned(4*int64(shares(n)*d))
}

// DeviceBackward queues the computation of the gradients that are not none.
func DeviceBackward(q *device.Queue, a *DeviceBackwardArgs) {
	n, d := a.check(a.X.Len, a.W.Len, a.DY.Len)
	groups := a.X.Len / a.Width
	stats, rest := a.Scratch.Carve(device.Float32, 2*groups)
	dw, rest := rest.Carve(device.Float32, shares(n)*d)
	db, _ := rest.Carve(device.Float32, shares(n)*d)
	q.Launch(a.kernel(q, "backward", a.X.Type, d), grid(groups), a.DX, stats, a.X, a.W, a.DY, groups, a.Eps)
	q.Launch(a.kernel(q, "weights", a.X.Type, d), device.Grid{X: (d + 31) / 32, Y: shares(n), Threads: threads}, dw, db, stats, a.X, a.DY, n)
	if !a.DW.None() {
		sums.DeviceForward(q, a.DW, dw)
	}
	if !a.DB.None() {
		sums.DeviceForward(q, a.DB, db)
	}
}
