package gatedlinear

import (
	_ "embed"

	"github.com/gojet/gojet/kernels/device"
)

//go:embed step.cu
var stepText string

// few says whether step.cu is the faster way: decoding has one token of every sequence. It is right for any lengths.
func few(n, s int) bool { return n <= max(s, 4) }

// stepBlock is how step.cu cuts a state: columns at a time for each thread, threads along a row, warps of a block. A
// thread has at most 24 rows, 96 values.
func (f Config) stepBlock() (each, lanes, warps int) {
	each = 4
	for f.ValueDim%each != 0 {
		each /= 2
	}
	most := 32
	if f.KeyDim > 256 {
		most = 16
	}
	lanes = 1
	for lanes < most && lanes*each < f.ValueDim {
		lanes *= 2
	}
	warps = 4
	for ceil(f.KeyDim, 32*warps/lanes) > 24 {
		warps *= 2
	}
	return each, lanes, warps
}

// step queues step.cu.
func (a *DeviceForwardArgs) step(q *device.Queue, n, s int) {
	each, lanes, warps := a.stepBlock()
	kernel := q.Kernel(&device.Source{File: "gatedlinear/step.cu", Text: stepText}, "step", append(a.defines(a.V.Type),
		device.Define{Name: "LANES", Value: lanes}, device.Define{Name: "WARPS", Value: warps})...)
	q.Launch(kernel, device.Grid{X: ceil(a.ValueDim, lanes*each), Y: a.Heads, Z: s, Threads: 32 * warps},
		a.Q, a.K, a.V, a.G, a.A, a.B, a.Sequences, n, s, a.H0, a.HT, a.O)
}
