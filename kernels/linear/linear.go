// Package linear is the linear layer
//
//	y = x·Wᵀ + bias,   x [N, In], W [Out, In], bias [Out], y [N, Out]
//
// with weights in float32 or bfloat16 and everything else in float32.
package linear

import (
	"fmt"

	"github.com/gojet/gojet/bf16"
	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/matmul"
)

// Weight is [Out, In] in one of two types; exactly one is set.
type Weight struct {
	F32  []float32
	BF16 []bf16.BF16
}

// Float32 is a Weight of float32.
func Float32(w []float32) Weight { return Weight{F32: w} }

// BFloat16 is a Weight of bfloat16.
func BFloat16(w []bf16.BF16) Weight { return Weight{BF16: w} }

// Len returns the number of weights.
func (w Weight) Len() int { return max(len(w.F32), len(w.BF16)) }

// Forward sets y = x·wᵀ + bias. Bias may be nil.
func Forward(c *cpu.Cores, y, x []float32, w Weight, bias []float32, n, in, out int) {
	w.check(in, out)
	fits("y", len(y), n, "Out", out)
	fits("x", len(x), n, "In", in)
	if bias != nil {
		fits("bias", len(bias), 1, "Out", out)
	}
	if w.BF16 != nil {
		matmul.MulBias(c, matmul.NT, n, out, in, 1, matmul.Of(x, in), matmul.Of(w.BF16, in), bias, matmul.Of(y, out))
	} else {
		matmul.MulBias(c, matmul.NT, n, out, in, 1, matmul.Of(x, in), matmul.Of(w.F32, in), bias, matmul.Of(y, out))
	}
}

// BackwardInput sets dx = dy·w.
func BackwardInput(c *cpu.Cores, dx, dy []float32, w Weight, n, in, out int) {
	w.check(in, out)
	fits("dx", len(dx), n, "In", in)
	fits("dy", len(dy), n, "Out", out)
	if w.BF16 != nil {
		matmul.Mul(c, matmul.NN, n, in, out, 1, matmul.Of(dy, out), matmul.Of(w.BF16, in), 0, matmul.Of(dx, in))
	} else {
		matmul.Mul(c, matmul.NN, n, in, out, 1, matmul.Of(dy, out), matmul.Of(w.F32, in), 0, matmul.Of(dx, in))
	}
}

// one, taken with stride 0, is a column of ones of any length.
var one = []float32{1}

// BackwardWeight sets dw = dyᵀ·x and dbias = Σ dy over the tokens. Either may be nil.
func BackwardWeight(c *cpu.Cores, dw, dbias, dy, x []float32, n, in, out int) {
	fits("dy", len(dy), n, "Out", out)
	if dw != nil {
		fits("dw", len(dw), out, "In", in)
		fits("x", len(x), n, "In", in)
		matmul.Mul(c, matmul.TN, out, in, n, 1, matmul.Of(dy, out), matmul.Of(x, in), 0, matmul.Of(dw, in))
	}
	if dbias != nil {
		fits("dbias", len(dbias), 1, "Out", out)
		matmul.Mul(c, matmul.TN, 1, out, n, 1, matmul.Of(one, 0), matmul.Of(dy, out), 0, matmul.Of(dbias, out))
	}
}

func (w Weight) check(in, out int) {
	if w.F32 != nil && w.BF16 != nil {
		panic("linear: w has float32 and bfloat16 values, want one of them")
	}
	fits("w", w.Len(), out, "In", in)
}

func fits(name string, have, rows int, of string, cols int) {
	if have != rows*cols {
		panic(fmt.Sprintf("linear: %s has %d values, want %d (%d rows × %s %d)", name, have, rows*cols, rows, of, cols))
	}
}

// ReferenceForward is Forward straight from the formula.
func ReferenceForward[T kernels.Float](y, x, w, bias []T, n, in, out int) {
	matmul.Reference(matmul.NT, n, out, in, 1, matmul.Of(x, in), matmul.Of(w, in), 0, matmul.Of(y, out))
	if bias != nil {
		for i := range n * out {
			y[i] += bias[i%out]
		}
	}
}

// ReferenceBackwardInput is BackwardInput straight from the formula.
func ReferenceBackwardInput[T kernels.Float](dx, dy, w []T, n, in, out int) {
	matmul.Reference(matmul.NN, n, in, out, 1, matmul.Of(dy, out), matmul.Of(w, in), 0, matmul.Of(dx, in))
}

// ReferenceBackwardWeight is BackwardWeight straight from the formula.
func ReferenceBackwardWeight[T kernels.Float](dw, dbias, dy, x []T, n, in, out int) {
	if dw != nil {
		matmul.Reference(matmul.TN, out, in, n, 1, matmul.Of(dy, out), matmul.Of(x, in), 0, matmul.Of(dw, in))
	}
	for j := range dbias {
		var sum float64
		for i := range n {
			sum += float64(dy[i*out+j])
		}
		dbias[j] = T(sum)
	}
}
