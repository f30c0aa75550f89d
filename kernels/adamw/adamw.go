// Package adamw is Adam with decoupled weight decay (https://arxiv.org/abs/1711.05101), as PyTorch computes it:
//
//	p ← p − lr·λ·p
//	m ← β1 m + (1−β1) g        v ← β2 v + (1−β2) g²
//	p ← p − lr/(1−β1^t) · m / (√v / √(1−β2^t) + ε)
package adamw

import (
	"fmt"
	"math"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/cpu"
)

// Args are one tensor and how to step it.
type Args[T kernels.Float] struct {
	LearningRate float64
	Beta1, Beta2 float64
	Epsilon      float64
	WeightDecay  float64 // λ
	Step         int     // t, from 1
	GradScale    float64 // factor of G before anything else: 1, or the clip coefficient

	Param, M, V []T // advanced in place
	G           []T // gradient
}

func (a *Args[T]) check() error {
	if n := len(a.Param); len(a.M) != n || len(a.V) != n || len(a.G) != n {
		return fmt.Errorf("adamw: m, v and g have %d, %d and %d values, want %d each", len(a.M), len(a.V), len(a.G), n)
	}
	if a.Step < 1 {
		return fmt.Errorf("adamw: step is %d, want 1 or more", a.Step)
	}
	return nil
}

// factors are what every element shares.
type factors[T kernels.Float] struct {
	keep         T // of the parameter: 1 − lr·λ
	beta1, beta2 T
	new1, new2   T // 1−β1, 1−β2
	rate         T // lr / (1−β1^t)
	root         T // 1 / √(1−β2^t)
	epsilon      T
	grad         T
}

func (a *Args[T]) factors() factors[T] {
	return factors[T]{
		keep:  T(1 - a.LearningRate*a.WeightDecay),
		beta1: T(a.Beta1), beta2: T(a.Beta2), new1: T(1 - a.Beta1), new2: T(1 - a.Beta2),
		rate:    T(a.LearningRate / (1 - math.Pow(a.Beta1, float64(a.Step)))),
		root:    T(1 / math.Sqrt(1-math.Pow(a.Beta2, float64(a.Step)))),
		epsilon: T(a.Epsilon),
		grad:    T(a.GradScale),
	}
}

// Reference is one step straight from the formula.
func Reference[T kernels.Float](a *Args[T]) {
	must(a.check())
	f := a.factors()
	for i := range a.Param {
		g := f.grad * a.G[i]
		a.M[i] = f.beta1*a.M[i] + f.new1*g
		a.V[i] = f.beta2*a.V[i] + f.new2*g*g
		a.Param[i] = f.keep*a.Param[i] - f.rate*a.M[i]/(T(math.Sqrt(float64(a.V[i])))*f.root+f.epsilon)
	}
}

// part is how many values one core takes at a time.
const part = 1 << 14

// Step is Reference on all cores.
func Step(c *cpu.Cores, a *Args[float32]) {
	must(a.check())
	j := cpu.Borrow(c, job{a.factors(), a.Param, a.M, a.V, a.G})
	j.For(len(a.Param), part, stepPart)
	j.Return()
}

type job struct {
	factors[float32]
	p, m, v, g []float32
}

func stepPart(a *job, _ *cpu.Worker, lo, hi int) {
	step(&a.factors, a.p[lo:hi], a.m[lo:hi], a.v[lo:hi], a.g[lo:hi])
}

// step is Reference on a stretch of the tensor.
func step(f *factors[float32], p, m, v, g []float32) {
	keep, beta1, beta2, new1, new2 := f.keep, f.beta1, f.beta2, f.new1, f.new2
	rate, root, epsilon, grad := f.rate, f.root, f.epsilon, f.grad
	m, v, g = m[:len(p)], v[:len(p)], g[:len(p)]
	for i, x := range p {
		gi := grad * g[i]
		mi := beta1*m[i] + new1*gi
		vi := beta2*v[i] + new2*gi*gi
		m[i], v[i] = mi, vi
		p[i] = keep*x - rate*mi/(float32(math.Sqrt(float64(vi)))*root+epsilon)
	}
}

func must(err error) {
	if err != nil {
		panic(err.Error())
	}
}
