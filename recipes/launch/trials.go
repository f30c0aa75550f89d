package launch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/checkpoints/run"
	"github.com/gojet/gojet/infer"
	"github.com/gojet/gojet/infer/throughput"
	"github.com/gojet/gojet/layers"
	"github.com/gojet/gojet/recipes"
	"github.com/gojet/gojet/search"
	"github.com/gojet/gojet/search/report"
	"github.com/gojet/gojet/search/supernet"
	"github.com/gojet/gojet/train"
	"github.com/gojet/gojet/train/tracking"
)

// Folders of the steps after placement.
const (
	BlocksDir = "blocks"
	ShapeDir  = "shape"
)

// candidate is what a trial trains.
type candidate struct {
	name  string
	block recipes.Block
}

// Blocks trains every candidate block at the placement found and measures them. Placement comes first, where that is not
// done.
func Blocks(ctx context.Context, r *recipes.Recipe, o Options) (*report.Trials, error) {
	if r.Search == nil || r.Search.Blocks == nil {
		return nil, fmt.Errorf("recipe %s has no search.blocks", r.Name)
	}
	var cs []candidate
	for _, name := range slices.Sorted(maps.Keys(r.Search.Blocks.Candidates)) {
		cs = append(cs, candidate{name, r.Search.Blocks.Candidates[name]})
	}
	return trials(ctx, r, o, BlocksDir, r.Search.Blocks.Trial, cs, 0)
}

// Shapes trains the search's linear block at every point of the grid, and measures them.
func Shapes(ctx context.Context, r *recipes.Recipe, o Options) (*report.Trials, error) {
	if r.Search == nil || r.Search.Shape == nil {
		return nil, fmt.Errorf("recipe %s has no search.shape", r.Name)
	}
	teacher, err := ready(ctx, r, o)
	if err != nil {
		return nil, err
	}
	c, err := checkpoints.ReadConfig(teacher)
	if err != nil {
		return nil, err
	}
	state, err := r.Search.StateSize(c)
	if err != nil {
		return nil, err
	}
	var cs []candidate
	for _, p := range r.Search.Shape.Grid(state) {
		b := r.Search.Linear
		b.Options = p.Options(b.Options)
		cs = append(cs, candidate{p.Name(), b})
	}
	return trials(ctx, r, o, ShapeDir, r.Search.Shape.Trial, cs, r.Search.Shape.MostBytes)
}

// trials runs one step: every candidate is a run of its own below dir, which keeps its model and metrics, not its checkpoints.
func trials(ctx context.Context, r *recipes.Recipe, o Options, dir string, t recipes.Trial, cs []candidate, mostBytes int64) (*report.Trials, error) {
	at := filepath.Join(r.Output, dir)
	var there report.Trials
	if done, err := readResult(at, &there); err != nil {
		return nil, err
	} else if done && !o.Resume {
		return nil, errThere(at)
	}
	whole := o
	whole.Resume = true
	place, err := Placement(ctx, r, whole)
	if err != nil {
		return nil, err
	}
	teacher, err := ready(ctx, r, o)
	if err != nil {
		return nil, err
	}
	h, err := openHunt(ctx, r, dir, teacher, o)
	if err != nil {
		return nil, err
	}
	out, err := h.trials(ctx, o, dir, t, cs, mostBytes, place, there)
	return out, errors.Join(err, h.shut(0))
}

func (h *hunt) trials(ctx context.Context, o Options, dir string, t recipes.Trial, cs []candidate, mostBytes int64, place *report.Placement, there report.Trials) (*report.Trials, error) {
	out := &report.Trials{Placement: place.Best.Layers, Objectives: place.Objectives, Rows: t.Rows, Context: t.Context, Device: h.machine.Name()}
	p, err := search.ParsePlacement(place.Best.Layers)
	if err != nil {
		return nil, err
	}
	for _, c := range cs {
		r, err := h.derived(dir, c, t, p)
		if err != nil {
			return nil, err
		}
		hash, err := r.Hash()
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(there.Trials, func(t report.Trial) bool { return t.Name == c.name }); i >= 0 {
			if there.Trials[i].Recipe != hash {
				return nil, fmt.Errorf("%s was trained by another recipe; give another output, or remove %s", r.Output, h.dir)
			}
			out.Trials = append(out.Trials, there.Trials[i])
			if err := run.Discard(r.Output); err != nil { // a kill may have come between
				return nil, err
			}
			continue
		}
		trial := report.Trial{Name: c.name, Kind: c.block.Kind, Options: c.block.Options, Recipe: hash}
		if over, bytes, err := h.over(r, t, mostBytes); err != nil {
			return nil, err
		} else if over {
			trial.StateBytes, trial.Left = bytes, fmt.Sprintf("a state of %d bytes, over most_bytes %d", bytes, mostBytes)
			out.Trials = append(out.Trials, trial)
			continue
		}
		fmt.Fprintf(h.out, "%s: %s\n", dir, c.name)
		if done, err := trained(r); err != nil {
			return nil, err
		} else if !done {
			if err := Run(ctx, r, Options{Resume: true, Console: o.Console, Args: o.Args}); err != nil {
				return nil, err
			}
		}
		if err := h.measure(ctx, r, t, &trial); err != nil {
			return nil, stopped(ctx, err)
		}
		out.Trials = append(out.Trials, trial)
		if err := writeResult(h.dir, out); err != nil {
			return nil, err
		}
		if err := run.Discard(r.Output); err != nil { // a dozen trials of a large model would fill a disk with them
			return nil, err
		}
	}
	return out, writeResult(h.dir, out)
}

// derived is the recipe of one trial: the recipe's data, the teacher as it is, and a student made from it.
func (h *hunt) derived(dir string, c candidate, t recipes.Trial, p search.Placement) (*recipes.Recipe, error) {
	r, s := *h.recipe, *h.recipe.Search
	s.Linear = c.block
	s.Teacher = recipes.TrialTeacher
	r.Name = h.recipe.Name + "-" + c.name
	r.Output = filepath.Join(h.recipe.Output, dir, c.name)
	r.Search, r.Samples = nil, recipes.Default().Samples
	r.Models = map[string]train.Model{
		recipes.TrialTeacher: {Path: h.from},
		recipes.TrialStudent: s.Model(p.LayerTypes(c.block.Kind)),
	}
	r.Stages = []train.Stage{t.Filled()}
	return &r, nil
}

// over measures the state of a sequence before anything is trained.
func (h *hunt) over(r *recipes.Recipe, t recipes.Trial, most int64) (bool, int64, error) {
	c, err := r.Models[recipes.TrialStudent].DerivedConfig(h.teacher.Decoder.Config)
	if err != nil {
		return false, 0, err
	}
	d, err := layers.NewDecoder(c)
	if err != nil {
		return false, 0, err
	}
	bytes := stateBytes(d, t.Context+t.Tokens)
	return most > 0 && bytes > most, bytes, nil
}

// stateBytes is what a sequence of so many tokens carries, in float32.
func stateBytes(d *layers.Decoder, tokens int) int64 {
	var n int64
	for _, s := range d.States(tokens) {
		n += 4 * int64(s.Size())
	}
	return n
}

// measure fills in what a trained trial comes to.
func (h *hunt) measure(ctx context.Context, r *recipes.Recipe, t recipes.Trial, trial *report.Trial) error {
	student, err := load(filepath.Join(r.Output, modelsDir, recipes.TrialStudent))
	if err != nil {
		return err
	}
	for _, p := range student.Decoder.Params() {
		trial.Parameters += int64(p.Size())
	}
	trial.StateBytes = stateBytes(student.Decoder, t.Context+t.Tokens)
	exam, err := h.exam(h.recipe.Seed)
	if err != nil {
		return err
	}
	net, err := supernet.New(h.machine, *h.teacher, map[search.Kind]train.Net{search.Linear: *student})
	if err != nil {
		return err
	}
	scores, err := grade(ctx, net, exam)
	if err = errors.Join(err, net.Close()); err != nil {
		return err
	}
	trial.Scores = scores
	rows, err := tracking.ReadRun(r.Output)
	if err != nil {
		return err
	}
	trial.TrainTokensPerSecond, trial.TrainSeconds, trial.Loss = pace(t.Filled(), rows)
	trial.Tokens = recipes.StageTokens(t.Filled())
	trial.DecodeTokensPerSecond, trial.PrefillTokensPerSecond, err = h.throughput(ctx, student, t)
	return err
}

// grade measures a whole model. It stands in the network as a body of linear layers, whatever its layers are.
func grade(ctx context.Context, net *supernet.Net, exam supernet.Exam) (search.Scores, error) {
	eval, err := supernet.NewEvaluator(net, exam)
	if err != nil {
		return nil, err
	}
	scores, err := eval.Evaluate(ctx, []search.Placement{search.Uniform(net.Layers(), search.Linear)})
	if err = errors.Join(err, eval.Close()); err != nil {
		return nil, err
	}
	return scores[0], nil
}

// pace is the median speed of training, the time of all steps, and the last loss.
func pace(s train.Stage, rows []tracking.Row) (tokensPerSecond, seconds, loss float64) {
	var times []float64
	for _, r := range rows {
		if d, ok := r.Get(tracking.StepSeconds); ok {
			times = append(times, d)
			seconds += d
		}
		if l, ok := r.Get(tracking.Loss); ok {
			loss = l
		}
	}
	if len(times) == 0 {
		return 0, 0, 0
	}
	slices.Sort(times)
	return float64(s.Rows*s.Length*s.Accumulate) / times[len(times)/2], seconds, loss
}

// throughput continues Rows sequences of Context tokens by Tokens steps with the engine that generates: the second of two rounds.
func (h *hunt) throughput(ctx context.Context, net *train.Net, t recipes.Trial) (decode, prefill float64, err error) {
	p := throughput.Plan{Prompt: t.Context, Batch: t.Rows, Answer: t.Tokens + 1, Chunk: min(t.Context, throughput.Pass), Fed: t.Rows}.Settled()
	e, err := infer.New(net.Decoder, net.Weights, h.machine, p.Config())
	if err != nil {
		return 0, 0, err
	}
	s, err := throughput.Measure(ctx, e, p, 2, 1)
	if err = errors.Join(err, e.Close()); err != nil {
		return 0, 0, err
	}
	return s.Decode[0], s.Prefill[0], nil
}
