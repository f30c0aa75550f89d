package linear

import (
	_ "embed"
	"fmt"
	"slices"

	"github.com/gojet/gojet/kernels/device"
)

//go:embed product.cuh
var productText string

//go:embed grouped.cu
var groupedText string

// Shapes of product.cuh.
const (
	ownRows    = 128 // ROWS of a tile
	ownColumns = 256 // COLUMNS
	ownStep    = 64  // STEP
	ownSlot    = 64  // columns that one box of the right operand has
	ownStages  = 3   // STAGES
	ownThreads = 384 // THREADS
)

// fewestOwn is the number of tokens from which products of our own are faster than a library's and kernels around it: below
// it there are not enough tiles to keep a device busy.
const fewestOwn = 1024

// tuning is when products of our own are made, where tests and measurements want them or not. The zero value is what
// measurements chose.
type tuning struct {
	always, never bool // instead of by the number of tokens
}

// own says whether products of our own can do x [n, k] with operands whose rows are of so many elements.
func (t tuning) own(q *device.Queue, n int, rows []int, tensors ...device.Tensor) bool {
	if t.never || q.Info().Major != 9 || !t.always && n < fewestOwn || n < 1 {
		return false
	}
	for _, x := range tensors {
		if !x.None() && (x.Type != device.BF16 || x.Ptr%16 != 0) {
			return false
		}
	}
	for _, d := range rows {
		if d%8 != 0 || d == 0 {
			return false
		}
	}
	return true
}

// left describes a left operand or a matrix like it [rows, columns], right one of box rows.
func left(q *device.Queue, x device.Tensor, rows, columns int) device.Descriptor {
	return q.Describe(device.TensorMap{T: x, Rows: rows, Cols: columns, BoxRows: ownRows, BoxCols: 64, Swizzle: 128})
}

func right(q *device.Queue, w device.Tensor, rows, columns int) device.Descriptor {
	return q.Describe(device.TensorMap{T: w, Rows: rows, Cols: columns, BoxRows: 64, BoxCols: 64, Swizzle: 128})
}

// ownKernel is a kernel behind product.cuh.
func ownKernel(q *device.Queue, file, name, text string) *device.Kernel {
	return q.Kernel(&device.Source{File: file + ".cu", Text: productText + fmt.Sprintf("#line 1 \"%s.cu\"\n", file) + text}, name)
}

// ownLaunch queues such a kernel on so many tiles, with so many bytes of shared memory for what comes with them.
func ownLaunch(q *device.Queue, k *device.Kernel, tiles, withTiles int, args ...any) {
	const barriers = 256
	q.Launch(k, device.Grid{
		X: min(q.Info().Processors, tiles), Threads: ownThreads, Shared: ownStages*(ownRows+ownColumns)*ownStep*2 + ownRows*ownColumns*2 + barriers + withTiles,
	}, args...)
}

// ownBiases are those of as many tiles as there may be copies of.
const ownBiases = (ownStages + 1) * ownColumns * 4

// launch queues the kernel that has its file's name on a result of n rows and so many tiles of columns.
func launch(q *device.Queue, name, text string, n, across int, args ...any) {
	ownLaunch(q, ownKernel(q, name, name, text), (n+ownRows-1)/ownRows*across, ownBiases, args...)
}

// own queues a forward pass as one product of our own, if it can.
func (a *ProjectionsForwardArgs) own(q *device.Queue) bool {
	if p := a.Parts[0]; !a.tuning.always && len(a.Parts) == 1 && !p.SiLU {
		return false // nothing to do behind a library's product
	}
	if !a.tuning.own(q, a.N, []int{a.In}, slices.Concat([]device.Tensor{a.X}, a.W, a.Y, a.Before)...) {
		return false
	}
	fits("x", a.X.Len, a.N, "In", a.In)
	type part struct {
		w, y, before, bias device.Tensor
		out                int
	}
	var parts []part
	silu, slots := 0, 0
	for i, p := range a.Parts {
		x := part{w: a.W[i], y: a.Y[i], bias: a.Bias[i], out: p.Out}
		if p.SiLU {
			x.before = a.Before[i]
		}
		if x.y.None() && x.before.None() || p.Out == 0 {
			continue
		}
		fits("w", x.w.Len, p.Out, "In", a.In)
		for _, r := range []device.Tensor{x.y, x.before} {
			if !r.None() {
				fits("y", r.Len, a.N, "Out", p.Out)
			}
		}
		if !x.bias.None() {
			fits("bias", x.bias.Len, 1, "Out", p.Out)
			if x.bias.Type != device.Float32 || x.bias.Ptr%16 != 0 || p.Out%4 != 0 {
				return false
			}
		}
		if p.SiLU {
			silu |= 1 << len(parts)
		}
		slots += (p.Out + ownSlot - 1) / ownSlot
		parts = append(parts, x)
	}
	if len(parts) == 0 {
		return true
	}
	args := []any{left(q, a.X, a.N, a.In)}
	maps := make([]device.Descriptor, len(parts))
	for i, p := range parts {
		maps[i] = right(q, p.w, p.out, a.In)
	}
	for i := range MostParts {
		args = append(args, maps[min(i, len(parts)-1)])
	}
	for i := range MostParts {
		var p part
		if i < len(parts) {
			p = parts[i]
		}
		args = append(args, p.y, p.before, p.bias, p.out)
	}
	across := (slots*ownSlot + ownColumns - 1) / ownColumns
	launch(q, "grouped", groupedText, a.N, across, append(args, silu, len(parts), a.N, a.In)...)
	return true
}
