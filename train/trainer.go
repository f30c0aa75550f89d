package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/gradnorm"
	"github.com/gojet/gojet/layers"
)

// ErrInterrupted says that a stage was stopped from outside, after its last step was finished and saved.
var ErrInterrupted = errors.New("interrupted")

// Data gives micro-batches by number: the same number always gives the same batch.
type Data interface {
	Batch(number int) (Batch, error)
	// MaxDocs bounds the documents of a micro-batch.
	MaxDocs() int
}

// Progress is where a run stands. It is all that a stage needs, beside weights and optimiser state, to go on as if
// nothing had happened.
type Progress struct {
	Stage   int      `json:"stage"`   // index of the stage
	Step    int      `json:"step"`    // steps of the stage that are done
	Applied int      `json:"applied"` // of them, those that changed the weights
	Skipped int      `json:"skipped"` // in a row, up to now
	Global  int      `json:"global"`  // steps of the run that are done
	Best    *float64 `json:"best"`    // lowest held-out loss of the stage
	Stale   int      `json:"stale"`   // evaluations since
	Over    bool     `json:"over"`    // the stage ended early
}

// Start is the snapshot of a run before its first step.
func (t *Trainer) Start() Snapshot {
	s := Snapshot{Net: t.Student}
	if t.Stage.Precision == Float64 {
		s.Net = t.Student.Single()
	}
	return s
}

// Done reports whether the stage has nothing left to do.
func (p Progress) Done(s Stage) bool { return p.Over || p.Step >= s.Steps }

// Moments is AdamW's state of one weight.
type Moments struct {
	Name string
	M, V []float32
}

// Snapshot is what a checkpoint holds.
type Snapshot struct {
	Progress Progress
	Net      Net
	Moments  []Moments
}

// Evaluation is the held-out measurement of a model. KL and Agreement are NaN without a teacher.
type Evaluation struct {
	Loss, KL, Agreement float64
	Tokens              int
}

// Hooks are what a run does around the steps of a stage. Each may be nil.
type Hooks struct {
	Step func(Progress, Report) error
	Eval func(Progress, Evaluation) error
	// Sample gets the student placed on the machine that goes with it.
	Sample func(context.Context, Progress, Net, *autograd.Machine) error
	Save   func(Snapshot) error
}

// Trainer runs one stage.
type Trainer struct {
	Stage   Stage
	Student Net
	Teacher *Net // nil unless the loss needs one
	Data    Data
	HeldOut Data // nil for no evaluation
	Machine *autograd.Machine
	Hooks   Hooks

	learner *learner
	eval    *pass
	placed  *placed
}

// placed is the student and its teacher where the machine reads them.
type placed struct {
	student Net
	teacher *Net
}

// machine is what the stage runs on: references in float64 are the CPU's.
func (t *Trainer) machine() *autograd.Machine {
	switch t.Stage.Precision {
	case Float64:
		return autograd.OnCPU(t.Machine.Cores)
	case Float32:
		return t.Machine.With(device.Float32)
	}
	return t.Machine.With(device.BF16)
}

// nets places the models when they are first needed.
func (t *Trainer) nets() (*placed, error) {
	if t.placed != nil {
		return t.placed, nil
	}
	if t.Stage.Precision == BF16 && t.Machine.Device == nil {
		return nil, fmt.Errorf("train: stage %s: precision %s needs a GPU, want %s or %s on a CPU", t.Stage.Name, BF16, Auto, Float32)
	}
	p := &placed{student: t.Student}
	var err error
	if p.student.Weights, err = t.Student.Weights.Place(t.machine(), t.Stage.Learns); err != nil {
		return nil, err
	}
	if t.Teacher != nil {
		p.teacher = &Net{Decoder: t.Teacher.Decoder}
		if p.teacher.Weights, err = t.Teacher.Weights.Place(t.machine(), nil); err != nil {
			return nil, err
		}
	}
	t.placed = p
	return p, nil
}

// pull brings the weights that learn back to the student.
func (t *Trainer) pull() error {
	if t.machine().Device == nil {
		return nil
	}
	for name, v := range t.placed.student.Weights {
		if !t.Stage.Learns(name) {
			continue
		}
		h, err := t.machine().Fetch(v)
		if err != nil {
			return err
		}
		copy(t.Student.Weights[name].F32, h.F32)
	}
	return nil
}

// Close gives the memory of a device back. The student has what the last save saw.
func (t *Trainer) Close() error {
	var errs []error
	if t.learner != nil {
		errs = append(errs, t.learner.close())
	}
	if t.eval != nil {
		errs = append(errs, t.eval.exec.Close())
	}
	if t.placed != nil {
		t.placed.student.Weights.Release(t.machine(), t.Student.Weights)
		if t.Teacher != nil {
			t.placed.teacher.Weights.Release(t.machine(), t.Teacher.Weights)
		}
	}
	t.learner, t.eval, t.placed = nil, nil, nil
	return errors.Join(errs...)
}

// Run goes on from p until the stage is over, an error, or the context's end, which lets the current step finish, saves
// and returns ErrInterrupted. moments continue an earlier run; nil starts afresh.
func (t *Trainer) Run(ctx context.Context, p *Progress, moments []Moments) error {
	if err := t.prepare(*p, moments); err != nil {
		return err
	}
	saved := p.Step
	for !p.Done(t.Stage) {
		r, err := t.step(p)
		if err != nil {
			return err
		}
		if err := call(t.Hooks.Step, *p, r); err != nil {
			return err
		}
		if err := t.between(ctx, p); err != nil {
			return err
		}
		if ctx.Err() != nil || every(t.Stage.SaveEvery, p.Step) || p.Done(t.Stage) {
			if err := t.save(*p); err != nil {
				return err
			}
			saved = p.Step
		}
		if ctx.Err() != nil && !p.Done(t.Stage) {
			return ErrInterrupted
		}
	}
	if saved != p.Step {
		return t.save(*p)
	}
	return nil
}

func (t *Trainer) prepare(p Progress, saved []Moments) error {
	if t.Stage.Precision == Float64 && p.Step > 0 && p.Step < t.Stage.Steps {
		return fmt.Errorf("train: stage %s was left at step %d: a float64 stage cannot go on from a float32 checkpoint; start it again", t.Stage.Name, p.Step)
	}
	nets, err := t.nets()
	if err != nil {
		return err
	}
	state, err := t.restore(saved)
	if err != nil {
		return err
	}
	if t.learner, err = newLearner(t.Stage, nets.student, nets.teacher, t.machine(), t.Data.MaxDocs(), state); err != nil {
		return err
	}
	return t.learner.fits(saved)
}

// restore places the optimiser's state of an earlier run.
func (t *Trainer) restore(saved []Moments) (map[string]*moments, error) {
	if saved == nil {
		return nil, nil
	}
	state := map[string]*moments{}
	for _, s := range saved {
		shape := t.Student.Weights[s.Name].Shape
		m, err := t.machine().Place(autograd.Accumulator, autograd.Float32s(s.M, shape...), false)
		if err != nil {
			return nil, err
		}
		v, err := t.machine().Place(autograd.Accumulator, autograd.Float32s(s.V, shape...), false)
		if err != nil {
			return nil, err
		}
		state[s.Name] = &moments{m, v}
	}
	return state, nil
}

// step takes the next optimiser step.
func (t *Trainer) step(p *Progress) (Report, error) {
	began := time.Now()
	batches := make([]Batch, t.Stage.Accumulate)
	for k := range batches {
		b, err := t.Data.Batch(p.Step*t.Stage.Accumulate + k)
		if err != nil {
			return Report{}, fmt.Errorf("train: stage %s, step %d: %w", t.Stage.Name, p.Step, err)
		}
		batches[k] = b
	}
	r, err := t.learner.step(p.Step, p.Applied, batches)
	if err != nil {
		return r, fmt.Errorf("train: stage %s, step %d: %w", t.Stage.Name, p.Step, err)
	}
	p.Step++
	p.Global++
	r.Took = time.Since(began)
	if !r.Skipped {
		p.Applied++
		p.Skipped = 0
		return r, nil
	}
	if p.Skipped++; p.Skipped > t.Stage.MaxSkipped {
		return r, fmt.Errorf("train: stage %s, step %d: the gradients were not finite %d times in a row (loss %v), max_skipped is %d; lower the learning rate",
			t.Stage.Name, p.Step-1, p.Skipped, r.Loss, t.Stage.MaxSkipped)
	}
	return r, nil
}

// between does what falls due after a step: evaluation, early stopping and samples.
func (t *Trainer) between(ctx context.Context, p *Progress) error {
	if t.HeldOut != nil && t.Stage.EvalBatches > 0 && (every(t.Stage.EvalEvery, p.Step) || p.Step == t.Stage.Steps) {
		e, err := t.Evaluate()
		if err != nil {
			return err
		}
		t.judge(p, e)
		if err := call(t.Hooks.Eval, *p, e); err != nil {
			return err
		}
	}
	if t.Hooks.Sample != nil && every(t.Stage.SampleEvery, p.Step) {
		return t.Hooks.Sample(ctx, *p, t.placed.student, t.machine())
	}
	return nil
}

// judge keeps the best held-out loss and ends the stage when it has not fallen for too long.
func (t *Trainer) judge(p *Progress, e Evaluation) {
	if p.Best == nil || e.Loss < *p.Best-t.Stage.EarlyStop.MinDelta {
		loss := e.Loss
		p.Best, p.Stale = &loss, 0
		return
	}
	p.Stale++
	p.Over = t.Stage.EarlyStop.Patience > 0 && p.Stale >= t.Stage.EarlyStop.Patience
}

// Evaluate measures the student on held-out data: next-token loss and, where there is a teacher, the divergence from it.
func (t *Trainer) Evaluate() (Evaluation, error) {
	if t.eval == nil {
		s := t.Stage
		s.Loss = Loss{CrossEntropy: 1, Temperature: 1}
		if t.Teacher != nil {
			s.Loss.KL = 1
		}
		nets, err := t.nets()
		if err != nil {
			return Evaluation{}, err
		}
		if t.eval, err = newPass(s, nets.student, nets.teacher, t.machine(), t.HeldOut.MaxDocs(), nil, nil); err != nil {
			return Evaluation{}, err
		}
	}
	var sum tally
	for i := range t.Stage.EvalBatches {
		b, err := t.HeldOut.Batch(i)
		if err != nil {
			return Evaluation{}, fmt.Errorf("train: held-out batch %d: %w", i, err)
		}
		u, err := t.eval.run(b, 1)
		if err != nil {
			return Evaluation{}, err
		}
		sum.add(u)
	}
	e := Evaluation{Loss: sum.ce / math.Max(sum.ceTokens, 1), KL: math.NaN(), Agreement: math.NaN(), Tokens: int(sum.ceTokens)}
	if t.Teacher != nil {
		e.KL, e.Agreement = sum.kl/math.Max(sum.tokens, 1), sum.agree/math.Max(sum.tokens, 1)
	}
	return e, nil
}

func (t *Trainer) save(p Progress) error {
	if t.Hooks.Save == nil {
		return nil
	}
	if err := t.pull(); err != nil {
		return err
	}
	snap := Snapshot{Progress: p, Net: t.Student}
	if t.Stage.Precision == Float64 { // a checkpoint is float32
		snap.Net = t.Student.Single()
	}
	var names []string
	var values [][]float32
	for _, prm := range t.Student.Decoder.Params() {
		names, values = append(names, prm.Name), append(values, snap.Net.Weights[prm.Name].F32)
		if two := t.learner.moments[prm.Name]; two != nil && t.Stage.Precision != Float64 {
			m, err := t.machine().Fetch(two.m)
			if err != nil {
				return err
			}
			v, err := t.machine().Fetch(two.v)
			if err != nil {
				return err
			}
			snap.Moments = append(snap.Moments, Moments{Name: prm.Name, M: m.F32, V: v.F32})
		}
	}
	if i, at := gradnorm.FirstNonFinite(values); i >= 0 {
		return fmt.Errorf("train: stage %s, step %d: %s is not finite at %d; nothing was saved", t.Stage.Name, p.Step, names[i], at)
	}
	return t.Hooks.Save(snap)
}

func call[A any](hook func(Progress, A) error, p Progress, a A) error {
	if hook == nil {
		return nil
	}
	return hook(p, a)
}

// every reports whether the n-th step is one of every interval; interval 0 means never.
func every(interval, n int) bool { return interval > 0 && n%interval == 0 }

// Double is the model in float64.
func (n Net) Double() Net { return Net{n.Decoder, n.Weights.In(autograd.Float64)} }

// Single is the model in float32.
func (n Net) Single() Net { return Net{n.Decoder, n.Weights.In(autograd.Float32)} }

// Fresh draws weights for a decoder.
func Fresh(d *layers.Decoder, seed uint64) Net { return Net{d, d.Draw(seed)} }
