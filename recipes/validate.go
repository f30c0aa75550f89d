package recipes

import (
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/datasets/source"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/recipes/schema"
	"github.com/gojet/gojet/train"
	"github.com/gojet/gojet/train/tracking"
)

// Validate reports everything that is wrong with the recipe, as schema.Problems: what it says on its own, whether the
// files it names are there, and whether its models fit them and each other. It writes nothing.
func (r *Recipe) Validate() error {
	return r.validate(disk{
		stat:   os.Stat,
		config: checkpoints.ReadConfig,
		find: func(s source.Spec) error {
			_, err := source.Open(context.Background(), s)
			return err
		},
	})
}

// disk is what Validate asks of the machine.
type disk struct {
	stat   func(path string) (os.FileInfo, error)
	config func(dir string) (*checkpoints.Config, error)
	find   func(source.Spec) error
}

func (r *Recipe) validate(d disk) error {
	c := newChecker(r, d)
	if c.document == nil {
		c.document = &schema.Document{}
	}
	for _, check := range []func(){c.run, c.models, c.data, c.stages, c.samples, c.files, c.shapes, c.search} {
		check()
	}
	return c.problems.Err()
}

// checker collects what is wrong with a recipe.
type checker struct {
	*Recipe
	disk     disk
	problems schema.Problems
	configs  map[string]*checkpoints.Config // of models, nil where unknown
	broken   map[string]bool                // models about which something is reported already
}

func newChecker(r *Recipe, d disk) *checker {
	return &checker{Recipe: r, disk: d, configs: map[string]*checkpoints.Config{}, broken: map[string]bool{}}
}

// report places a message about the part at path; where it begins with one of the part's keys, it is about that.
func (c *checker) report(path []string, format string, args ...any) {
	c.problems = append(c.problems, c.document.Explain(*c.Recipe, path, fmt.Sprintf(format, args...)))
}

func (c *checker) stagePath(i int) []string { return []string{"stages", c.document.Name(i, "stages")} }

// names are words that are folders and keys of overrides too.
var names = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{0,63}$`)

const wantName = "want letters, digits, - and _"

func (c *checker) oneOf(path []string, key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		last := len(allowed) - 1
		c.report(path, "%s is %q, want %s or %s", key, value, strings.Join(allowed[:last], ", "), allowed[last])
	}
}

// run checks what is about the run as a whole.
func (c *checker) run() {
	if c.Name == "" {
		c.report(nil, "name is missing")
	} else if !regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$`).MatchString(c.Name) {
		c.report(nil, "name is %q, %s", c.Name, wantName)
	}
	if c.Device == CUDA && !device.Built {
		c.report(nil, "device is %s, but this build has no GPU support ('make gpu' builds one that has), want %s or %s", c.Device, CPU, Auto)
	} else {
		c.oneOf(nil, "device", c.Device, CPU, CUDA, Auto)
	}
	if c.Threads < 0 || c.Threads > 1024 {
		c.report(nil, "threads is %d, want 1 to 1024, or 0 for all cores", c.Threads)
	}
	if c.Checkpoint.KeepLast < 1 || c.Checkpoint.KeepLast > 1<<20 {
		c.report(nil, "checkpoint.keep_last is %d, want 1 to %d", c.Checkpoint.KeepLast, 1<<20)
	}
	if best := c.Checkpoint.KeepBest; best != "" && best != tracking.EvalLoss && best != tracking.EvalKL {
		c.report(nil, "checkpoint.keep_best is %q, want %s or %s, of which the least is the best", best, tracking.EvalLoss, tracking.EvalKL)
	}
	c.oneOf([]string{"log"}, "plot", c.Log.Plot, SVG, PNG, NoPlot)
	c.oneOf([]string{"log", "wandb"}, "mode", c.Log.WandB.Mode, Disabled, Offline, Online)
	if c.Log.WandB.Mode != Disabled && c.Log.WandB.Project == "" {
		c.report(nil, "log.wandb.project is empty, want the project's name")
	}
}

// models checks each model, and that From leads to one that does not come from another in a circle.
func (c *checker) models() {
	if len(c.Models) == 0 {
		c.report(nil, "models is empty, want at least one")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Models)) {
		m := c.Models[name]
		path := []string{"models", name}
		if !names.MatchString(name) {
			c.report(path, "the name is %q, %s", name, wantName)
		}
		if err := m.Validate(); err != nil {
			c.report(path, "%v", err)
			c.broken[name] = true
			continue
		}
		c.broken[name] = m.From != "" && !c.knows(path, "from", m.From)
		if circle := c.circle(name); circle != nil {
			c.report(path, "from goes in a circle: %s", strings.Join(circle, " from "))
			c.broken[name] = true
		}
	}
}

// knows reports a reference to a model that is not there.
func (c *checker) knows(path []string, key, model string) bool {
	if _, ok := c.Models[model]; ok || model == "" || len(c.Models) == 0 {
		return ok
	}
	known := slices.Sorted(maps.Keys(c.Models))
	near := ""
	if n := schema.Nearest(model, known); n != nil {
		near = "did you mean " + n[0] + "? "
	}
	c.report(path, "%s is %q, which is none of the models, %swant one of %s", key, model, near, strings.Join(known, ", "))
	return false
}

// circle follows From; it returns the way if it leads back to the model itself.
func (c *checker) circle(name string) []string {
	way := []string{name}
	for at := c.Models[name].From; at != ""; at = c.Models[at].From {
		if at == name {
			return append(way, name)
		}
		if slices.Contains(way, at) {
			return nil // a circle of others
		}
		way = append(way, at)
	}
	return nil
}

func (c *checker) data() {
	if err := c.Data.Validate(); err != nil {
		c.report(nil, "%s", dataMessage(err))
	}
	if c.Checkpoint.KeepBest != "" && c.Data.HeldOut == 0 {
		c.report(nil, "checkpoint.keep_best is %q, but data.held_out is 0, want documents to measure on", c.Checkpoint.KeepBest)
	}
}

// dataMessage is without the name of the package inside.
func dataMessage(err error) string { return strings.Replace(err.Error(), ": source: ", ".", 1) }

// stages checks each stage, and that a model is loaded or trained before another learns from it.
func (c *checker) stages() {
	if len(c.Stages) == 0 && c.Search == nil {
		c.report(nil, "stages is empty, want at least one")
	}
	seen := map[string]bool{}
	ready := map[string]bool{} // has weights worth learning from
	for name, m := range c.Models {
		ready[name] = m.Path != "" || c.broken[name]
	}
	for i, s := range c.Stages {
		path := c.stagePath(i)
		if s.Name != "" && !names.MatchString(s.Name) {
			c.report(path, "name is %q, %s", s.Name, wantName)
		}
		if seen[s.Name] {
			c.report(path, "name is %q, like that of a stage before, want names that differ", s.Name)
		}
		seen[s.Name] = true
		if err := s.Validate(); err != nil {
			c.report(path, "%v", err)
		} else {
			c.stage(path, s)
			c.order(path, s, ready)
		}
		ready[s.Model] = true
	}
}

func (c *checker) stage(path []string, s train.Stage) {
	if rows := int64(s.Rows) * int64(s.Length); rows > math.MaxInt32 {
		c.report(path, "rows is %d of length %d, want at most %d tokens in a micro-batch", s.Rows, s.Length, math.MaxInt32)
	}
	if total := float64(s.Steps) * float64(s.Rows) * float64(s.Length) * float64(s.Accumulate); total > 1<<53 {
		c.report(path, "steps is %d, which makes %.3g tokens, want at most %.3g in a stage", s.Steps, total, float64(1<<53))
	}
	if s.SampleEvery > 0 && len(c.Samples.Prompts) == 0 {
		c.report(path, "sample_every is %d, but samples.prompts is empty", s.SampleEvery)
	}
	if s.EvalEvery > 0 && c.Data.HeldOut == 0 {
		c.report(path, "eval_every is %d, but data.held_out is 0, want documents to measure on", s.EvalEvery)
	}
	if s.EarlyStop.Patience > 0 && s.EvalEvery == 0 {
		c.report(path, "early_stop.patience is %d, but eval_every is 0: it counts evaluations", s.EarlyStop.Patience)
	}
}

// order checks that what a stage begins with is there by then.
func (c *checker) order(path []string, s train.Stage, ready map[string]bool) {
	if !c.knows(path, "model", s.Model) {
		return
	}
	const unready = "which has neither a path nor an earlier stage that trains it"
	if from := c.Models[s.Model].From; from != "" && !ready[s.Model] && !ready[from] {
		c.report(path, "model is %s, made from %s, %s", s.Model, from, unready)
	}
	switch {
	case s.Teacher == "" || !c.knows(path, "teacher", s.Teacher):
	case s.Teacher == s.Model:
		c.report(path, "teacher is %s, the model itself, want another", s.Teacher)
	case !ready[s.Teacher]:
		c.report(path, "teacher is %s, %s", s.Teacher, unready)
	}
}

func (c *checker) samples() {
	s := c.Samples
	if s.MaxTokens < 1 || s.MaxTokens > 1<<20 {
		c.report(nil, "samples.max_tokens is %d, want 1 to %d", s.MaxTokens, 1<<20)
	}
	if err := s.Sampling(0).Validate(); err != nil {
		c.report([]string{"samples"}, "%s", strings.NewReplacer("top-k", "top_k", "top-p", "top_p").Replace(err.Error()))
	}
}
