package autograd

import (
	"fmt"
	"math"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
)

// GradientCheck compares the gradients of Σ outputs·seeds with central differences in float64. build makes the outputs
// in a fresh graph; values holds every input by name. wrt names the inputs to check. The seeds are drawn at random.
func GradientCheck(t check.T, values map[string]Value, wrt []string, build func(g *Graph) []*Node) {
	t.Helper()
	g := NewGraph(Float64)
	outs := build(g)
	var seeds, params []*Node
	for i, o := range outs {
		if o != nil {
			seeds = append(seeds, g.Input(fmt.Sprintf("seed %d", i), Data, o.Shape()...))
		}
	}
	for _, name := range wrt {
		params = append(params, g.inputs[name])
	}
	grads := g.BackwardFrom(outs, seeds, params, BackwardConfig{})
	plan, err := Compile(g, append(append([]*Node(nil), outs...), grads...)...)
	if err != nil {
		t.Errorf("%v", err)
		return
	}
	cores := cpu.New(1)
	defer cores.Close()
	e := NewExecutor(plan, OnCPU(cores))
	e.Poison = true
	for name, v := range values {
		if n := g.inputs[name]; n != nil {
			if err := e.Bind(n, v); err != nil {
				t.Errorf("%v", err)
				return
			}
		}
	}
	r := check.Rand(7)
	for _, s := range seeds {
		if err := e.Bind(s, Float64s(check.Normal(r, size(s.Shape()), 1), s.Shape()...)); err != nil {
			t.Errorf("%v", err)
			return
		}
	}
	objective := func() float64 {
		if err := e.RunAll(); err != nil {
			t.Errorf("%v", err)
			return math.NaN()
		}
		var sum float64
		for i, o := range outs {
			seed := e.Value(seeds[i]).F64
			for k, v := range e.Value(o).F64 {
				sum += v * seed[k]
			}
		}
		return sum
	}
	objective()
	analytic := make([][]float64, len(grads))
	for i, n := range grads {
		analytic[i] = append([]float64(nil), e.Value(n).F64...)
	}
	for i, name := range wrt {
		check.Gradient(t, name, values[name].F64, analytic[i], objective)
	}
}
