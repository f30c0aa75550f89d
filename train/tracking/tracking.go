// Package tracking is everything a run writes about itself: metrics.jsonl, a table and a plot of it, the log, the
// progress line, and Weights & Biases.
package tracking

import (
	"errors"
	"fmt"
)

// Names of metrics. Those with a slash belong to a section, as W&B groups its charts.
const (
	Loss            = "loss"               // what was minimised: the weighted sum, mean over the step's target tokens
	LossCE          = "loss/cross_entropy" // its parts, before weighting
	LossKL          = "loss/kl"
	LossHidden      = "loss/hidden"
	LR              = "lr"
	GradNorm        = "grad_norm" // before clipping
	Tokens          = "tokens"    // the step trained on, padding left out
	Skipped         = "skipped"   // steps so far whose update was left out, for a loss or gradient that is not finite
	StepSeconds     = "step_seconds"
	TokensPerSecond = "tokens_per_second"
	EvalLoss        = "eval/loss" // of held-out data
	EvalKL          = "eval/kl"
	EvalTop1        = "eval/top1" // share of tokens on which student and teacher choose the same next token
)

// Timing says whether a metric measures the machine: its values differ from run to run, all others repeat to the bit.
func Timing(name string) bool { return name == StepSeconds || name == TokensPerSecond }

// Metric is one measured number.
type Metric struct {
	Name  string
	Value float64
}

// Row is what was measured at one step. Steps count from 1 through all stages of a run; row 0 is what was measured
// before the first one.
type Row struct {
	Step    int
	Stage   string // "" if the run has no named stages
	Metrics []Metric
}

// Get returns the value of a metric, and whether the row has it.
func (r Row) Get(name string) (float64, bool) {
	for _, m := range r.Metrics {
		if m.Name == name {
			return m.Value, true
		}
	}
	return 0, false
}

// Tracker takes down what a run measures. Rows come in order of their steps; several may have the same.
type Tracker interface {
	Log(Row) error
	// Close ends the run with the exit code of the process.
	Close(exit int) error
}

// The two keys of a line of metrics.jsonl that are no metrics.
const (
	stepKey  = "step"
	stageKey = "stage"
)

// check says what is wrong with a row that follows a row of step last.
func (r Row) check(last int) error {
	if r.Step < last {
		return fmt.Errorf("step %d after step %d, want steps that do not fall", r.Step, last)
	}
	for i, m := range r.Metrics {
		switch m.Name {
		case "":
			return errors.New("a metric without a name")
		case stepKey, stageKey:
			return fmt.Errorf("metric %q: the name is taken", m.Name)
		}
		for _, before := range r.Metrics[:i] {
			if before.Name == m.Name {
				return fmt.Errorf("metric %q occurs twice", m.Name)
			}
		}
	}
	return nil
}
