package linearloss

import (
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/vec"
)

// mseParts is how many partial sums the squared distance is added from.
const mseParts = 256

// MSE is ReferenceMSE on all cores.
func MSE(c *cpu.Cores, a *MSEArgs[float32]) Result {
	must(a.check())
	n := len(a.A) / a.D
	r := Result{Tokens: counted(a.Labels, n)}
	j := cpu.Borrow(c, mseJob{MSEArgs: *a})
	job := &j.Args
	job.size = (n + mseParts - 1) / mseParts
	job.scale = float32(mean(2*a.GradScale, r.Tokens*a.D))
	j.For(n, job.size, mseRows)
	var sum float64
	for _, x := range job.sums {
		sum += x
	}
	j.Return()
	r.Loss = mean(sum, r.Tokens*a.D)
	return r
}

type mseJob struct {
	MSEArgs[float32]
	size  int // tokens of a part
	scale float32
	sums  [mseParts]float64
}

func mseRows(a *mseJob, w *cpu.Worker, lo, hi int) {
	diff := w.Floats(a.D)
	var sum float64
	for i := lo; i < hi; i++ {
		at := i * a.D
		if !counts(a.Labels, i) {
			if a.DA != nil {
				clear(a.DA[at:][:a.D])
			}
			continue
		}
		vec.Combine(diff, 1, a.A[at:][:a.D], -1, a.B[at:][:a.D])
		sum += float64(vec.SumSquares(diff))
		if a.DA != nil {
			vec.Scale(a.DA[at:][:a.D], a.scale, diff)
		}
	}
	a.sums[lo/a.size] = sum
}
