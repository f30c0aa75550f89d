package launch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/checkpoints/run"
	"github.com/gojet/gojet/datasets"
	"github.com/gojet/gojet/evals/tasks"
	"github.com/gojet/gojet/recipes"
	"github.com/gojet/gojet/search"
	"github.com/gojet/gojet/search/supernet"
	"github.com/gojet/gojet/train"
	"github.com/gojet/gojet/train/tracking"
)

// Folders and files of a search, in the recipe's output directory.
const (
	PlacementDir = "placement"
	ResultFile   = "result.json"
	journalFile  = "placements.jsonl"
	modelDir     = "model"
)

// hunt is one process's share of a search: a launch whose run directory is that of a step.
type hunt struct {
	*launch
	from    string // the teacher's folder
	teacher *train.Net
}

// ready trains the recipe's stages, where that is not done, and returns the recipe with a path for the teacher.
func ready(ctx context.Context, r *recipes.Recipe, o Options) (string, error) {
	if r.Search == nil {
		return "", fmt.Errorf("recipe %s has no search", r.Name)
	}
	if dir := r.Models[r.Search.Teacher].Path; dir != "" && len(r.Stages) == 0 {
		return dir, nil
	}
	left := filepath.Join(r.Output, modelsDir, r.Search.Teacher)
	done, err := trained(r)
	if err != nil {
		return "", err
	}
	if !done {
		whole := *r // Run puts the machine's name in place of auto
		if err := Run(ctx, &whole, Options{Resume: true, Console: o.Console, Args: o.Args}); err != nil {
			return "", err
		}
	}
	if dir := r.Models[r.Search.Teacher].Path; dir != "" {
		if _, err := os.Stat(left); errors.Is(err, fs.ErrNotExist) {
			return dir, nil // the stages train other models
		}
	}
	return left, nil
}

// trained says whether all stages are done, by this recipe.
func trained(r *recipes.Recipe) (bool, error) {
	saved, _, err := run.Newest(r.Output)
	if err != nil { // Run will say
		return false, nil
	}
	defer saved.Close()
	same := false
	for _, device := range []string{recipes.CPU, recipes.CUDA} { // auto was one of them
		named := *r
		if r.Device == recipes.Auto {
			named.Device = device
		}
		hash, err := named.Hash()
		if err != nil {
			return false, err
		}
		same = same || saved.State().CheckRecipe(hash) == nil
	}
	if !same {
		return false, nil
	}
	var m memory
	if err := json.Unmarshal(saved.State().Trainer, &m); err != nil {
		return false, err
	}
	last := len(r.Stages) - 1
	_, missing := os.Stat(filepath.Join(r.Output, modelsDir, r.Stages[last].Model))
	return m.Progress.Stage >= last && m.Progress.Done(r.Stages[last]) && missing == nil, nil
}

// openHunt opens data, machine and teacher for a step whose folder is dir.
func openHunt(ctx context.Context, r *recipes.Recipe, dir, teacher string, o Options) (*hunt, error) {
	if o.Console == nil {
		o.Console = io.Discard
	}
	h := &hunt{launch: &launch{recipe: r, dir: filepath.Join(r.Output, dir), out: o.Console}, from: teacher}
	if err := h.begin(ctx); err != nil {
		return nil, errors.Join(err, h.shut(1))
	}
	return h, nil
}

func (h *hunt) begin(ctx context.Context) error {
	var err error
	if h.machine, err = openMachine(h.recipe); err != nil {
		return err
	}
	if h.hash, err = h.recipe.SearchHash(); err != nil {
		return err
	}
	if err := os.MkdirAll(h.dir, 0o755); err != nil {
		return err
	}
	if h.writer, err = run.Claim(h.dir); err != nil {
		return err
	}
	if h.data, err = datasets.Open(ctx, h.recipe.Data, h.dataOptions()); err != nil {
		return err
	}
	h.teacher, err = load(h.from)
	return err
}

// shut closes what is open.
func (h *hunt) shut(exit int) error {
	errs := []error{h.close(exit)}
	if h.writer != nil {
		errs = append(errs, h.writer.Close())
	}
	if h.machine != nil {
		errs = append(errs, h.machine.Close())
	}
	return errors.Join(errs...)
}

// records opens the metrics, log and plots of the step; mark is where a checkpoint was taken.
func (h *hunt) records(o Options, title string, mark *tracking.Mark) error {
	text, err := h.recipe.Resolved()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(h.dir, RecipeFile), text, 0o644); err != nil {
		return err
	}
	config := map[string]any{}
	if err := yaml.Unmarshal(text, &config); err != nil {
		return err
	}
	t := tracking.Options{Dir: h.dir, Title: title, CSV: h.recipe.Log.CSV, LogLoss: true, Console: o.Console, WandB: h.wandb(o, config), Resume: mark}
	if h.recipe.Log.Plot != recipes.NoPlot {
		t.Plots = []string{"loss." + h.recipe.Log.Plot}
	}
	h.track, err = tracking.Open(t)
	return err
}

// exam makes what candidates are measured on: the questions of a seed, and held-out text.
func (h *hunt) exam(seed uint64) (supernet.Exam, error) {
	c := h.recipe.Search.Exam
	shape := datasets.Shape{Rows: c.Rows, Length: c.Length}
	e := supernet.Exam{Tokens: c.Rows * c.Length, Docs: datasets.MaxDocs(c.Rows, c.Length)}
	with := tasks.Materials{Tokenizer: h.data.Tokenizer()}
	var held *datasets.Loader
	if h.recipe.Data.HeldOut > 0 {
		var err error
		if held, err = h.data.HeldOut(shape); err != nil {
			return e, err
		}
		with.Text = func(i uint64, n int) []int32 { return textPiece(held, i, n) }
	}
	for i := 0; held != nil && i < min(c.Text, held.Steps()); i++ {
		b, err := held.Batch(i)
		if err != nil {
			return e, err
		}
		e.Text = append(e.Text, train.Batch{IDs: b.IDs, Labels: b.Labels, Cu: b.Cu})
	}
	for _, t := range c.Tasks {
		s, err := tasks.Open(t, with)
		if err != nil {
			return e, err
		}
		q := supernet.Question{Name: s.Name}
		for i := range s.Most(c.Items) {
			q.Items = append(q.Items, s.Item(seed, i))
		}
		e.Questions = append(e.Questions, q)
	}
	return e, nil
}

// textPiece is n tokens of a held-out document, picked by i; of documents that follow each other where none is as long.
func textPiece(held *datasets.Loader, i uint64, n int) []int32 {
	var text []int32
	for step := int(i % uint64(held.Steps())); len(text) < n; step = (step + 1) % held.Steps() {
		b, err := held.Batch(step)
		if err != nil {
			panic(err) // held-out batches are in memory, and this is one of them
		}
		d := int(i / 7 % uint64(b.Docs))
		text = append(text, b.IDs[b.Cu[d]:b.Cu[d+1]]...)
	}
	return text[:n]
}

// network puts the super network together.
func (h *hunt) network() (*supernet.Net, error) {
	s := h.recipe.Search
	n := h.teacher.Decoder.Config.NumLayers
	bodies := map[search.Kind]train.Net{}
	kinds := []search.Kind{search.Linear}
	if s.Placement.Window > 0 {
		kinds = append(kinds, search.Window)
	}
	for _, k := range kinds {
		net, err := supernet.Body(*h.teacher, s.Model(search.Uniform(n, k).LayerTypes(s.Linear.Kind)), h.recipe.Seed)
		if err != nil {
			return nil, err
		}
		bodies[k] = net
	}
	if err := h.fits(train.Stage{Name: PlacementDir, Model: s.Teacher}, h.teacher, nil); err != nil {
		return nil, err
	}
	return supernet.New(h.machine, *h.teacher, bodies)
}

// keepModel writes a model folder.
func (h *hunt) keepModel(dir string, net train.Net) error {
	return checkpoints.Save(dir, net.Decoder.Config, params(net), checkpoints.SaveOptions{DType: "float32", Tokenizer: h.recipe.TokenizerDir()})
}

// writeResult writes a step's result, which is seen whole or not at all.
func writeResult(dir string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, "."+ResultFile)
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, ResultFile))
}

// readResult reads a step's result; false where there is none.
func readResult(dir string, v any) (bool, error) {
	path := filepath.Join(dir, ResultFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	return true, nil
}
