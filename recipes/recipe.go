// Package recipes says what a run is: models, data, stages, and what is written. A recipe is a YAML file, or one of those
// in the binary; it is read strictly, checked whole before anything is done, and written back with every default filled
// in.
package recipes

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints/run"
	"github.com/gojet/gojet/datasets"
	"github.com/gojet/gojet/infer/sampling"
	"github.com/gojet/gojet/recipes/schema"
	"github.com/gojet/gojet/train"
)

// Recipe is a run. Paths are relative to the working directory.
type Recipe struct {
	Name        string `yaml:"name"`
	Description string `yaml:"description"`
	// Output is the run directory; runs/NAME where the recipe is silent.
	Output string `yaml:"output"`
	// Seed of fresh weights; of the data too, unless data.seed says otherwise.
	Seed uint64 `yaml:"seed"`
	// Device is cpu, cuda, or auto for a GPU where this build and the machine have one.
	Device string `yaml:"device"`
	// Threads is the number of cores to use, 0 for all.
	Threads int `yaml:"threads"`

	Models map[string]train.Model `yaml:"models"`
	Data   datasets.Config        `yaml:"data"`
	// Mix puts questions among the training data; nil for none.
	Mix    *Mix          `yaml:"mix"`
	Stages []train.Stage `yaml:"stages"`
	// Search is what gojet search looks for once the stages are done; nil in a recipe that only trains.
	Search *Search `yaml:"search"`

	Checkpoint Checkpoint `yaml:"checkpoint"`
	Log        Log        `yaml:"log"`
	Samples    Samples    `yaml:"samples"`

	document *schema.Document // that it was read from, for the lines of problems
}

// Checkpoint says which checkpoints of the run are kept.
type Checkpoint struct {
	KeepLast int `yaml:"keep_last"`
	// KeepBest is the metric by which one more is kept, that where it was least; "" for none.
	KeepBest string `yaml:"keep_best"`
}

// Log says what is written beside metrics.jsonl.
type Log struct {
	CSV   bool   `yaml:"csv"`
	Plot  string `yaml:"plot"` // svg, png or none
	WandB WandB  `yaml:"wandb"`
}

// WandB is a run of Weights & Biases.
type WandB struct {
	Mode    string   `yaml:"mode"` // offline, online or disabled
	Project string   `yaml:"project"`
	Entity  string   `yaml:"entity"`
	Name    string   `yaml:"name"`
	Group   string   `yaml:"group"`
	Tags    []string `yaml:"tags"`
}

// Samples are texts that the model in training continues every sample_every steps of a stage.
type Samples struct {
	Prompts     []string `yaml:"prompts"`
	MaxTokens   int      `yaml:"max_tokens"`
	Temperature float64  `yaml:"temperature"` // 0 for the likeliest token
	TopK        int      `yaml:"top_k"`       // 0 for all
	TopP        float64  `yaml:"top_p"`
}

// Sampling is how tokens are chosen.
func (s Samples) Sampling(seed uint64) sampling.Config {
	c := sampling.Default()
	c.Temperature, c.TopK, c.TopP, c.Seed = s.Temperature, s.TopK, s.TopP, seed
	return c
}

// Devices, plots and modes that a recipe may name.
const (
	CPU  = autograd.CPU
	CUDA = autograd.CUDA
	Auto = autograd.Auto

	SVG    = "svg"
	PNG    = "png"
	NoPlot = "none"

	Disabled = "disabled"
	Offline  = "offline"
	Online   = "online"
)

// Default is what a recipe is where its file is silent; its stages are train.DefaultStage.
func Default() Recipe {
	return Recipe{
		Seed: 1, Device: Auto,
		Data:       datasets.Default(),
		Checkpoint: Checkpoint{KeepLast: 2},
		Log:        Log{Plot: SVG, WandB: WandB{Mode: Disabled, Project: "gojet"}},
		Samples:    Samples{MaxTokens: 64, TopP: 1},
	}
}

// Stage returns the stage of that name.
func (r *Recipe) Stage(name string) (train.Stage, error) {
	for _, s := range r.Stages {
		if s.Name == name {
			return s, nil
		}
	}
	return train.Stage{}, fmt.Errorf("recipes: %s has no stage %q", r.Name, name)
}

// StageTokens is how many tokens a stage goes over.
func StageTokens(s train.Stage) int64 {
	return int64(s.Steps) * int64(s.Length) * int64(s.Rows) * int64(s.Accumulate)
}

// Tokens is how many tokens all stages go over.
func (r *Recipe) Tokens() int64 {
	var sum int64
	for _, s := range r.Stages {
		sum += StageTokens(s)
	}
	return sum
}

// TokenizerDir is the folder of the tokenizer's files, which go along with the models that the run saves; "" where there
// are none.
func (r *Recipe) TokenizerDir() string {
	t := r.Data.Tokenizer
	if t == "" || t == bytesTokenizer {
		return ""
	}
	if info, err := os.Stat(t); err == nil && !info.IsDir() {
		return filepath.Dir(t)
	}
	return t
}

// Resolved is the whole recipe as YAML, every default filled in, in an order that never changes.
func (r *Recipe) Resolved() ([]byte, error) { return schema.Encode(*r) }

// Hash identifies what the run computes: the models, the data, the stages and the seed. Where it writes, what it logs and
// how many threads and workers it has do not count, so that those may change when a run is resumed.
func (r *Recipe) Hash() (string, error) {
	data := r.Data
	data.Workers, data.Cache = 0, ""
	return hashOf(struct {
		Seed   uint64
		Device string
		Models map[string]train.Model
		Data   datasets.Config
		Mix    *Mix
		Stages []train.Stage
	}{r.Seed, r.device(), r.Models, data, r.Mix, r.Stages})
}

func hashOf(v any) (string, error) {
	text, err := schema.Encode(v)
	if err != nil {
		return "", err
	}
	return run.RecipeHash(text), nil
}

// device is what Auto stands for.
func (r *Recipe) device() string {
	if r.Device == Auto {
		return CPU
	}
	return r.Device
}
