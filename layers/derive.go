package layers

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/bf16"
)

// From makes weights for d out of those of a model with as many layers: everything outside the mixers and every mixer of
// the same kind is copied; new mixers are drawn. With mapProjections, projections of a new mixer that replaces attention
// start from those of the attention: q, for RWKV-7 as r, k and v where the rows are as many, or as many after repeating whole heads; o where
// its shape is the same.
func (d *Decoder) From(base *Decoder, w Weights, seed uint64, mapProjections bool) (Weights, error) {
	if len(d.mixers) != len(base.mixers) {
		return nil, fmt.Errorf("layers: a model of %d layers cannot start from one of %d", len(d.mixers), len(base.mixers))
	}
	params, layer := d.outside(), map[string]int{}
	for i, m := range d.mixers {
		for _, p := range m.Params() {
			p.Name = layerPrefix(i) + "self_attn." + p.Name
			params, layer[p.Name] = append(params, p), i
		}
	}
	return together(params, func(p Param) (autograd.Value, error) {
		i, mixes := layer[p.Name]
		if !mixes {
			i = -1
		}
		v, err := d.inherit(p, i, base, w, mapProjections)
		if err == nil && v.None() {
			v = autograd.Float32s(p.Draw(seed), p.Shape...)
		}
		return v, err
	})
}

// outside lists the weights that belong to no mixer.
func (d *Decoder) outside() []Param {
	var ps []Param
	for _, p := range d.params {
		if !strings.Contains(p.Name, ".self_attn.") {
			ps = append(ps, p)
		}
	}
	return ps
}

// inherit returns what a weight of mixer i, or of none for i < 0, takes over from base; nothing where it is to be drawn.
func (d *Decoder) inherit(p Param, i int, base *Decoder, w Weights, mapProjections bool) (autograd.Value, error) {
	old, there := w[p.Name]
	if !there {
		old, there = w[strings.Replace(p.Name, ".r_proj.", ".q_proj.", 1)]
	}
	if i < 0 || reflect.TypeOf(d.mixers[i]) == reflect.TypeOf(base.mixers[i]) {
		if !there || !old.Shape.Eq(p.Shape) {
			return autograd.Value{}, fmt.Errorf("layers: %s has shape %v, the model to start from has %v", p.Name, p.Shape, old.Shape)
		}
		return autograd.Float32s(floats(old), p.Shape...), nil
	}
	from, attends := base.mixers[i].(Attention)
	if !mapProjections || !there || !attends || len(old.Shape) != 2 || len(p.Shape) != 2 {
		return autograd.Value{}, nil
	}
	if old.Shape.Eq(p.Shape) {
		return autograd.Float32s(floats(old), p.Shape...), nil
	}
	rows, want := old.Shape[0], p.Shape[0]
	if strings.HasSuffix(p.Name, ".o_proj.weight") || old.Shape[1] != p.Shape[1] || want%rows != 0 {
		return autograd.Value{}, nil
	}
	return autograd.Float32s(repeatHeads(floats(old), from.HeadDim*p.Shape[1], want/rows), p.Shape...), nil
}

// repeatHeads writes every head, a run of size values, times times.
func repeatHeads(w []float32, size, times int) []float32 {
	out := make([]float32, 0, len(w)*times)
	for at := 0; at < len(w); at += size {
		for range times {
			out = append(out, w[at:at+size]...)
		}
	}
	return out
}

// floats copies a weight of any form.
func floats(v autograd.Value) []float32 {
	switch {
	case v.F32 != nil:
		return slices.Clone(v.F32)
	case v.BF16 != nil:
		return bf16.Floats(v.BF16)
	}
	f := make([]float32, v.Len())
	for i := range f {
		f[i] = float32(v.At(i))
	}
	return f
}
