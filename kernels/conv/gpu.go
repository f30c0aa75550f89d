package conv

import (
	_ "embed"

	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/sums"
)

//go:embed conv.cu
var text string

// DeviceForwardArgs are the buffers of DeviceForward: those of ForwardArgs. X, Y and caches are of one type, as is a dynamic
// kernel; a static one and Bias are float32.
type DeviceForwardArgs struct {
	Config
	Sequences device.Tensor // [3, S+1]: offsets, positions of first tokens, cache rows
	X         device.Tensor // [N, D]
	Kernel    device.Tensor // [D, W], or [N, D, W] if Dynamic; may be none where Y is
	Bias      device.Tensor // [D], static only; none means zero
	Cache     device.Tensor // [rows, D, W−1]; none means zero

	Y        device.Tensor // [N, D]; zero outside every sequence
	NewCache device.Tensor // [rows, D, W−1], the last inputs; may be Cache, which is then advanced in place
}

// DeviceBackwardArgs are the buffers of DeviceBackward: those of BackwardArgs, with types as in DeviceForwardArgs.
type DeviceBackwardArgs struct {
	Config
	Sequences device.Tensor
	X         device.Tensor
	Kernel    device.Tensor
	Bias      device.Tensor
	Cache     device.Tensor
	DY        device.Tensor // [N, D]

	DX      device.Tensor // [N, D]
	DKernel device.Tensor // like Kernel
	DBias   device.Tensor // [D]
	DCache  device.Tensor // [rows, D, W−1]
	// DKernelSum is the sum of a dynamic DKernel over all tokens [D, W], float32: the gradient of what was added to every
	// token's kernel.
	DKernelSum device.Tensor

	Scratch device.Tensor // DeviceScratch(N) bytes
}

// layout is how the work is cut.
type layout struct {
	Config
	pack  int  // features of a thread
	tile  int  // tokens of a block
	ahead int  // tokens that are read before the first is used
	block int  // threads
	sums  bool // whether a backward pass leaves sums over tokens
}

// newLayout gives a thread as many features as make 16 bytes of a token's own kernel, or a fixed one of 16 values.
func (f Config) newLayout(tile, ahead int, tensors ...device.Tensor) layout {
	most := 16
	if f.Dynamic {
		most = 8
	}
	l := layout{Config: f, tile: tile, ahead: ahead, pack: device.Width(f.Dim, tensors...)}
	for l.pack > 1 && l.pack*f.Taps > most {
		l.pack /= 2
	}
	l.block = min(128, (f.Dim/l.pack+31)/32*32)
	return l
}

// columns is how many blocks are as wide as a token.
func (l layout) columns() int { return (l.Dim/l.pack + l.block - 1) / l.block }

// tiles is how many tiles have n tokens.
func (l layout) tiles(n int) int { return (n + l.tile - 1) / l.tile }

func (l layout) grid(rows int) device.Grid {
	return device.Grid{X: rows * l.columns(), Threads: l.block}
}

func (l layout) kernel(q *device.Queue, name string, x, kernel device.Tensor) *device.Kernel {
	if kernel.None() {
		kernel.Type = x.Type // not read
	}
	return q.Kernel(&device.Source{File: "conv.cu", Text: text}, name,
		device.Define{Name: "ELEMENT", Value: x.Type}, device.Define{Name: "KERNEL", Value: kernel.Type},
		device.Define{Name: "DIM", Value: l.Dim}, device.Define{Name: "TAPS", Value: l.Taps},
		device.Define{Name: "DYNAMIC", Value: l.Dynamic}, device.Define{Name: "SILU", Value: l.SiLU},
		device.Define{Name: "PACK", Value: l.pack}, device.Define{Name: "TILE", Value: l.tile},
		device.Define{Name: "AHEAD", Value: l.ahead}, device.Define{Name: "BLOCK", Value: l.block},
		device.Define{Name: "SUMS", Value: l.sums})
}

// DeviceForward queues the computation of a.Y and a.NewCache.
func DeviceForward(q *device.Queue, a *DeviceForwardArgs) {
	n, rows := a.checkDevice(a.X.Len, a.Kernel.Len, !a.Y.None(), a.Bias.Len, a.Cache.Len, a.NewCache.Len)
	a.checkBuffers(n, rows, []buffer{
		{"y", a.Y.Len, n * a.Dim, false, "[N, D]"},
		{"new cache", a.NewCache.Len, max(rows, 0) * a.CacheLen(), false, "[rows, D, W−1]"},
	})
	S := a.Sequences.Len/3 - 1
	short := n <= 8*S // so that a block for each sequence is enough
	if !a.Y.None() && (a.NewCache.None() || !short) {
		l := a.newLayout(32, 8, a.X, a.Kernel, a.Y)
		k := l.kernel(q, "forward", a.X, a.Kernel)
		q.Launch(k, l.grid(l.tiles(n)), a.Y, a.X, a.Kernel, a.Bias, a.Cache, a.Sequences, S, n)
	}
	if !a.NewCache.None() {
		y := a.Y
		if !short {
			y = device.Tensor{}
		}
		ahead := 4
		if n <= S {
			ahead = 1
		}
		l := a.newLayout(32, ahead, a.X, a.Kernel, a.Y)
		k := l.kernel(q, "advance", a.X, a.Kernel)
		q.Launch(k, l.grid(S), a.NewCache, y, a.X, a.Kernel, a.Bias, a.Cache, a.Sequences, S, n)
	}
}

// Tiles of a backward pass. Those of a static kernel are longer: each makes partial sums for it.
const (
	dynamicTile = 64
	staticTile  = 128
)

// DeviceScratch is the size of DeviceBackwardArgs.Scratch in bytes for n tokens.
func (f Config) DeviceScratch(n int) int64 {
	tile := f.backwardTile()
	values := int64((n+tile-1)/tile) * int64(f.Dim)
	return device.Aligned(values*int64(f.Taps)*4) + device.Aligned(values*4)
}

func (f Config) backwardTile() int {
	if f.Dynamic {
		return dynamicTile
	}
	return staticTile
}

// DeviceBackward queues the computation of the gradients that are not none.
func DeviceBackward(q *device.Queue, a *DeviceBackwardArgs) {
	n, rows := a.checkDevice(a.X.Len, a.Kernel.Len, true, a.Bias.Len, a.Cache.Len, a.DCache.Len)
	a.checkBuffers(n, rows, []buffer{
		{"dy", a.DY.Len, n * a.Dim, true, "[N, D]"},
		{"dx", a.DX.Len, n * a.Dim, false, "[N, D]"},
		{"dkernel", a.DKernel.Len, a.Kernel.Len, false, "like the kernel"},
		{"dbias", a.DBias.Len, a.Dim, false, "[D]"},
		{"the sum of dkernel", a.DKernelSum.Len, a.Dim * a.Taps, false, "[D, W]"},
		{"dcache", a.DCache.Len, max(rows, 0) * a.CacheLen(), false, "[rows, D, W−1]"},
	})
	q.Zero(a.DCache)
	l := a.newLayout(a.backwardTile(), 4, a.X, a.Kernel, a.DY, a.DX, a.DKernel)
	dKernel := a.DKernelSum // of which there are sums
	if !a.Dynamic {
		dKernel = a.DKernel
	}
	l.sums = !dKernel.None() || !a.DBias.None()
	var sumKernel, sumBias device.Tensor
	rest := a.Scratch
	if !dKernel.None() {
		sumKernel, rest = rest.Carve(device.Float32, l.tiles(n)*a.Dim*a.Taps)
	}
	if !a.DBias.None() {
		sumBias, _ = rest.Carve(device.Float32, l.tiles(n)*a.Dim)
	}
	k := l.kernel(q, "backward", a.X, a.Kernel)
	q.Launch(k, l.grid(l.tiles(n)), a.DX, a.DCache, a.DKernel, sumKernel, sumBias, a.DY, a.X, a.Kernel, a.Bias, a.Cache, a.Sequences, a.Sequences.Len/3-1, n)
	if !dKernel.None() {
		sums.DeviceForward(q, dKernel, sumKernel)
	}
	if !a.DBias.None() {
		sums.DeviceForward(q, a.DBias, sumBias)
	}
}

// checkDevice panics unless the inputs have their lengths, and a kernel is given where it is needed. It returns the numbers of
// tokens and of cache rows.
func (f Config) checkDevice(x, kernel int, needed bool, bias, cache, otherCache int) (n, rows int) {
	n, rows = x/max(f.Dim, 1), f.rowsOf(cache, otherCache)
	wantKernel, kernelShape := f.kernelLen(n)
	wantBias, biasShape := f.biasLen()
	f.checkBuffers(n, rows, []buffer{
		{"x", x, n * f.Dim, true, "[N, D]"},
		{"kernel", kernel, wantKernel, needed, kernelShape},
		{"bias", bias, wantBias, false, biasShape},
		{"cache", cache, max(rows, 0) * f.CacheLen(), false, "[rows, D, W−1]"},
	})
	return n, rows
}
