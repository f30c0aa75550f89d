package linearloss

import (
	"fmt"
	"math"

	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/vec"
)

// CrossEntropyScratch returns the scratch values that CrossEntropy needs for n tokens.
func CrossEntropyScratch(n, vocab int) int { return chunkTokens(n, vocab) * vocab }

// CrossEntropy is ReferenceCrossEntropy on all cores.
func CrossEntropy(c *cpu.Cores, a *CrossEntropyArgs[float32]) Result {
	must(a.check())
	n := len(a.Labels)
	if need := CrossEntropyScratch(n, a.Vocab); len(a.Scratch) < need {
		panic(fmt.Sprintf("linearloss: cross-entropy: scratch has %d values, want %d for %d tokens", len(a.Scratch), need, n))
	}
	r := Result{Tokens: counted(a.Labels, n)}
	j := cpu.Borrow(c, crossEntropyJob{CrossEntropyArgs: *a})
	job := &j.Args
	job.head = head{vocab: a.Vocab, d: a.D, h: a.H, w: weight(a.W), dh: a.DH, dw: a.DW}
	job.scale = mean(a.GradScale, r.Tokens)
	var sum float64
	for lo := 0; lo < n; lo += chunkTokens(n, a.Vocab) {
		hi := min(lo+chunkTokens(n, a.Vocab), n)
		if counted(a.Labels[lo:hi], hi-lo) == 0 {
			job.head.skip(lo, hi)
			if a.Token != nil {
				clear(a.Token[lo:hi])
			}
			continue
		}
		job.first = lo
		job.head.forward(c, a.Scratch, lo, hi)
		j.For(hi-lo, 1, crossEntropyRows)
		job.head.backward(c, a.Scratch, lo, hi)
		sum += job.tally.take(&r, hi-lo)
	}
	job.head.end()
	j.Return()
	r.Loss = mean(sum, r.Tokens)
	return r
}

type crossEntropyJob struct {
	CrossEntropyArgs[float32]
	head  head
	scale float64 // of the gradients of the logits
	first int     // token of the chunk
	tally tally
}

func crossEntropyRows(a *crossEntropyJob, _ *cpu.Worker, lo, hi int) {
	for i := lo; i < hi; i++ {
		a.tally.loss[i], a.tally.agree[i] = a.row(a.Scratch[i*a.Vocab:][:a.Vocab], a.Labels[a.first+i])
		if a.Token != nil {
			a.Token[a.first+i] = float32(a.tally.loss[i])
		}
	}
}

// row returns the loss of one token with logits z and leaves their gradient in z.
func (a *crossEntropyJob) row(z []float32, label int32) (loss float64, agree bool) {
	if label == Ignore {
		clear(z)
		return 0, false
	}
	top, at := vec.Max(z), z[label]
	sum := expSum(z, top)
	if a.head.wantsGradient() {
		right := a.scale * (float64(z[label])/sum - 1)
		vec.Scale(z, float32(a.scale/sum), z)
		z[label] = float32(right)
	}
	return math.Log(sum) + float64(top) - float64(at), at == top
}

// take adds what n rows say to r and returns the sum of their losses.
func (t *tally) take(r *Result, n int) float64 {
	var sum float64
	for i := range n {
		sum += t.loss[i]
		if t.agree[i] {
			r.Agree++
		}
	}
	return sum
}
