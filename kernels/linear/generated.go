package linear

import (
	_ "embed"

	"github.com/gojet/gojet/kernels/conv"
	"github.com/gojet/gojet/kernels/device"
)

//go:embed generated.cu
var generatedText string

// Shapes of generated.cu.
const (
	generatedTaps     = 4                                                                 // TAPS
	generatedChannels = ownColumns / generatedTaps                                        // CHANNELS
	generatedRows     = 8 + generatedTaps - 1                                             // of a WINDOW
	generatedAhead    = 3 * 4                                                             // FINISHERS·AHEAD
	generatedShared   = generatedAhead*generatedRows*generatedChannels*2 + 2*ownColumns*4 // windows, and biases of two tiles
)

// GeneratedConvArgs are the buffers of DeviceGeneratedConv: all of one type, but for Bias, float32.
type GeneratedConvArgs struct {
	conv.Config
	In        int
	Sequences device.Tensor // [3, S+1]: offsets, positions of first tokens, cache rows
	X         device.Tensor // [N, D]
	Hidden    device.Tensor // [N, In]
	W         device.Tensor // [D·W, In]
	Bias      device.Tensor // [D·W], or none
	Cache     device.Tensor // [rows, D, W−1]; none means zero

	Y        device.Tensor // result [N, D], or none
	Kernel   device.Tensor // result [N, D, W], the product, or none
	NewCache device.Tensor // result [rows, D, W−1], or none; may be Cache
	Scratch  device.Tensor // of GeneratedConvScratch bytes

	tuning tuning
}

// GeneratedConvScratch is in bytes, for n tokens and elements of type t.
func GeneratedConvScratch(f conv.Config, n int, t device.Type) int64 {
	return device.Aligned(int64(n) * int64(f.Dim*f.Taps) * int64(t.Size()))
}

// DeviceGeneratedConv queues a dynamic convolution of x whose kernels are hidden·wᵀ + bias.
func DeviceGeneratedConv(q *device.Queue, a *GeneratedConvArgs) {
	if !a.Dynamic {
		panic("linear: the kernels of a static convolution are not generated")
	}
	n, width := a.X.Len/a.Dim, a.Dim*a.Taps
	fits("x", a.X.Len, n, "D", a.Dim)
	fits("hidden", a.Hidden.Len, n, "In", a.In)
	fits("w", a.W.Len, width, "In", a.In)
	if !a.Bias.None() {
		fits("bias", a.Bias.Len, 1, "D·W", width)
	}
	if !a.Kernel.None() {
		fits("kernel", a.Kernel.Len, n, "D·W", width)
	}
	c := conv.DeviceForwardArgs{Config: a.Config, Sequences: a.Sequences, X: a.X, Kernel: a.Kernel, Cache: a.Cache, Y: a.Y, NewCache: a.NewCache}
	switch {
	case a.own(q, n):
		c.Y = device.Tensor{}
	case !a.Y.None() || !a.Kernel.None():
		if c.Kernel.None() {
			c.Kernel, _ = a.Scratch.Carve(a.X.Type, n*width)
		}
		DeviceForward(q, c.Kernel, a.Hidden, a.W, a.Bias, n, a.In, width)
	}
	if !c.Y.None() || !c.NewCache.None() {
		conv.DeviceForward(q, &c)
	}
}

// own queues y and the kernel as one product of our own, if it can.
func (a *GeneratedConvArgs) own(q *device.Queue, n int) bool {
	if a.Y.None() || a.Taps != generatedTaps || !a.SiLU || a.In <= (ownStages-1)*ownStep {
		return false
	}
	if !a.Bias.None() && (a.Bias.Type != device.Float32 || a.Bias.Ptr%16 != 0) {
		return false
	}
	if !a.tuning.own(q, n, []int{a.In, a.Dim}, a.X, a.Hidden, a.W, a.Cache, a.Y, a.Kernel) {
		return false
	}
	fits("y", a.Y.Len, n, "D", a.Dim)
	x := q.Describe(device.TensorMap{T: a.X, Rows: n, Cols: a.Dim, BoxRows: generatedRows, BoxCols: generatedChannels})
	tiles := (n + ownRows - 1) / ownRows * ((a.Dim + generatedChannels - 1) / generatedChannels)
	ownLaunch(q, ownKernel(q, "generated", "generated", generatedText), tiles, generatedShared,
		left(q, a.Hidden, n, a.In), right(q, a.W, a.Dim*a.Taps, a.In), x, a.Bias, a.Cache, a.Sequences, a.Y, a.Kernel, a.Sequences.Len/3-1, n, a.Dim, a.In)
	return true
}
