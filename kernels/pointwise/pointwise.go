// Package pointwise holds operations that treat every element alike: sums, multiples, functions of one variable; and
// constants.
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
	SiLU       Activation = iota // x·sigmoid(x), https://arxiv.org/abs/1702.03118
	Sigmoid                      // 1/(1+exp(-x))
	Softplus                     // log(1+exp(x))
	LogSigmoid                   // log(sigmoid(x)) = -softplus(-x)
	Tanh                         // 2·sigmoid(2x)-1
)

func (a Activation) String() string {
	return [...]string{"silu", "sigmoid", "softplus", "log sigmoid", "tanh"}[a]
}

// Gates says whether results are gates, which are float32 on every machine.
func (a Activation) Gates() bool { return a == Sigmoid || a == Softplus || a == LogSigmoid }

// at returns f(x) and its slope.
func (a Activation) at(x float64) (y, slope float64) {
	s := 1 / (1 + math.Exp(-x))
	switch a {
	case SiLU:
		return x * s, s * (1 + x*(1-s))
	case Softplus:
		return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))), s
	case LogSigmoid:
		return min(x, 0) - math.Log1p(math.Exp(-math.Abs(x))), 1 / (1 + math.Exp(x))
	case Tanh:
		y := math.Tanh(x)
		return y, 1 - y*y
	}
	return s, s * (1 - s)
}

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
		r, _ := f.at(float64(v))
		y[i] = T(r)
	}
}

// ReferenceBackward sets dx = dy·f'(x).
func ReferenceBackward[T kernels.Float](f Activation, dx, dy, x []T) {
	sameLength("backward", len(dx), dy, x)
	for i, v := range x {
		_, slope := f.at(float64(v))
		dx[i] = T(float64(dy[i]) * slope)
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
	y, x := a.y[lo:hi], a.x[lo:hi]
	switch a.f {
	case SiLU:
		vec.SiLU(y, x)
	case Sigmoid:
		vec.Sigmoid(y, x)
	case Softplus:
		vec.Softplus(y, x)
	case LogSigmoid:
		vec.Scale(y, -1, x)
		vec.Softplus(y, y)
		vec.Scale(y, -1, y)
	case Tanh:
		for i, v := range x {
			y[i] = float32(math.Tanh(float64(v)))
		}
	}
}

// Backward sets dx = dy·f'(x). dx may be dy.
func Backward(c *cpu.Cores, f Activation, dx, dy, x []float32) {
	sameLength("backward", len(dx), dy, x)
	j := cpu.Borrow(c, activationArgs{f: f, y: dx, dy: dy, x: x})
	defer j.Return()
	j.For(len(dx), span/4, backwardPart)
}

func backwardPart(a *activationArgs, w *cpu.Worker, lo, hi int) {
	dx, dy, x := a.y[lo:hi], a.dy[lo:hi], a.x[lo:hi]
	if a.f == SiLU {
		vec.SiLUGrad(dx, dy, x)
		return
	}
	if a.f == Sigmoid {
		vec.SigmoidGrad(dx, dy, x)
		return
	}
	slope := w.Floats(hi - lo)
	switch a.f {
	case Softplus:
		vec.Sigmoid(slope, x)
	case LogSigmoid:
		vec.Scale(slope, -1, x)
		vec.Sigmoid(slope, slope)
	case Tanh:
		for i, v := range x {
			t := math.Tanh(float64(v))
			slope[i] = float32(1 - t*t)
		}
	}
	vec.Mul(dx, dy, slope)
}

// Fill sets y to a pattern over and over.
func Fill[T kernels.Float](y []T, pattern []float64) {
	wholePatterns(len(y), pattern)
	for i := range y {
		y[i] = T(pattern[i%len(pattern)])
	}
}

func wholePatterns(n int, pattern []float64) {
	if len(pattern) == 0 || n%len(pattern) != 0 {
		panic(fmt.Sprintf("pointwise: fill: %d values, want a multiple of the %d of the pattern", n, len(pattern)))
	}
}
