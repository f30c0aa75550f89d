package train

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/kernels/cpu"
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
	Step   func(Progress, Report) error
	Eval   func(Progress, Evaluation) error
	Sample func(context.Context, Progress, Net) error
	Save   func(Snapshot) error
}

// Trainer runs one stage.
type Trainer struct {
	Stage   Stage
	Student Net
	Teacher *Net // nil unless the loss needs one
	Data    Data
	HeldOut Data // nil for no evaluation
	Cores   *cpu.Cores
	Hooks   Hooks

	learner *learner
	eval    *pass
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
	var state map[string]*moments
	if saved != nil {
		state = map[string]*moments{}
		for _, m := range saved {
			shape := t.Student.Weights[m.Name].Shape
			state[m.Name] = &moments{m: autograd.Float32s(m.M, shape...), v: autograd.Float32s(m.V, shape...)}
		}
	}
	var err error
	if t.learner, err = newLearner(t.Stage, t.Student, t.Teacher, t.Cores, t.Data.MaxDocs(), state); err != nil {
		return err
	}
	return t.learner.fits(saved)
}

// step takes the next optimiser step.
func (t *Trainer) step(p *Progress) (Report, error) {
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
		return t.Hooks.Sample(ctx, *p, t.Student)
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
		var err error
		if t.eval, err = newPass(s, t.Student, t.Teacher, t.Cores, t.HeldOut.MaxDocs(), nil, nil); err != nil {
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
	snap := Snapshot{Progress: p, Net: t.Student}
	if t.Stage.Precision == Float64 { // a checkpoint is float32
		snap.Net = t.Student.Single()
	}
	var names []string
	var values [][]float32
	for _, prm := range t.Student.Decoder.Params() {
		names, values = append(names, prm.Name), append(values, snap.Net.Weights[prm.Name].F32)
		if m := t.learner.moments[prm.Name]; m != nil && t.Stage.Precision == Float32 {
			snap.Moments = append(snap.Moments, Moments{Name: prm.Name, M: m.m.F32, V: m.v.F32})
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
