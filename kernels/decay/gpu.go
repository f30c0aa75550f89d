package decay

import (
	_ "embed"

	"github.com/gojet/gojet/kernels/device"
)

//go:embed decay.cu
var text string

// DeviceForwardArgs are the buffers of DeviceForward. A is of any float type, the others are float32. H is the length of
// ALog.
type DeviceForwardArgs struct {
	G      device.Tensor // [N, H] result, never above 0; may be A if that is float32
	A      device.Tensor // [N, H]
	ALog   device.Tensor // [H]
	DTBias device.Tensor // [H]
}

// DeviceBackwardArgs are the buffers of DeviceBackward. A and DA are of one type, the others are float32.
type DeviceBackwardArgs struct {
	DA      device.Tensor // [N, H] result; may be A
	DALog   device.Tensor // [H] result, summed over tokens
	DDTBias device.Tensor // [H] result, summed over tokens
	DG      device.Tensor // [N, H]
	A       device.Tensor // [N, H] as in DeviceForward
	ALog    device.Tensor // [H]
	DTBias  device.Tensor // [H]

	Scratch device.Tensor // DeviceScratch(N, H) bytes
}

func kernel(q *device.Queue, name string, t device.Type, h int, defines ...device.Define) *device.Kernel {
	return q.Kernel(&device.Source{File: "decay.cu", Text: text}, name,
		append(defines, device.Define{Name: "ELEMENT", Value: t}, device.Define{Name: "HEADS", Value: h})...)
}

// DeviceForward queues the computation of a.G.
func DeviceForward(q *device.Queue, a *DeviceForwardArgs) {
	tokens(a.A.Len, a.ALog.Len)
	want("g", a.G.Len, a.A.Len)
	want("dt_bias", a.DTBias.Len, a.ALog.Len)
	k := kernel(q, "forward", a.A.Type, a.ALog.Len)
	q.Launch(k, device.Grid{X: (a.A.Len + 255) / 256, Threads: 256}, a.G, a.A, a.ALog, a.DTBias, a.A.Len)
}

// deviceTokens is how many tokens a block takes: few, so that there are many blocks.
const deviceTokens = 64

func blocksOf(n int) int { return (n + deviceTokens - 1) / deviceTokens }

// DeviceScratch is the size of DeviceBackwardArgs.Scratch in bytes, for n tokens and h heads.
func DeviceScratch(n, h int) int64 { return device.Aligned(int64(blocksOf(n)*2*h) * 4) }

// DeviceBackward queues the computation of the gradients that are not none.
func DeviceBackward(q *device.Queue, a *DeviceBackwardArgs) {
	h := a.ALog.Len
	tokens(a.A.Len, h)
	want("dg", a.DG.Len, a.A.Len)
	want("dt_bias", a.DTBias.Len, h)
	n := a.A.Len / h
	part, _ := a.Scratch.Carve(device.Float32, blocksOf(n)*2*h)
	perBlock := device.Define{Name: "TOKENS", Value: deviceTokens}
	q.Launch(kernel(q, "backward", a.A.Type, h, perBlock), device.Grid{X: blocksOf(n), Threads: 256}, a.DA, part, a.DG, a.A, a.ALog, a.DTBias, n)
	if !a.DALog.None() || !a.DDTBias.None() {
		q.Launch(kernel(q, "finish", a.A.Type, h, perBlock), device.Grid{X: (2*h + 7) / 8, Threads: 256}, a.DALog, a.DDTBias, part, blocksOf(n))
	}
}
