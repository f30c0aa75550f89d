// Package check is how kernels are judged: random inputs, poisoned outputs, guard words, relative errors
// and the one table of tolerances.
package check

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gojet/gojet/kernels"
)

// Tolerances of ‖a−b‖/‖b‖ by what is compared. Loosening one needs its reason in the commit.
const (
	// Kernel32 is a float32 kernel against its reference in float64.
	Kernel32 = 1e-5
	// Fixture32 is a float32 kernel, block or model against stored reference values.
	Fixture32 = 2e-5
	// Gradient64 is an analytic gradient against central differences, both in float64.
	Gradient64 = 1e-6
	// Loss32 is a float32 loss, relative, against a stored reference value.
	Loss32 = 1e-6
	// Model32 and ModelBF16 are whole models on a GPU against stored reference values: logits, loss, gradients.
	Model32   = 1e-4
	ModelBF16 = 3e-2
	// FirstChoicesBF16 is the share of tokens whose most likely successor may differ on a GPU in bfloat16.
	FirstChoicesBF16 = 0.01
	// Chunked32 is chunked prefill and step decode against the full forward, in float32.
	Chunked32 = 1e-5
)

// T is the part of testing.T that checks need.
type T interface {
	Helper()
	Errorf(format string, args ...any)
}

// Rand returns a generator that is the same on every run.
func Rand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x60_1e7)) }

// Normal fills a new slice with n draws from N(0, std²).
func Normal(r *rand.Rand, n int, std float64) []float64 {
	s := make([]float64, n)
	for i := range s {
		s[i] = r.NormFloat64() * std
	}
	return s
}

// To converts between float types.
func To[D, S kernels.Float](src []S) []D {
	if src == nil {
		return nil
	}
	dst := make([]D, len(src))
	for i, v := range src {
		dst[i] = D(v)
	}
	return dst
}

const guard = 16

// Out is a result buffer filled with NaN between guard words.
type Out[F kernels.Float] struct {
	Data  []F
	whole []F
}

const sentinel = -12345.5

// Poisoned returns an Out of n values.
func Poisoned[F kernels.Float](n int) Out[F] {
	whole := make([]F, n+2*guard)
	for i := range whole {
		whole[i] = sentinel
	}
	data := whole[guard : guard+n : guard+n]
	for i := range data {
		data[i] = F(math.NaN())
	}
	return Out[F]{Data: data, whole: whole}
}

// Whole reports an element that was never written or a guard word that was.
func (o Out[F]) Whole() error {
	for i, v := range o.Data {
		if v != v {
			return fmt.Errorf("element %d of %d is NaN or was never written", i, len(o.Data))
		}
	}
	for i, v := range o.whole {
		inside := i >= guard && i < guard+len(o.Data)
		if !inside && v != sentinel {
			return fmt.Errorf("wrote outside the result, at offset %d of %d", i-guard, len(o.Data))
		}
	}
	return nil
}

// RelErr returns ‖got−want‖/‖want‖, or ‖got‖ where want is all zero; a NaN gives +Inf.
func RelErr[A, B kernels.Float](got []A, want []B) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	var diff, norm float64
	for i := range got {
		d := float64(got[i]) - float64(want[i])
		diff += d * d
		norm += float64(want[i]) * float64(want[i])
	}
	if diff != diff || norm != norm {
		return math.Inf(1)
	}
	if norm == 0 {
		return math.Sqrt(diff)
	}
	return math.Sqrt(diff / norm)
}

// Close fails the test unless RelErr(got, want) ≤ tol.
func Close[A, B kernels.Float](t T, name string, got []A, want []B, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: length %d, want %d", name, len(got), len(want))
		return
	}
	if e := RelErr(got, want); !(e <= tol) {
		t.Errorf("%s: relative error %.3g, tolerance %.3g", name, e, tol)
	}
}

// Written fails the test unless o was written in full and only there, then compares it like Close.
func Written[A, B kernels.Float](t T, name string, o Out[A], want []B, tol float64) {
	t.Helper()
	if err := o.Whole(); err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	Close(t, name, o.Data, want, tol)
}

// Gradient compares the analytic gradient of Σ f(x)·dy with central differences in float64, at up to 40 places of
// x. f must read x anew at each call and return the scalar.
func Gradient(t T, name string, x, analytic []float64, f func() float64) {
	t.Helper()
	if len(analytic) != len(x) {
		t.Errorf("%s: gradient has %d values, want %d", name, len(analytic), len(x))
		return
	}
	step := max(1, len(x)/40)
	var got, want []float64
	for i := 0; i < len(x); i += step {
		old := x[i]
		h := 1e-5 * math.Max(1, math.Abs(old))
		x[i] = old + h
		up := f()
		x[i] = old - h
		down := f()
		x[i] = old
		want = append(want, (up-down)/(2*h))
		got = append(got, analytic[i])
	}
	Close(t, "gradient of "+name, got, want, Gradient64)
}

// Unchanged returns a function that fails the test if a kernel wrote to one of its inputs.
func Unchanged[F kernels.Float](t T, inputs ...[]F) func() {
	copies := make([][]F, len(inputs))
	for i, in := range inputs {
		copies[i] = append([]F(nil), in...)
	}
	return func() {
		t.Helper()
		for i, in := range inputs {
			for j := range in {
				if in[j] != copies[i][j] {
					t.Errorf("input %d was changed at %d: %v, was %v", i, j, in[j], copies[i][j])
					return
				}
			}
		}
	}
}

// Sizes of sequences that find off-by-one mistakes in chunked and blocked kernels.
func Sizes() []int { return []int{1, 2, 63, 64, 65, 130} }
