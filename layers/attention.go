package layers

import (
	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/kernels/attention"
)

// Attention is the mixer of Qwen2 and Qwen3: grouped queries, rotary positions, optionally a sliding window, biases on
// q, k and v (Qwen2) or an RMSNorm over each head of q and k (Qwen3).
type Attention struct {
	Hidden    int // D
	Heads     int // query heads
	KVHeads   int
	HeadDim   int
	Window    int // keys that a token sees; 0 for all
	RopeTheta float64
	Bias      bool // on q, k and v
	QKNorm    bool
	NormEps   float64
	InitStd   float64
}

func newAttention(c *checkpoints.Config, name string) (Mixer, error) {
	a := Attention{
		Hidden: c.HiddenSize, Heads: c.NumHeads, KVHeads: c.NumKVHeads, HeadDim: c.HeadDim, RopeTheta: c.RopeTheta,
		Bias: c.AttentionBias, QKNorm: c.QKNorm, NormEps: c.RMSNormEps, InitStd: c.InitializerRange,
	}
	if name == "swa" {
		w, err := c.Window()
		if err != nil {
			return nil, err
		}
		a.Window = w
	}
	return a, a.kernel().Validate()
}

func (a Attention) kernel() attention.Config {
	return attention.Config{Heads: a.Heads, KVHeads: a.KVHeads, Dim: a.HeadDim, Window: a.Window}
}

// Params lists q, k, v and output projections.
func (a Attention) Params() []Param {
	draw, q, kv := normal(a.InitStd), a.Heads*a.HeadDim, a.KVHeads*a.HeadDim
	ps := []Param{
		{"q_proj.weight", []int{q, a.Hidden}, draw, true},
		{"k_proj.weight", []int{kv, a.Hidden}, draw, true},
		{"v_proj.weight", []int{kv, a.Hidden}, draw, true},
		{"o_proj.weight", []int{a.Hidden, q}, draw, true},
	}
	if a.Bias {
		ps = append(ps,
			Param{"q_proj.bias", []int{q}, constant(0), false},
			Param{"k_proj.bias", []int{kv}, constant(0), false},
			Param{"v_proj.bias", []int{kv}, constant(0), false})
	}
	if a.QKNorm {
		ps = append(ps,
			Param{"q_norm.weight", []int{a.HeadDim}, constant(1), false},
			Param{"k_norm.weight", []int{a.HeadDim}, constant(1), false})
	}
	return ps
}

// States lists the key and value caches. A window needs a ring of that many tokens, however long the sequence.
func (a Attention) States(capacity int) []State {
	grows := a.Window == 0 || capacity < a.Window
	if !grows {
		capacity = a.Window
	}
	shape := []int{capacity, a.KVHeads * a.HeadDim}
	return []State{{"k_cache", shape, grows}, {"v_cache", shape, grows}}
}

// Mix attends: x [N, D] to [N, D].
func (a Attention) Mix(s *Scope, x *autograd.Node) *autograd.Node {
	p := s.Projections(x, Projection{Name: "q_proj", Bias: a.Bias}, Projection{Name: "k_proj", Bias: a.Bias}, Projection{Name: "v_proj", Bias: a.Bias})
	q, k, v := p[0], p[1], p[2]
	if a.QKNorm {
		q = s.RMSNorm(q, s.Weight("q_norm.weight"), a.NormEps)
		k = s.RMSNorm(k, s.Weight("k_norm.weight"), a.NormEps)
	}
	q = s.RoPE(q, s.Seq, a.HeadDim, a.RopeTheta)
	k = s.RoPE(k, s.Seq, a.HeadDim, a.RopeTheta)
	var o *autograd.Node
	if s.Cached() {
		o = s.CachedAttention(a.kernel(), q, k, v, s.Seq, s.State("k_cache"), s.State("v_cache"))
	} else {
		o = s.Attention(a.kernel(), q, k, v, s.Seq)
	}
	return s.Linear(o, "o_proj", false)
}
