package linearloss

import (
	"fmt"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
)

// Conformance is the losses at sizes that find mistakes, for tests and for doctor.
func Conformance() []check.Case {
	small := room{gradient: 1, teacher: 1} // pieces of 128 tokens
	var cases []check.Case
	for _, s := range []lossSize{
		{n: 1, vocab: 7, d: 3, dt: 5},
		{n: 63, vocab: 96, d: 16, dt: 24, ignore: 4},
		{n: 65, vocab: 301, d: 24, dt: 8, ignore: 3, temperature: 2},
		{n: 5, vocab: 4999, d: 8, dt: 8},
		{n: 300, vocab: 301, d: 8, dt: 16, ignore: 7, temperature: 0.5, room: small},
		{n: 200, vocab: 96, d: 16, dt: 8, frozen: true, room: small},
		{n: 40, vocab: 301, d: 8, dt: 8, evaluation: true, ignore: 5},
		{n: 9, vocab: 7, d: 4, dt: 4, ignore: 1},
	} {
		if s.room == (room{}) {
			s.room = usual()
		}
		if s.temperature == 0 {
			s.temperature = 1
		}
		cases = append(cases, s.crossEntropy(), s.kl())
	}
	for _, s := range []lossSize{{n: 1, d: 1}, {n: 65, d: 96, ignore: 3}, {n: 700, d: 12, ignore: 5}, {n: 6, d: 37}, {n: 4, d: 8, ignore: 1}} {
		cases = append(cases, s.mse())
	}
	return cases
}

// lossSize is a batch of tokens of which every ignore-th does not count; 0: all count.
type lossSize struct {
	n, vocab, d, dt, ignore int
	temperature             float64
	frozen, evaluation      bool // no gradient for the head; none at all
	room                    room
}

const lossWeight = 0.7

func (s lossSize) labels(vocab int) []int32 {
	r := check.Rand(uint64(s.n))
	labels := make([]int32, s.n)
	for i := range labels {
		if labels[i] = int32(r.IntN(vocab)); s.ignore > 0 && i%s.ignore == 0 {
			labels[i] = Ignore
		}
	}
	return labels
}

func (s lossSize) String() string {
	return fmt.Sprintf("N %d, Vocab %d, D %d%s", s.n, s.vocab, s.d, map[bool]string{true: ", frozen head"}[s.frozen])
}

func (s lossSize) scratch(teacher bool) func(device.Type) int64 {
	return func(t device.Type) int64 { return workspace(s.room, s.n, s.vocab, s.d, teacher, t).bytes }
}

// hidden is hidden states and a head that make logits of about the given spread.
func (s lossSize) hidden(seed uint64, name string, d int, spread float64) (h, w check.Operand) {
	r := check.Rand(seed + uint64(s.n*s.vocab))
	h = check.Operand{Name: name + "h", Float: check.Normal(r, s.n*d, 1)}
	w = check.Operand{Name: name + "w", Float: check.Normal(r, s.vocab*d, spread/float64(d))}
	return h, w
}

// results are the operands that the losses of a head write.
func (s lossSize) results() []check.Operand {
	result := func(name string, n int, wide bool) check.Operand {
		return check.Operand{Name: name, Role: check.Result, Float: make([]float64, n), Wide: wide}
	}
	list := []check.Operand{result("loss", 1, true), result("counts", 2, true), result("token", s.n, true)}
	if !s.evaluation {
		list = append(list, result("dh", s.n*s.d, false))
	}
	if !s.evaluation && !s.frozen {
		list = append(list, result("dw", s.vocab*s.d, false))
	}
	return list
}

// at returns argument i, or nothing where there are fewer.
func at[T any](a []T, i int) (x T) {
	if i < len(a) {
		x = a[i]
	}
	return x
}

func tell[T float32 | float64](r Result, loss, counts []T) {
	loss[0], counts[0], counts[1] = T(lossWeight*r.Loss), T(r.Tokens), T(r.Agree)
}

func (s lossSize) crossEntropy() check.Case {
	labels := s.labels(s.vocab)
	h, w := s.hidden(1, "", s.d, 4)
	return check.Case{
		Op: "linear cross-entropy", Size: s.String(),
		Args: append([]check.Operand{{Name: "labels", Int: labels}, h, w}, s.results()...),
		Reference: func(a [][]float64) {
			x := crossEntropyOf(s, labels, a)
			tell(ReferenceCrossEntropy(&x), a[3], a[4])
		},
		CPU: func(c *cpu.Cores, a [][]float32) {
			x := crossEntropyOf(s, labels, a)
			x.Scratch = make([]float32, CrossEntropyScratch(s.n, s.vocab))
			tell(CrossEntropy(c, &x), a[3], a[4])
		},
		GPU: func(q *device.Queue, a []device.Tensor, scratch device.Tensor) {
			crossEntropy(q, &DeviceCrossEntropyArgs{N: s.n, Vocab: s.vocab, D: s.d, Weight: lossWeight, Labels: a[0], H: a[1], W: a[2],
				Loss: a[3], Counts: a[4], Token: a[5], DH: at(a, 6), DW: at(a, 7), Scratch: scratch}, s.room)
		},
		Scratch: s.scratch(false),
	}
}

func crossEntropyOf[T float32 | float64](s lossSize, labels []int32, a [][]T) CrossEntropyArgs[T] {
	return CrossEntropyArgs[T]{Vocab: s.vocab, D: s.d, Labels: labels, H: a[1], W: Head[T]{Full: a[2]}, GradScale: lossWeight,
		Token: a[5], DH: at(a, 6), DW: at(a, 7)}
}

func (s lossSize) kl() check.Case {
	labels := s.labels(s.vocab)
	h, w := s.hidden(2, "student's ", s.d, 3)
	ht, wt := s.hidden(3, "teacher's ", s.dt, 4)
	return check.Case{
		Op: "linear KL", Size: fmt.Sprintf("%v, Dt %d, τ %v", s, s.dt, s.temperature),
		Args: append([]check.Operand{{Name: "labels", Int: labels}, h, w, ht, wt}, s.results()...),
		Reference: func(a [][]float64) {
			x := klOf(s, labels, a)
			tell(ReferenceKL(&x), a[5], a[6])
		},
		CPU: func(c *cpu.Cores, a [][]float32) {
			x := klOf(s, labels, a)
			x.Scratch = make([]float32, KLScratch(s.n, s.vocab))
			tell(KL(c, &x), a[5], a[6])
		},
		GPU: func(q *device.Queue, a []device.Tensor, scratch device.Tensor) {
			divergence(q, &DeviceKLArgs{N: s.n, Vocab: s.vocab, DStudent: s.d, DTeacher: s.dt, Temperature: s.temperature, Weight: lossWeight,
				Labels: a[0], HStudent: a[1], WStudent: a[2], HTeacher: a[3], WTeacher: a[4],
				Loss: a[5], Counts: a[6], Token: a[7], DH: at(a, 8), DW: at(a, 9), Scratch: scratch}, s.room)
		},
		Scratch: s.scratch(true),
	}
}

func klOf[T float32 | float64](s lossSize, labels []int32, a [][]T) KLArgs[T] {
	return KLArgs[T]{Vocab: s.vocab, DStudent: s.d, DTeacher: s.dt, Temperature: s.temperature, Labels: labels, GradScale: lossWeight,
		HStudent: a[1], WStudent: Head[T]{Full: a[2]}, HTeacher: a[3], WTeacher: Head[T]{Full: a[4]},
		Token: a[7], DH: at(a, 8), DW: at(a, 9)}
}

func (s lossSize) mse() check.Case {
	labels := s.labels(9)
	r := check.Rand(uint64(s.n * s.d))
	return check.Case{
		Op: "hidden MSE", Size: fmt.Sprintf("N %d, D %d", s.n, s.d),
		Args: []check.Operand{{Name: "labels", Int: labels}, {Name: "a", Float: check.Normal(r, s.n*s.d, 1)}, {Name: "b", Float: check.Normal(r, s.n*s.d, 1)},
			{Name: "loss", Role: check.Result, Float: make([]float64, 1), Wide: true}, {Name: "counts", Role: check.Result, Float: make([]float64, 2), Wide: true},
			{Name: "da", Role: check.Result, Float: make([]float64, s.n*s.d)}},
		Reference: func(a [][]float64) {
			tell(ReferenceMSE(&MSEArgs[float64]{D: s.d, Labels: labels, A: a[1], B: a[2], GradScale: lossWeight, DA: a[5]}), a[3], a[4])
		},
		CPU: func(c *cpu.Cores, a [][]float32) {
			tell(MSE(c, &MSEArgs[float32]{D: s.d, Labels: labels, A: a[1], B: a[2], GradScale: lossWeight, DA: a[5]}), a[3], a[4])
		},
		GPU: func(q *device.Queue, a []device.Tensor, scratch device.Tensor) {
			DeviceMSE(q, &DeviceMSEArgs{N: s.n, D: s.d, Weight: lossWeight, Labels: a[0], A: a[1], B: a[2], Loss: a[3], Counts: a[4], DA: a[5], Scratch: scratch})
		},
		Scratch: func(device.Type) int64 { return DeviceMSEScratch() },
	}
}
