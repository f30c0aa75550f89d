package autograd

import (
	"errors"
	"fmt"
	"math"

	"github.com/gojet/gojet/kernels/adamw"
	"github.com/gojet/gojet/kernels/gradnorm"
)

// ClipFactor computes what clipping by global norm needs from all gradients: [2] holds their norm, and the factor
// min(1, limit/(norm+1e-6)); limit 0 gives factor 1. A gradient that is not finite makes the norm not finite.
func (g *Graph) ClipFactor(limit float64, grads ...*Node) *Node {
	return g.apply1(&clipFactor{limit: limit}, grads...)
}

type clipFactor struct {
	limit float64
	list  [][]float32 // of the gradients, kept between runs
}

func (*clipFactor) Name() string { return "gradient norm" }

func (*clipFactor) Infer(in []Shape) ([]Shape, error) {
	if len(in) == 0 {
		return nil, errors.New("needs at least one gradient")
	}
	return []Shape{{2}}, nil
}

func (*clipFactor) FLOPs(in []Shape) int64 {
	var n int64
	for _, s := range in {
		n += 2 * int64(size(s))
	}
	return n
}

func (o *clipFactor) Run(env *Env, out, in []Value) {
	var norm float64
	if in[0].F64 != nil {
		var list [][]float64
		for _, v := range in {
			list = append(list, v.F64)
		}
		norm = math.Sqrt(gradnorm.ReferenceSumSquares(list))
	} else {
		o.list = o.list[:0]
		for _, v := range in {
			o.list = append(o.list, v.F32)
		}
		norm = gradnorm.Norm(env.Cores, o.list)
	}
	factor := 1.0
	if o.limit > 0 {
		factor = gradnorm.ClipFactor(norm, o.limit)
	}
	out[0].set(0, norm)
	out[0].set(1, factor)
}

// AdamW appends one step of decoupled AdamW, which advances param, m and v in place. clip is ClipFactor's result, and
// settings [2] holds the learning rate and the number of the step, from 1. Where the norm is not finite, nothing is
// written. The node's value is 1 where the step was taken and 0 where it was not.
func (g *Graph) AdamW(cfg AdamWConfig, param, m, v, grad, clip, settings *Node) *Node {
	return g.apply1(adamW{cfg}, param, m, v, grad, clip, settings)
}

// AdamWConfig holds what stays the same over a run.
type AdamWConfig struct{ Beta1, Beta2, Epsilon, WeightDecay float64 }

// adamW: (param, m, v, grad, clip, settings) → whether it stepped.
type adamW struct{ AdamWConfig }

func (adamW) Name() string           { return "adamw" }
func (adamW) Mutates() []int         { return []int{0, 1, 2} }
func (adamW) FLOPs(in []Shape) int64 { return 12 * int64(size(in[0])) }

func (adamW) Infer(in []Shape) ([]Shape, error) {
	for i, name := range []string{"m", "v", "gradient"} {
		if err := want(name, in[1+i], in[0]...); err != nil {
			return nil, err
		}
	}
	if err := want("clip", in[4], 2); err != nil {
		return nil, err
	}
	return []Shape{{}}, want("settings", in[5], 2)
}

func (o adamW) Run(env *Env, out, in []Value) {
	if in[0].F64 != nil {
		panic(fmt.Sprintf("%s: float64 weights are not trained", o.Name()))
	}
	norm, factor := in[4].F32[0], in[4].F32[1]
	if math.IsNaN(float64(norm)) || math.IsInf(float64(norm), 0) {
		out[0].set(0, 0)
		return
	}
	a := adamw.Args[float32]{
		LearningRate: float64(in[5].F32[0]), Step: int(in[5].F32[1]), GradScale: float64(factor),
		Beta1: o.Beta1, Beta2: o.Beta2, Epsilon: o.Epsilon, WeightDecay: o.WeightDecay,
		Param: in[0].F32, M: in[1].F32, V: in[2].F32, G: in[3].F32,
	}
	adamw.Step(env.Cores, &a)
	out[0].set(0, 1)
}
