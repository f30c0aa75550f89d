// Package supernet is the once-for-all super network of a placement search: every layer holds the original attention and a
// linear block, and each training step takes one path through them (https://arxiv.org/abs/2508.15884, section 2.2).
//
// A path is not compiled as a whole, since n layers have 2ⁿ paths. Every kind of layer is compiled once, forward and
// backward, and the host runs one after the other, binding the weights of the layer at hand. Operations and their order are
// those of the model built whole, so that results are the same to the bit; and paths that agree on their first layers
// share the residual stream up to there.
//
// Letters in shapes: N tokens (of all documents, one after the other), D hidden.
package supernet

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/layers"
	"github.com/gojet/gojet/search"
	"github.com/gojet/gojet/train"
)

// Net is the super network on a machine.
type Net struct {
	Teacher train.Net
	machine *autograd.Machine
	bodies  [search.Kinds]*body
	placed  layers.Weights // the teacher's
}

// body is the whole model with all layers of one kind. What is not replaced is the teacher's memory.
type body struct {
	train.Net                // on the host
	weights   layers.Weights // where the machine reads them
	learns    bool
}

// New places the teacher and the bodies beside it: a linear one learns, one of windows does not. Weights outside the
// mixers are the teacher's wherever a body does not bring others of its own.
func New(m *autograd.Machine, teacher train.Net, bodies map[search.Kind]train.Net) (*Net, error) {
	n := &Net{Teacher: teacher, machine: m}
	var err error
	if n.placed, err = teacher.Weights.Place(m, nil); err != nil {
		return nil, err
	}
	n.bodies[search.Full] = &body{Net: teacher, weights: n.placed}
	for kind, net := range bodies {
		if got, want := net.Decoder.Config.NumLayers, n.Layers(); got != want {
			return nil, fmt.Errorf("supernet: %d layers of kind %v, want %d", got, kind, want)
		}
		b := &body{Net: net, weights: layers.Weights{}, learns: kind == search.Linear}
		own := layers.Weights{}
		for name, v := range net.Weights {
			if same(v, teacher.Weights[name]) {
				b.weights[name] = n.placed[name]
			} else {
				own[name] = v
			}
		}
		placed, err := own.Place(m, func(string) bool { return b.learns })
		if err != nil {
			return nil, errors.Join(err, n.Close())
		}
		for name, v := range placed {
			b.weights[name] = v
		}
		n.bodies[kind] = b
	}
	return n, nil
}

// same says whether two values are one memory on the host.
func same(a, b autograd.Value) bool {
	return len(a.F32) > 0 && len(a.F32) == len(b.F32) && &a.F32[0] == &b.F32[0]
}

// Layers is how many layers the model has.
func (n *Net) Layers() int { return n.Teacher.Decoder.Config.NumLayers }

// hidden is D.
func (n *Net) hidden() int { return n.Teacher.Decoder.Config.HiddenSize }

// check reports a path through layers that are not there.
func (n *Net) check(p search.Placement) error {
	if len(p) != n.Layers() {
		return fmt.Errorf("supernet: a path of %d layers, want %d", len(p), n.Layers())
	}
	for i, k := range p {
		if n.bodies[k] == nil {
			return fmt.Errorf("supernet: layer %d of path %v: there is no layer of that kind", i, p)
		}
	}
	return nil
}

// Close gives the memory of a device back.
func (n *Net) Close() error {
	for kind, b := range n.bodies {
		if b == nil || search.Kind(kind) == search.Full {
			continue
		}
		for name, v := range b.weights {
			if n.placed[name].Dev != v.Dev && n.machine.Device != nil {
				n.machine.Free(v)
			}
		}
	}
	n.placed.Release(n.machine, n.Teacher.Weights)
	return nil
}

// Pull brings what a kind has learned back to the host and returns that body.
func (n *Net) Pull(k search.Kind) (train.Net, error) {
	b := n.bodies[k]
	if b == nil {
		return train.Net{}, fmt.Errorf("supernet: there is no layer of kind %v", k)
	}
	if n.machine.Device == nil || !b.learns {
		return b.Net, nil
	}
	for name, v := range b.weights {
		if same(b.Net.Weights[name], n.Teacher.Weights[name]) {
			continue
		}
		h, err := n.machine.Fetch(v)
		if err != nil {
			return train.Net{}, err
		}
		copy(b.Net.Weights[name].F32, h.F32)
	}
	return b.Net, nil
}

// Push writes saved weights of the linear blocks over those of the network. It comes before training.
func (n *Net) Push(w layers.Weights) error {
	b := n.bodies[search.Linear]
	for name, v := range b.Net.Weights {
		if same(v, n.Teacher.Weights[name]) {
			continue
		}
		from, ok := w[name]
		if !ok || len(from.F32) != len(v.F32) {
			return fmt.Errorf("supernet: %s has %d saved values, want %d", name, len(from.F32), len(v.F32))
		}
		copy(v.F32, from.F32)
		if n.machine.Device == nil {
			continue
		}
		placed, err := n.machine.Place(autograd.Parameter, v, true)
		if err != nil {
			return err
		}
		n.machine.Free(b.weights[name])
		b.weights[name] = placed
	}
	return nil
}

// Body makes the model whose layers all are of one kind: base with those layer types, weights from teacher, and memory
// shared with it outside the mixers.
func Body(teacher train.Net, m train.Model, seed uint64) (train.Net, error) {
	c, err := m.DerivedConfig(teacher.Decoder.Config)
	if err != nil {
		return train.Net{}, err
	}
	d, err := layers.NewDecoder(c)
	if err != nil {
		return train.Net{}, err
	}
	w, err := d.From(teacher.Decoder, teacher.Weights, seed, m.MapProjections)
	if err != nil {
		return train.Net{}, err
	}
	attention := m.LayerTypes[0] == checkpoints.SWA // whose weights are the teacher's too
	for name, v := range teacher.Weights {
		if _, there := w[name]; there && (attention || !strings.Contains(name, mixerMark)) {
			w[name] = v
		}
	}
	return train.Net{Decoder: d, Weights: w}, nil
}

// mixerMark is in the names of all weights of mixers.
const mixerMark = ".self_attn."

// Plain puts a placement together as a model of its own, with copies of the weights. base has its layer types and blocks.
func (n *Net) Plain(p search.Placement, base train.Model) (train.Net, error) {
	if err := n.check(p); err != nil {
		return train.Net{}, err
	}
	c, err := base.DerivedConfig(n.Teacher.Decoder.Config)
	if err != nil {
		return train.Net{}, err
	}
	d, err := layers.NewDecoder(c)
	if err != nil {
		return train.Net{}, err
	}
	net := train.Net{Decoder: d, Weights: layers.Weights{}}
	for k := range search.Kinds {
		if n.bodies[k] != nil {
			if _, err := n.Pull(k); err != nil {
				return train.Net{}, err
			}
		}
	}
	copyOf := func(v autograd.Value) autograd.Value {
		return autograd.Float32s(append([]float32(nil), v.F32...), v.Shape...)
	}
	for _, prm := range d.Params() {
		if !strings.Contains(prm.Name, mixerMark) {
			net.Weights[prm.Name] = copyOf(n.Teacher.Weights[prm.Name])
		}
	}
	for i, k := range p {
		for _, prm := range d.LayerParams(i) {
			net.Weights[prm.Name] = copyOf(n.bodies[k].Net.Weights[prm.Name])
		}
	}
	return net, nil
}
