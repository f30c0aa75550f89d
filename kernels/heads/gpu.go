package heads

import (
	_ "embed"
	"fmt"

	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/sums"
)

//go:embed heads.cu
var text string

// DeviceArgs are the buffers of DeviceScale and DeviceDot in the memory of a device, with the rules of Args. Each may have its
// own type.
type DeviceArgs struct {
	Config
	X, Y, S device.Tensor

	Scratch device.Tensor // of DeviceDot: DeviceScratch bytes
}

const (
	threads  = 256
	mostRows = 128 // shares of the rows in a sum over them, at most
	shareMin = 32  // rows of a share, at least
)

func (a *DeviceArgs) kernel(q *device.Queue, name string) *device.Kernel {
	return q.Kernel(&device.Source{File: "heads.cu", Text: text}, name, device.Define{Name: "ONE", Value: a.X.Type}, device.Define{Name: "TWO", Value: a.Y.Type},
		device.Define{Name: "FACTOR", Value: a.S.Type}, device.Define{Name: "DIM", Value: a.Dim}, device.Define{Name: "GROUP", Value: a.Width},
		device.Define{Name: "ROWS", Value: a.Rows})
}

// check returns N.
func (a *DeviceArgs) check() int {
	if a.Width < 1 || a.Dim < 1 || a.Dim%a.Width != 0 || a.X.Len%a.Dim != 0 {
		panic(fmt.Sprintf("heads: x has %d values, want rows of %d features in groups of %d", a.X.Len, a.Dim, a.Width))
	}
	n, want := a.X.Len/a.Dim, a.Groups()
	if a.Rows {
		want *= n
	}
	if a.Y.Len != a.X.Len || a.S.Len != want {
		panic(fmt.Sprintf("heads: x has %d values, y %d and s %d, want rows of %d and %d factors", a.X.Len, a.Y.Len, a.S.Len, a.Dim, want))
	}
	return n
}

func blocks(n int) device.Grid { return device.Grid{X: (n + threads - 1) / threads, Threads: threads} }

// DeviceScale queues Scale.
func DeviceScale(q *device.Queue, a *DeviceArgs) {
	a.check()
	q.Launch(a.kernel(q, "scale"), blocks(a.X.Len), a.Y, a.X, a.S, int64(a.X.Len))
}

// shares is how many blocks divide n rows.
func shares(n int) int { return max(1, min(mostRows, n/shareMin)) }

// DeviceScratch returns the bytes of temporary memory of a DeviceDot on n rows.
func (f Config) DeviceScratch(n int) int64 {
	if f.Rows {
		return 0
	}
	return device.Aligned(4 * int64(shares(n)) * int64(f.Groups()))
}

// DeviceDot queues Dot.
func DeviceDot(q *device.Queue, a *DeviceArgs) {
	n := a.check()
	if a.Rows {
		lanes := 32
		if a.Width == 1 {
			lanes = 1
		}
		q.Launch(a.kernel(q, "dot_rows"), blocks(a.S.Len*lanes), a.S, a.X, a.Y, int64(a.S.Len))
		return
	}
	part, _ := a.Scratch.Carve(device.Float32, shares(n)*a.Groups())
	grid := device.Grid{X: a.Groups(), Y: shares(n), Threads: threads}
	if a.Width == 1 {
		grid.X = (a.Dim + 31) / 32
	}
	q.Launch(a.kernel(q, "dot_features"), grid, part, a.X, a.Y, n)
	sums.DeviceForward(q, a.S, part)
}

// DeviceCopies are the buffers of DeviceRepeat and DeviceFold in the memory of a device, with the rules of Copies.
type DeviceCopies struct {
	Width, Times int
	X, Y         device.Tensor
}

func (a *DeviceCopies) kernel(q *device.Queue, name string) *device.Kernel {
	if a.Width < 1 || a.Times < 1 || a.X.Len%a.Width != 0 || a.Y.Len != a.X.Len*a.Times {
		panic(fmt.Sprintf("heads: x has %d values and y %d, want whole groups of %d, and %d times as many", a.X.Len, a.Y.Len, a.Width, a.Times))
	}
	return q.Kernel(&device.Source{File: "heads.cu", Text: text}, name, device.Define{Name: "ONE", Value: a.X.Type}, device.Define{Name: "TWO", Value: a.Y.Type},
		device.Define{Name: "GROUP", Value: a.Width}, device.Define{Name: "TIMES", Value: a.Times})
}

// DeviceRepeat queues Repeat.
func DeviceRepeat(q *device.Queue, a *DeviceCopies) {
	q.Launch(a.kernel(q, "repeat"), blocks(a.Y.Len), a.Y, a.X, int64(a.Y.Len))
}

// DeviceFold queues Fold.
func DeviceFold(q *device.Queue, a *DeviceCopies) {
	q.Launch(a.kernel(q, "fold"), blocks(a.X.Len), a.X, a.Y, int64(a.X.Len))
}
