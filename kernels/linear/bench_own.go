package linear

import (
	"fmt"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/conv"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/packed"
)

// way is how a row of ownBenchmarks is measured.
type way struct {
	name string
	how  tuning
}

// ownBenchmarks are products of our own with what they do to their results, beside the library's with kernels around them, and
// the library's alone.
func ownBenchmarks() []check.Benchmark {
	const d, f = 1536, 8960
	ways := []way{{"", tuning{always: true}}, {", separate", tuning{never: true}}}
	jet := []Part{{1152, true}, {1152, true}, {3072, false}, {3072, false}, {384, true}, {12, false}, {12, false}}
	bigJet := []Part{{2048, true}, {2048, true}, {4096, false}, {4096, false}, {512, true}, {16, false}, {16, false}}
	attention := []Part{{1536, false}, {256, false}, {256, false}}
	var rows []check.Benchmark
	add := func(name, shape string, flops float64, setup func(d *device.Device) (func(*device.Queue), []device.Tensor)) {
		rows = append(rows, check.Benchmark{
			Name: name, Shape: shape, Type: device.BF16, FLOPs: flops, Setup: func(d *device.Device) (func(*device.Queue), func()) {
				run, tensors := setup(d)
				return run, func() {
					for _, t := range tensors {
						d.Free(t)
					}
				}
			},
		})
	}
	library := func(name string, n, out, k int, transposed bool) {
		add(name+", a library's product alone", fmt.Sprintf("N %d, In %d, Out %d", n, k, out), 2*float64(n)*float64(k)*float64(out),
			func(d *device.Device) (func(*device.Queue), []device.Tensor) {
				x, w, y := check.Random(d, device.BF16, n*k, 1), check.Random(d, device.BF16, out*k, 1), d.New(device.BF16, n*out)
				return func(q *device.Queue) {
					q.Product(device.Product{M: n, N: out, K: k, A: x, B: w, C: y, TransB: transposed})
				}, []device.Tensor{x, w, y}
			})
	}
	widths := func(parts []Part) int {
		total := 0
		for _, part := range parts {
			total += part.Out
		}
		return total
	}
	projections := func(what string, n, in int, parts []Part, biased bool) {
		p := Projections{N: n, In: in, Parts: parts}
		total := widths(parts)
		library("projections, forward, "+what, n, total, in, true)
		for _, way := range ways {
			add("projections, forward, "+what+way.name, fmt.Sprintf("N %d, In %d, Out %d", n, in, total), 2*float64(n)*float64(in)*float64(total),
				func(d *device.Device) (func(*device.Queue), []device.Tensor) {
					a := ProjectionsForwardArgs{Projections: p, X: check.Random(d, device.BF16, n*in, 1), Bias: make([]device.Tensor, len(parts)), tuning: way.how}
					a.Scratch = d.New(device.BF16, int(p.ForwardScratch(device.BF16)/2))
					all := []device.Tensor{a.X, a.Scratch}
					for _, part := range parts {
						w, y, before := check.Random(d, device.BF16, part.Out*in, 1), d.New(device.BF16, n*part.Out), device.Tensor{}
						all = append(all, w, y)
						if part.SiLU {
							before = d.New(device.BF16, n*part.Out)
							all = append(all, before)
						}
						a.W, a.Y, a.Before = append(a.W, w), append(a.Y, y), append(a.Before, before)
						if biased {
							a.Bias[len(a.W)-1] = check.Random(d, device.Float32, part.Out, 1)
						}
					}
					return func(q *device.Queue) { DeviceProjections(q, &a) }, append(all, a.Bias...)
				})
		}
	}
	projectionsBackward := func(what string, n, in int, parts []Part) {
		p := Projections{N: n, In: in, Parts: parts}
		total := widths(parts)
		for _, way := range ways {
			add("projections, backward, "+what+way.name, fmt.Sprintf("N %d, In %d, Out %d", n, in, total), 4*float64(n)*float64(in)*float64(total),
				func(d *device.Device) (func(*device.Queue), []device.Tensor) {
					a := ProjectionsBackwardArgs{Projections: p, X: check.Random(d, device.BF16, n*in, 1), DX: d.New(device.BF16, n*in),
						DBias: make([]device.Tensor, len(parts)), tuning: way.how}
					a.Scratch = d.New(device.BF16, int(p.BackwardScratch(device.BF16)/2))
					all := []device.Tensor{a.X, a.DX, a.Scratch}
					for _, part := range parts {
						w, dw, dy, before := check.Random(d, device.BF16, part.Out*in, 1), d.New(device.BF16, part.Out*in), check.Random(d, device.BF16, n*part.Out, 1), device.Tensor{}
						all = append(all, w, dw, dy)
						if part.SiLU {
							before = check.Random(d, device.BF16, n*part.Out, 1)
							all = append(all, before)
						}
						a.W, a.DW, a.DY, a.Before = append(a.W, w), append(a.DW, dw), append(a.DY, dy), append(a.Before, before)
					}
					return func(q *device.Queue) { DeviceProjectionsBackward(q, &a) }, all
				})
		}
	}
	gated := func(what string, n int, kept bool) {
		for _, way := range ways {
			add("gated product, forward"+what+way.name, fmt.Sprintf("N %d, In %d, F %d", n, d, f), 4*float64(n)*d*f,
				func(q *device.Device) (func(*device.Queue), []device.Tensor) {
					a := GatedForwardArgs{N: n, In: d, F: f, Y: q.New(device.BF16, n*f), X: check.Random(q, device.BF16, n*d, 1),
						WGate: check.Random(q, device.BF16, f*d, 0.03), WUp: check.Random(q, device.BF16, f*d, 0.03), Scratch: q.New(device.BF16, n*f), tuning: way.how}
					if kept {
						a.Gate, a.Up = q.New(device.BF16, n*f), q.New(device.BF16, n*f)
					}
					return func(q *device.Queue) { DeviceGated(q, &a) }, []device.Tensor{a.Y, a.X, a.WGate, a.WUp, a.Scratch, a.Gate, a.Up}
				})
		}
	}
	backward := func(what string, n int, again bool) {
		for _, way := range ways {
			add("gated product, backward"+what+way.name, fmt.Sprintf("N %d, F %d, Out %d", n, f, d), 2*float64(n)*d*f,
				func(q *device.Device) (func(*device.Queue), []device.Tensor) {
					a := GatedBackwardArgs{N: n, F: f, Out: d, DGate: q.New(device.BF16, n*f), DUp: q.New(device.BF16, n*f), DY: check.Random(q, device.BF16, n*d, 1),
						W: check.Random(q, device.BF16, f*d, 0.03), Gate: check.Random(q, device.BF16, n*f, 1), Up: check.Random(q, device.BF16, n*f, 1), tuning: way.how}
					if again {
						a.Y = q.New(device.BF16, n*f)
					}
					return func(q *device.Queue) { DeviceGatedBackward(q, &a) }, []device.Tensor{a.DGate, a.DUp, a.DY, a.W, a.Gate, a.Up, a.Y}
				})
		}
	}
	generated := func(what string, seqs packed.Sequences, n, width, in int, kept bool) {
		c := conv.Config{Dim: width, Taps: 4, Dynamic: true, SiLU: true}
		for _, way := range ways {
			add("generated conv, forward, "+what+way.name, fmt.Sprintf("N %d, In %d, D %d, W 4", n, in, width), 2*float64(n)*float64(in)*float64(width)*4,
				func(q *device.Device) (func(*device.Queue), []device.Tensor) {
					a := GeneratedConvArgs{Config: c, In: in, Sequences: check.Ints(q, seqs.Buffer()), X: check.Random(q, device.BF16, n*width, 1),
						Hidden: check.Random(q, device.BF16, n*in, 1), W: check.Random(q, device.BF16, 4*width*in, 0.03), Bias: check.Random(q, device.Float32, 4*width, 0.5),
						Y: q.New(device.BF16, n*width), Scratch: q.New(device.BF16, n*width*4), tuning: way.how}
					if kept {
						a.Kernel = q.New(device.BF16, n*width*4)
					}
					return func(q *device.Queue) { DeviceGeneratedConv(q, &a) },
						[]device.Tensor{a.Sequences, a.X, a.Hidden, a.W, a.Bias, a.Y, a.Scratch, a.Kernel}
				})
		}
	}
	library("gated product, forward", 8192, 2*f, d, true)
	gated(", kept", 8192, true)
	gated("", 8192, false)
	library("gated product, backward", 8192, f, d, false)
	backward(", frozen", 8192, false)
	backward("", 8192, true)
	generated("2B, kept", packed.Batch(2, 4096), 8192, 3072, 384, true)
	generated("2B", packed.Batch(2, 4096), 8192, 3072, 384, false)
	generated("4B, kept", packed.Batch(4, 4096), 16384, 4096, 512, true)
	generated("4B", packed.Batch(4, 4096), 16384, 4096, 512, false)
	projections("one part", 8192, 8192, []Part{{8192, false}}, false)
	projections("JetBlock 2B", 8192, d, jet, false)
	projections("JetBlock 4B", 16384, 2048, bigJet, false)
	projections("attention", 8192, d, attention, true)
	projectionsBackward("JetBlock 2B", 8192, d, jet)
	projectionsBackward("JetBlock 4B", 16384, 2048, bigJet)
	projectionsBackward("attention", 8192, d, attention)
	return rows
}
