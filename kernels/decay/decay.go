// Package decay is the gate of the gated delta rule, the logarithm of how much of its state a head keeps from
// one token to the next, as in Mamba2 (https://arxiv.org/abs/2405.21060):
//
//	g[t,h] = −exp(A_log[h]) · softplus(a[t,h] + dt_bias[h])
package decay

import (
	"fmt"
	"math"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/vec"
)

// ForwardArgs are the buffers of Forward. H is the length of ALog.
type ForwardArgs[T kernels.Float] struct {
	G      []T // [N, H] result, never above 0; may be A
	A      []T // [N, H]
	ALog   []T // [H]
	DTBias []T // [H]
}

// BackwardArgs are the buffers of Backward.
type BackwardArgs[T kernels.Float] struct {
	DA      []T // [N, H] result; may be DG or A
	DALog   []T // [H] result, summed over tokens
	DDTBias []T // [H] result, summed over tokens
	DG      []T // [N, H]
	A       []T // [N, H] as in Forward
	ALog    []T // [H]
	DTBias  []T // [H]

	Scratch []T // ScratchLen(N, H) values; the reference needs none
}

// blockTokens is how many tokens make one partial sum.
const blockTokens = 128

// ScratchLen is the length of BackwardArgs.Scratch for n tokens and h heads.
func ScratchLen(n, h int) int { return (n + blockTokens - 1) / blockTokens * 2 * h }

// ReferenceForward is Forward straight from the formula.
func ReferenceForward[T kernels.Float](a *ForwardArgs[T]) {
	a.check()
	h := len(a.ALog)
	for i, v := range a.A {
		a.G[i] = T(-math.Exp(float64(a.ALog[i%h])) * softplus(float64(v)+float64(a.DTBias[i%h])))
	}
}

// ReferenceBackward is Backward straight from the formula:
//
//	da = −dg·exp(A_log)·sigmoid(a + dt_bias),  ddt_bias = Σ_t da,  dA_log = Σ_t dg·g.
func ReferenceBackward[T kernels.Float](a *BackwardArgs[T]) {
	a.check()
	h := len(a.ALog)
	dALog, dBias := make([]float64, h), make([]float64, h)
	for i, v := range a.A {
		x := float64(v) + float64(a.DTBias[i%h])
		rate := -float64(a.DG[i]) * math.Exp(float64(a.ALog[i%h]))
		da := rate / (1 + math.Exp(-x))
		dALog[i%h] += rate * softplus(x)
		dBias[i%h] += da
		if a.DA != nil {
			a.DA[i] = T(da)
		}
	}
	for i := range a.DALog {
		a.DALog[i] = T(dALog[i])
	}
	for i := range a.DDTBias {
		a.DDTBias[i] = T(dBias[i])
	}
}

// softplus is log(1+exp(x)), which neither overflows nor cancels.
func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

// Forward computes a.G on all cores.
func Forward(c *cpu.Cores, a *ForwardArgs[float32]) {
	a.check()
	j := cpu.Borrow(c, *a)
	j.For(len(a.A)/len(a.ALog), blockTokens, forwardTokens)
	j.Return()
}

func forwardTokens(a *ForwardArgs[float32], w *cpu.Worker, lo, hi int) {
	h := len(a.ALog)
	rate := rates(w, a.ALog)
	g := a.G[lo*h : hi*h]
	addRow(g, a.A[lo*h:hi*h], a.DTBias)
	vec.Softplus(g, g)
	mulRow(g, g, rate)
}

// Backward computes the gradients that are not nil on all cores. Sums over tokens are made in blocks of
// blockTokens tokens, and then block after block.
func Backward(c *cpu.Cores, a *BackwardArgs[float32]) {
	a.check()
	h := len(a.ALog)
	n := len(a.A) / h
	want("scratch", min(len(a.Scratch), ScratchLen(n, h)), ScratchLen(n, h))
	j := cpu.Borrow(c, *a)
	j.For(n, blockTokens, backwardTokens)
	sumBlocks(a, n)
	j.Return()
}

func backwardTokens(a *BackwardArgs[float32], w *cpu.Worker, lo, hi int) {
	h := len(a.ALog)
	rate := rates(w, a.ALog)
	x, y := w.Floats((hi-lo)*h), w.Floats((hi-lo)*h)
	part := a.Scratch[lo/blockTokens*2*h:][:2*h]
	dALog, dBias := part[:h], part[h:]

	addRow(x, a.A[lo*h:hi*h], a.DTBias)
	mulRow(y, a.DG[lo*h:hi*h], rate) // y = dg·(−exp(A_log)), the gradient of softplus

	da := w.Floats((hi - lo) * h)
	vec.Sigmoid(da, x)
	vec.Mul(da, da, y)
	sumRows(dBias, da)
	if a.DA != nil {
		copy(a.DA[lo*h:hi*h], da)
	}
	vec.Softplus(x, x)
	vec.Mul(x, x, y)
	sumRows(dALog, x)
}

func sumBlocks(a *BackwardArgs[float32], n int) {
	h := len(a.ALog)
	clear(a.DALog)
	clear(a.DDTBias)
	for at := 0; at < ScratchLen(n, h); at += 2 * h {
		if a.DALog != nil {
			vec.Add(a.DALog, a.DALog, a.Scratch[at:at+h])
		}
		if a.DDTBias != nil {
			vec.Add(a.DDTBias, a.DDTBias, a.Scratch[at+h:at+2*h])
		}
	}
}

// rates returns −exp(A_log).
func rates(w *cpu.Worker, aLog []float32) []float32 {
	r := w.Floats(len(aLog))
	vec.Exp(r, aLog)
	vec.Scale(r, -1, r)
	return r
}

// addRow adds row to every row of x.
func addRow(y, x, row []float32) {
	for at := 0; at < len(x); at += len(row) {
		vec.Add(y[at:at+len(row)], x[at:at+len(row)], row)
	}
}

// mulRow multiplies every row of x by row.
func mulRow(y, x, row []float32) {
	for at := 0; at < len(x); at += len(row) {
		vec.Mul(y[at:at+len(row)], x[at:at+len(row)], row)
	}
}

// sumRows adds up the rows of x.
func sumRows(y, x []float32) {
	clear(y)
	for at := 0; at < len(x); at += len(y) {
		vec.Add(y, y, x[at:at+len(y)])
	}
}

func (a *ForwardArgs[T]) check() {
	tokens(len(a.A), len(a.ALog))
	want("g", len(a.G), len(a.A))
	want("dt_bias", len(a.DTBias), len(a.ALog))
}

func (a *BackwardArgs[T]) check() {
	tokens(len(a.A), len(a.ALog))
	want("dg", len(a.DG), len(a.A))
	want("dt_bias", len(a.DTBias), len(a.ALog))
	if a.DA != nil {
		want("da", len(a.DA), len(a.A))
	}
	if a.DALog != nil {
		want("da_log", len(a.DALog), len(a.ALog))
	}
	if a.DDTBias != nil {
		want("ddt_bias", len(a.DDTBias), len(a.ALog))
	}
}

func tokens(n, h int) {
	if h == 0 || n%h != 0 {
		panic(fmt.Sprintf("decay: a has %d values, want whole tokens of %d heads, the length of a_log", n, h))
	}
}

func want(name string, got, want int) {
	if got != want {
		panic(fmt.Sprintf("decay: %s has %d values, want %d", name, got, want))
	}
}
