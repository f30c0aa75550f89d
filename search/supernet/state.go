package supernet

import (
	"fmt"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/search"
	"github.com/gojet/gojet/train"
)

// State is what a trainer needs, beside the weights, to go on.
type State struct {
	Applied []int           `json:"applied"` // steps that each layer took
	Moments []train.Moments `json:"-"`
}

// State brings the optimiser's state to the host.
func (t *Trainer) State() (State, error) {
	var s State
	for i, u := range t.updates {
		if u == nil {
			var err error
			if u, err = t.fresh(i); err != nil {
				return s, err
			}
			t.updates[i] = u
		}
		s.Applied = append(s.Applied, u.applied)
		for k, name := range u.names {
			m, err := t.net.machine.Fetch(u.m[k])
			if err != nil {
				return s, err
			}
			v, err := t.net.machine.Fetch(u.v[k])
			if err != nil {
				return s, err
			}
			s.Moments = append(s.Moments, train.Moments{Name: name, M: m.F32, V: v.F32})
		}
	}
	return s, nil
}

// Restore continues from a state. It comes before the first step.
func (t *Trainer) Restore(s State) error {
	if len(s.Applied) != t.net.Layers() {
		return fmt.Errorf("supernet: the saved state has %d layers, want %d", len(s.Applied), t.net.Layers())
	}
	saved := map[string]train.Moments{}
	for _, m := range s.Moments {
		saved[m.Name] = m
	}
	for i, applied := range s.Applied {
		u := &update{applied: applied}
		for _, p := range t.net.bodies[search.Linear].mixer(i) {
			two, ok := saved[p.Name]
			if !ok || len(two.M) != p.Size() || len(two.V) != p.Size() {
				return fmt.Errorf("supernet: the saved state has %d and %d values for %s, want %d", len(two.M), len(two.V), p.Name, p.Size())
			}
			m, err := t.net.machine.Place(autograd.Accumulator, autograd.Float32s(two.M, p.Shape...), false)
			if err != nil {
				return err
			}
			v, err := t.net.machine.Place(autograd.Accumulator, autograd.Float32s(two.V, p.Shape...), false)
			if err != nil {
				return err
			}
			u.names, u.m, u.v = append(u.names, p.Name), append(u.m, m), append(u.v, v)
		}
		t.updates[i] = u
	}
	return nil
}
