package linearloss

import (
	_ "embed"
	"fmt"

	"github.com/gojet/gojet/kernels/device"
)

//go:embed linearloss.cu
var rowsText string

//go:embed tally.cu
var tallyText string

//go:embed mse.cu
var mseText string

// room is the bytes of logits on a device. Gradients of as many tokens as fit are kept together, so that each product with them is
// large and the sum over tokens seldom leaves it; the teacher's logits, needed for a moment only, go in smaller pieces.
type room struct{ gradient, teacher int }

// usual is the room that a loss takes, 2.8 GB at most.
func usual() room { return room{gradient: 5 << 29, teacher: 5 << 26} }

// piece returns how many of n tokens go together where bytes may be taken: pieces of like size, of whole tiles of 128.
func piece(n, vocab int, t device.Type, bytes int) int {
	const tile = 128
	most := max(tile, bytes/(stride(vocab)*t.Size())/tile*tile)
	count := max(1, (n+most-1)/most)
	return min(n, ((n+count-1)/count+tile-1)/tile*tile)
}

// stride is the distance between rows of logits: whole cache lines.
func stride(vocab int) int { return (vocab + 63) / 64 * 64 }

// DeviceScratch returns the bytes of temporary memory that a loss over n tokens takes, with or without a teacher, where
// logits are of type t and the head has features d.
func DeviceScratch(n, vocab, d int, teacher bool, t device.Type) int64 {
	return workspace(usual(), n, vocab, d, teacher, t).bytes
}

// space is how the temporary memory is divided.
type space struct {
	gradient, logits int // tokens of a piece
	student, teacher int // elements
	wide             int // float32 sums of the head's gradient; 0 where one piece holds all tokens
	bytes            int64
}

func workspace(m room, n, vocab, d int, teacher bool, t device.Type) space {
	w := space{gradient: piece(n, vocab, t, m.gradient)}
	w.logits = piece(w.gradient, vocab, t, m.teacher)
	w.student = w.gradient * stride(vocab)
	if teacher {
		w.teacher = w.logits * stride(vocab)
	}
	if n > w.gradient && t != device.Float32 {
		w.wide = vocab * d
	}
	size := int64(t.Size())
	w.bytes = device.Aligned(int64(w.student)*size) + device.Aligned(int64(w.teacher)*size) + device.Aligned(int64(w.wide)*4) +
		device.Aligned(int64(n)*8) + device.Aligned(4)
	return w
}

// DeviceCrossEntropyArgs are CrossEntropyArgs in the memory of a device. H, W, DH and DW are of one type. Results that are
// none are not wanted; without DH and DW there is no backward pass.
type DeviceCrossEntropyArgs struct {
	N, Vocab, D int
	Weight      float64       // factor of Loss, DH and DW
	Labels      device.Tensor // int32 [N]; a label that is neither a token nor Ignore makes the loss NaN
	H           device.Tensor // [N, D]
	W           device.Tensor // [Vocab, D]

	Loss   device.Tensor // result float32 [1]
	Counts device.Tensor // result float32 [2]: tokens that count and, of them, those that agree
	Token  device.Tensor // result float32 [N], without Weight
	DH     device.Tensor // result [N, D]
	DW     device.Tensor // result [Vocab, D]

	Scratch device.Tensor // DeviceScratch bytes
}

// DeviceCrossEntropy queues CrossEntropy.
func DeviceCrossEntropy(q *device.Queue, a *DeviceCrossEntropyArgs) {
	must(sizes("cross-entropy", a.N, side{a.H, a.D, "h"}, a.W, a.Vocab, a.Labels, a.Token, a.DH, a.DW))
	crossEntropy(q, a, usual())
}

func crossEntropy(q *device.Queue, a *DeviceCrossEntropyArgs, m room) {
	r := newRun(q, m, a.Scratch, a.N, a.Vocab, a.D, false, a.H.Type)
	count(q, r.counted, a.Labels, a.N)
	kernel := r.kernel("cross_entropy")
	gradient := !a.DH.None() || !a.DW.None()
	r.pieces(a.H, a.W, a.DH, a.DW, a.D, func(logits device.Tensor, lo, n int) {
		q.Launch(kernel, r.grid(n), logits, a.Labels.Slice(lo, n), r.counted, a.Weight, r.rows.Slice(2*lo, 2*n), part(a.Token, lo, n), truth(gradient))
	})
	r.finish(a.Loss, a.Counts, a.Weight)
}

// DeviceKLArgs are KLArgs in the memory of a device. All hidden states and heads are of one type. Results that are none are
// not wanted; without DH and DW there is no backward pass.
type DeviceKLArgs struct {
	N, Vocab, DTeacher, DStudent int
	Temperature                  float64
	Weight                       float64       // factor of Loss, DH and DW
	Labels                       device.Tensor // int32 [N], or none: every token counts
	HTeacher, WTeacher           device.Tensor // [N, DTeacher], [Vocab, DTeacher]
	HStudent, WStudent           device.Tensor // [N, DStudent], [Vocab, DStudent]

	Loss   device.Tensor // result float32 [1]
	Counts device.Tensor // result float32 [2]: tokens that count and, of them, those that agree
	Token  device.Tensor // result float32 [N], without Weight
	DH     device.Tensor // result [N, DStudent]
	DW     device.Tensor // result [Vocab, DStudent]

	Scratch device.Tensor // DeviceScratch bytes
}

// DeviceKL queues KL.
func DeviceKL(q *device.Queue, a *DeviceKLArgs) {
	must(sizes("kl", a.N, side{a.HStudent, a.DStudent, "student's h"}, a.WStudent, a.Vocab, a.Labels, a.Token, a.DH, a.DW))
	must(sizes("kl", a.N, side{a.HTeacher, a.DTeacher, "teacher's h"}, a.WTeacher, a.Vocab, a.Labels, a.Token, device.Tensor{}, device.Tensor{}))
	divergence(q, a, usual())
}

func divergence(q *device.Queue, a *DeviceKLArgs, m room) {
	r := newRun(q, m, a.Scratch, a.N, a.Vocab, a.DStudent, true, a.HStudent.Type)
	count(q, r.counted, a.Labels, a.N)
	kernel := r.kernel("kl")
	gradient := !a.DH.None() || !a.DW.None()
	r.pieces(a.HStudent, a.WStudent, a.DH, a.DW, a.DStudent, func(logits device.Tensor, lo, n int) {
		r.forward(r.teacher, a.HTeacher, a.WTeacher, a.DTeacher, lo, n)
		q.Launch(kernel, r.grid(n), logits, r.teacher, part(a.Labels, lo, n), r.counted, a.Weight, a.Temperature,
			r.rows.Slice(2*lo, 2*n), part(a.Token, lo, n), truth(gradient))
	})
	r.finish(a.Loss, a.Counts, a.Weight)
}

// run is a loss on its way through the tokens.
type run struct {
	q        *device.Queue
	n, vocab int
	space
	t                device.Type
	student, teacher device.Tensor // logits of a piece
	wide             device.Tensor
	rows             device.Tensor // float32 [N, 2]: loss and whether it agrees
	counted          device.Tensor // int32 [1]
}

func newRun(q *device.Queue, m room, scratch device.Tensor, n, vocab, d int, teacher bool, t device.Type) *run {
	r := &run{q: q, n: n, vocab: vocab, t: t, space: workspace(m, n, vocab, d, teacher, t)}
	r.student, scratch = scratch.Carve(t, r.space.student)
	r.teacher, scratch = scratch.Carve(t, r.space.teacher)
	r.wide, scratch = scratch.Carve(device.Float32, r.space.wide)
	r.rows, scratch = scratch.Carve(device.Float32, 2*n)
	r.counted, _ = scratch.Carve(device.Int32, 1)
	return r
}

// threads of a block that takes a row.
const threads = 512

func (r *run) kernel(name string) *device.Kernel {
	return r.q.Kernel(&device.Source{File: "linearloss.cu", Text: rowsText}, name, device.Define{Name: "TYPE", Value: r.t},
		device.Define{Name: "VOCAB", Value: r.vocab}, device.Define{Name: "APART", Value: stride(r.vocab)}, device.Define{Name: "BLOCK", Value: threads})
}

// tallying returns a kernel that does not know the vocabulary.
func tallying(q *device.Queue, name string) *device.Kernel {
	return q.Kernel(&device.Source{File: "tally.cu", Text: tallyText}, name)
}

func (r *run) grid(n int) device.Grid { return device.Grid{X: n, Threads: threads} }

// count sets counted to how many of n tokens count.
func count(q *device.Queue, counted, labels device.Tensor, n int) {
	q.Launch(tallying(q, "count"), device.Grid{X: 1, Threads: 1024}, counted, labels, n)
}

// forward computes the logits of n tokens from lo.
func (r *run) forward(logits, h, w device.Tensor, d, lo, n int) {
	r.q.Product(device.Product{M: n, N: r.vocab, K: d, A: h.Slice(lo*d, n*d), B: w, TransB: true, C: logits, LDC: stride(r.vocab)})
}

// pieces takes all tokens through the student's head and back. loss turns the logits of n tokens from lo into gradients.
func (r *run) pieces(h, w, dh, dw device.Tensor, d int, loss func(logits device.Tensor, lo, n int)) {
	if r.n == 0 && !dw.None() {
		r.q.Zero(dw)
	}
	ld, gradient := stride(r.vocab), !dh.None() || !dw.None()
	for g := 0; g < r.n; g += r.gradient {
		end := min(g+r.gradient, r.n)
		for lo := g; lo < end; lo += r.logits {
			n, at := min(r.logits, end-lo), lo-g
			if !gradient {
				at = 0
			}
			logits := r.student.Slice(at*ld, n*ld)
			r.forward(logits, h, w, d, lo, n)
			loss(logits, lo, n)
		}
		if n := end - g; !dh.None() {
			r.q.Product(device.Product{M: n, N: d, K: r.vocab, A: r.student, LDA: ld, B: w, C: dh.Slice(g*d, n*d)})
		}
		if n := end - g; !dw.None() {
			r.headGradient(dw, h.Slice(g*d, n*d), d, g, n)
		}
	}
}

// headGradient adds the tokens of a piece, of which the first is g, to the gradient of the head. Sums over several pieces
// are float32.
func (r *run) headGradient(dw, h device.Tensor, d, g, n int) {
	p := device.Product{M: r.vocab, N: d, K: n, A: r.student, TransA: true, LDA: stride(r.vocab), B: h, C: dw}
	if r.space.wide > 0 {
		p.C = r.wide
	}
	if g > 0 {
		p.Beta = 1
	}
	r.q.Product(p)
	if r.space.wide > 0 && g+n == r.n {
		r.q.Launch(tallying(r.q, "narrow"), device.Grid{X: (dw.Len + 2047) / 2048, Threads: 256}, dw, r.wide, int64(dw.Len))
	}
}

func (r *run) finish(loss, counts device.Tensor, weight float64) {
	r.q.Launch(tallying(r.q, "finish"), device.Grid{X: 1, Threads: 1024}, loss, counts, r.rows, r.counted, weight, r.n)
}

// part is n elements of a tensor that may be none.
func part(t device.Tensor, lo, n int) device.Tensor {
	if t.None() {
		return t
	}
	return t.Slice(lo, n)
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// side is hidden states with their features.
type side struct {
	h    device.Tensor
	d    int
	name string
}

// sizes reports a tensor that does not have the elements it must have.
func sizes(loss string, n int, s side, w device.Tensor, vocab int, labels, token, dh, dw device.Tensor) error {
	if vocab < 1 || s.d < 1 {
		return fmt.Errorf("linearloss: %s: vocabulary %d, features %d; want 1 or more of each", loss, vocab, s.d)
	}
	if s.h.Type != w.Type {
		return fmt.Errorf("linearloss: %s: %s is %s and its head %s, want one type", loss, s.name, s.h.Type, w.Type)
	}
	given := func(name string, t device.Tensor, want int) length {
		if t.None() {
			want = 0
		}
		return length{name, t.Len, want}
	}
	return lengths(loss, length{s.name, s.h.Len, n * s.d}, length{"head of " + s.name, w.Len, vocab * s.d},
		given("labels", labels, n), given("token", token, n), given("dh", dh, n*s.d), given("dw", dw, vocab*s.d))
}

// DeviceMSEArgs are MSEArgs in the memory of a device. Results that are none are not wanted.
type DeviceMSEArgs struct {
	N, D   int
	Weight float64       // factor of Loss and DA
	Labels device.Tensor // int32 [N], or none: every token counts
	A, B   device.Tensor // [N, D]

	Loss   device.Tensor // result float32 [1]
	Counts device.Tensor // result float32 [2]: tokens that count, and 0
	DA     device.Tensor // result [N, D]

	Scratch device.Tensor // DeviceMSEScratch bytes
}

// mseBlocks is how many partial sums the squared distance is added from on a device.
const mseBlocks = 528

// DeviceMSEScratch returns the bytes of temporary memory that DeviceMSE takes.
func DeviceMSEScratch() int64 { return device.Aligned(8*mseBlocks) + device.Aligned(4) }

// DeviceMSE queues MSE.
func DeviceMSE(q *device.Queue, a *DeviceMSEArgs) {
	must(lengths("mse", length{"a", a.A.Len, a.N * a.D}, length{"b", a.B.Len, a.N * a.D}))
	partial, rest := a.Scratch.Carve(device.Float64, mseBlocks)
	counted, _ := rest.Carve(device.Int32, 1)
	kernel := func(name string) *device.Kernel {
		return q.Kernel(&device.Source{File: "mse.cu", Text: mseText}, name, device.Define{Name: "TYPE", Value: a.A.Type}, device.Define{Name: "FEATURES", Value: a.D})
	}
	count(q, counted, a.Labels, a.N)
	blocks := max(1, min(a.N, mseBlocks))
	q.Launch(kernel("mse"), device.Grid{X: blocks, Threads: 256}, a.DA, partial, a.A, a.B, a.Labels, counted, a.Weight, a.N)
	q.Launch(kernel("finish"), device.Grid{X: 1, Threads: 256}, a.Loss, a.Counts, partial, counted, a.Weight, blocks)
}
