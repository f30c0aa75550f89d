package linear

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/pointwise"
)

//go:embed projections.cu
var projections string

// MostParts is how many projections of one input run as one product.
const MostParts = 8

// Part is one of several projections of the same input.
type Part struct {
	Out  int  // features
	SiLU bool // y = silu(x·wᵀ + bias)
}

// Projections are several projections of one input x [N, In], which a device computes as one product: y_i = act_i(x·w_iᵀ +
// bias_i) [N, Out_i].
type Projections struct {
	N, In int
	Parts []Part
}

// single is the number of tokens up to which a product of its own for each part is faster: putting the weights on top of
// each other costs as much as reading them twice more.
const single = 512

func (p Projections) apart() bool { return p.N < single || len(p.Parts) < 2 }

// width is what the parts take side by side, each up to a multiple of 16.
func (p Projections) width() int {
	n := 0
	for _, part := range p.Parts {
		n += (part.Out + 15) / 16 * 16
	}
	return n
}

func (p Projections) check(tensors ...[]device.Tensor) {
	if len(p.Parts) == 0 || len(p.Parts) > MostParts {
		panic(fmt.Sprintf("linear: %d projections, want 1 to %d", len(p.Parts), MostParts))
	}
	for _, t := range tensors {
		if len(t) != len(p.Parts) {
			panic(fmt.Sprintf("linear: %d tensors for %d projections", len(t), len(p.Parts)))
		}
	}
}

// ProjectionsForwardArgs are the buffers of a forward pass. Tensors stand in the order of the parts.
type ProjectionsForwardArgs struct {
	Projections
	X      device.Tensor   // [N, In]
	W      []device.Tensor // [Out, In]
	Bias   []device.Tensor // [Out], float32, each may be none
	Y      []device.Tensor // results [N, Out], each may be none
	Before []device.Tensor // results [N, Out] before the activation, for the backward of parts that have one; each may be none
	// Scratch of ForwardScratch bytes.
	Scratch device.Tensor

	tuning tuning
}

// ForwardScratch is in bytes, for elements of type t.
func (p Projections) ForwardScratch(t device.Type) int64 {
	if p.apart() {
		return 0
	}
	size := int64(t.Size())
	return device.Aligned(int64(p.N*p.width())*size) + device.Aligned(int64(p.width()*p.In)*size) + device.Aligned(int64(p.width())*4)
}

// DeviceProjections queues a forward pass.
func DeviceProjections(q *device.Queue, a *ProjectionsForwardArgs) {
	a.check(a.W, a.Bias, a.Y, a.Before)
	plain := !slices.ContainsFunc(a.Before, func(t device.Tensor) bool { return !t.None() })
	if plain && few(q, a.Projections, a.X, a.W, a.Bias, a.Y) {
		return
	}
	if a.own(q) {
		return
	}
	if a.apart() {
		for i, part := range a.Parts {
			y := a.Y[i]
			if part.SiLU && !a.Before[i].None() {
				y = a.Before[i]
			}
			if y.None() {
				continue
			}
			DeviceForward(q, y, a.X, a.W[i], a.Bias[i], a.N, a.In, part.Out)
			if part.SiLU && !a.Y[i].None() {
				pointwise.DeviceForward(q, pointwise.SiLU, a.Y[i], y)
			}
		}
		return
	}
	t, total := a.X.Type, a.width()
	cat, rest := a.Scratch.Carve(t, a.N*total)
	w, rest := rest.Carve(t, total*a.In)
	a.stack(q, w, a.W, a.In)
	bias := a.stackBias(q, a.Bias, rest)
	q.Product(device.Product{M: a.N, N: total, K: a.In, A: a.X, B: w, C: cat, TransB: true, Bias: bias})
	a.launch(q, "split", cat, a.Y, a.Before)
}

// stack puts matrices of In columns on top of each other, zeros between them.
func (p Projections) stack(q *device.Queue, to device.Tensor, from []device.Tensor, columns int) {
	at := 0
	for i, part := range p.Parts {
		n, padded := part.Out*columns, (part.Out+15)/16*16*columns
		q.Copy(to.Slice(at, n), from[i])
		if padded > n {
			q.Zero(to.Slice(at+n, padded-n))
		}
		at += padded
	}
}

// stackBias puts the biases side by side; none where no part has one.
func (p Projections) stackBias(q *device.Queue, from []device.Tensor, scratch device.Tensor) device.Tensor {
	given := false
	for _, b := range from {
		given = given || !b.None()
	}
	if !given {
		return device.Tensor{}
	}
	all, _ := scratch.Carve(device.Float32, p.width())
	q.Zero(all)
	at := 0
	for i, part := range p.Parts {
		if !from[i].None() {
			q.Copy(all.Slice(at, part.Out), from[i])
		}
		at += (part.Out + 15) / 16 * 16
	}
	return all
}

// launch queues split or join.
func (p Projections) launch(q *device.Queue, name string, cat device.Tensor, y, before []device.Tensor) {
	var widths, silu [MostParts]string
	args := []any{cat, int64(p.N)}
	for i := range MostParts {
		widths[i], silu[i] = "0", "0"
		var t device.Tensor
		if i < len(p.Parts) {
			widths[i] = fmt.Sprint(p.Parts[i].Out)
			if p.Parts[i].SiLU {
				silu[i] = "1"
			}
			t = y[i]
		}
		args = append(args, t)
	}
	for i := range MostParts {
		var t device.Tensor
		if i < len(p.Parts) && p.Parts[i].SiLU {
			t = before[i]
		}
		args = append(args, t)
	}
	k := q.Kernel(&device.Source{File: "projections.cu", Text: projections}, name,
		device.Define{Name: "ELEMENT", Value: cat.Type}, device.Define{Name: "PARTS", Value: len(p.Parts)}, device.Define{Name: "TOTAL", Value: p.width()},
		device.Define{Name: "WIDTHS", Value: strings.Join(widths[:], ",")}, device.Define{Name: "SILU", Value: strings.Join(silu[:], ",")})
	const threads, ahead = 256, 4
	pieces := p.N * (p.width() / 8)
	q.Launch(k, device.Grid{X: (pieces + threads*ahead - 1) / (threads * ahead), Threads: threads}, args...)
}

// ProjectionsBackwardArgs are the buffers of a backward pass: the inputs of the forward pass and the gradients.
type ProjectionsBackwardArgs struct {
	Projections
	X      device.Tensor
	W      []device.Tensor
	Before []device.Tensor // of parts with an activation, as the forward pass left them
	DY     []device.Tensor // [N, Out]; none is zero
	DX     device.Tensor   // result [N, In], or none
	DW     []device.Tensor // results [Out, In], each may be none
	DBias  []device.Tensor // results [Out], float32, each may be none
	// Scratch of BackwardScratch bytes.
	Scratch device.Tensor

	tuning tuning
}

// BackwardScratch is in bytes, for elements of type t.
func (p Projections) BackwardScratch(t device.Type) int64 {
	size, total := int64(t.Size()), p.width()
	return device.Aligned(int64(p.N*total)*size) + device.Aligned(int64(total*p.In)*size) + device.Aligned(int64(total)*4) + DeviceBackwardWeightScratch(p.N, total)
}

// DeviceProjectionsBackward queues a backward pass: one product for DX, one for all of DW, of our own or of all parts side by side.
func DeviceProjectionsBackward(q *device.Queue, a *ProjectionsBackwardArgs) {
	a.check(a.W, a.Before, a.DY, a.DW, a.DBias)
	if a.own(q) {
		return
	}
	t, total := a.X.Type, a.width()
	cat, rest := a.Scratch.Carve(t, a.N*total)
	stacked, rest := rest.Carve(t, total*a.In)
	bias, rest := rest.Carve(device.Float32, total)
	a.launch(q, "join", cat, a.DY, a.Before)
	if !a.DX.None() {
		a.stack(q, stacked, a.W, a.In)
		DeviceBackwardInput(q, a.DX, cat, stacked, a.N, a.In, total)
	}
	if !wanted(a.DW) {
		stacked = device.Tensor{}
	}
	if !wanted(a.DBias) {
		bias = device.Tensor{}
	}
	DeviceBackwardWeight(q, stacked, bias, cat, a.X, rest, a.N, a.In, total)
	at := 0
	for i, part := range a.Parts {
		if !a.DW[i].None() {
			q.Copy(a.DW[i], stacked.Slice(at*a.In, part.Out*a.In))
		}
		if !a.DBias[i].None() {
			q.Copy(a.DBias[i], bias.Slice(at, part.Out))
		}
		at += (part.Out + 15) / 16 * 16
	}
}

func wanted(list []device.Tensor) bool {
	for _, t := range list {
		if !t.None() {
			return true
		}
	}
	return false
}
