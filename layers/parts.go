package layers

import "github.com/gojet/gojet/autograd"

// A model can be built in parts, one graph each, that a host runs one after the other: Embed, Layer for every layer, Norm,
// and the head. The parts compute what Forward computes, to the bit; only a layer's last addition stands alone here.

func (d *Decoder) scope(g *autograd.Graph, in Inputs) *Scope {
	return &Scope{Graph: g, Seq: in.Seq, owner: in.Owner, shapes: d.shapes, lora: d.lora}
}

// Embed appends the token embedding, [N, D].
func (d *Decoder) Embed(g *autograd.Graph, in Inputs) *autograd.Node {
	return g.Embedding(in.IDs, d.scope(g, in).Weight("model.embed_tokens.weight"))
}

// Layer appends layer i, without state: x [N, D], the residual stream before it, to that after it.
func (d *Decoder) Layer(g *autograd.Graph, in Inputs, i int, x *autograd.Node) *autograd.Node {
	s := d.scope(g, in).sub(layerPrefix(i))
	x, more := d.layer(s, d.mixers[i], x, g.RMSNorm(x, s.Weight("input_layernorm.weight"), d.Config.RMSNormEps))
	return g.Add(x, more)
}

// Norm appends the final norm, [N, D] to [N, D].
func (d *Decoder) Norm(g *autograd.Graph, in Inputs, x *autograd.Node) *autograd.Node {
	return g.RMSNorm(x, d.scope(g, in).Weight("model.norm.weight"), d.Config.RMSNormEps)
}

// LayerParams lists the weights of layer i by their full names.
func (d *Decoder) LayerParams(i int) []Param {
	var ps []Param
	for _, p := range d.params {
		if len(p.Name) > len(layerPrefix(i)) && p.Name[:len(layerPrefix(i))] == layerPrefix(i) {
			ps = append(ps, p)
		}
	}
	return ps
}
