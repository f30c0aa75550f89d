package autograd

import (
	"errors"
	"math"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/adamw"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/gradnorm"
	"github.com/gojet/gojet/kernels/pointwise"
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

// Group prepares the table of gradients.
func (o *clipFactor) Group(env *DeviceEnv, steps []GroupStep) (launch, free func()) {
	list := make([]gradnorm.DeviceClipArgs, len(steps))
	for i, s := range steps {
		var grads []device.Tensor
		for _, v := range s.In {
			grads = append(grads, v.Dev)
		}
		t := gradnorm.NewTable(env.Queue, grads)
		list[i] = gradnorm.DeviceClipArgs{Table: t, Limit: s.Op.(*clipFactor).limit, Result: s.Out[0].Dev, Sums: env.Queue.New(device.Float64, t.Blocks)}
	}
	launch = func() {
		for i := range list {
			gradnorm.DeviceClip(env.Queue, &list[i])
		}
	}
	return launch, func() {
		for _, a := range list {
			a.Table.Free()
			env.Queue.Free(a.Sums)
		}
	}
}

func (o *clipFactor) Launch(env *DeviceEnv, out, in []Value) { launchAlone(env, o, out, in) }

// launchAlone is a group of one step, prepared for one launch.
func launchAlone(env *DeviceEnv, o Grouped, out, in []Value) {
	launch, free := o.Group(env, []GroupStep{{o, out, in}})
	launch()
	free()
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
	norm := in[4].At(0)
	if math.IsNaN(norm) || math.IsInf(norm, 0) {
		out[0].set(0, 0)
		return
	}
	if in[0].F64 != nil {
		a := adamWArgs(o, in, f64)
		adamw.Reference(&a)
	} else {
		a := adamWArgs(o, in, f32)
		adamw.Step(env.Cores, &a)
	}
	out[0].set(0, 1)
}

func adamWArgs[T kernels.Float](o adamW, in []Value, data func(Value) []T) adamw.Args[T] {
	return adamw.Args[T]{
		LearningRate: in[5].At(0), Step: int(in[5].At(1)), GradScale: in[4].At(1),
		Beta1: o.Beta1, Beta2: o.Beta2, Epsilon: o.Epsilon, WeightDecay: o.WeightDecay,
		Param: data(in[0]), M: data(in[1]), V: data(in[2]), G: data(in[3]),
	}
}

// Group prepares the table of all tensors that share a factor and settings.
func (adamW) Group(env *DeviceEnv, steps []GroupStep) (launch, free func()) {
	var list []adamw.DeviceArgs
	for len(steps) > 0 {
		clip, settings := steps[0].In[4].Dev, steps[0].In[5].Dev
		var params []adamw.DeviceParam
		for len(steps) > 0 && steps[0].In[4].Dev == clip && steps[0].In[5].Dev == settings {
			s := steps[0]
			c := s.Op.(adamW).AdamWConfig
			params = append(params, adamw.DeviceParam{
				Beta1: c.Beta1, Beta2: c.Beta2, Epsilon: c.Epsilon, WeightDecay: c.WeightDecay,
				Param: s.In[0].Dev, Master: s.In[0].Master, M: s.In[1].Dev, V: s.In[2].Dev, G: s.In[3].Dev, Done: s.Out[0].Dev,
			})
			steps = steps[1:]
		}
		list = append(list, adamw.DeviceArgs{Table: adamw.NewTable(env.Queue, params), Clip: clip, Settings: settings})
	}
	launch = func() {
		for i := range list {
			adamw.DeviceStep(env.Queue, &list[i])
		}
	}
	return launch, func() {
		for _, a := range list {
			a.Table.Free()
		}
	}
}

func (o adamW) Launch(env *DeviceEnv, out, in []Value) { launchAlone(env, o, out, in) }

// Accumulate adds grad to sum, a State input of the same shape, in place. The node's value is 1 once it is done.
func (g *Graph) Accumulate(sum, grad *Node) *Node { return g.apply1(accumulate{}, sum, grad) }

// accumulate: (sum, grad) → 1.
type accumulate struct{}

func (accumulate) Name() string   { return "accumulate" }
func (accumulate) Mutates() []int { return []int{0} }

func (accumulate) FLOPs(in []Shape) int64 { return int64(size(in[0])) }

func (accumulate) Infer(in []Shape) ([]Shape, error) {
	return []Shape{{}}, want("gradient", in[1], in[0]...)
}

func (accumulate) Run(env *Env, out, in []Value) {
	if in[0].F64 != nil {
		pointwise.ReferenceAdd(in[0].F64, in[0].F64, in[1].F64)
	} else {
		pointwise.Add(env.Cores, in[0].F32, in[0].F32, in[1].F32)
	}
	out[0].set(0, 1)
}

// Group prepares the table of all sums.
func (accumulate) Group(env *DeviceEnv, steps []GroupStep) (launch, free func()) {
	sums := make([]adamw.DeviceSum, len(steps))
	for i, s := range steps {
		sums[i] = adamw.DeviceSum{Sum: s.In[0].Dev, G: s.In[1].Dev, Done: s.Out[0].Dev}
	}
	t := adamw.NewSums(env.Queue, sums)
	return func() { adamw.DeviceAccumulate(env.Queue, t) }, t.Free
}

func (o accumulate) Launch(env *DeviceEnv, out, in []Value) { launchAlone(env, o, out, in) }
