package launch

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"

	"github.com/gojet/gojet/checkpoints/run"
	"github.com/gojet/gojet/checkpoints/safetensors"
	"github.com/gojet/gojet/datasets"
	"github.com/gojet/gojet/train"
	"github.com/gojet/gojet/train/tracking"
)

// stages runs those that are left.
func (l *launch) stages(ctx context.Context, saved *run.Saved) error {
	p := &l.memory.Progress
	var moments []train.Moments
	if saved != nil {
		s := l.recipe.Stages[p.Stage]
		var err error
		if moments, err = l.nets.resume(s, saved); err != nil {
			return err
		}
		l.say("going on after step %d, stage %s", p.Global, s.Name)
		if p.Done(s) { // stopped between the end of a stage and the next
			if err := l.finish(s); err != nil {
				return err
			}
			moments = nil
		}
	}
	for p.Stage < len(l.recipe.Stages) {
		s := l.recipe.Stages[p.Stage]
		if err := l.stage(ctx, s, moments); err != nil {
			return err
		}
		if err := l.finish(s); err != nil {
			return err
		}
		moments = nil
	}
	return l.summary(ctx)
}

// finish keeps the model of a stage that is over and moves on.
func (l *launch) finish(s train.Stage) error {
	net, err := l.nets.get(s.Model)
	if err != nil {
		return err
	}
	result := *net
	if s.Precision == train.Float64 {
		result = result.Single()
		l.nets.made[s.Model] = &result
	}
	if s.LoRA.Rank > 0 {
		if err := exportPEFT(filepath.Join(l.dir, "adapters", s.Name), *net, s, l.recipe.Models[s.Model].Path); err != nil {
			return err
		}
		if result, err = train.Merged(*net, l.machine.Cores); err != nil {
			return err
		}
		l.nets.made[s.Model] = &result
	}
	if err := l.nets.keep(s.Model, result); err != nil {
		return err
	}
	p := &l.memory.Progress
	*p = train.Progress{Stage: p.Stage + 1, Global: p.Global}
	return nil
}

// stage runs one stage to its end.
func (l *launch) stage(ctx context.Context, s train.Stage, moments []train.Moments) (err error) {
	t, err := l.trainer(ctx, s, moments != nil)
	if err != nil {
		return err
	}
	if l.memory.Progress.Global == 0 && moments == nil {
		// A run that has logged anything has a checkpoint to go on from.
		if err := l.save(s, t.Start()); err != nil {
			return err
		}
	}
	if err := l.baseline(t, s); err != nil {
		return err
	}
	l.track.Progress().Start(s.Name, s.Steps)
	defer l.track.Progress().Done()
	defer func() { err = errors.Join(err, t.Close()) }()
	return t.Run(ctx, &l.memory.Progress, moments)
}

func (l *launch) trainer(ctx context.Context, s train.Stage, going bool) (*train.Trainer, error) {
	student, err := l.nets.get(s.Model)
	if err != nil {
		return nil, err
	}
	if s.LoRA.Rank > 0 && !going {
		adapted, err := train.Adapt(*student, s.LoRA, l.recipe.Seed)
		if err != nil {
			return nil, err
		}
		student = &adapted
		l.nets.made[s.Model] = student
	}
	t := &train.Trainer{Stage: s, Student: *student, Machine: l.machine, Hooks: l.hooks(ctx, s)}
	if s.Teacher != "" {
		if t.Teacher, err = l.nets.get(s.Teacher); err != nil {
			return nil, err
		}
	}
	if err := l.fits(s, student, t.Teacher); err != nil {
		return nil, err
	}
	if s.Precision == train.Float64 {
		t.Student, t.Teacher = t.Student.Double(), doubled(t.Teacher)
		l.nets.made[s.Model] = &t.Student
	}
	shape := datasets.Shape{Rows: s.Rows, Length: s.Length, Order: uint64(l.memory.Progress.Stage)}
	loader, err := l.data.Train(shape)
	if err != nil {
		return nil, err
	}
	t.Data = newFeed(loader, l.recipe.Data.Workers)
	if m := l.recipe.Mix; m != nil {
		if t.Data, err = newMixed(t.Data, m, s.Rows, s.Length, l.recipe.Seed, s.Teacher == "", l.data.Tokenizer()); err != nil {
			return nil, err
		}
	}
	if l.recipe.Data.HeldOut > 0 && s.EvalBatches > 0 {
		held, err := l.data.HeldOut(shape)
		if err != nil {
			return nil, err
		}
		t.Stage.EvalBatches = min(s.EvalBatches, held.Steps())
		t.HeldOut = newFeed(held, 0)
	}
	return t, nil
}

func doubled(n *train.Net) *train.Net {
	if n == nil {
		return nil
	}
	d := n.Double()
	return &d
}

// fits compares the vocabularies of tokenizer, student and teacher.
func (l *launch) fits(s train.Stage, student, teacher *train.Net) error {
	vocab := student.Decoder.Config.VocabSize
	if tok := l.data.Tokenizer(); tok != nil && tok.VocabSize() > vocab {
		return fmt.Errorf("stage %s: the tokenizer has %d tokens, model %s embeds %d", s.Name, tok.VocabSize(), s.Model, vocab)
	}
	if teacher != nil && teacher.Decoder.Config.VocabSize != vocab {
		return fmt.Errorf("stage %s: teacher %s has a vocabulary of %d, student %s of %d", s.Name, s.Teacher, teacher.Decoder.Config.VocabSize, s.Model, vocab)
	}
	return nil
}

// baseline measures, before a model's first stage, what there is to gain: the model as it starts, and its teacher.
func (l *launch) baseline(t *train.Trainer, s train.Stage) error {
	if _, done := l.memory.Baseline[s.Model]; done || t.HeldOut == nil {
		return nil
	}
	e, err := t.Evaluate()
	if err != nil {
		return err
	}
	l.memory.Baseline[s.Model] = measure(e)
	if err := l.note(s, e); err != nil {
		return err
	}
	if s.Teacher == "" {
		return nil
	}
	judge := train.Trainer{Stage: t.Stage, Student: *t.Teacher, HeldOut: t.HeldOut, Machine: t.Machine}
	te, err := judge.Evaluate()
	err = errors.Join(err, judge.Close())
	if err != nil {
		return err
	}
	l.memory.Teacher[s.Model] = measure(te)
	l.say("held-out loss of the teacher %.4f", te.Loss)
	return nil
}

func measure(e train.Evaluation) measured {
	m := measured{Loss: e.Loss}
	if !math.IsNaN(e.KL) {
		m.KL, m.Agreement = &e.KL, &e.Agreement
	}
	return m
}

// hooks connect the trainer with records and checkpoints.
func (l *launch) hooks(ctx context.Context, s train.Stage) train.Hooks {
	return train.Hooks{
		Step: func(p train.Progress, r train.Report) error { return l.took(s, p, r) },
		Eval: func(p train.Progress, e train.Evaluation) error {
			l.memory.Progress = p
			l.memory.Latest[s.Model] = measure(e)
			return l.note(s, e)
		},
		Sample: l.sample,
		Save: func(snap train.Snapshot) error {
			err := l.save(s, snap)
			var full *run.SpaceError
			if errors.As(err, &full) && ctx.Err() == nil && snap.Progress.Step < s.Steps {
				// The steps taken live on in memory: the next save may find room.
				l.track.Logger().Warn(fmt.Sprintf("no checkpoint of step %d: %v; training goes on", snap.Progress.Global, err))
				return nil
			}
			return err
		},
	}
}

// took records a step.
func (l *launch) took(s train.Stage, p train.Progress, r train.Report) error {
	l.memory.Tokens += int64(r.Tokens)
	if r.Skipped {
		l.memory.Skipped++
	}
	row := tracking.Row{Step: p.Global, Stage: s.Name}
	add := func(name string, v float64) { row.Metrics = append(row.Metrics, tracking.Metric{Name: name, Value: v}) }
	add(tracking.Loss, r.Loss)
	for _, term := range []struct {
		name   string
		weight float64
		value  float64
	}{{tracking.LossCE, s.Loss.CrossEntropy, r.CrossEntropy}, {tracking.LossKL, s.Loss.KL, r.KL}, {tracking.LossHidden, s.Loss.Hidden, r.Hidden}} {
		if term.weight != 0 {
			add(term.name, term.value)
		}
	}
	add(tracking.LR, r.LR)
	add(tracking.GradNorm, r.GradNorm)
	add(tracking.Tokens, float64(r.Tokens))
	add(tracking.Skipped, float64(l.memory.Skipped))
	add(tracking.StepSeconds, r.Took.Seconds())
	add(tracking.TokensPerSecond, float64(r.Tokens)/r.Took.Seconds())
	if err := l.track.Log(row); err != nil {
		return err
	}
	l.track.Progress().Step(p.Step, r.Loss, r.Tokens)
	return nil
}

// note records a held-out measurement.
func (l *launch) note(s train.Stage, e train.Evaluation) error {
	row := tracking.Row{Step: l.memory.Progress.Global, Stage: s.Name, Metrics: []tracking.Metric{{Name: tracking.EvalLoss, Value: e.Loss}}}
	text := fmt.Sprintf("%s, step %d: held-out loss %.4f", s.Name, l.memory.Progress.Step, e.Loss)
	if !math.IsNaN(e.KL) {
		row.Metrics = append(row.Metrics, tracking.Metric{Name: tracking.EvalKL, Value: e.KL}, tracking.Metric{Name: tracking.EvalTop1, Value: e.Agreement})
		text += fmt.Sprintf(", KL to the teacher %.4f, same first choice %.1f%%", e.KL, 100*e.Agreement)
	}
	l.say("%s", text)
	return l.track.Log(row)
}

// save commits a checkpoint.
func (l *launch) save(s train.Stage, snap train.Snapshot) error {
	l.memory.Progress = snap.Progress
	net, extra := snap.Net, map[string][]safetensors.Source(nil)
	if s.LoRA.Rank > 0 {
		extra = map[string][]safetensors.Source{adaptersFile: adapterTensors(net, func(name string) string { return name })}
		var err error
		if net, err = train.WithoutAdapters(net); err != nil {
			return err
		}
	}
	metrics := map[string]float64{}
	if m, ok := l.memory.Latest[s.Model]; ok {
		metrics[tracking.EvalLoss] = m.Loss
		if m.KL != nil {
			metrics[tracking.EvalKL] = *m.KL
		}
	}
	state, err := l.state(s, metrics)
	if err != nil {
		return err
	}
	snapshot := run.Snapshot{State: state, Config: net.Decoder.Config, Params: params(net), DType: "float32", Tokenizer: l.recipe.TokenizerDir(), Extra: extra}
	for _, m := range snap.Moments {
		snapshot.Optimizer = append(snapshot.Optimizer, run.Moments{
			Name: m.Name, Shape: snap.Net.Weights[m.Name].Shape, M: safetensors.Values(m.M), V: safetensors.Values(m.V),
		})
	}
	keep := run.Keep{Last: l.recipe.Checkpoint.KeepLast, Metric: l.recipe.Checkpoint.KeepBest}
	if keep.Metric != "" {
		keep.Best = 1
	}
	path, err := l.writer.Save(snapshot, keep)
	if err == nil {
		l.track.Logger().Debug("saved", "checkpoint", path)
	}
	return err
}
