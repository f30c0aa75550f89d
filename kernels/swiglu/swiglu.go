// Package swiglu is the gate of the feed-forward layer: y = silu(gate)·up, silu(x) = x·sigmoid(x),
// element by element (https://arxiv.org/abs/2002.05202).
package swiglu

import (
	"fmt"
	"math"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/vec"
)

// ForwardArgs are the buffers of Forward.
type ForwardArgs[T kernels.Float] struct {
	Y    []T // [N, F] result; may be Gate or Up
	Gate []T // [N, F]
	Up   []T // [N, F]
}

// BackwardArgs are the buffers of Backward.
type BackwardArgs[T kernels.Float] struct {
	DGate []T // [N, F] result; may be any of the inputs
	DUp   []T // [N, F] result; may be any of the inputs
	DY    []T // [N, F]
	Gate  []T // [N, F] as in Forward
	Up    []T // [N, F]; not needed where DGate is nil
}

// partValues is how many values one part takes: few enough to share out, many enough to be worth waking for.
const partValues = 1 << 13

// ReferenceForward is Forward straight from the formula.
func ReferenceForward[T kernels.Float](a *ForwardArgs[T]) {
	a.check()
	for i, g := range a.Gate {
		s := 1 / (1 + math.Exp(-float64(g)))
		a.Y[i] = T(float64(g) * s * float64(a.Up[i]))
	}
}

// ReferenceBackward is Backward straight from the formula: with s = sigmoid(gate),
// dgate = dy·up·s·(1 + gate·(1−s)) and dup = dy·gate·s.
func ReferenceBackward[T kernels.Float](a *BackwardArgs[T]) {
	a.check()
	for i := range a.Gate {
		var up float64
		g, dy := float64(a.Gate[i]), float64(a.DY[i])
		s := 1 / (1 + math.Exp(-g))
		if a.DGate != nil {
			up = float64(a.Up[i])
		}
		if a.DUp != nil {
			a.DUp[i] = T(dy * g * s)
		}
		if a.DGate != nil {
			a.DGate[i] = T(dy * up * s * (1 + g*(1-s)))
		}
	}
}

// Forward computes a.Y on all cores.
func Forward(c *cpu.Cores, a *ForwardArgs[float32]) {
	a.check()
	j := cpu.Borrow(c, *a)
	j.For(len(a.Gate), partValues, forwardPart)
	j.Return()
}

func forwardPart(a *ForwardArgs[float32], _ *cpu.Worker, lo, hi int) {
	vec.SiLUMul(a.Y[lo:hi], a.Gate[lo:hi], a.Up[lo:hi])
}

// Backward computes the gradients that are not nil on all cores.
func Backward(c *cpu.Cores, a *BackwardArgs[float32]) {
	a.check()
	j := cpu.Borrow(c, *a)
	j.For(len(a.Gate), partValues, backwardPart)
	j.Return()
}

func backwardPart(a *BackwardArgs[float32], w *cpu.Worker, lo, hi int) {
	dy, gate := a.DY[lo:hi], a.Gate[lo:hi]
	switch {
	case a.DGate != nil && a.DUp != nil:
		vec.SiLUMulGrad(a.DGate[lo:hi], a.DUp[lo:hi], dy, gate, a.Up[lo:hi])
	case a.DUp != nil:
		vec.SiLUMul(a.DUp[lo:hi], gate, dy)
	case a.DGate != nil:
		t := w.Floats(hi - lo) // DGate may be Gate, so it cannot hold the product
		vec.Mul(t, dy, a.Up[lo:hi])
		vec.SiLUGrad(a.DGate[lo:hi], t, gate)
	}
}

func (a *ForwardArgs[T]) check() {
	want("y", len(a.Y), len(a.Gate))
	want("up", len(a.Up), len(a.Gate))
}

func (a *BackwardArgs[T]) check() {
	want("dy", len(a.DY), len(a.Gate))
	if a.DUp != nil {
		want("dup", len(a.DUp), len(a.Gate))
	}
	if a.DGate != nil {
		want("dgate", len(a.DGate), len(a.Gate))
		want("up", len(a.Up), len(a.Gate))
	}
}

func want(name string, got, want int) {
	if got != want {
		panic(fmt.Sprintf("swiglu: %s has %d values, want %d, the length of gate", name, got, want))
	}
}
