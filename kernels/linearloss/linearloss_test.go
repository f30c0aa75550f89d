package linearloss_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gojet/gojet/bf16"
	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/linearloss"
)

// problem holds inputs in float64 for all the losses.
type problem struct {
	name           string
	n, vocab       int
	ds, dt         int
	tau            float64
	labels, mask   []int32
	hs, ht, ws, wt []float64
}

// newProblem ignores the tokens for which ignore is true.
func newProblem(name string, n, vocab, ds, dt int, tau float64, ignore func(i int) bool) *problem {
	r := check.Rand(uint64(n + vocab))
	p := &problem{name: name, n: n, vocab: vocab, ds: ds, dt: dt, tau: tau}
	p.labels = make([]int32, n)
	for i := range p.labels {
		p.labels[i] = int32(r.IntN(vocab))
		if ignore(i) {
			p.labels[i] = linearloss.Ignore
			p.mask = p.labels
		}
	}
	p.hs, p.ht = check.Normal(r, n*ds, 1), check.Normal(r, n*dt, 1)
	p.ws, p.wt = check.Normal(r, vocab*ds, 0.5), check.Normal(r, vocab*dt, 0.5)
	return p
}

func problems() []*problem {
	never := func(int) bool { return false }
	return []*problem{
		newProblem("one token", 1, 5, 3, 4, 1, never),
		newProblem("small", 19, 101, 24, 20, 1, func(i int) bool { return i%4 == 1 }),
		newProblem("warm", 33, 1100, 9, 17, 2.5, never),
		newProblem("cold", 7, 513, 9, 17, 0.5, never),
		newProblem("chunks", 600, 37, 12, 9, 1.5, func(i int) bool { return i%3 == 0 || i >= 256 && i < 512 }),
		newProblem("none counts", 9, 37, 12, 9, 1, func(int) bool { return true }),
		newProblem("no tokens", 0, 37, 12, 9, 1, never),
	}
}

func head[T kernels.Float](w []float64) linearloss.Head[T] {
	return linearloss.Head[T]{Full: check.To[T](w)}
}

func crossEntropyArgs[T kernels.Float](p *problem, dh, dw, token []T) *linearloss.CrossEntropyArgs[T] {
	return &linearloss.CrossEntropyArgs[T]{
		Vocab: p.vocab, D: p.ds, Labels: p.labels, H: check.To[T](p.hs), W: head[T](p.ws), GradScale: 1.75,
		DH: dh, DW: dw, Token: token, Scratch: make([]float32, linearloss.CrossEntropyScratch(p.n, p.vocab)),
	}
}

func klArgs[T kernels.Float](p *problem, dh, dw, token []T) *linearloss.KLArgs[T] {
	return &linearloss.KLArgs[T]{
		Vocab: p.vocab, DTeacher: p.dt, DStudent: p.ds, Temperature: p.tau, Labels: p.mask,
		HTeacher: check.To[T](p.ht), WTeacher: head[T](p.wt), HStudent: check.To[T](p.hs), WStudent: head[T](p.ws), GradScale: 1.75,
		DH: dh, DW: dw, Token: token, Scratch: make([]float32, linearloss.KLScratch(p.n, p.vocab)),
	}
}

// mseArgs compares hs with other values of the same size.
func mseArgs[T kernels.Float](p *problem, da []T) *linearloss.MSEArgs[T] {
	b := check.Normal(check.Rand(5), len(p.hs), 1)
	return &linearloss.MSEArgs[T]{D: p.ds, Labels: p.mask, A: check.To[T](p.hs), B: check.To[T](b), GradScale: 1.75, DA: da}
}

func sameResult(t *testing.T, got, want linearloss.Result) {
	t.Helper()
	check.Close(t, "loss", []float64{got.Loss}, []float64{want.Loss}, check.Loss32)
	if got.Tokens != want.Tokens || got.Agree != want.Agree {
		t.Errorf("tokens %d, agree %d; want %d and %d", got.Tokens, got.Agree, want.Tokens, want.Agree)
	}
}

func TestCrossEntropy(t *testing.T) {
	c := cpu.New(3)
	defer c.Close()
	for _, p := range problems() {
		t.Run(p.name, func(t *testing.T) {
			dh, dw, token := make([]float64, len(p.hs)), make([]float64, len(p.ws)), make([]float64, p.n)
			want := linearloss.ReferenceCrossEntropy(crossEntropyArgs(p, dh, dw, token))
			fh, fw, ft := check.Poisoned[float32](len(dh)), check.Poisoned[float32](len(dw)), check.Poisoned[float32](p.n)
			a := crossEntropyArgs(p, fh.Data, fw.Data, ft.Data)
			same := check.Unchanged(t, a.H, a.W.Full)
			got := linearloss.CrossEntropy(c, a)
			same()
			sameResult(t, got, want)
			check.Written(t, "dh", fh, dh, check.Kernel32)
			check.Written(t, "dw", fw, dw, check.Kernel32)
			check.Written(t, "token", ft, token, check.Kernel32)
			if alone := linearloss.CrossEntropy(c, crossEntropyArgs[float32](p, nil, nil, nil)); alone != got {
				t.Errorf("without gradients the result is %+v, with them %+v", alone, got)
			}
		})
	}
}

func TestKL(t *testing.T) {
	c := cpu.New(3)
	defer c.Close()
	for _, p := range problems() {
		t.Run(p.name, func(t *testing.T) {
			dh, dw, token := make([]float64, len(p.hs)), make([]float64, len(p.ws)), make([]float64, p.n)
			want := linearloss.ReferenceKL(klArgs(p, dh, dw, token))
			fh, fw, ft := check.Poisoned[float32](len(dh)), check.Poisoned[float32](len(dw)), check.Poisoned[float32](p.n)
			a := klArgs(p, fh.Data, fw.Data, ft.Data)
			same := check.Unchanged(t, a.HStudent, a.HTeacher, a.WStudent.Full, a.WTeacher.Full)
			got := linearloss.KL(c, a)
			same()
			sameResult(t, got, want)
			check.Written(t, "dh", fh, dh, check.Kernel32)
			check.Written(t, "dw", fw, dw, check.Kernel32)
			check.Written(t, "token", ft, token, check.Kernel32)
			if alone := linearloss.KL(c, klArgs[float32](p, nil, nil, nil)); alone != got {
				t.Errorf("without gradients the result is %+v, with them %+v", alone, got)
			}
		})
	}
}

// Heads in bfloat16 are read exactly.
func TestBF16(t *testing.T) {
	c := cpu.New(2)
	defer c.Close()
	p := problems()[1]
	narrow := func(w []float64) (h []bf16.BF16) {
		for _, x := range w {
			h = append(h, bf16.From(float32(x)))
		}
		return h
	}
	ws, wt := narrow(p.ws), narrow(p.wt)
	dh, dw := make([]float64, len(p.hs)), make([]float64, len(p.ws))
	fh, fw := check.Poisoned[float32](len(dh)), check.Poisoned[float32](len(dw))

	ref, fast := crossEntropyArgs(p, dh, dw, nil), crossEntropyArgs(p, fh.Data, fw.Data, nil)
	ref.W, fast.W = linearloss.Head[float64]{BF16: ws}, linearloss.Head[float32]{BF16: ws}
	sameResult(t, linearloss.CrossEntropy(c, fast), linearloss.ReferenceCrossEntropy(ref))
	check.Written(t, "cross-entropy dh", fh, dh, check.Kernel32)
	check.Written(t, "cross-entropy dw", fw, dw, check.Kernel32)

	kref, kfast := klArgs(p, dh, dw, nil), klArgs(p, fh.Data, fw.Data, nil)
	kref.WTeacher, kfast.WTeacher = linearloss.Head[float64]{BF16: wt}, linearloss.Head[float32]{BF16: wt}
	sameResult(t, linearloss.KL(c, kfast), linearloss.ReferenceKL(kref))
	check.Written(t, "kl dh", fh, dh, check.Kernel32)
	check.Written(t, "kl dw", fw, dw, check.Kernel32)
}

func TestMSE(t *testing.T) {
	c := cpu.New(3)
	defer c.Close()
	for _, p := range problems() {
		t.Run(p.name, func(t *testing.T) {
			da := make([]float64, len(p.hs))
			want := linearloss.ReferenceMSE(mseArgs(p, da))
			fa := check.Poisoned[float32](len(da))
			a := mseArgs(p, fa.Data)
			same := check.Unchanged(t, a.A, a.B)
			got := linearloss.MSE(c, a)
			same()
			sameResult(t, got, want)
			check.Written(t, "da", fa, da, check.Kernel32)
			if alone := linearloss.MSE(c, mseArgs[float32](p, nil)); alone != got {
				t.Errorf("without gradient the result is %+v, with it %+v", alone, got)
			}
		})
	}
}

func TestReferenceGradients(t *testing.T) {
	p := newProblem("", 6, 11, 5, 4, 1.7, func(i int) bool { return i == 2 })
	dh, dw := make([]float64, len(p.hs)), make([]float64, len(p.ws))
	crossEntropy := func() float64 {
		return 1.75 * linearloss.ReferenceCrossEntropy(crossEntropyArgs[float64](p, nil, nil, nil)).Loss
	}
	linearloss.ReferenceCrossEntropy(crossEntropyArgs(p, dh, dw, nil))
	check.Gradient(t, "cross-entropy by h", p.hs, dh, crossEntropy)
	check.Gradient(t, "cross-entropy by w", p.ws, dw, crossEntropy)

	kl := func() float64 { return 1.75 * linearloss.ReferenceKL(klArgs[float64](p, nil, nil, nil)).Loss }
	linearloss.ReferenceKL(klArgs(p, dh, dw, nil))
	check.Gradient(t, "kl by h", p.hs, dh, kl)
	check.Gradient(t, "kl by w", p.ws, dw, kl)

	linearloss.ReferenceMSE(mseArgs(p, dh))
	check.Gradient(t, "mse by a", p.hs, dh, func() float64 { return 1.75 * linearloss.ReferenceMSE(mseArgs[float64](p, nil)).Loss })
}

func TestThreadsDoNotMatter(t *testing.T) {
	for _, p := range problems() {
		var wantResults []linearloss.Result
		var want [][]float32
		for threads := 1; threads <= 3; threads++ {
			c := cpu.New(threads)
			got := [][]float32{
				make([]float32, len(p.hs)), make([]float32, len(p.ws)), make([]float32, p.n),
				make([]float32, len(p.hs)), make([]float32, len(p.ws)), make([]float32, p.n), make([]float32, len(p.hs)),
			}
			results := []linearloss.Result{
				linearloss.CrossEntropy(c, crossEntropyArgs(p, got[0], got[1], got[2])),
				linearloss.KL(c, klArgs(p, got[3], got[4], got[5])),
				linearloss.MSE(c, mseArgs(p, got[6])),
			}
			c.Close()
			if threads > 1 && (!slices.Equal(results, wantResults) || !slices.EqualFunc(got, want, slices.Equal[[]float32])) {
				t.Errorf("%s: results differ between 1 and %d threads", p.name, threads)
			}
			want, wantResults = got, results
		}
	}
}

// A student that is its teacher has no loss, agrees everywhere, and gets no gradient.
func TestTeacherItself(t *testing.T) {
	c := cpu.New(1)
	defer c.Close()
	p := newProblem("", 12, 300, 8, 8, 2, func(int) bool { return false })
	p.ht, p.wt = p.hs, p.ws
	dh, dw := make([]float32, len(p.hs)), make([]float32, len(p.ws))
	r := linearloss.KL(c, klArgs(p, dh, dw, nil))
	if math.Abs(r.Loss) > 1e-12 || r.Agree != p.n || r.Tokens != p.n {
		t.Errorf("%+v, want loss 0 and agreement on all %d tokens", r, p.n)
	}
	for _, x := range append(dh, dw...) {
		if math.Abs(float64(x)) > 1e-7 {
			t.Fatalf("gradient %v, want 0", x)
		}
	}
}

// Logits far apart neither overflow nor lose the small loss; a NaN is not hidden.
func TestExtremes(t *testing.T) {
	c := cpu.New(1)
	defer c.Close()
	a := &linearloss.CrossEntropyArgs[float32]{Vocab: 3, D: 1, Labels: []int32{0, 1}, H: []float32{1, 1}, W: linearloss.Head[float32]{Full: []float32{1000, 0, -1000}},
		GradScale: 1, DH: make([]float32, 2), DW: make([]float32, 3), Scratch: make([]float32, 6)}
	if r := linearloss.CrossEntropy(c, a); r.Loss != 500 || r.Agree != 1 {
		t.Errorf("%+v, want loss 500 and one right answer", r)
	}
	a.H[1] = float32(math.NaN())
	if r := linearloss.CrossEntropy(c, a); !math.IsNaN(r.Loss) {
		t.Errorf("loss of a NaN is %v, want NaN", r.Loss)
	}
}

func TestAllocatesNothing(t *testing.T) {
	c := cpu.New(2)
	defer c.Close()
	p := problems()[1]
	dh, dw := make([]float32, len(p.hs)), make([]float32, len(p.ws))
	ce, kl, mse := crossEntropyArgs(p, dh, dw, nil), klArgs(p, dh, dw, nil), mseArgs(p, dh)
	if n := testing.AllocsPerRun(20, func() {
		linearloss.CrossEntropy(c, ce)
		linearloss.KL(c, kl)
		linearloss.MSE(c, mse)
	}); n != 0 {
		t.Errorf("%v allocations a call, want 0", n)
	}
}

func TestMistakes(t *testing.T) {
	c := cpu.New(1)
	defer c.Close()
	p := problems()[1]
	for want, f := range map[string]func(){
		"cross-entropy: label of token 2 is 101, want 0 to 100 or -100": func() {
			a := crossEntropyArgs[float32](p, nil, nil, nil)
			a.Labels = slices.Clone(a.Labels)
			a.Labels[2] = 101
			linearloss.CrossEntropy(c, a)
		},
		"cross-entropy: dh has 1 values, want 456": func() { linearloss.CrossEntropy(c, crossEntropyArgs(p, make([]float32, 1), nil, nil)) },
		"cross-entropy: scratch has 0 values": func() {
			a := crossEntropyArgs[float32](p, nil, nil, nil)
			a.Scratch = nil
			linearloss.CrossEntropy(c, a)
		},
		"kl: temperature is 0": func() {
			a := klArgs[float32](p, nil, nil, nil)
			a.Temperature = 0
			linearloss.KL(c, a)
		},
		"kl: teacher's w has 2019 values, want 2020": func() {
			a := klArgs[float32](p, nil, nil, nil)
			a.WTeacher.Full = a.WTeacher.Full[1:]
			linearloss.KL(c, a)
		},
		"mse: b has 1 values, want 456": func() {
			a := mseArgs[float32](p, nil)
			a.B = a.B[:1]
			linearloss.MSE(c, a)
		},
	} {
		expectPanic(t, want, f)
	}
}

func expectPanic(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := fmt.Sprint(recover()); !strings.Contains(got, want) {
			t.Errorf("panic %q, want %q", got, want)
		}
	}()
	f()
}
