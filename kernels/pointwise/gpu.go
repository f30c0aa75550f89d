package pointwise

import (
	_ "embed"
	"fmt"

	"github.com/gojet/gojet/kernels/device"
)

//go:embed pointwise.cu
var text string

// mostTerms is how many terms one launch adds, and how many values of a pattern one writes.
const mostTerms = 8

// DeviceSum queues y = Σ terms, from left to right. y may be the first; all are of one type.
func DeviceSum(q *device.Queue, y device.Tensor, terms ...device.Tensor) {
	deviceLengths("add", y.Len, terms...)
	for first := true; len(terms) > 0; first = false {
		var a [mostTerms]device.Tensor
		n := 0
		if !first {
			a[0], n = y, 1
		}
		taken := copy(a[n:], terms)
		n, terms = n+taken, terms[taken:]
		k, grid := kernel(q, "sum", y, a[0], a[1:], device.Define{Name: "TERMS", Value: n})
		q.Launch(k, grid, y, a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], int64(y.Len))
	}
}

// DeviceScale queues y = factor·x. y may be x if it is of the same type.
func DeviceScale(q *device.Queue, y device.Tensor, factor float64, x device.Tensor) {
	deviceLengths("scale", y.Len, x)
	scaled(q, y, factor, device.Tensor{}, x)
}

// DeviceScaleBy queues y = factor·x with a factor on the device, float32. y may be x if it is of the same type.
func DeviceScaleBy(q *device.Queue, y, factor, x device.Tensor) {
	deviceLengths("scale", y.Len, x)
	if factor.Len != 1 || factor.Type != device.Float32 {
		panic(fmt.Sprintf("pointwise: scale: factor is %d values of %s, want one of float32", factor.Len, factor.Type))
	}
	scaled(q, y, 1, factor, x)
}

// DeviceConvert queues y = x, rounded to the type of y.
func DeviceConvert(q *device.Queue, y, x device.Tensor) {
	deviceLengths("convert", y.Len, x)
	scaled(q, y, 1, device.Tensor{}, x)
}

func scaled(q *device.Queue, y device.Tensor, factor float64, by, x device.Tensor) {
	k, grid := kernel(q, "scale", y, x, nil)
	q.Launch(k, grid, y, x, factor, by, int64(y.Len))
}

// DeviceForward queues y = f(x). y may be x if it is of the same type.
func DeviceForward(q *device.Queue, f Activation, y, x device.Tensor) {
	deviceLengths(f.String(), y.Len, x)
	k, grid := kernel(q, "forward", y, x, nil, device.Define{Name: "FUNCTION", Value: int(f)})
	q.Launch(k, grid, y, x, int64(y.Len))
}

// DeviceBackward queues dx = dy·f'(x), with x of the type of dx. dx may be dy if that is of the same type.
func DeviceBackward(q *device.Queue, f Activation, dx, dy, x device.Tensor) {
	deviceLengths("backward", dx.Len, dy, x)
	k, grid := kernel(q, "backward", dy, x, []device.Tensor{dx}, device.Define{Name: "FUNCTION", Value: int(f)})
	q.Launch(k, grid, dx, dy, x, int64(dx.Len))
}

// DeviceFill queues Fill.
func DeviceFill(q *device.Queue, y device.Tensor, pattern []float64) {
	wholePatterns(y.Len, pattern)
	k := q.Kernel(&device.Source{File: "pointwise.cu", Text: text}, "fill", device.Define{Name: "OUT", Value: y.Type},
		device.Define{Name: "IN", Value: y.Type}, device.Define{Name: "PACK", Value: 1}, device.Define{Name: "FILL", Value: true})
	grid := device.Grid{X: (y.Len + 255) / 256, Threads: 256}
	for at := 0; at < len(pattern); at += mostTerms {
		var p [mostTerms]float64
		n := copy(p[:], pattern[at:])
		q.Launch(k, grid, y, p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], at, n, len(pattern), int64(y.Len))
	}
}

// blockPacks is how many packs a block takes.
const blockPacks = 512

// kernel returns a kernel for results like out and inputs like in, and blocks enough for them.
func kernel(q *device.Queue, name string, out, in device.Tensor, others []device.Tensor, defines ...device.Define) (*device.Kernel, device.Grid) {
	pack := device.Width(out.Len, append([]device.Tensor{out, in}, others...)...)
	defines = append(defines, device.Define{Name: "OUT", Value: out.Type}, device.Define{Name: "IN", Value: in.Type}, device.Define{Name: "PACK", Value: pack})
	k := q.Kernel(&device.Source{File: "pointwise.cu", Text: text}, name, defines...)
	return k, device.Grid{X: (out.Len/pack + blockPacks - 1) / blockPacks, Threads: 256}
}

func deviceLengths(op string, want int, tensors ...device.Tensor) {
	for i, t := range tensors {
		if t.Len != want {
			panic(fmt.Sprintf("pointwise: %s: buffer %d has %d values, want %d", op, i, t.Len, want))
		}
	}
}
