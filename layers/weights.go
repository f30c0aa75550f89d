package layers

import (
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/bf16"
	"github.com/gojet/gojet/checkpoints"
)

// Weights holds a model's weights by name.
type Weights map[string]autograd.Value

// Storage says in which form weights are held.
type Storage uint8

// Forms of weights.
const (
	// AsStored reads matrices from the checkpoint's mapped file in place, bfloat16 or float32, and converts
	// the rest. Such weights are read-only and live as long as the checkpoint is open.
	AsStored Storage = iota
	// Float32 converts everything into memory of its own: for training.
	Float32
)

// Load reads the weights that the model needs. Unknown, missing and misshapen tensors are reported by name.
func (d *Decoder) Load(c *checkpoints.Checkpoint, form Storage) (Weights, error) {
	specs := make([]checkpoints.Spec, len(d.params))
	for i, p := range d.params {
		specs[i] = checkpoints.Spec{Name: p.Name, Shape: p.Shape}
	}
	if err := c.Match(specs); err != nil {
		return nil, err
	}
	return together(d.params, func(p Param) (autograd.Value, error) {
		t, ok := c.Tensor(p.Name)
		if !ok {
			return autograd.Value{}, fmt.Errorf("layers: %s is missing from the checkpoint", p.Name)
		}
		v := autograd.Value{Shape: p.Shape}
		if form == AsStored && len(p.Shape) == 2 {
			if view, ok := t.BF16View(); ok {
				v.BF16 = view
			} else if view, ok := t.F32View(); ok {
				v.F32 = view
			}
		}
		if v.None() {
			data, err := t.Float32s()
			if err != nil {
				return autograd.Value{}, err
			}
			v.F32 = data
		}
		return v, nil
	})
}

// together makes the weights of all params, several at the same time: a large model has gigabytes of them.
func together(params []Param, value func(p Param) (autograd.Value, error)) (Weights, error) {
	values := make([]autograd.Value, len(params))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, p := range params {
		group.Go(func() (err error) {
			values[i], err = value(p)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	w := make(Weights, len(params))
	for i, p := range params {
		w[p.Name] = values[i]
	}
	return w, nil
}

// Draw makes fresh weights from a seed.
func (d *Decoder) Draw(seed uint64) Weights {
	w, _ := together(d.params, func(p Param) (autograd.Value, error) { // which does not fail
		return autograd.Float32s(p.Draw(seed), p.Shape...), nil
	})
	return w
}

// Half returns the weights with every matrix rounded to bfloat16, as a bfloat16 checkpoint holds them.
func (w Weights) Half() Weights {
	h := Weights{}
	for name, v := range w {
		if len(v.Shape) != 2 || v.F32 == nil {
			h[name] = v
			continue
		}
		h[name] = autograd.BF16s(bf16.Rounded(v.F32), v.Shape...)
	}
	return h
}

// ownerMark ends every owner: weights have no such sign in their names.
const ownerMark = "/"

// In returns the weights converted to p, in memory of their own.
func (w Weights) In(p autograd.Precision) Weights {
	c := Weights{}
	for name, v := range w {
		d := autograd.Zeros(p, v.Shape...)
		for i := range v.Len() {
			if v.BF16 != nil {
				d.Set(i, float64(v.BF16[i].Float32()))
			} else {
				d.Set(i, v.At(i))
			}
		}
		c[name] = d
	}
	return c
}

// DrawOn makes random weights on a machine, matrices from N(0, InitializerRange²) whatever their usual start, for
// measurements of models too large to be drawn on the host. learns is that of Place.
func (d *Decoder) DrawOn(m *autograd.Machine, seed uint64, learns func(name string) bool) (Weights, error) {
	w := Weights{}
	for i, p := range d.params {
		l := learns != nil && learns(p.Name)
		var err error
		if len(p.Shape) == 2 {
			w[p.Name], err = m.Normal(d.Config.InitializerRange, seed+uint64(i)<<32, l, p.Shape...)
		} else {
			w[p.Name], err = m.Place(autograd.Parameter, autograd.Float32s(p.Draw(seed), p.Shape...), l)
		}
		if err != nil {
			return nil, fmt.Errorf("layers: drawing %s: %w", p.Name, err)
		}
	}
	return w, nil
}

// Place returns the weights where m's executors read them: themselves on the CPU, copies on a device. learns says which
// are trained and keep their full precision beside; nil is none.
func (w Weights) Place(m *autograd.Machine, learns func(name string) bool) (Weights, error) {
	if m.Device == nil {
		return w, nil
	}
	placed := Weights{}
	for name, v := range w {
		p, err := m.Place(autograd.Parameter, v, learns != nil && learns(name))
		if err != nil {
			return nil, fmt.Errorf("layers: placing %s: %w", name, err)
		}
		placed[name] = p
	}
	return placed, nil
}

// Release gives back the memory of weights that were placed from original.
func (w Weights) Release(m *autograd.Machine, original Weights) {
	for name, v := range w {
		if original[name].Dev != v.Dev {
			m.Free(v)
		}
	}
}

// Bytes returns the memory that the weights take.
func (w Weights) Bytes() int64 {
	var n int64
	for _, v := range w {
		n += v.Bytes()
	}
	return n
}

// Bind gives an executor of g the weights that g uses, those of the model that owner names; see Inputs.
func (w Weights) Bind(e *autograd.Executor, g *autograd.Graph, owner string) error {
	for name, n := range g.Inputs() {
		name, mine := strings.CutPrefix(name, owner)
		if !mine || g.RoleOf(n) != autograd.Parameter || owner == "" && strings.Contains(name, ownerMark) {
			continue
		}
		v, ok := w[name]
		if !ok {
			return fmt.Errorf("layers: the graph uses %s, which is not among the weights", name)
		}
		if err := e.Bind(n, v); err != nil {
			return err
		}
	}
	return nil
}
