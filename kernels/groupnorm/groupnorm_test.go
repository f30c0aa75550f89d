package groupnorm

import (
	"testing"

	"github.com/gojet/gojet/kernels/check"
)

func TestReferenceGradients(t *testing.T) {
	r := check.Rand(3)
	const n, d = 5, 12
	f := Config{Width: 4, Eps: 0.1}
	x, w, b, dy := check.Normal(r, n*d, 1), check.Normal(r, d, 1), check.Normal(r, d, 1), check.Normal(r, n*d, 1)
	dx, dw, db, y := make([]float64, n*d), make([]float64, d), make([]float64, d), make([]float64, n*d)
	ReferenceBackward(&BackwardArgs[float64]{Config: f, X: x, W: w, DY: dy, DX: dx, DW: dw, DB: db})
	loss := func() float64 {
		ReferenceForward(&ForwardArgs[float64]{Config: f, X: x, W: w, B: b, Y: y})
		var sum float64
		for i := range y {
			sum += y[i] * dy[i]
		}
		return sum
	}
	check.Gradient(t, "x", x, dx, loss)
	check.Gradient(t, "w", w, dw, loss)
	check.Gradient(t, "b", b, db, loss)
}
