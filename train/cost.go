package train

import (
	"time"

	"github.com/gojet/gojet/autograd"
)

// Cost is what a stage takes. Memory is in bytes.
type Cost struct {
	Trained, Frozen int64 // parameters
	Weights         int64 // of the student
	Teacher         int64
	Optimizer       int64 // both moments
	Gradients       int64 // kept over micro-batches
	Activations     int64 // and gradients on their way, by the plan's layout
	FLOPs           int64 // of an optimiser step
}

// Cost returns what the stage takes. It needs a Probe or a Run before it.
func (t *Trainer) Cost() Cost {
	c := Cost{Weights: t.placed.student.Weights.Bytes(), Activations: t.learner.micro.exec.Memory().Arena}
	for _, p := range t.Student.Decoder.Params() {
		if t.learner.moments[p.Name] != nil {
			c.Trained += int64(p.Size())
		} else {
			c.Frozen += int64(p.Size())
		}
	}
	if t.Teacher != nil {
		c.Teacher = t.placed.teacher.Weights.Bytes()
	}
	for _, m := range t.learner.moments {
		c.Optimizer += m.m.Bytes() + m.v.Bytes()
	}
	c.Gradients = t.learner.sums.Bytes()
	c.FLOPs = int64(t.Stage.Accumulate)*t.learner.micro.exec.FLOPs() + t.learner.update.FLOPs()
	return c
}

// Probe measures the time of a step as the mean of n after one that warms up. It changes the student's weights.
func (t *Trainer) Probe(n int) (time.Duration, error) {
	if err := t.prepare(Progress{}, nil); err != nil {
		return 0, err
	}
	var p Progress
	var began time.Time
	for i := range n + 1 {
		if i == 1 {
			began = time.Now()
		}
		if _, err := t.step(&p); err != nil {
			return 0, err
		}
	}
	return time.Since(began) / time.Duration(n), nil
}

// Profile takes n steps with every operation timed on its own, and returns the operations of a step with the total of their
// times, those that the optimiser runs last. Close or Run ends it. It changes the student's weights.
func (t *Trainer) Profile(n int) ([]autograd.StepReport, error) {
	if t.learner == nil {
		if err := t.prepare(Progress{}, nil); err != nil {
			return nil, err
		}
	}
	executors := []*autograd.Executor{t.learner.micro.exec, t.learner.update}
	for _, e := range executors {
		e.Reset()
		e.Profile = true
	}
	var p Progress
	for range n {
		if _, err := t.step(&p); err != nil {
			return nil, err
		}
	}
	var all []autograd.StepReport
	for _, e := range executors {
		e.Profile = false
		all = append(all, e.Times()...)
	}
	return all, nil
}
