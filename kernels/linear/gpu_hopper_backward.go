package linear

import (
	_ "embed"
	"slices"

	"github.com/gojet/gojet/kernels/device"
)

//go:embed grouped_input.cu
var groupedInputText string

//go:embed grouped_weight.cu
var groupedWeightText string

// arrived is the gradient of one part before its activation [n, Out], rows `stride` apart.
type arrived struct {
	g      device.Tensor
	stride int
	part   int
}

// own queues a backward pass as products of our own, if they can do it: gradients that have an activation behind them, or
// rows that the copy engine cannot read, are put side by side first, the others are read where they are.
func (a *ProjectionsBackwardArgs) own(q *device.Queue) bool {
	if !a.tuning.own(q, a.N, []int{a.In}, slices.Concat([]device.Tensor{a.X, a.DX}, a.W, a.Before, a.DY, a.DW)...) {
		return false
	}
	fits("x", a.X.Len, a.N, "In", a.In)
	room := a.BackwardScratch(device.BF16)
	side := a.joined()
	cat, rest := a.Scratch.Carve(device.BF16, a.N*side.width())
	biases, rest := rest.Carve(device.Float32, side.width())
	room -= device.Aligned(int64(a.N*side.width())*2) + device.Aligned(int64(side.width())*4)
	if len(side.Parts) > 0 {
		a.join(q, side, cat)
	}

	var parts []arrived
	at, anyBias := 0, false
	for i, part := range a.Parts {
		dbias := a.DBias[i]
		switch {
		case a.DY[i].None() || part.Out == 0:
			for _, zero := range []device.Tensor{a.DW[i], dbias} {
				q.Zero(zero)
			}
		case a.beside(i):
			parts = append(parts, arrived{g: cat.Slice(at, (a.N-1)*side.width()+part.Out), stride: side.width(), part: i})
			anyBias = anyBias || !dbias.None()
			at += (part.Out + 15) / 16 * 16
		default:
			fits("dy", a.DY[i].Len, a.N, "Out", part.Out)
			parts = append(parts, arrived{g: a.DY[i], stride: part.Out, part: i})
			if !dbias.None() {
				DeviceBackwardWeight(q, device.Tensor{}, dbias, a.DY[i], device.Tensor{}, rest, a.N, a.In, part.Out)
			}
		}
	}
	if anyBias {
		DeviceBackwardWeight(q, device.Tensor{}, biases, cat, device.Tensor{}, rest, a.N, a.In, side.width())
		at = 0
		for i, part := range a.Parts {
			if !a.beside(i) {
				continue
			}
			if !a.DBias[i].None() {
				q.Copy(a.DBias[i], biases.Slice(at, part.Out))
			}
			at += (part.Out + 15) / 16 * 16
		}
	}
	a.ownInput(q, parts)
	a.ownWeight(q, parts, rest, room)
	return true
}

// beside says whether a part's gradient is put beside others before products read it.
func (a *ProjectionsBackwardArgs) beside(i int) bool {
	return !a.DY[i].None() && a.Parts[i].Out > 0 && (a.Parts[i].SiLU || a.Parts[i].Out%8 != 0)
}

func (a *ProjectionsBackwardArgs) joined() Projections {
	p := Projections{N: a.N, In: a.In}
	for i, part := range a.Parts {
		if a.beside(i) {
			p.Parts = append(p.Parts, part)
		}
	}
	return p
}

func (a *ProjectionsBackwardArgs) join(q *device.Queue, p Projections, cat device.Tensor) {
	var dy, before []device.Tensor
	for i, part := range a.Parts {
		if a.beside(i) {
			fits("dy", a.DY[i].Len, a.N, "Out", part.Out)
			dy, before = append(dy, a.DY[i]), append(before, a.Before[i])
		}
	}
	p.launch(q, "join", cat, dy, before)
}

// ownInput queues dx.
func (a *ProjectionsBackwardArgs) ownInput(q *device.Queue, parts []arrived) {
	if a.DX.None() {
		return
	}
	fits("dx", a.DX.Len, a.N, "In", a.In)
	if len(parts) == 0 {
		q.Zero(a.DX)
		return
	}
	args := []any{a.DX}
	var g, w device.Descriptor
	for i := range MostParts {
		out := 0
		if i < len(parts) {
			p := parts[i]
			out = a.Parts[p.part].Out
			fits("w", a.W[p.part].Len, out, "In", a.In)
			g = q.Describe(device.TensorMap{T: p.g, Rows: a.N, Cols: out, Stride: p.stride, BoxRows: ownRows, BoxCols: 64, Swizzle: 128})
			w = right(q, a.W[p.part], out, a.In)
		}
		args = append(args, g, w, out)
	}
	launch(q, "grouped_input", groupedInputText, a.N, (a.In+ownColumns-1)/ownColumns, append(args, len(parts), a.N, a.In)...)
}

// ownWeight queues dw of the parts that want it. It takes at most `room` bytes of scratch.
func (a *ProjectionsBackwardArgs) ownWeight(q *device.Queue, parts []arrived, scratch device.Tensor, room int64) {
	var results []any
	var maps []device.Descriptor
	slots := 0
	for _, p := range parts {
		dw, out := a.DW[p.part], a.Parts[p.part].Out
		if dw.None() {
			continue
		}
		fits("dw", dw.Len, out, "In", a.In)
		maps = append(maps, q.Describe(device.TensorMap{T: p.g, Rows: a.N, Cols: out, Stride: p.stride, BoxRows: 64, BoxCols: 64, Swizzle: 128}))
		results = append(results, dw, out)
		slots += (out + ownSlot - 1) / ownSlot
	}
	count := len(maps)
	if count == 0 {
		return
	}
	down, across := (slots+1)/2, (a.In+ownColumns-1)/ownColumns
	steps := (a.N + ownStep - 1) / ownStep
	const bytes = ownRows * ownColumns * 4 // of the sums of one piece
	whole, pieces := cut(q.Info().Processors, down*across, steps, int(room/bytes))
	args := []any{right(q, a.X, a.N, a.In)}
	for i := range MostParts {
		args = append(args, maps[min(i, count-1)])
		if i >= count {
			results = append(results, device.Tensor{}, 0)
		}
	}
	var partial device.Tensor
	left := down*across - whole
	if left > 0 {
		partial, _ = scratch.Carve(device.Float32, left*pieces*bytes/4)
	}
	args = append(append(args, results...), partial, whole, pieces, count, a.N, a.In)
	ownLaunch(q, ownKernel(q, "grouped_weight", "grouped_weight", groupedWeightText), whole+left*pieces, ownBiases, args...)
	if left > 0 {
		q.Launch(ownKernel(q, "grouped_weight", "grouped_weight_sums", groupedWeightText), device.Grid{X: left * ownColumns / 8, Threads: 256},
			append(results, partial, whole, pieces, count, a.In)...)
	}
}

// cut says how so many tiles of a contraction of so many steps are divided among processors: the first `whole` tiles are done
// each by one, the others in pieces, as it takes least time by what was measured. There is room for the sums of `most` pieces.
func cut(processors, tiles, steps, most int) (whole, pieces int) {
	const step, sums = 0.69, 0.09 // microseconds of a step, and of writing and reading the sums of a piece, which all share
	const again = 5.0             // of one more launch
	rounds := tiles / processors * processors
	left := tiles - rounds
	best, whole, pieces := step*float64(steps), tiles, 1
	for p := 2; left > 0 && p <= min(steps/8, most/left); p++ {
		turns := (left*p + processors - 1) / processors
		if took := step*float64(turns)*float64((steps+p-1)/p) + sums*float64(left*p) + again; took < best {
			best, whole, pieces = took, rounds, p
		}
	}
	return whole, pieces
}
