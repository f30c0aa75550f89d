// Package linearloss holds the losses that end a model: a linear head followed by cross-entropy or by the
// Kullback-Leibler divergence from a teacher, and the squared distance of hidden states.
//
// Logits of all tokens, [N, Vocab], are never held: a chunk of tokens at a time goes through the head, the
// loss and back through the head, so that the forward pass yields the gradients as well.
//
// Every loss is a mean over the tokens that count: those whose label is not Ignore. Where none counts, the
// loss and the gradients are zero. Losses are summed in float64.
package linearloss

import (
	"fmt"
	"math"

	"github.com/gojet/gojet/bf16"
	"github.com/gojet/gojet/kernels"
)

// Ignore is the label of a token that does not count.
const Ignore = -100

// Result is what a loss says about a batch.
type Result struct {
	Loss   float64 // mean over the tokens that count
	Tokens int     // that count
	Agree  int     // of them, those whose most likely token is the label, or the teacher's most likely token
}

// Head is the weights of a linear head, [Vocab, D], in one of two types.
type Head[T kernels.Float] struct {
	Full []T
	BF16 []bf16.BF16
}

// len returns the number of weights, or 0 where there are two types of them.
func (w Head[T]) len() int {
	if w.Full != nil && w.BF16 != nil {
		return 0
	}
	return max(len(w.Full), len(w.BF16))
}

// CrossEntropyArgs are the buffers of a linear head with cross-entropy: the loss of token i is
//
//	−log softmax(W h_i)[label_i]
type CrossEntropyArgs[T kernels.Float] struct {
	Vocab, D  int
	Labels    []int32 // [N], 0 to Vocab−1 or Ignore
	H         []T     // [N, D]
	W         Head[T] // [Vocab, D]
	GradScale float64 // factor of DH and DW, not of the loss

	DH    []T // result [N, D]; may be nil
	DW    []T // result [Vocab, D]; may be nil
	Token []T // result [N]: each token's loss, 0 where it does not count; may be nil

	Scratch []float32 // CrossEntropyScratch values; the reference needs none
}

// KLArgs are the buffers of two linear heads and the divergence of the student's distribution from the
// teacher's at temperature τ, times τ², which keeps the gradient's size at any temperature (Hinton et al.,
// https://arxiv.org/abs/1503.02531): with p = softmax(Wt ht_i / τ) and q = softmax(Ws hs_i / τ), token i's loss is
//
//	τ² Σ_v p_v (log p_v − log q_v)
//
// There is no gradient for the teacher.
type KLArgs[T kernels.Float] struct {
	Vocab, DTeacher, DStudent int
	Temperature               float64 // τ, above 0
	Labels                    []int32 // [N], looked at for Ignore only; nil: every token counts
	HTeacher                  []T     // [N, DTeacher]
	WTeacher                  Head[T] // [Vocab, DTeacher]
	HStudent                  []T     // [N, DStudent]
	WStudent                  Head[T] // [Vocab, DStudent]
	GradScale                 float64 // factor of DH and DW, not of the loss

	DH    []T // result [N, DStudent]; may be nil
	DW    []T // result [Vocab, DStudent]; may be nil
	Token []T // result [N]: each token's loss, 0 where it does not count; may be nil

	Scratch []float32 // KLScratch values; the reference needs none
}

// MSEArgs are the buffers of the squared distance of hidden states: the mean over the tokens that count and
// over features of (a − b)². Result.Agree stays 0.
type MSEArgs[T kernels.Float] struct {
	D         int
	Labels    []int32 // [N], looked at for Ignore only; nil: every token counts
	A, B      []T     // [N, D]
	GradScale float64 // factor of DA, not of the loss

	DA []T // result [N, D]: the gradient for A; may be nil
}

// length is a buffer's name, the values it has and the values it must have.
type length struct {
	name       string
	have, want int
}

func lengths(loss string, ls ...length) error {
	for _, l := range ls {
		if l.have != l.want {
			return fmt.Errorf("linearloss: %s: %s has %d values, want %d", loss, l.name, l.have, l.want)
		}
	}
	return nil
}

// wanted is the length of a result that may be nil.
func wanted[T any](name string, data []T, want int) length {
	if data == nil {
		want = 0
	}
	return length{name, len(data), want}
}

// labelled is the length of labels that may be nil.
func labelled(labels []int32, n int) length { return wanted("labels", labels, n) }

func (a *CrossEntropyArgs[T]) check() error {
	const loss = "cross-entropy"
	if a.Vocab < 1 || a.D < 1 {
		return fmt.Errorf("linearloss: %s: vocabulary %d, features %d; want 1 or more of each", loss, a.Vocab, a.D)
	}
	n := len(a.H) / a.D
	for i, l := range a.Labels {
		if l != Ignore && (l < 0 || int(l) >= a.Vocab) {
			return fmt.Errorf("linearloss: %s: label of token %d is %d, want 0 to %d or %d", loss, i, l, a.Vocab-1, Ignore)
		}
	}
	return lengths(loss,
		length{"h", len(a.H), n * a.D}, length{"w", a.W.len(), a.Vocab * a.D}, length{"labels", len(a.Labels), n},
		wanted("dh", a.DH, n*a.D), wanted("dw", a.DW, a.Vocab*a.D), wanted("token", a.Token, n))
}

func (a *KLArgs[T]) check() error {
	const loss = "kl"
	if a.Vocab < 1 || a.DTeacher < 1 || a.DStudent < 1 {
		return fmt.Errorf("linearloss: %s: vocabulary %d, teacher's features %d, student's %d; want 1 or more of each",
			loss, a.Vocab, a.DTeacher, a.DStudent)
	}
	if !(a.Temperature > 0) || math.IsInf(a.Temperature, 0) {
		return fmt.Errorf("linearloss: %s: temperature is %v, want a number above 0", loss, a.Temperature)
	}
	n := len(a.HStudent) / a.DStudent
	return lengths(loss,
		length{"student's h", len(a.HStudent), n * a.DStudent}, length{"student's w", a.WStudent.len(), a.Vocab * a.DStudent},
		length{"teacher's h", len(a.HTeacher), n * a.DTeacher}, length{"teacher's w", a.WTeacher.len(), a.Vocab * a.DTeacher},
		labelled(a.Labels, n),
		wanted("dh", a.DH, n*a.DStudent), wanted("dw", a.DW, a.Vocab*a.DStudent), wanted("token", a.Token, n))
}

func (a *MSEArgs[T]) check() error {
	const loss = "mse"
	if a.D < 1 {
		return fmt.Errorf("linearloss: %s: features %d, want 1 or more", loss, a.D)
	}
	n := len(a.A) / a.D
	return lengths(loss, length{"a", len(a.A), n * a.D}, length{"b", len(a.B), n * a.D}, labelled(a.Labels, n),
		wanted("da", a.DA, n*a.D))
}

func must(err error) {
	if err != nil {
		panic(err.Error())
	}
}

// counts says whether token i counts.
func counts(labels []int32, i int) bool { return labels == nil || labels[i] != Ignore }

// counted returns how many of n tokens count.
func counted(labels []int32, n int) int {
	if labels == nil {
		return n
	}
	k := 0
	for _, l := range labels {
		if l != Ignore {
			k++
		}
	}
	return k
}

// mean divides a sum by a count, 0 by 0 being 0.
func mean(sum float64, n int) float64 {
	if n == 0 {
		return 0
	}
	return sum / float64(n)
}
