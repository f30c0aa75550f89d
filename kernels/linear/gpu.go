package linear

import (
	_ "embed"

	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/sums"
)

//go:embed linear.cu
var text string

// DeviceForward queues y = x·wᵀ + bias; x, w and y are of one type. Bias, of that type or float32, may be none.
func DeviceForward(q *device.Queue, y, x, w, bias device.Tensor, n, in, out int) {
	fits("y", y.Len, n, "Out", out)
	fits("x", x.Len, n, "In", in)
	fits("w", w.Len, out, "In", in)
	if !bias.None() {
		fits("bias", bias.Len, 1, "Out", out)
	}
	p := Projections{N: n, In: in, Parts: []Part{{Out: out}}}
	if few(q, p, x, []device.Tensor{w}, []device.Tensor{bias}, []device.Tensor{y}) {
		return
	}
	q.Product(device.Product{M: n, N: out, K: in, A: x, B: w, C: y, TransB: true, Bias: bias})
}

// DeviceBackwardInput queues dx = dy·w.
func DeviceBackwardInput(q *device.Queue, dx, dy, w device.Tensor, n, in, out int) {
	backwardInput(q, dx, dy, w, n, in, out, 0)
}

// DeviceAddBackwardInput queues dx += dy·w.
func DeviceAddBackwardInput(q *device.Queue, dx, dy, w device.Tensor, n, in, out int) {
	backwardInput(q, dx, dy, w, n, in, out, 1)
}

func backwardInput(q *device.Queue, dx, dy, w device.Tensor, n, in, out int, beta float32) {
	fits("dx", dx.Len, n, "In", in)
	fits("dy", dy.Len, n, "Out", out)
	fits("w", w.Len, out, "In", in)
	q.Product(device.Product{M: n, N: in, K: out, A: dy, B: w, C: dx, Beta: beta})
}

// DeviceBackwardWeight queues dw = dyᵀ·x and dbias = Σ dy over the tokens, which is float32. Either may be none; dbias needs
// scratch.
func DeviceBackwardWeight(q *device.Queue, dw, dbias, dy, x, scratch device.Tensor, n, in, out int) {
	fits("dy", dy.Len, n, "Out", out)
	if !dw.None() {
		fits("dw", dw.Len, out, "In", in)
		fits("x", x.Len, n, "In", in)
		q.Product(device.Product{M: out, N: in, K: n, A: dy, B: x, C: dw, TransA: true})
	}
	if dbias.None() {
		return
	}
	fits("dbias", dbias.Len, 1, "Out", out)
	pack := device.Width(out, dy)
	parts, rows := share(n, out, pack)
	partial := dbias
	if parts > 1 {
		partial, _ = scratch.Carve(device.Float32, parts*out)
	}
	k := q.Kernel(&device.Source{File: "linear.cu", Text: text}, "columns",
		device.Define{Name: "ELEMENT", Value: dy.Type}, device.Define{Name: "PACK", Value: pack})
	q.Launch(k, device.Grid{X: blocks(out, pack), Y: parts, Threads: 256}, partial, dy, n, out, rows)
	if parts > 1 {
		sums.DeviceForward(q, dbias, partial)
	}
}

// DeviceBackwardWeightScratch is the bytes of scratch that DeviceBackwardWeight needs for a bias.
func DeviceBackwardWeightScratch(n, out int) int64 {
	parts, _ := share(n, out, 8) // wider packs have fewer blocks along a row, and more parts
	return device.Aligned(int64(parts*out) * 4)
}

// blocks is how many blocks stand side by side over a row.
func blocks(out, pack int) int { return (out + 32*pack - 1) / (32 * pack) }

// share divides the rows among so many blocks that a device is busy, of 32 rows at least.
func share(n, out, pack int) (parts, rows int) {
	const busy = 1024
	parts = max(1, min((busy+blocks(out, pack)-1)/blocks(out, pack), (n+31)/32))
	rows = max(1, (n+parts-1)/parts)
	return max(1, (n+rows-1)/rows), rows
}
