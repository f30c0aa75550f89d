package linearloss

import (
	"fmt"
	"math"

	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/vec"
)

// KLScratch returns the scratch values that KL needs for n tokens.
func KLScratch(n, vocab int) int { return 2 * chunkTokens(n, vocab) * vocab }

// KL is ReferenceKL on all cores.
func KL(c *cpu.Cores, a *KLArgs[float32]) Result {
	must(a.check())
	n := len(a.HStudent) / a.DStudent
	if need := KLScratch(n, a.Vocab); len(a.Scratch) < need {
		panic(fmt.Sprintf("linearloss: kl: scratch has %d values, want %d for %d tokens", len(a.Scratch), need, n))
	}
	r := Result{Tokens: counted(a.Labels, n)}
	j := cpu.Borrow(c, klJob{KLArgs: *a})
	job := &j.Args
	half := chunkTokens(n, a.Vocab) * a.Vocab
	job.student, job.teacher = a.Scratch[:half], a.Scratch[half:2*half]
	job.head = head{vocab: a.Vocab, d: a.DStudent, h: a.HStudent, w: weight(a.WStudent), dh: a.DH, dw: a.DW}
	teacher := head{vocab: a.Vocab, d: a.DTeacher, h: a.HTeacher, w: weight(a.WTeacher)}
	job.scale = mean(a.GradScale, r.Tokens) * a.Temperature
	var sum float64
	for lo := 0; lo < n; lo += chunkTokens(n, a.Vocab) {
		hi := min(lo+chunkTokens(n, a.Vocab), n)
		if a.Labels != nil && counted(a.Labels[lo:hi], hi-lo) == 0 {
			job.head.skip(lo, hi)
			if a.Token != nil {
				clear(a.Token[lo:hi])
			}
			continue
		}
		job.first = lo
		teacher.forward(c, job.teacher, lo, hi)
		job.head.forward(c, job.student, lo, hi)
		j.For(hi-lo, 1, klRows)
		job.head.backward(c, job.student, lo, hi)
		sum += job.tally.take(&r, hi-lo)
	}
	job.head.end()
	j.Return()
	r.Loss = mean(sum, r.Tokens)
	return r
}

type klJob struct {
	KLArgs[float32]
	head             head
	student, teacher []float32 // logits of a chunk
	scale            float64   // of the gradients of the student's logits
	first            int       // token of the chunk
	tally            tally
}

func klRows(a *klJob, w *cpu.Worker, lo, hi int) {
	for i := lo; i < hi; i++ {
		s := a.student[i*a.Vocab:][:a.Vocab]
		if counts(a.Labels, a.first+i) {
			a.tally.loss[i], a.tally.agree[i] = a.row(w, s, a.teacher[i*a.Vocab:][:a.Vocab])
		} else {
			clear(s)
			a.tally.loss[i], a.tally.agree[i] = 0, false
		}
		if a.Token != nil {
			a.Token[a.first+i] = float32(a.tally.loss[i])
		}
	}
}

// row returns the loss of one token and leaves the gradient of the student's logits in zs. With x = z/τ, and
// both x measured from their own largest value, the sum over the vocabulary comes down to
//
//	Σ p (log p − log q) = Σ e^xt (xt − xs) / Σ e^xt + log Σ e^xs − log Σ e^xt
func (a *klJob) row(w *cpu.Worker, zs, zt []float32) (loss float64, agree bool) {
	if cool := float32(1 / a.Temperature); cool != 1 {
		vec.Scale(zs, cool, zs)
		vec.Scale(zt, cool, zt)
	}
	topS, topT := vec.Max(zs), vec.Max(zt)
	agree = zs[place(zt, topT)] == topS
	mark := w.Mark()
	diff := w.Floats(segment)
	var sumS, sumT, cross float64
	for lo := 0; lo < a.Vocab; lo += segment {
		s, t := zs[lo:min(lo+segment, a.Vocab)], zt[lo:min(lo+segment, a.Vocab)]
		d := diff[:len(s)]
		vec.Combine(d, 1, t, -1, s)
		sumS += float64(vec.ExpSum(s, s, topS))
		sumT += float64(vec.ExpSum(t, t, topT))
		cross += float64(vec.Dot(t, d))
	}
	w.Release(mark)
	if a.head.wantsGradient() {
		vec.Combine(zs, float32(a.scale/sumS), zs, float32(-a.scale/sumT), zt)
	}
	gap := float64(topT) - float64(topS)
	kl := cross/sumT - gap + math.Log(sumS) - math.Log(sumT)
	return a.Temperature * a.Temperature * kl, agree
}

// place returns the first place of value x in z, or the last place if it is nowhere, as among NaNs.
func place(z []float32, x float32) int {
	for v, y := range z {
		if y == x {
			return v
		}
	}
	return len(z) - 1
}
