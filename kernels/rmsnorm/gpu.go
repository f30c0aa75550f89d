package rmsnorm

import (
	_ "embed"

	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/sums"
)

//go:embed rmsnorm.cu
var text string

// DeviceForwardArgs are the buffers of DeviceForward. W is float32, the others are of one type; D is the length of W.
type DeviceForwardArgs struct {
	Y    device.Tensor // [R, D] result; may be X or Add
	Sum  device.Tensor // [R, D] result X + Add, which is what is normalised; may be X or Add; none if not wanted
	X    device.Tensor // [R, D]
	Add  device.Tensor // [R, D] added to X; none for nothing
	W    device.Tensor // [D]
	Gate device.Tensor // [R, D]; none for the plain form
	Eps  float64       // added to the mean square
}

// DeviceBackwardArgs are the buffers of DeviceBackward. W and DW are float32, the others of the type of X.
type DeviceBackwardArgs struct {
	DX    device.Tensor // [R, D] result; may be DY or DSum
	DW    device.Tensor // [D] result, summed over rows
	DGate device.Tensor // [R, D] result; none for the plain form
	DY    device.Tensor // [R, D]
	DSum  device.Tensor // [R, D] added to DX: what reaches X from elsewhere; none for nothing
	X     device.Tensor // [R, D] as in DeviceForward; with Add, the sum
	W     device.Tensor // [D]
	Gate  device.Tensor // [R, D]; none for the plain form
	Eps   float64       // as in DeviceForward

	Scratch device.Tensor // DeviceScratch(R, D) bytes; without DW, none
}

// form is what a kernel is compiled for.
type form struct {
	device.Rows
	t            device.Type
	gated, added bool
}

func (f *form) kernel(q *device.Queue, name string, others ...device.Define) *device.Kernel {
	return q.Kernel(&device.Source{File: "rmsnorm.cu", Text: text}, name, f.Defines(append(others,
		device.Define{Name: "ELEMENT", Value: f.t}, device.Define{Name: "BLOCK", Value: f.Threads},
		device.Define{Name: "GATED", Value: f.gated}, device.Define{Name: "ADDED", Value: f.added})...)...)
}

// DeviceForward queues the computation of a.Y and a.Sum.
func DeviceForward(q *device.Queue, a *DeviceForwardArgs) {
	d := a.W.Len
	want("y", a.Y.Len, a.X.Len)
	rows := rowsOf(a.X.Len, d)
	lengths(a.X.Len, operand{"gate", a.Gate}, operand{"add", a.Add}, operand{"sum", a.Sum})
	f := form{device.NewRows(d, 64, a.Y, a.Sum, a.X, a.Add, a.W, a.Gate), a.X.Type, !a.Gate.None(), !a.Add.None()}
	q.Launch(f.kernel(q, "forward"), f.Grid(rows), a.Y, a.Sum, a.X, a.Add, a.W, a.Gate, rows, a.Eps)
}

type operand struct {
	name string
	t    device.Tensor
}

// lengths holds operands that are not none to a length.
func lengths(n int, operands ...operand) {
	for _, o := range operands {
		if !o.t.None() {
			want(o.name, o.t.Len, n)
		}
	}
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

// schedule is how the backward kernel gets its rows: see its text.
type schedule struct {
	stages, shared int
	resident       int // blocks on a processor at a time
}

// schedule chooses the threads of a block, wide as the memory of a processor allows where rows are copied ahead.
func (f *form) schedule(about device.Info, sum bool) schedule {
	each := (f.Features/f.Pack + f.Lanes - 1) / f.Lanes * f.Pack // features of a thread
	inputs := 2
	if f.gated {
		inputs++
	}
	s, held := schedule{}, 40 // registers of a thread, about
	if sum {
		held += each
	}
	fixed := 4*f.Features + 1536 // weights, and what aligns the rest
	if f.Pack*f.t.Size() == 16 && f.t == device.BF16 {
		copied := inputs
		if f.added {
			copied++
		}
		room := (about.SharedMax - fixed) / (copied * each * f.t.Size()) // threads
		switch {
		case room >= 2*f.Threads:
			s.stages = 2
		case room >= f.Threads:
			s.stages = 1
		}
		if s.stages > 0 {
			if each > 16 && f.Features <= 2048 {
				f.Threads = min(512, room/s.stages) / 64 * 64
			}
			s.shared = s.stages * f.Threads * copied * each * f.t.Size()
		}
	}
	if s.stages == 0 {
		held += inputs * each * f.t.Size() / 4
	}
	if groups := f.Threads / f.Lanes; sum && groups > 1 {
		s.shared = max(s.shared, groups*f.Features*4)
	}
	s.resident = min(max(1<<16/(f.Threads*held), 1), max(about.SharedMax/(s.shared+fixed), 1), 8)
	return s
}

// DeviceBackward queues the computation of the gradients that are wanted.
func DeviceBackward(q *device.Queue, a *DeviceBackwardArgs) {
	d := a.W.Len
	rows := rowsOf(a.X.Len, d)
	want("dy", a.DY.Len, a.X.Len)
	lengths(a.X.Len, operand{"dx", a.DX}, operand{"gate", a.Gate}, operand{"dgate", a.DGate}, operand{"dsum", a.DSum})
	if rows == 0 {
		q.Zero(a.DW)
		return
	}
	sum := !a.DW.None()
	f := form{device.NewRows(d, 48, a.DX, a.DGate, a.DY, a.DSum, a.X, a.W, a.Gate), a.X.Type, !a.Gate.None(), !a.DSum.None()}
	s := f.schedule(q.Info(), sum)
	grid := f.Grid(rows)
	grid.X, grid.Shared = min(grid.X, parts(d), s.resident*max(q.Info().Processors, 1)), s.shared
	k := f.kernel(q, "backward", device.Define{Name: "SUM", Value: sum},
		device.Define{Name: "STAGES", Value: s.stages}, device.Define{Name: "RESIDENT", Value: s.resident})
	var part device.Tensor
	if sum {
		part, _ = a.Scratch.Carve(device.Float32, grid.X*d)
	}
	q.Launch(k, grid, a.DX, part, a.DGate, a.DY, a.DSum, a.X, a.W, a.Gate, rows, a.Eps)
	if sum {
		sums.DeviceForward(q, a.DW, part)
	}
}
