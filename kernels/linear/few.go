package linear

import (
	_ "embed"

	"github.com/gojet/gojet/kernels/device"
)

//go:embed few.cu
var fewText string

const (
	mostFew    = 4   // tokens, up to which one pass over the weights by a kernel of our own is faster than a product
	fewRows    = 4   // ROWS of few.cu
	fewWarps   = 8   // WARPS
	fewBlocks  = 264 // that keep a device busy
	fewThreads = 32 * fewWarps
)

// few queues projections of a few tokens as one launch, if they are such. It writes no values before an activation.
func few(q *device.Queue, p Projections, x device.Tensor, w, bias, y []device.Tensor) bool {
	width := 16 / x.Type.Size()
	if p.N > mostFew || p.N < 1 || p.In%width != 0 || x.Ptr%16 != 0 {
		return false
	}
	rows, silu := 0, 0
	args := make([]any, 0, 3+4*MostParts)
	args = append(args, x, p.In, 0)
	for i, part := range p.Parts {
		if w[i].Type != x.Type || w[i].Ptr%16 != 0 || y[i].None() || y[i].Type != x.Type || !bias[i].None() && bias[i].Type != device.Float32 {
			return false
		}
		fits("y", y[i].Len, p.N, "Out", part.Out)
		fits("x", x.Len, p.N, "In", p.In)
		fits("w", w[i].Len, part.Out, "In", p.In)
		if !bias[i].None() {
			fits("bias", bias[i].Len, 1, "Out", part.Out)
		}
		rows += part.Out
		if part.SiLU {
			silu |= 1 << i
		}
	}
	args[2] = silu
	for _, list := range [][]device.Tensor{w, bias, y} {
		for i := range MostParts {
			var t device.Tensor
			if i < len(list) {
				t = list[i]
			}
			args = append(args, t)
		}
	}
	split := 1
	for split < fewWarps && rows/(fewWarps/split*fewRows) < fewBlocks && p.In >= 64*width*split {
		split *= 2
	}
	blocks, each := 0, fewWarps/split*fewRows
	for i := range MostParts {
		out := 0
		if i < len(p.Parts) {
			out = p.Parts[i].Out
		}
		blocks += (out + each - 1) / each
		args = append(args, out)
	}
	k := q.Kernel(&device.Source{File: "few.cu", Text: fewText}, "few",
		device.Define{Name: "ELEMENT", Value: x.Type}, device.Define{Name: "TOKENS", Value: p.N}, device.Define{Name: "SPLIT", Value: split})
	q.Launch(k, device.Grid{X: blocks, Threads: fewThreads}, args...)
	return true
}
