package launch

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/gojet/gojet/checkpoints/run"
	"github.com/gojet/gojet/checkpoints/safetensors"
	"github.com/gojet/gojet/datasets"
	"github.com/gojet/gojet/kernels/gradnorm"
	"github.com/gojet/gojet/recipes"
	"github.com/gojet/gojet/search"
	"github.com/gojet/gojet/search/report"
	"github.com/gojet/gojet/search/supernet"
	"github.com/gojet/gojet/train"
	"github.com/gojet/gojet/train/tracking"
)

// errThere says that a step has been run before.
func errThere(dir string) error {
	return fmt.Errorf("%s holds a search already: go on with --resume, or choose another place with output=DIR", dir)
}

// Placement trains the super network and searches for the placement of full attention, after the recipe's stages. What is
// done already, by the same recipe, is taken over with Resume.
func Placement(ctx context.Context, r *recipes.Recipe, o Options) (*report.Placement, error) {
	teacher, err := ready(ctx, r, o)
	if err != nil {
		return nil, err
	}
	h, err := openHunt(ctx, r, PlacementDir, teacher, o)
	if err != nil {
		return nil, err
	}
	found, err := h.placement(ctx, o)
	exit := 0
	if err != nil && !errors.Is(err, train.ErrInterrupted) {
		exit = 1
	}
	return found, errors.Join(err, h.shut(exit))
}

// progress is what a checkpoint of the super network keeps beside tensors.
type progress struct {
	supernet.State
	Step    int           `json:"step"`
	Mark    tracking.Mark `json:"metrics"`
	Data    string        `json:"data"`
	Tokens  int64         `json:"tokens"`
	Skipped int           `json:"skipped"` // layers, over all steps
	InARow  int           `json:"in_a_row"`
	Seconds float64       `json:"seconds"`
	FLOPs   float64       `json:"flops"`
}

func (h *hunt) placement(ctx context.Context, o Options) (*report.Placement, error) {
	var done report.Placement
	if there, err := readResult(h.dir, &done); err != nil {
		return nil, err
	} else if there {
		switch {
		case done.Recipe != h.hash:
			return nil, fmt.Errorf("%s is of another recipe, see %s; choose another place with output=DIR", filepath.Join(h.dir, ResultFile), filepath.Join(h.dir, RecipeFile))
		case !o.Resume:
			return nil, errThere(h.dir)
		}
		return &done, nil
	}
	net, err := h.network()
	if err != nil {
		return nil, err
	}
	if err := h.rehearse(net); err != nil {
		return nil, err
	}
	var p progress
	trainer, err := h.trainerOf(net, &p, o)
	if err != nil {
		return nil, err
	}
	err = h.learn(ctx, net, trainer, &p)
	if err = errors.Join(err, trainer.Close()); err != nil {
		return nil, err
	}
	found, err := h.decide(ctx, net, p)
	return found, errors.Join(err, net.Close())
}

// rehearse packs the exam, so that an item too long for it is found before anything is trained.
func (h *hunt) rehearse(net *supernet.Net) error {
	exam, err := h.exam(h.recipe.Seed)
	if err != nil {
		return err
	}
	e, err := supernet.NewEvaluator(net, exam)
	if err != nil {
		return fmt.Errorf("search.exam: %w", err)
	}
	return e.Close()
}

// trainerOf makes the trainer, as a checkpoint left it where there is one.
func (h *hunt) trainerOf(net *supernet.Net, p *progress, o Options) (*supernet.Trainer, error) {
	s := h.recipe.Search
	c := s.Supernet
	t, err := supernet.NewTrainer(net, c, datasets.MaxDocs(c.Rows, c.Length), s.Placement.Full, s.Placement.Window, h.recipe.Seed)
	if err != nil {
		return nil, err
	}
	saved, problems, err := run.Newest(h.dir)
	for _, bad := range problems {
		fmt.Fprintf(h.out, "passed over: %v\n", bad)
	}
	switch {
	case errors.Is(err, run.ErrFresh):
		p.Data = h.data.Key()
		return t, errors.Join(os.RemoveAll(filepath.Join(h.dir, journalFile)), h.records(o, h.recipe.Name+": super network", nil))
	case err != nil:
		return nil, err
	}
	defer saved.Close()
	if !o.Resume {
		return nil, errThere(h.dir)
	}
	if err := saved.State().CheckRecipe(h.hash); err != nil {
		return nil, fmt.Errorf("%w; --resume needs the recipe as it was, see %s", err, filepath.Join(h.dir, RecipeFile))
	}
	if err := json.Unmarshal(saved.State().Trainer, p); err != nil {
		return nil, fmt.Errorf("%s: trainer state: %w", saved.Path(), err)
	}
	if p.Data != h.data.Key() {
		return nil, fmt.Errorf("the data has changed since step %d of %s", p.Step, h.dir)
	}
	if err := h.restore(net, t, p, saved); err != nil {
		return nil, err
	}
	return t, h.records(o, h.recipe.Name+": super network", &p.Mark)
}

// restore puts weights and moments of a checkpoint in place.
func (h *hunt) restore(net *supernet.Net, t *supernet.Trainer, p *progress, saved *run.Saved) error {
	c, err := saved.Model()
	if err != nil {
		return err
	}
	defer c.Close()
	left, err := loadFrom(c)
	if err != nil {
		return err
	}
	if err := net.Push(left.Weights); err != nil {
		return err
	}
	if p.Moments, err = readMoments(*left, saved); err != nil {
		return err
	}
	if err := t.Restore(p.State); err != nil {
		return err
	}
	_, err = fmt.Fprintf(h.out, "going on after step %d of the super network\n", p.Step)
	return err
}

// learn takes the steps that are left.
func (h *hunt) learn(ctx context.Context, net *supernet.Net, t *supernet.Trainer, p *progress) error {
	c := h.recipe.Search.Supernet
	if p.Step >= c.Steps {
		return nil
	}
	stage := c.Stage()
	loader, err := h.data.Train(datasets.Shape{Rows: c.Rows, Length: c.Length, Order: uint64(len(h.recipe.Stages))})
	if err != nil {
		return err
	}
	var data train.Data = newFeed(loader, h.recipe.Data.Workers)
	if m := h.recipe.Mix; m != nil {
		if data, err = newMixed(data, m, c.Rows, c.Length, h.recipe.Seed+1, false, h.data.Tokenizer()); err != nil {
			return err
		}
	}
	if p.Step == 0 {
		if err := h.saveSupernet(net, t, p); err != nil {
			return err
		}
	}
	h.track.Progress().Start(stage.Name, c.Steps)
	defer h.track.Progress().Done()
	for p.Step < c.Steps {
		began := time.Now()
		b, err := data.Batch(p.Step)
		if err != nil {
			return err
		}
		r, err := t.Step(p.Step, b)
		if err != nil {
			return fmt.Errorf("supernet: step %d: %w", p.Step, err)
		}
		p.Step++
		if err := h.tookPath(p, r, time.Since(began)); err != nil {
			return err
		}
		if stop := ctx.Err() != nil; stop || p.Step == c.Steps || c.SaveEvery > 0 && p.Step%c.SaveEvery == 0 {
			if err := h.saveSupernet(net, t, p); err != nil {
				return err
			}
			if stop && p.Step < c.Steps {
				return train.ErrInterrupted
			}
		}
	}
	return nil
}

// tookPath records a step.
func (h *hunt) tookPath(p *progress, r supernet.Report, d time.Duration) error {
	p.Tokens += int64(r.Tokens)
	p.Skipped += r.Skipped
	p.Seconds += d.Seconds()
	p.FLOPs += float64(r.FLOPs)
	if r.Skipped > 0 {
		p.InARow++
	} else {
		p.InARow = 0
	}
	row := tracking.Row{Step: p.Step, Stage: "supernet", Metrics: []tracking.Metric{{Name: tracking.Loss, Value: r.Loss}}}
	add := func(name string, v float64) {
		if !math.IsNaN(v) {
			row.Metrics = append(row.Metrics, tracking.Metric{Name: name, Value: v})
		}
	}
	add(tracking.LossHidden, r.Hidden)
	add(tracking.LossKL, r.KL)
	add("linear_layers", float64(r.Path.Count(search.Linear)))
	add(tracking.LR, r.LR)
	add(tracking.GradNorm, r.GradNorm)
	add(tracking.Tokens, float64(r.Tokens))
	add(tracking.Skipped, float64(p.Skipped))
	add(tracking.StepSeconds, d.Seconds())
	add(tracking.TokensPerSecond, float64(r.Tokens)/d.Seconds())
	if err := h.track.Log(row); err != nil {
		return err
	}
	h.track.Progress().Step(p.Step, r.Loss, r.Tokens)
	if most := h.recipe.Search.Supernet.MaxSkipped; p.InARow > most {
		return fmt.Errorf("supernet: step %d: gradients were not finite %d times in a row (loss %v), max_skipped is %d; lower the learning rate", p.Step, p.InARow, r.Loss, most)
	}
	return nil
}

// saveSupernet commits a checkpoint: the model of linear layers alone, which has all that learns, and its moments.
func (h *hunt) saveSupernet(net *supernet.Net, t *supernet.Trainer, p *progress) error {
	var err error
	if p.State, err = t.State(); err != nil {
		return err
	}
	if p.Mark, err = h.track.Mark(); err != nil {
		return err
	}
	body, err := net.Pull(search.Linear)
	if err != nil {
		return err
	}
	var names []string
	var values [][]float32
	for _, prm := range body.Decoder.Params() {
		names, values = append(names, prm.Name), append(values, body.Weights[prm.Name].F32)
	}
	if i, at := gradnorm.FirstNonFinite(values); i >= 0 {
		return fmt.Errorf("supernet: step %d: %s is not finite at %d; nothing was saved", p.Step, names[i], at)
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	snapshot := run.Snapshot{
		State: run.State{Step: p.Step, Stage: "supernet", Recipe: h.hash, Sampler: int64(p.Step),
			RNG:      map[string][]byte{"seed": binary.LittleEndian.AppendUint64(nil, h.recipe.Seed)},
			Counters: map[string]int64{"tokens": p.Tokens, "skipped": int64(p.Skipped)}, MetricsOffset: p.Mark.Offset, Trainer: text},
		Config: body.Decoder.Config, Params: params(body), DType: "float32", Tokenizer: h.recipe.TokenizerDir(),
	}
	for _, m := range p.Moments {
		snapshot.Optimizer = append(snapshot.Optimizer, run.Moments{Name: m.Name, Shape: body.Weights[m.Name].Shape, M: safetensors.Values(m.M), V: safetensors.Values(m.V)})
	}
	_, err = h.writer.Save(snapshot, run.Keep{Last: h.recipe.Checkpoint.KeepLast})
	return err
}
