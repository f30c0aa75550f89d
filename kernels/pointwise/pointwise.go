// Package pointwise holds operations that treat every element alike: sums, multiples, SiLU and the sigmoid.
package pointwise

import (
	"fmt"
	"math"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/vec"
)

// span is how many elements one part of the work covers.
const span = 1 << 14

// Activation is a function of one variable.
type Activation uint8

// Activations.
const (
	SiLU    Activation = iota // x·sigmoid(x), https://arxiv.org/abs/1702.03118
	Sigmoid                   // 1/(1+exp(-x))
)

func (a Activation) String() string { return [...]string{"silu", "sigmoid"}[a] }

func sameLength[T kernels.Float](op string, want int, buffers ...[]T) {
	for i, b := range buffers {
		if len(b) != want {
			panic(fmt.Sprintf("pointwise: %s: buffer %d has %d values, want %d", op, i, len(b), want))
		}
	}
}

// ReferenceAdd sets y = a + b.
func ReferenceAdd[T kernels.Float](y, a, b []T) {
	sameLength("add", len(y), a, b)
	for i := range y {
		y[i] = a[i] + b[i]
	}
}

type addArgs struct{ y, a, b []float32 }

// Add sets y = a + b. y may be a or b.
func Add(c *cpu.Cores, y, a, b []float32) {
	sameLength("add", len(y), a, b)
	j := cpu.Borrow(c, addArgs{y, a, b})
	defer j.Return()
	j.For(len(y), span, addPart)
}

func addPart(p *addArgs, _ *cpu.Worker, lo, hi int) { vec.Add(p.y[lo:hi], p.a[lo:hi], p.b[lo:hi]) }

// ReferenceScale sets y = factor·x.
func ReferenceScale[T kernels.Float](y []T, factor T, x []T) {
	sameLength("scale", len(y), x)
	for i, v := range x {
		y[i] = factor * v
	}
}

type scaleArgs struct {
	y, x   []float32
	factor float32
}

// Scale sets y = factor·x. y may be x.
func Scale(c *cpu.Cores, y []float32, factor float32, x []float32) {
	sameLength("scale", len(y), x)
	j := cpu.Borrow(c, scaleArgs{y, x, factor})
	defer j.Return()
	j.For(len(y), span, scalePart)
}

func scalePart(p *scaleArgs, _ *cpu.Worker, lo, hi int) {
	vec.Scale(p.y[lo:hi], p.factor, p.x[lo:hi])
}

// ReferenceForward sets y = f(x).
func ReferenceForward[T kernels.Float](f Activation, y, x []T) {
	sameLength(f.String(), len(y), x)
	for i, v := range x {
		s := 1 / (1 + math.Exp(-float64(v)))
		if f == SiLU {
			s *= float64(v)
		}
		y[i] = T(s)
	}
}

// ReferenceBackward sets dx = dy·f'(x).
func ReferenceBackward[T kernels.Float](f Activation, dx, dy, x []T) {
	sameLength("backward", len(dx), dy, x)
	for i, v := range x {
		s := 1 / (1 + math.Exp(-float64(v)))
		d := s * (1 - s)
		if f == SiLU {
			d = s + float64(v)*d
		}
		dx[i] = T(float64(dy[i]) * d)
	}
}

type activationArgs struct {
	f        Activation
	y, dy, x []float32
}

// Forward sets y = f(x). y may be x.
func Forward(c *cpu.Cores, f Activation, y, x []float32) {
	sameLength(f.String(), len(y), x)
	j := cpu.Borrow(c, activationArgs{f: f, y: y, x: x})
	defer j.Return()
	j.For(len(y), span/4, forwardPart)
}

func forwardPart(a *activationArgs, _ *cpu.Worker, lo, hi int) {
	if a.f == SiLU {
		vec.SiLU(a.y[lo:hi], a.x[lo:hi])
	} else {
		vec.Sigmoid(a.y[lo:hi], a.x[lo:hi])
	}
}

// Backward sets dx = dy·f'(x). dx may be dy.
func Backward(c *cpu.Cores, f Activation, dx, dy, x []float32) {
	sameLength("backward", len(dx), dy, x)
	j := cpu.Borrow(c, activationArgs{f: f, y: dx, dy: dy, x: x})
	defer j.Return()
	j.For(len(dx), span/4, backwardPart)
}

func backwardPart(a *activationArgs, _ *cpu.Worker, lo, hi int) {
	if a.f == SiLU {
		vec.SiLUGrad(a.y[lo:hi], a.dy[lo:hi], a.x[lo:hi])
		return
	}
	vec.SigmoidGrad(a.y[lo:hi], a.dy[lo:hi], a.x[lo:hi])
}
