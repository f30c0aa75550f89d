package autograd

import (
	"errors"
	"fmt"
	"time"

	"github.com/gojet/gojet/kernels/device"
)

// remote is the part of an Executor whose plan runs on a device. The first run queues every operation, which compiles
// the kernels; the second records the same work as a graph, and from then on a run is the upload of what changed on the
// host and one launch.
type remote struct {
	machine *Machine
	plan    *Plan
	env     DeviceEnv
	arena   device.Tensor
	uploads []upload
	work    []work
	graph   *device.Graph
	warm    bool
	err     error
}

// upload is an input that is on the host and is copied at every run.
type upload struct {
	node *Node
	host Value
	dev  Value
}

// work is one launch or a group of them: steps from to to of the plan.
type work struct {
	from, to int
	scratch  device.Tensor
	launch   func()
	free     func()
}

func newRemote(p *Plan, m *Machine, arena device.Tensor) *remote {
	r := &remote{machine: m, plan: p, env: DeviceEnv{Queue: m.Device, Float: m.Float}, arena: arena}
	if p.graph.float != Float32.dtype() {
		r.err = errors.New("autograd: float64 graphs run on the CPU only")
	}
	return r
}

// view is a piece of the arena.
func (r *remote) view(offset int64, t device.Type, n int) device.Tensor {
	return device.Tensor{Ptr: r.arena.Ptr + uintptr(offset), Type: t, Len: n}
}

// bind takes a value that is on the device as it is. Data on the host gets a place on the device, which every run
// refreshes.
func (r *remote) bind(n *Node, v Value) (Value, error) {
	r.forget()
	for i := range r.uploads {
		if u := &r.uploads[i]; u.node == n {
			if v.Dev.None() {
				u.host = v
				return u.dev, nil
			}
			r.machine.Free(u.dev)
			r.uploads = append(r.uploads[:i], r.uploads[i+1:]...)
			return v, nil
		}
	}
	if !v.Dev.None() {
		if want := r.plan.stored[n].t; v.Dev.Type != want && r.plan.graph.roles[n] != Data {
			return Value{}, fmt.Errorf("autograd: %s holds %s, the plan reads %s", n.Name(), v.Dev.Type, want)
		}
		return v, nil
	}
	if role := r.plan.graph.roles[n]; role != Data {
		return Value{}, fmt.Errorf("autograd: %s %s is on the host, want it placed on the device", role, n.Name())
	}
	t := r.plan.stored[n].t
	dev := Value{Shape: v.Shape, Dev: r.machine.Device.New(t, v.Len())}
	r.uploads = append(r.uploads, upload{n, v, dev})
	return dev, r.machine.Device.Err()
}

// forget drops what was prepared for earlier bindings.
func (r *remote) forget() {
	if r.graph != nil {
		r.graph.Close()
		r.graph = nil
	}
	for _, w := range r.work {
		if w.free != nil {
			w.free()
		}
	}
	r.work, r.warm = nil, false
}

// prepare turns the plan's steps into launches.
func (r *remote) prepare(e *Executor) error {
	for i := 0; i < len(e.calls); {
		c := &e.calls[i]
		op, ok := c.op.(Launcher)
		if !ok {
			return fmt.Errorf("autograd: %s has no kernels for a device", c.op.Name())
		}
		w := work{from: i, to: i + 1}
		if s := e.plan.steps[i].scratch; s >= 0 {
			w.scratch = r.view(e.plan.storages[s].offset, device.Float32, int(e.plan.storages[s].bytes/4))
		}
		if g, ok := op.(Grouped); ok {
			w.to = e.plan.groupEnd(i)
			r.group(e, &w, g)
		} else {
			w.launch = func() { op.Launch(&r.env, c.out, c.in) }
		}
		r.work = append(r.work, w)
		i = w.to
	}
	return r.machine.Device.Err()
}

func (r *remote) group(e *Executor, w *work, g Grouped) {
	var steps []GroupStep
	for _, c := range e.calls[w.from:w.to] {
		steps = append(steps, GroupStep{Op: c.op, Out: c.out, In: c.in})
	}
	r.env.Scratch = w.scratch
	w.launch, w.free = g.Group(&r.env, steps)
}

// run queues one run. at is the step that is being queued, for error messages.
func (r *remote) run(e *Executor, at *int) error {
	if r.err != nil {
		return r.err
	}
	d := r.machine.Device
	for _, u := range r.uploads {
		r.machine.write(u.dev, u.host)
	}
	if r.work == nil {
		if err := r.prepare(e); err != nil {
			return err
		}
	}
	switch {
	case e.Poison || e.Profile:
		r.slowly(e, at)
	case r.graph != nil:
		r.graph.Launch()
	case r.warm:
		g, err := d.Capture(func() { r.queue(at) })
		if err != nil {
			return err
		}
		r.graph = g
		r.graph.Launch()
	default:
		r.queue(at)
		r.warm = true
	}
	return d.Err()
}

func (r *remote) queue(at *int) {
	for i := range r.work {
		w := &r.work[i]
		*at = w.from
		r.env.Scratch = w.scratch
		w.launch()
	}
}

// slowly queues step by step, with poison around each or its time measured.
func (r *remote) slowly(e *Executor, at *int) {
	d := r.machine.Device
	start, end := d.NewEvent(), d.NewEvent()
	defer start.Close()
	defer end.Close()
	for i := range r.work {
		w := &r.work[i]
		*at = w.from
		r.env.Scratch = w.scratch
		if e.Poison {
			r.poison(e, w)
		}
		if e.Profile {
			start.Record()
		}
		w.launch()
		if e.Profile {
			end.Record()
			e.spent[w.from] += time.Duration(start.Milliseconds(end) * 1e6)
		}
		if e.Poison {
			for _, v := range e.calls[w.to-1].dead {
				d.Poison(v.Dev)
			}
		}
	}
}

func (r *remote) poison(e *Executor, w *work) {
	r.machine.Device.Poison(w.scratch)
	for i := w.from; i < w.to; i++ {
		for k, o := range e.calls[i].out {
			if !e.inPlace(i, k) {
				r.machine.Device.Poison(o.Dev)
			}
		}
	}
}

func (r *remote) close() {
	r.forget()
	for _, u := range r.uploads {
		r.machine.Free(u.dev)
	}
}
