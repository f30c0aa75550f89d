// Package train runs training: one trainer for language modelling, distillation, fine-tuning and the search's
// experiments, told apart by their configuration alone.
package train

import (
	"fmt"
	"math"
	"path"
	"slices"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/layers"
)

// Loss weighs the terms of the objective; a term of weight 0 is left out. All but CrossEntropy need a teacher.
type Loss struct {
	// CrossEntropy of the next token.
	CrossEntropy float64 `yaml:"cross_entropy"`
	// KL is the forward divergence KL(teacher‖student) at Temperature, times Temperature².
	KL          float64 `yaml:"kl"`
	Temperature float64 `yaml:"temperature"`
	// Hidden is the mean squared distance of the residual streams after each layer, averaged over layers.
	Hidden float64 `yaml:"hidden"`
}

// NeedsTeacher reports whether a term compares with a teacher.
func (l Loss) NeedsTeacher() bool { return l.KL != 0 || l.Hidden != 0 }

// Validate reports weights that mean nothing.
func (l Loss) Validate() error {
	for _, w := range []struct {
		key   string
		value float64
	}{{"cross_entropy", l.CrossEntropy}, {"kl", l.KL}, {"hidden", l.Hidden}} {
		if !finite(w.value) || w.value < 0 {
			return fmt.Errorf("loss.%s is %v, want a finite weight of 0 or more", w.key, w.value)
		}
	}
	if l.CrossEntropy == 0 && !l.NeedsTeacher() {
		return fmt.Errorf("loss has no term, want a weight above 0 for cross_entropy, kl or hidden")
	}
	if l.KL != 0 && (!finite(l.Temperature) || l.Temperature <= 0) {
		return fmt.Errorf("loss.temperature is %v, want a number above 0", l.Temperature)
	}
	return nil
}

// Optimizer is AdamW with clipping by global norm.
type Optimizer struct {
	LR          float64 `yaml:"lr"`
	Beta1       float64 `yaml:"beta1"`
	Beta2       float64 `yaml:"beta2"`
	Eps         float64 `yaml:"eps"`
	WeightDecay float64 `yaml:"weight_decay"` // not on norms, biases, A_log and dt_bias
	ClipNorm    float64 `yaml:"clip_norm"`    // 0 for no clipping
}

// Validate reports values with which AdamW diverges or divides by zero.
func (o Optimizer) Validate() error {
	switch {
	case !finite(o.LR) || o.LR < 0:
		return fmt.Errorf("optimizer.lr is %v, want a finite number of 0 or more", o.LR)
	case !(o.Beta1 >= 0 && o.Beta1 < 1):
		return fmt.Errorf("optimizer.beta1 is %v, want 0 or more and below 1", o.Beta1)
	case !(o.Beta2 >= 0 && o.Beta2 < 1):
		return fmt.Errorf("optimizer.beta2 is %v, want 0 or more and below 1", o.Beta2)
	case !finite(o.Eps) || o.Eps <= 0:
		return fmt.Errorf("optimizer.eps is %v, want a number above 0", o.Eps)
	case !finite(o.WeightDecay) || o.WeightDecay < 0:
		return fmt.Errorf("optimizer.weight_decay is %v, want a finite number of 0 or more", o.WeightDecay)
	case !finite(o.ClipNorm) || o.ClipNorm < 0:
		return fmt.Errorf("optimizer.clip_norm is %v, want a finite number of 0 or more", o.ClipNorm)
	}
	return nil
}

// EarlyStop ends a stage whose held-out loss no longer falls. Patience 0 never does.
type EarlyStop struct {
	Patience int     `yaml:"patience"`  // evaluations without improvement
	MinDelta float64 `yaml:"min_delta"` // that counts as improvement
}

// LoRA trains low-rank updates W + Alpha/Rank·B·A instead of the weights themselves
// (https://arxiv.org/abs/2106.09685). Rank 0 is off.
type LoRA struct {
	Rank    int      `yaml:"rank"`
	Alpha   float64  `yaml:"alpha"`
	Targets []string `yaml:"targets"` // last parts of the matrices' names, such as q_proj
}

// Stage is one phase of a run: which model learns what, from whom, for how long.
type Stage struct {
	Name    string `yaml:"name"`
	Model   string `yaml:"model"`   // that learns; a name of the recipe's models
	Teacher string `yaml:"teacher"` // that it learns from, or ""
	Steps   int    `yaml:"steps"`

	// Train and Freeze are patterns of weight names, in which * stands for anything: what matches Train (all where
	// it is empty) and not Freeze learns.
	Train  []string `yaml:"train"`
	Freeze []string `yaml:"freeze"`

	Loss      Loss      `yaml:"loss"`
	Optimizer Optimizer `yaml:"optimizer"`
	Schedule  Schedule  `yaml:"schedule"`
	LoRA      LoRA      `yaml:"lora"`

	Length     int `yaml:"length"`     // tokens of a row
	Rows       int `yaml:"rows"`       // of a micro-batch
	Accumulate int `yaml:"accumulate"` // micro-batches of an optimiser step
	// Precision of activations and matrices. auto is float32 on a CPU and bf16, with float32 master weights, on a GPU.
	// float64 runs the plain references on the CPU: slow, for small models whose training must be followed exactly,
	// since AdamW amplifies the rounding of float32 from step to step.
	Precision Precision `yaml:"precision"`
	// Recompute is activation checkpointing: less memory, a third more time. RecomputeLayers is how many layers it takes, the
	// first ones; 0 is all.
	Recompute       bool `yaml:"recompute"`
	RecomputeLayers int  `yaml:"recompute_layers"`

	EvalEvery   int       `yaml:"eval_every"` // steps; 0 for the end of the stage only
	EvalBatches int       `yaml:"eval_batches"`
	SampleEvery int       `yaml:"sample_every"` // steps; 0 for never
	SaveEvery   int       `yaml:"save_every"`   // steps; 0 for the end of the stage only
	EarlyStop   EarlyStop `yaml:"early_stop"`
	MaxSkipped  int       `yaml:"max_skipped"` // steps in a row without finite gradients before the run stops
}

// DefaultStage is what a stage is where its recipe is silent.
func DefaultStage() Stage {
	return Stage{
		Optimizer: Optimizer{LR: 3e-4, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, ClipNorm: 1},
		Schedule:  Schedule{Kind: Cosine},
		Loss:      Loss{Temperature: 1},
		Precision: Auto, Length: 512, Rows: 4, Accumulate: 1, EvalBatches: 8, MaxSkipped: 10,
	}
}

// Validate reports the first value that cannot be, by its key.
func (s Stage) Validate() error {
	for _, n := range []struct {
		key      string
		value    int
		least    int
		greatest int
	}{
		{"steps", s.Steps, 1, 1 << 31}, {"length", s.Length, 2, 1 << 24}, {"rows", s.Rows, 1, 1 << 20}, {"accumulate", s.Accumulate, 1, 1 << 20},
		{"recompute_layers", s.RecomputeLayers, 0, 1 << 20},
		{"eval_every", s.EvalEvery, 0, 1 << 31}, {"eval_batches", s.EvalBatches, 0, 1 << 20}, {"sample_every", s.SampleEvery, 0, 1 << 31},
		{"save_every", s.SaveEvery, 0, 1 << 31}, {"max_skipped", s.MaxSkipped, 0, 1 << 31}, {"early_stop.patience", s.EarlyStop.Patience, 0, 1 << 20},
		{"lora.rank", s.LoRA.Rank, 0, 1 << 16},
	} {
		if n.value < n.least || n.value > n.greatest {
			return fmt.Errorf("%s is %d, want %d to %d", n.key, n.value, n.least, n.greatest)
		}
	}
	if s.Name == "" || s.Model == "" {
		return fmt.Errorf("name is %q and model %q, want both", s.Name, s.Model)
	}
	if !slices.Contains([]Precision{Auto, Float32, BF16, Float64}, s.Precision) {
		return fmt.Errorf("precision is %q, want %s, %s, %s or %s", s.Precision, Auto, Float32, BF16, Float64)
	}
	if s.Loss.NeedsTeacher() != (s.Teacher != "") {
		return fmt.Errorf("teacher is %q: kl and hidden losses need one, and nothing else does", s.Teacher)
	}
	for _, p := range append(append([]string(nil), s.Train...), s.Freeze...) {
		if _, err := path.Match(p, ""); err != nil {
			return fmt.Errorf("pattern %q: %w", p, err)
		}
	}
	if s.RecomputeLayers > 0 && !s.Recompute {
		return fmt.Errorf("recompute_layers is %d without recompute: true", s.RecomputeLayers)
	}
	if s.LoRA.Rank > 0 && (!finite(s.LoRA.Alpha) || s.LoRA.Alpha <= 0 || len(s.LoRA.Targets) == 0) {
		return fmt.Errorf("lora has alpha %v and %d targets, want a number above 0 and at least one target", s.LoRA.Alpha, len(s.LoRA.Targets))
	}
	if !finite(s.EarlyStop.MinDelta) || s.EarlyStop.MinDelta < 0 {
		return fmt.Errorf("early_stop.min_delta is %v, want a finite number of 0 or more", s.EarlyStop.MinDelta)
	}
	for _, check := range []func() error{s.Loss.Validate, s.Optimizer.Validate, func() error { return s.Schedule.Validate(s.Steps, s.Optimizer.LR) }} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// Precision is the type of weights and activations.
type Precision string

// Precisions.
const (
	Auto    Precision = "auto"
	BF16    Precision = "bf16"
	Float32 Precision = "float32"
	Float64 Precision = "float64"
)

func (p Precision) graph() autograd.Precision {
	if p == Float64 {
		return autograd.Float64
	}
	return autograd.Float32
}

// Learns reports whether a weight is trained in this stage.
func (s Stage) Learns(name string) bool {
	if s.LoRA.Rank > 0 && !layers.IsAdapter(name) {
		return false
	}
	return (len(s.Train) == 0 || matchAny(s.Train, name)) && !matchAny(s.Freeze, name)
}

func matchAny(patterns []string, name string) bool {
	for _, p := range patterns {
		if ok, _ := path.Match(p, name); ok { // names have dots, not slashes, so * spans them
			return true
		}
	}
	return false
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
