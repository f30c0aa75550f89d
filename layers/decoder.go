package layers

import (
	"fmt"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
)

// Decoder is a whole model: token embedding, layers of a mixer and a gated MLP, each behind an RMSNorm with a
// residual connection around it, a last norm, and a linear head.
type Decoder struct {
	Config *checkpoints.Config

	mixers []Mixer
	params []Param
	shapes map[string][]int
	lora   LoRA
}

// NewDecoder makes the model that a configuration describes.
func NewDecoder(c *checkpoints.Config) (*Decoder, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	d := &Decoder{Config: c, shapes: map[string][]int{}}
	draw, ones := normal(c.InitializerRange), constant(1)
	add := func(prefix string, ps ...Param) {
		for _, p := range ps {
			p.Name = prefix + p.Name
			d.params = append(d.params, p)
			d.shapes[p.Name] = p.Shape
		}
	}
	add("model.", Param{"embed_tokens.weight", []int{c.VocabSize, c.HiddenSize}, draw, true})
	for i, kind := range c.LayerTypes {
		m, err := newMixer(c, kind)
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", i, err)
		}
		d.mixers = append(d.mixers, m)
		add(layerPrefix(i), Param{"input_layernorm.weight", []int{c.HiddenSize}, ones, false})
		add(layerPrefix(i)+"self_attn.", m.Params()...)
		add(layerPrefix(i),
			Param{"post_attention_layernorm.weight", []int{c.HiddenSize}, ones, false},
			Param{"mlp.gate_proj.weight", []int{c.IntermediateSize, c.HiddenSize}, draw, true},
			Param{"mlp.up_proj.weight", []int{c.IntermediateSize, c.HiddenSize}, draw, true},
			Param{"mlp.down_proj.weight", []int{c.HiddenSize, c.IntermediateSize}, draw, true})
	}
	add("model.", Param{"norm.weight", []int{c.HiddenSize}, ones, false})
	if !c.TieEmbeddings {
		add("", Param{"lm_head.weight", []int{c.VocabSize, c.HiddenSize}, draw, true})
	}
	return d, nil
}

func layerPrefix(i int) string { return fmt.Sprintf("model.layers.%d.", i) }

// Params lists the weights in the order of the model, by their names in a checkpoint.
func (d *Decoder) Params() []Param { return d.params }

// Mixer returns the mixer of layer i.
func (d *Decoder) Mixer(i int) Mixer { return d.mixers[i] }

// States lists what a sequence of at most capacity tokens carries between calls.
func (d *Decoder) States(capacity int) []State {
	var ss []State
	for i, m := range d.mixers {
		for _, s := range m.States(capacity) {
			s.Name = layerPrefix(i) + "self_attn." + s.Name
			ss = append(ss, s)
		}
	}
	return ss
}

// Inputs are what a forward pass reads.
type Inputs struct {
	IDs *autograd.Node // int32 [N]
	Seq *autograd.Node // see autograd.Graph.Sequences
	// Rows and Capacity make the model continue from state: Rows sequences of at most Capacity tokens. Rows 0 is
	// training: no state.
	Rows, Capacity int
	// Owner, such as "teacher/", goes before the names of the model's inputs, so that two models can stand in one
	// graph. It is empty or ends in a slash.
	Owner string
}

// Outputs are the nodes of a forward pass.
type Outputs struct {
	// Layers[i] is the residual stream after layer i, [N, D].
	Layers []*autograd.Node
	// Hidden is the last one after the final norm, [N, D].
	Hidden *autograd.Node
}

// Forward appends the model. Each layer is one segment of activation checkpointing, between two norms: what it adds to the
// residual stream is added together with the norm that follows.
func (d *Decoder) Forward(g *autograd.Graph, in Inputs) Outputs {
	s := &Scope{Graph: g, Seq: in.Seq, owner: in.Owner, shapes: d.shapes, lora: d.lora}
	if in.Rows > 0 {
		s.states = map[string][]int{}
		for _, st := range d.States(in.Capacity) {
			s.states[st.Name] = append([]int{in.Rows}, st.Shape...)
		}
	}
	var out Outputs
	norm := func(i int) *autograd.Node { // the weight of the norm before layer i
		if i == len(d.mixers) {
			return s.Weight("model.norm.weight")
		}
		return s.Weight(layerPrefix(i) + "input_layernorm.weight")
	}
	x := g.Embedding(in.IDs, s.Weight("model.embed_tokens.weight"))
	h := g.RMSNorm(x, norm(0), d.Config.RMSNormEps)
	for i, m := range d.mixers {
		g.Segment(func() { x, h = d.layer(s.sub(layerPrefix(i)), m, x, h) })
		x, h = g.AddRMSNorm(x, h, norm(i+1), d.Config.RMSNormEps)
		out.Layers = append(out.Layers, x)
	}
	out.Hidden = h
	return out
}

// layer takes the residual stream x and its norm h, and returns the stream after the mixer and what the MLP adds to it.
func (d *Decoder) layer(s *Scope, m Mixer, x, h *autograd.Node) (stream, more *autograd.Node) {
	x, h = s.AddRMSNorm(x, m.Mix(s.sub("self_attn."), h), s.Weight("post_attention_layernorm.weight"), d.Config.RMSNormEps)
	return x, s.GatedMLP(h, "mlp")
}

// Head returns the weight of the linear head, [Vocab, D]: the embedding itself where they are tied. Owner is that of the
// model's Inputs.
func (d *Decoder) Head(g *autograd.Graph, owner string) *autograd.Node {
	name := "lm_head.weight"
	if d.Config.TieEmbeddings {
		name = "model.embed_tokens.weight"
	}
	return g.Input(owner+name, autograd.Parameter, d.shapes[name]...)
}

// Logits applies the head to hidden [N, D].
func (d *Decoder) Logits(g *autograd.Graph, hidden *autograd.Node) *autograd.Node {
	return g.Linear(hidden, d.Head(g, ""), nil)
}
