package train

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/kernels/linearloss"
	"github.com/gojet/gojet/kernels/packed"
	"github.com/gojet/gojet/layers"
)

// teacherOwner goes before the names of a teacher's weights in the graph.
const teacherOwner = "teacher/"

// Net is a model with its weights.
type Net struct {
	Decoder *layers.Decoder
	Weights layers.Weights
}

// Batch is one micro-batch of packed documents.
type Batch struct {
	IDs    []int32 // [N]
	Labels []int32 // [N] the next token of the document, or linearloss.Ignore
	Cu     []int32 // where documents begin and end
}

// Report is what one optimiser step did.
type Report struct {
	Loss         float64 // the weighted sum, a mean over tokens
	CrossEntropy float64 // unweighted terms; NaN where the objective lacks them
	KL           float64
	Hidden       float64
	Agreement    float64 // share of tokens where the student's first choice is the teacher's, or without one the label
	GradNorm     float64 // before clipping
	LR           float64
	Tokens       int  // that counted
	Skipped      bool // the gradients were not finite and nothing was written

	// Took is the time of the step and its data, without measurements, samples and saving between steps.
	Took time.Duration
}

// learner is one stage compiled: the pass that makes gradients and the one that applies them.
type learner struct {
	stage   Stage
	micro   *pass
	update  *autograd.Executor
	stepped *autograd.Node
	clip    *autograd.Node
	config  autograd.Value // learning rate and step
	moments map[string]*moments
	sums    layers.Weights // gradients over micro-batches, where there are several
	machine *autograd.Machine
}

// moments are AdamW's two running means of one weight.
type moments struct{ m, v autograd.Value }

// newLearner compiles a stage for micro-batches of at most docs documents. moments continue an earlier run, or are nil.
func newLearner(s Stage, student Net, teacher *Net, m *autograd.Machine, docs int, state map[string]*moments) (*learner, error) {
	l := &learner{stage: s, machine: m, config: autograd.Zeros(s.Precision.graph(), 2), moments: state, sums: layers.Weights{}}
	if l.moments == nil {
		l.moments = map[string]*moments{}
	}
	zeros := func(p layers.Param) (autograd.Value, error) {
		return m.Zeros(s.Precision.graph(), autograd.Accumulator, p.Shape...)
	}
	var learns []layers.Param
	var err error
	for _, p := range student.Decoder.Params() {
		if !s.Learns(p.Name) {
			continue
		}
		learns = append(learns, p)
		if l.moments[p.Name] == nil {
			var two moments
			if two.m, err = zeros(p); err != nil {
				return nil, err
			}
			if two.v, err = zeros(p); err != nil {
				return nil, err
			}
			l.moments[p.Name] = &two
		}
		if s.Accumulate > 1 {
			if l.sums[p.Name], err = zeros(p); err != nil {
				return nil, err
			}
		}
	}
	if len(learns) == 0 {
		return nil, fmt.Errorf("train: stage %s: no weight matches train %q without freeze %q", s.Name, s.Train, s.Freeze)
	}
	if l.micro, err = newPass(s, student, teacher, m, docs, learns, l.sums); err != nil {
		return nil, err
	}
	return l, l.compileUpdate(student, learns)
}

// fits reports optimiser state that is not that of the weights that learn.
func (l *learner) fits(saved []Moments) error {
	if saved != nil && len(saved) != len(l.moments) {
		return fmt.Errorf("train: stage %s: optimiser state for %d weights, want it for the %d that learn", l.stage.Name, len(saved), len(l.moments))
	}
	for _, m := range saved {
		if !l.stage.Learns(m.Name) {
			return fmt.Errorf("train: stage %s: optimiser state for %s, which does not learn", l.stage.Name, m.Name)
		}
	}
	return nil
}

// compileUpdate plans the optimiser over all weights that learn.
func (l *learner) compileUpdate(student Net, learns []layers.Param) error {
	g := autograd.NewGraph(l.stage.Precision.graph())
	o := l.stage.Optimizer
	settings := g.Input("settings", autograd.Data, 2)
	values := map[*autograd.Node]autograd.Value{settings: l.config}
	input := func(name string, role autograd.Role, p layers.Param, v autograd.Value) *autograd.Node {
		n := g.Input(name, role, p.Shape...)
		values[n] = v
		return n
	}
	grads := make([]*autograd.Node, len(learns))
	for i, p := range learns {
		grads[i] = input("gradient of "+p.Name, autograd.Data, p, l.micro.gradient(i, l.sums[p.Name]))
	}
	l.clip = g.ClipFactor(o.ClipNorm, grads...)
	outs := []*autograd.Node{l.clip}
	for i, p := range learns {
		w := input(p.Name, autograd.Parameter, p, student.Weights[p.Name])
		m := input("m of "+p.Name, autograd.Accumulator, p, l.moments[p.Name].m)
		v := input("v of "+p.Name, autograd.Accumulator, p, l.moments[p.Name].v)
		cfg := autograd.AdamWConfig{Beta1: o.Beta1, Beta2: o.Beta2, Epsilon: o.Eps}
		if p.Decay {
			cfg.WeightDecay = o.WeightDecay
		}
		outs = append(outs, g.AdamW(cfg, w, m, v, grads[i], l.clip, settings))
	}
	l.stepped = outs[1]
	plan, err := autograd.Compile(g, outs...)
	if err != nil {
		return err
	}
	l.update = autograd.NewExecutor(plan, l.machine)
	for n, v := range values {
		if err := l.update.Bind(n, v); err != nil {
			return err
		}
	}
	return nil
}

// step takes optimiser step number step of the stage, counted from 0. applied counts the updates before it that were not
// skipped.
func (l *learner) step(step, applied int, batches []Batch) (Report, error) {
	r := Report{LR: l.stage.Schedule.At(step, l.stage.Steps, l.stage.Optimizer.LR)}
	total := 0
	for _, b := range batches {
		total += l.micro.counts(b)
	}
	for _, s := range l.sums {
		l.machine.Clear(s)
	}
	l.config.Set(0, r.LR)
	l.config.Set(1, float64(applied+1))
	var sum tally
	for k, b := range batches {
		if err := l.micro.start(b, total); err != nil {
			return r, err
		}
		if k == len(batches)-1 { // queued before anything is read, so that a device goes from one to the other
			if err := l.update.RunAll(); err != nil {
				return r, err
			}
		}
		t, err := l.micro.tell()
		if err != nil {
			return r, err
		}
		sum.add(t)
	}
	sum.report(l.stage.Loss, &r)
	stepped, err := l.update.Scalar(l.stepped, 0)
	if err != nil {
		return r, err
	}
	r.Skipped = stepped == 0
	r.GradNorm, err = l.update.Scalar(l.clip, 0)
	return r, err
}

// close gives the memory of a device back.
func (l *learner) close() error {
	for _, two := range l.moments {
		l.machine.Free(two.m)
		l.machine.Free(two.v)
	}
	for _, s := range l.sums {
		l.machine.Free(s)
	}
	return errors.Join(l.micro.exec.Close(), l.update.Close())
}

// tally adds up the terms of a loss, each weighted by the tokens it is a mean of.
type tally struct {
	ce, kl, hidden, agree float64
	ceTokens, tokens      float64
}

func (t *tally) add(u tally) {
	t.ce += u.ce * u.ceTokens
	t.kl += u.kl * u.tokens
	t.hidden += u.hidden * u.tokens
	t.agree += u.agree
	t.ceTokens += u.ceTokens
	t.tokens += u.tokens
}

func (t *tally) report(w Loss, r *Report) {
	term := func(weight, sum, n float64) float64 {
		if weight == 0 {
			return math.NaN()
		}
		mean := sum / math.Max(n, 1)
		r.Loss += weight * mean
		return mean
	}
	r.CrossEntropy = term(w.CrossEntropy, t.ce, t.ceTokens)
	r.KL = term(w.KL, t.kl, t.tokens)
	r.Hidden = term(w.Hidden, t.hidden, t.tokens)
	n := t.tokens
	if w.KL == 0 {
		n = t.ceTokens
	}
	r.Agreement = t.agree / math.Max(n, 1)
	r.Tokens = int(math.Max(t.tokens, t.ceTokens))
}

// Distilled marks the tokens on which student and teacher are compared: those with a label, and the last token of a
// document, which has none only because nothing follows it. Documents of one token are left out: padding looks like them.
func Distilled(dst []int32, b Batch) {
	copy(dst, b.Labels)
	for s := range len(b.Cu) - 1 {
		lo, hi := int(b.Cu[s]), int(b.Cu[s+1])
		if hi-lo > 1 && b.Labels[hi-2] != linearloss.Ignore {
			dst[hi-1] = 0
		}
	}
}

func sequencesOf(b Batch) packed.Sequences { return packed.Sequences{Cu: b.Cu} }
