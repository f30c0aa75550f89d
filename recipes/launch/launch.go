// Package launch runs a recipe: it brings models, data, trainer, checkpoints and records together in one run directory,
// and goes on where an earlier process stopped.
package launch

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints/run"
	"github.com/gojet/gojet/datasets"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/recipes"
	"github.com/gojet/gojet/train"
	"github.com/gojet/gojet/train/tracking"
	"github.com/gojet/gojet/train/tracking/wandb"
)

// RecipeFile is the resolved recipe in a run directory.
const RecipeFile = "recipe.yaml"

// Options are what the command line adds to a recipe.
type Options struct {
	// Resume goes on with the run in the recipe's output directory.
	Resume bool
	// Console takes progress, measurements and samples.
	Console io.Writer
	// Args are those of the command, for records.
	Args []string
}

// launch is one process's share of a run.
type launch struct {
	recipe  *recipes.Recipe
	hash    string
	dir     string
	out     io.Writer
	data    *datasets.Data
	machine *autograd.Machine
	writer  *run.Writer
	track   *tracking.Run
	nets    *nets
	memory  memory
}

// memory is what the launch keeps in checkpoints beside the trainer's progress.
type memory struct {
	Progress train.Progress `json:"progress"`
	Data     string         `json:"data"` // identifies every batch
	Mark     tracking.Mark  `json:"metrics"`
	Tokens   int64          `json:"tokens"`  // that counted, over the whole run
	Skipped  int            `json:"skipped"` // steps, over the whole run
	// Baseline is the held-out measurement of each model before its first stage with a teacher; Teacher that of
	// the teacher itself; Latest the last one of each model.
	Baseline map[string]measured `json:"baseline"`
	Teacher  map[string]measured `json:"teacher"`
	Latest   map[string]measured `json:"latest"`
}

// measured is an Evaluation that JSON can hold: what does not apply is nil.
type measured struct {
	Loss      float64  `json:"loss"`
	KL        *float64 `json:"kl,omitempty"`
	Agreement *float64 `json:"agreement,omitempty"`
}

// Run runs the recipe to its end. An interruption ends it with train.ErrInterrupted after a checkpoint.
func Run(ctx context.Context, r *recipes.Recipe, o Options) (err error) {
	if len(r.Stages) == 0 {
		return fmt.Errorf("recipe %s has no stages to train, only a search", r.Name)
	}
	if o.Console == nil {
		o.Console = io.Discard
	}
	machine, err := openMachine(r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, machine.Close()) }()
	hash, err := r.Hash()
	if err != nil {
		return err
	}
	l := &launch{recipe: r, machine: machine, hash: hash, dir: r.Output, out: o.Console}
	l.memory.Baseline, l.memory.Teacher, l.memory.Latest = map[string]measured{}, map[string]measured{}, map[string]measured{}
	saved, err := l.claim(o.Resume)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.writer.Close()) }()
	if saved != nil {
		defer func() { err = errors.Join(err, saved.Close()) }()
	}
	if err := l.open(ctx, o, saved); err != nil {
		return errors.Join(err, l.close(1))
	}
	err = l.stages(ctx, saved)
	exit := 0
	if err != nil && !errors.Is(err, train.ErrInterrupted) {
		exit = 1
	}
	return errors.Join(err, l.close(exit))
}

// openMachine opens what the recipe's device names, and puts the name of what it found in place of auto.
func openMachine(r *recipes.Recipe) (*autograd.Machine, error) {
	m, err := autograd.OpenMachine(r.Device, device.BF16, r.Threads)
	if err == nil {
		r.Device = m.Name()
	}
	return m, err
}

// claim takes the run directory and finds the checkpoint to go on from.
func (l *launch) claim(resume bool) (*run.Saved, error) {
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		return nil, err
	}
	var err error
	if l.writer, err = run.Claim(l.dir); err != nil {
		return nil, err
	}
	saved, problems, err := run.Newest(l.dir)
	for _, p := range problems {
		fmt.Fprintf(l.out, "passed over: %v\n", p)
	}
	switch {
	case errors.Is(err, run.ErrFresh):
		return nil, nil
	case !resume && (err == nil || saved != nil):
		if saved != nil {
			err = saved.Close()
		}
		return nil, errors.Join(fmt.Errorf("%s holds a run already: go on with --resume, or choose another place with output=DIR", l.dir), err, l.writer.Close())
	case err != nil:
		return nil, errors.Join(err, l.writer.Close())
	}
	if err := saved.State().CheckRecipe(l.hash); err != nil {
		return nil, errors.Join(fmt.Errorf("%w; --resume needs the recipe as it was, see %s", err, filepath.Join(l.dir, RecipeFile)), saved.Close(), l.writer.Close())
	}
	if err := json.Unmarshal(saved.State().Trainer, &l.memory); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: trainer state: %w", saved.Path(), err), saved.Close(), l.writer.Close())
	}
	return saved, nil
}

// open gets data, records and models ready.
func (l *launch) open(ctx context.Context, o Options, saved *run.Saved) error {
	text, err := l.recipe.Resolved()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(l.dir, RecipeFile), text, 0o644); err != nil {
		return err
	}
	if l.data, err = datasets.Open(ctx, l.recipe.Data, l.dataOptions()); err != nil {
		return err
	}
	key := l.data.Key()
	if saved != nil && l.memory.Data != key {
		return fmt.Errorf("the data has changed since step %d of %s: going on would train on other batches", saved.Step(), l.dir)
	}
	l.memory.Data = key
	config := map[string]any{}
	if err := yaml.Unmarshal(text, &config); err != nil {
		return err
	}
	t := tracking.Options{Dir: l.dir, Title: l.recipe.Name, CSV: l.recipe.Log.CSV, LogLoss: true, Console: o.Console, WandB: l.wandb(o, config)}
	if saved != nil {
		t.Resume = &l.memory.Mark
	}
	if l.recipe.Log.Plot != recipes.NoPlot {
		t.Plots = []string{"loss." + l.recipe.Log.Plot}
	}
	if l.track, err = tracking.Open(t); err != nil {
		return err
	}
	l.nets = &nets{recipe: l.recipe, dir: filepath.Join(l.dir, modelsDir), made: map[string]*train.Net{}}
	return nil
}

func (l *launch) dataOptions() datasets.Options {
	var last time.Time
	return datasets.Options{
		Notice: func(s string) { fmt.Fprintln(l.out, s) },
		Progress: func(p datasets.Progress) {
			if now := time.Now(); now.Sub(last) > 2*time.Second {
				last = now
				fmt.Fprintf(l.out, "tokenising %v\n", p)
			}
		},
	}
}

func (l *launch) wandb(o Options, config map[string]any) wandb.Settings {
	w := l.recipe.Log.WandB
	return wandb.Settings{Mode: w.Mode, Project: w.Project, Entity: w.Entity, Name: w.Name, Group: w.Group, Tags: w.Tags, Config: config, Args: o.Args}.WithEnvironment(os.Getenv)
}

func (l *launch) close(exit int) error {
	var errs []error
	if l.track != nil {
		errs = append(errs, l.track.Close(exit))
	}
	if l.data != nil {
		errs = append(errs, l.data.Close())
	}
	return errors.Join(errs...)
}

// state is what a checkpoint keeps of the launch.
func (l *launch) state(s train.Stage, metrics map[string]float64) (run.State, error) {
	mark, err := l.track.Mark()
	if err != nil {
		return run.State{}, err
	}
	l.memory.Mark = mark
	text, err := json.Marshal(l.memory)
	if err != nil {
		return run.State{}, err
	}
	p := l.memory.Progress
	return run.State{
		Step: p.Global, Stage: s.Name, Recipe: l.hash, Sampler: int64(p.Step * s.Accumulate),
		// Fresh weights and data order are functions of the seed: there is no generator with a state of its own.
		RNG:      map[string][]byte{"seed": binary.LittleEndian.AppendUint64(nil, l.recipe.Seed)},
		Counters: map[string]int64{"tokens": l.memory.Tokens, "skipped": int64(l.memory.Skipped)},
		Metrics:  metrics, MetricsOffset: mark.Offset, Trainer: text,
	}, nil
}
