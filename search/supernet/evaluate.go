package supernet

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/evals/tasks"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/packed"
	"github.com/gojet/gojet/kernels/sampling"
	"github.com/gojet/gojet/search"
	"github.com/gojet/gojet/train"
)

// Question is the items of one task.
type Question struct {
	Name  string
	Items []tasks.Item
}

// Exam is what paths are measured on.
type Exam struct {
	Questions []Question
	Text      []train.Batch // held-out text: perplexity and divergence
	Tokens    int           // of a batch
	Docs      int           // of a batch, at most
}

// Evaluator measures paths. Paths that agree on their first layers share them.
type Evaluator struct {
	net    *Net
	exam   Exam
	asked  [][]tasks.Batch // by question
	runner *runner
	places []int32 // sequences that end where predictions are wanted
	ask    [search.Kinds]*program
	text   [search.Kinds]*judge
	Cost   Cost

	answers *sampling.Judge // on a device, once a question was asked
}

// Cost counts the work of evaluations.
type Cost struct {
	Paths  int   `json:"paths"`
	Layers int64 `json:"layers"` // that were run, on one batch each
	Shared int64 `json:"shared"` // that were not, since another path had run them
	Tokens int64 `json:"tokens"` // that went through paths
	FLOPs  int64 `json:"flops"`
}

// judge compares a residual stream with the teacher's on text.
type judge struct {
	*program
	target *autograd.Node
	ce, kl autograd.Loss
}

// mostPlaces is how many predictions a batch is asked for: logits of as many rows are computed at a time.
const mostPlaces = 256

// NewEvaluator packs the exam.
func NewEvaluator(n *Net, e Exam) (*Evaluator, error) {
	v := &Evaluator{net: n, exam: e, runner: newRunner(n, e.Tokens, e.Docs), places: make([]int32, 3*(mostPlaces+1))}
	for _, b := range e.Text {
		if len(b.IDs) != e.Tokens || len(b.Labels) != e.Tokens {
			return nil, fmt.Errorf("supernet: a batch of text of %d tokens and %d labels, want %d", len(b.IDs), len(b.Labels), e.Tokens)
		}
	}
	for _, q := range e.Questions {
		batches, err := tasks.Pack(q.Items, tasks.Limits{Tokens: e.Tokens, Documents: e.Docs, Places: mostPlaces})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", q.Name, err)
		}
		v.asked = append(v.asked, batches)
	}
	return v, nil
}

// Evaluate returns the scores of paths, in their order.
func (v *Evaluator) Evaluate(ctx context.Context, paths []search.Placement) ([]search.Scores, error) {
	order := make([]int, len(paths))
	for i, p := range paths {
		if err := v.net.check(p); err != nil {
			return nil, err
		}
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return slices.Compare(paths[a], paths[b]) })
	all := make([]search.Scores, len(paths))
	for i := range all {
		all[i] = search.Scores{}
	}
	if err := v.questions(ctx, paths, order, all); err != nil {
		return nil, err
	}
	if err := v.texts(ctx, paths, order, all); err != nil {
		return nil, err
	}
	v.Cost.Paths += len(paths)
	v.Cost.FLOPs = v.runner.flops
	return all, nil
}

// questions asks every path every question.
func (v *Evaluator) questions(ctx context.Context, paths []search.Placement, order []int, all []search.Scores) error {
	for q, batches := range v.asked {
		tallies := make([]*tasks.Tally, len(paths))
		for i := range tallies {
			tallies[i] = tasks.NewTally(v.exam.Questions[q].Items)
		}
		for _, b := range batches {
			err := v.walk(ctx, train.Batch{IDs: b.IDs, Cu: b.Cu}, paths, order, func(i int, x autograd.Value) error {
				at, err := v.predict(paths[i], x, b)
				if err == nil {
					tallies[i].Add(b, at)
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		name, n := v.exam.Questions[q].Name, float64(len(v.asked))
		for i, t := range tallies {
			s := t.Scores()
			all[i][search.Objective(name+"/"+search.Loss)] = s.Loss
			all[i][search.Objective(name+"/"+search.Accuracy)] = s.Accuracy
			all[i][search.MeanLoss] += s.Loss / n
			all[i][search.MeanAccuracy] += s.Accuracy / n
		}
	}
	return nil
}

// texts measures every path on held-out text.
func (v *Evaluator) texts(ctx context.Context, paths []search.Placement, order []int, all []search.Scores) error {
	if len(v.exam.Text) == 0 {
		return nil
	}
	type sums struct{ ce, ceTokens, kl, klTokens float64 }
	total := make([]sums, len(paths))
	room, err := v.runner.room(v.net.Layers() + 2)
	if err != nil {
		return err
	}
	target := room[v.net.Layers()+1]
	for _, b := range v.exam.Text {
		copy(v.runner.labels, b.Labels)
		train.Distilled(v.runner.compared, b)
		teacher := search.Uniform(v.net.Layers(), search.Full)
		err := v.walk(ctx, b, []search.Placement{teacher}, []int{0}, func(_ int, x autograd.Value) error {
			v.net.machine.Copy(target, x)
			return nil
		})
		if err != nil {
			return err
		}
		err = v.walk(ctx, b, paths, order, func(i int, x autograd.Value) error {
			j, err := v.judge(paths[i])
			if err != nil {
				return err
			}
			if err := errors.Join(j.exec.Bind(j.x, x), j.exec.Bind(j.target, target), v.runner.run(j.exec)); err != nil {
				return err
			}
			var failed error
			read := func(n *autograd.Node) float64 {
				f, err := j.exec.Scalar(n, 0)
				failed = errors.Join(failed, err)
				return f
			}
			s := &total[i]
			ce, kl := read(j.ce.Counts), read(j.kl.Counts)
			s.ce += read(j.ce.Value) * ce
			s.kl += read(j.kl.Value) * kl
			s.ceTokens += ce
			s.klTokens += kl
			return failed
		})
		if err != nil {
			return err
		}
	}
	for i, s := range total {
		loss := s.ce / math.Max(1, s.ceTokens)
		all[i][search.TextLoss], all[i][search.TextPerplexity] = loss, math.Exp(loss)
		all[i][search.TextKL] = s.kl / math.Max(1, s.klTokens)
	}
	return nil
}

// walk takes a batch through paths in order, which sorts them, and gives what follows the last layer of each to visit.
func (v *Evaluator) walk(ctx context.Context, b train.Batch, paths []search.Placement, order []int, visit func(i int, x autograd.Value) error) error {
	if err := v.runner.load(b); err != nil {
		return err
	}
	n := v.net.Layers()
	stack, err := v.runner.room(n + 2)
	if err != nil {
		return err
	}
	var last search.Placement
	for _, i := range order {
		if err := ctx.Err(); err != nil {
			return err
		}
		p, same := paths[i], 0
		for last != nil && same < n && p[same] == last[same] {
			same++
		}
		if same == 0 {
			if err := v.runner.start(p[0], stack[0]); err != nil {
				return err
			}
		}
		for k := same; k < n; k++ {
			if err := v.runner.step(p[k], k, stack[k], stack[k+1]); err != nil {
				return err
			}
		}
		v.Cost.Layers += int64(n - same)
		v.Cost.Shared += int64(same)
		v.Cost.Tokens += int64(b.Cu[len(b.Cu)-1])
		if err := visit(i, stack[n]); err != nil {
			return err
		}
		last = p
	}
	return nil
}

// predict reads what follows the places of a batch from the residual stream x.
func (v *Evaluator) predict(p search.Placement, x autograd.Value, b tasks.Batch) ([]tasks.Prediction, error) {
	k := p[len(p)-1]
	body := v.net.bodies[k]
	if v.ask[k] == nil {
		g := v.runner.build()
		xn := g.stream("x")
		places := g.ints("places", v.places, 3, mostPlaces+1)
		d := body.Decoder
		prog, err := g.compile(xn, d.Logits(g.g, g.g.LastTokens(d.Norm(g.g, g.in, xn), places)))
		if err == nil {
			err = prog.bind(body.weights, 0)
		}
		if err != nil {
			return nil, err
		}
		v.ask[k] = prog
	}
	q := packed.Sequences{Cu: []int32{0}}
	for _, place := range b.Places {
		q.Cu = append(q.Cu, int32(place.At+1))
	}
	autograd.SetSequences(v.places, q)
	prog := v.ask[k]
	if err := errors.Join(prog.exec.Bind(prog.x, x), v.runner.run(prog.exec)); err != nil {
		return nil, err
	}
	vocab := body.Decoder.Config.VocabSize
	at := make([]tasks.Prediction, len(b.Places))
	if m := v.net.machine; m.Device != nil {
		if v.answers == nil {
			v.answers = sampling.NewJudge(m.Device, m.Float, vocab, mostPlaces)
		}
		return at, v.ondevice(at, prog.exec.Value(prog.y), b.Places)
	}
	logits, err := prog.exec.Read(prog.y)
	if err != nil {
		return nil, err
	}
	job := cpu.Borrow(v.net.machine.Cores, prediction{logits.F32, vocab, b.Places, at})
	job.For(len(at), 4, func(a *prediction, _ *cpu.Worker, lo, hi int) {
		for i := lo; i < hi; i++ {
			a.at[i] = tasks.Predict(a.logits[i*a.vocab:(i+1)*a.vocab], a.places[i].Want)
		}
	})
	job.Return()
	return at, nil
}

// ondevice sets predictions from logits that stay where they are.
func (v *Evaluator) ondevice(at []tasks.Prediction, logits autograd.Value, places []tasks.Place) error {
	order, want := make([]int32, len(places)), make([]int32, len(places))
	for i, p := range places {
		order[i], want[i] = int32(i), p.Want
	}
	logProb, best, err := v.answers.Tokens(logits.Dev, len(places), order, want)
	for i := range logProb {
		at[i] = tasks.Prediction{Loss: -logProb[i], First: best[i]}
	}
	return err
}

// prediction is what reading logits takes.
type prediction struct {
	logits []float32 // [places, vocab]
	vocab  int
	places []tasks.Place
	at     []tasks.Prediction
}

// judge compiles the comparison on text for paths that end like p.
func (v *Evaluator) judge(p search.Placement) (*judge, error) {
	k := p[len(p)-1]
	if v.text[k] == nil {
		d, td := v.net.bodies[k].Decoder, v.net.Teacher.Decoder
		b := v.runner.build()
		x := b.stream("x")
		j := &judge{target: b.stream("target")}
		next, marked := b.ints("labels", v.runner.labels, v.exam.Tokens), b.ints("compared", v.runner.compared, v.exam.Tokens)
		theirs := b.in
		theirs.Owner = teacherOwner
		h, head := d.Norm(b.g, b.in, x), d.Head(b.g, "")
		j.ce = b.g.LinearCrossEntropy(h, head, next, 1)
		j.kl = b.g.LinearKL(h, head, td.Norm(b.g, theirs, j.target), td.Head(b.g, teacherOwner), marked, 1, 1)
		prog, err := b.compile(x, j.ce.Value, j.ce.Counts, j.kl.Value, j.kl.Counts)
		if err == nil {
			err = prog.bind(v.net.bodies[k].weights, 0)
		}
		if err != nil {
			return nil, err
		}
		j.program = prog
		v.text[k] = j
	}
	return v.text[k], nil
}

// Close gives the memory of a device back.
func (v *Evaluator) Close() error {
	errs := []error{v.runner.close()}
	for _, p := range v.ask {
		if p != nil {
			errs = append(errs, p.exec.Close())
		}
	}
	for _, j := range v.text {
		if j != nil {
			errs = append(errs, j.exec.Close())
		}
	}
	if v.answers != nil {
		v.answers.Free()
	}
	return errors.Join(errs...)
}
