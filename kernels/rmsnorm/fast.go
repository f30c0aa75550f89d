package rmsnorm

import (
	"math"

	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/vec"
)

// partValues is about how many values of x one part of the forward pass takes.
const partValues = 1 << 14

// Forward computes a.Y and a.Sum on all cores.
func Forward(c *cpu.Cores, a *ForwardArgs[float32]) {
	a.check()
	d := len(a.W)
	j := cpu.Borrow(c, *a)
	j.For(len(a.X)/d, max(1, partValues/d), forwardRows)
	j.Return()
}

func forwardRows(a *ForwardArgs[float32], _ *cpu.Worker, lo, hi int) {
	d := len(a.W)
	for row := lo; row < hi; row++ {
		at := row * d
		x, y := a.X[at:at+d], a.Y[at:at+d]
		if a.Add != nil {
			x = a.total(at, at+d)
			vec.Add(x, a.X[at:at+d], a.Add[at:at+d])
		}
		vec.ScaleMul(y, rsqrt(x, a.Eps), x, a.W)
		if a.Gate != nil {
			vec.SiLUMul(y, a.Gate[at:at+d], y)
		}
	}
}

// Backward computes the gradients that are not nil on all cores. DW is added up in blocks of blockRows rows,
// and then block after block.
func Backward(c *cpu.Cores, a *BackwardArgs[float32]) {
	a.check()
	d := len(a.W)
	r := len(a.X) / d
	if a.DW != nil {
		want("scratch", min(len(a.Scratch), ScratchLen(r, d)), ScratchLen(r, d))
	}
	j := cpu.Borrow(c, *a)
	j.For(r, blockRows, backwardRows)
	if a.DW != nil {
		j.For(d, 256, sumBlocks)
	}
	j.Return()
}

func backwardRows(a *BackwardArgs[float32], w *cpu.Worker, lo, hi int) {
	d := len(a.W)
	t := w.Floats(d)
	var dw []float32
	if a.DW != nil {
		dw = a.Scratch[lo/blockRows*d:][:d]
		clear(dw)
	}
	for row := lo; row < hi; row++ {
		at := row * d
		x, dy := a.X[at:at+d], a.DY[at:at+d]
		r := rsqrt(x, a.Eps)
		switch { // from here on dy means the gradient of the plain norm
		case a.DGate != nil:
			vec.ScaleMul(t, r, x, a.W)
			vec.SiLUMulGrad(a.DGate[at:at+d], t, dy, a.Gate[at:at+d], t)
			dy = t
		case a.Gate != nil:
			vec.SiLUMul(t, a.Gate[at:at+d], dy)
			dy = t
		}
		if dw != nil {
			vec.AxpyMul(dw, r, dy, x)
		}
		if a.DX != nil {
			vec.Mul(t, dy, a.W)
			mean := vec.Dot(t, x) / float32(d)
			if a.DSum == nil {
				vec.Combine(a.DX[at:at+d], r, t, -r*r*r*mean, x)
				continue
			}
			vec.Combine(t, r, t, -r*r*r*mean, x)
			vec.Add(a.DX[at:at+d], a.DSum[at:at+d], t)
		}
	}
}

func sumBlocks(a *BackwardArgs[float32], _ *cpu.Worker, lo, hi int) {
	d := len(a.W)
	dw := a.DW[lo:hi]
	clear(dw)
	blocks := ScratchLen(len(a.X)/d, d) / d
	for b := range blocks {
		vec.Add(dw, dw, a.Scratch[b*d+lo:b*d+hi])
	}
}

func rsqrt(x []float32, eps float64) float32 {
	return float32(1 / math.Sqrt(float64(vec.SumSquares(x))/float64(len(x))+eps))
}
