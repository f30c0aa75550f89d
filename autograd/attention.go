package autograd

import (
	"fmt"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/attention"
	"github.com/gojet/gojet/kernels/device"
)

// Attention is causal attention with grouped queries, after positions were encoded: q [N, H·D], k and v [N, KV·D],
// result [N, H·D].
func (g *Graph) Attention(cfg attention.Config, q, k, v, sequences *Node) *Node {
	return g.Apply(attend{Config: cfg}, q, k, v, sequences)[0]
}

// CachedAttention also reads the keys and values of earlier calls and writes the new ones into the caches, state
// inputs [rows, capacity, KV·D]. See attention.ForwardArgs for where a position lies.
func (g *Graph) CachedAttention(cfg attention.Config, q, k, v, sequences, kCache, vCache *Node) *Node {
	return g.Apply(cachedAttend{attend{Config: cfg}}, q, k, v, sequences, kCache, vCache)[0]
}

// attend: (q, k, v, sequences) → o, lse. The log-sum-exp is for the backward.
type attend struct{ attention.Config }

func (o attend) Name() string {
	if o.Window > 0 {
		return "sliding window attention"
	}
	return "attention"
}

func (o attend) Infer(in []Shape) ([]Shape, error) {
	n, _, err := matrix("q", in[0])
	if err != nil {
		return nil, err
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	for i, name := range []string{"q", "k", "v"} {
		heads := o.KVHeads
		if i == 0 {
			heads = o.Heads
		}
		if err := want(name, in[i], n, heads*o.Dim); err != nil {
			return nil, err
		}
	}
	return []Shape{in[0], {n, o.Heads}}, isSequences(in[3])
}

// FLOPs counts one sequence of all tokens, half of whose scores are causal.
func (o attend) FLOPs(in []Shape) int64 {
	n := int64(in[0][0])
	keys := n / 2
	if o.Window > 0 {
		keys = min(keys, int64(o.Window))
	}
	return 4 * n * max(keys, 1) * int64(o.Heads*o.Dim)
}

func (o attend) Scratch(in []Shape) int {
	return attention.ForwardScratch(o.Config, in[0][0])
}
func (o attend) Differentiates(n int) []bool { return first(3, n) }

func (o attend) Run(env *Env, out, in []Value) {
	if in[0].F64 != nil {
		a := attendArgs(o, out, in, f64)
		attention.ReferenceForward(&a)
		return
	}
	a := attendArgs(o, out, in, f32)
	a.Scratch = env.Scratch
	attention.Forward(env.Cores, &a)
}

func attendArgs[T kernels.Float](o attend, out, in []Value, data func(Value) []T) attention.ForwardArgs[T] {
	return attention.ForwardArgs[T]{
		Config: o.Config, Seqs: in[3].sequences(),
		Q: data(in[0]), K: data(in[1]), V: data(in[2]),
		O: data(out[0]), LSE: data(out[1]),
	}
}

// ResultTypes: the log-sum-exp is float32.
func (o attend) ResultTypes(_ []device.Type, t device.Type) []device.Type {
	return []device.Type{t, device.Float32}
}

func (o attend) DeviceScratch(in []Shape, t device.Type) int64 {
	return attention.DeviceForwardScratch(o.Config, in[0][0], in[3][1]-1, 0, t)
}

func (o attend) Launch(env *DeviceEnv, out, in []Value) {
	attention.DeviceForward(env.Queue, &attention.DeviceForwardArgs{
		Config: o.Config, Seqs: in[3].Dev, Q: in[0].Dev, K: in[1].Dev, V: in[2].Dev, O: out[0].Dev, LSE: out[1].Dev, Scratch: env.Scratch,
	})
}

func (o attend) Gradient(c *Chain) []*Node {
	if c.Grad[0] == nil {
		c.Graph.fail(fmt.Errorf("autograd: no gradient for the log-sum-exp of attention"))
		return nil
	}
	d := c.Graph.Apply(attendBackward{o}, c.In[0], c.In[1], c.In[2], c.In[3], c.Out[0], c.Out[1], c.Grad[0])
	return append(d[:3:3], nil)
}

// attendBackward: (q, k, v, sequences, o, lse, do) → dq, dk, dv.
type attendBackward struct{ attend }

func (o attendBackward) Name() string                { return o.attend.Name() + " backward" }
func (o attendBackward) FLOPs(in []Shape) int64      { return o.attend.FLOPs(in) * 5 / 2 }
func (o attendBackward) Differentiates(n int) []bool { return first(0, n) }
func (o attendBackward) Scratch(in []Shape) int {
	return attention.BackwardScratch(o.Config, in[0][0])
}
func (o attendBackward) Infer(in []Shape) ([]Shape, error) {
	return in[:3], want("do", in[6], in[0]...)
}

func (o attendBackward) Run(env *Env, out, in []Value) {
	if in[0].F64 != nil {
		a := attendBackwardArgs(o, out, in, f64)
		attention.ReferenceBackward(&a)
		return
	}
	a := attendBackwardArgs(o, out, in, f32)
	a.Scratch = env.Scratch
	attention.Backward(env.Cores, &a)
}

func attendBackwardArgs[T kernels.Float](o attendBackward, out, in []Value, data func(Value) []T) attention.BackwardArgs[T] {
	return attention.BackwardArgs[T]{
		Config: o.Config, Seqs: in[3].sequences(),
		Q: data(in[0]), K: data(in[1]), V: data(in[2]), O: data(in[4]), LSE: data(in[5]), DO: data(in[6]),
		DQ: data(out[0]), DK: data(out[1]), DV: data(out[2]),
	}
}

// ResultTypes says that the gradients are of the inputs' type, all of them.
func (o attendBackward) ResultTypes(_ []device.Type, t device.Type) []device.Type {
	return []device.Type{t, t, t}
}

func (o attendBackward) DeviceScratch(in []Shape, t device.Type) int64 {
	return attention.DeviceBackwardScratch(o.Config, in[0][0], in[3][1]-1, t)
}

func (o attendBackward) Launch(env *DeviceEnv, out, in []Value) {
	attention.DeviceBackward(env.Queue, &attention.DeviceBackwardArgs{
		Config: o.Config, Seqs: in[3].Dev, Q: in[0].Dev, K: in[1].Dev, V: in[2].Dev, O: in[4].Dev, LSE: in[5].Dev, DO: in[6].Dev,
		DQ: out[0].Dev, DK: out[1].Dev, DV: out[2].Dev, Scratch: env.Scratch,
	})
}

// cachedAttend: (q, k, v, sequences, kCache, vCache) → o.
type cachedAttend struct{ attend }

func (o cachedAttend) Name() string   { return "cached " + o.attend.Name() }
func (o cachedAttend) Mutates() []int { return []int{4, 5} }

func (o cachedAttend) Infer(in []Shape) ([]Shape, error) {
	out, err := o.attend.Infer(in[:4])
	if err != nil {
		return nil, err
	}
	for i, name := range []string{"k cache", "v cache"} {
		c := in[4+i]
		if len(c) != 3 || c[2] != o.KVHeads*o.Dim || !c.Eq(in[4]) {
			return nil, fmt.Errorf("%s has shape %v, want [rows, capacity, %d]", name, c, o.KVHeads*o.Dim)
		}
	}
	return out[:1], nil
}

func (o cachedAttend) Scratch(in []Shape) int {
	return attention.CachedScratch(o.Config, in[0][0], in[3][1]-1, in[4][1])
}

// FLOPs counts a full cache.
func (o cachedAttend) FLOPs(in []Shape) int64 {
	return 4 * int64(in[0][0]) * int64(in[4][1]) * int64(o.Heads*o.Dim)
}

func (o cachedAttend) Run(env *Env, out, in []Value) {
	if in[0].F64 != nil {
		a := attendArgs(o.attend, append(out[:1:1], Value{}), in, f64)
		a.KCache, a.VCache, a.Cap = in[4].F64, in[5].F64, in[4].Shape[1]
		attention.ReferenceForward(&a)
		return
	}
	a := attention.ForwardArgs[float32]{
		Config: o.Config, Seqs: in[3].sequences(),
		Q: in[0].F32, K: in[1].F32, V: in[2].F32, KCache: in[4].F32, VCache: in[5].F32, Cap: in[4].Shape[1],
		O: out[0].F32, Scratch: env.Scratch,
	}
	attention.Forward(env.Cores, &a)
}

func (o cachedAttend) ResultTypes(_ []device.Type, t device.Type) []device.Type {
	return []device.Type{t}
}

func (o cachedAttend) DeviceScratch(in []Shape, t device.Type) int64 {
	return attention.DeviceForwardScratch(o.Config, in[0][0], in[3][1]-1, in[4][1], t)
}

func (o cachedAttend) Launch(env *DeviceEnv, out, in []Value) {
	attention.DeviceForward(env.Queue, &attention.DeviceForwardArgs{
		Config: o.Config, Seqs: in[3].Dev, Q: in[0].Dev, K: in[1].Dev, V: in[2].Dev, KCache: in[4].Dev, VCache: in[5].Dev, Cap: in[4].Shape[1],
		O: out[0].Dev, Scratch: env.Scratch,
	})
}
