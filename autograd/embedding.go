package autograd

import (
	"fmt"

	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/embedding"
)

// Embedding looks up the row of w [Vocab, D] for each of ids, int32 [N]. w may be bound to bfloat16 where no gradient
// is taken.
func (g *Graph) Embedding(ids, w *Node) *Node { return g.apply1(lookUp{}, ids, w) }

type lookUp struct{}

func (lookUp) Name() string                { return "embedding" }
func (lookUp) Differentiates(n int) []bool { return []bool{false, true} }

func (lookUp) Infer(in []Shape) ([]Shape, error) {
	if len(in[0]) != 1 || len(in[1]) != 2 {
		return nil, fmt.Errorf("ids and w have shapes %v and %v, want [N] and [Vocab, D]", in[0], in[1])
	}
	return []Shape{{in[0][0], in[1][1]}}, nil
}

func (lookUp) Run(env *Env, out, in []Value) {
	ids, w, d := in[0].I32, in[1], in[1].Shape[1]
	if w.F64 != nil {
		embedding.ReferenceForward(out[0].F64, w.F64, ids, d)
		return
	}
	embedding.Forward(env.Cores, out[0].F32, embedding.Table{F32: w.F32, BF16: w.BF16}, ids, d)
}

func (lookUp) Launch(env *DeviceEnv, out, in []Value) {
	w := in[1].Shape
	embedding.DeviceForward(env.Queue, &embedding.DeviceForwardArgs{N: in[0].Shape[0], Vocab: w[0], D: w[1], Y: out[0].Dev, W: in[1].Dev, IDs: in[0].Dev})
}

func (lookUp) Gradient(c *Chain) []*Node {
	w := c.In[1].Shape()
	return []*Node{nil, c.Graph.apply1(embeddingBackward{vocab: w[0]}, c.In[0], c.Grad[0])}
}

// embeddingBackward: (ids, dy) → dw.
type embeddingBackward struct{ vocab int }

func (embeddingBackward) Name() string { return "embedding backward" }

func (o embeddingBackward) Infer(in []Shape) ([]Shape, error) {
	_, d, err := matrix("dy", in[1])
	return []Shape{{o.vocab, d}}, err
}

func (o embeddingBackward) Run(env *Env, out, in []Value) {
	ids, dy, d := in[0].I32, in[1], in[1].Shape[1]
	if dy.F64 != nil {
		embedding.ReferenceBackward(out[0].F64, dy.F64, ids, d)
		return
	}
	embedding.Backward(env.Cores, out[0].F32, dy.F32, ids, d)
}

// DeviceScratch is room for the order of the tokens.
func (embeddingBackward) DeviceScratch(in []Shape, _ device.Type) int64 {
	return embedding.DeviceBackwardScratch(in[0][0])
}

func (o embeddingBackward) Launch(env *DeviceEnv, out, in []Value) {
	embedding.DeviceBackward(env.Queue, &embedding.DeviceBackwardArgs{
		N: in[0].Shape[0], Vocab: o.vocab, D: in[1].Shape[1], DW: out[0].Dev, DY: in[1].Dev, IDs: in[0].Dev, Scratch: env.Scratch,
	})
}
