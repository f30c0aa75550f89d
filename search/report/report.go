// Package report is what a search found: the results of its steps, and pages that show them.
package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gojet/gojet/search"
	"github.com/gojet/gojet/search/placement"
)

// Placement is the result of the first step.
type Placement struct {
	Recipe      string             `json:"recipe_sha256"`
	Layers      int                `json:"layers"`
	Full        int                `json:"full"`
	Window      int                `json:"window"`
	Linear      string             `json:"linear"`
	Strategy    string             `json:"strategy"`
	Objectives  []search.Objective `json:"objectives"`
	Best        placement.Ranked   `json:"best"`
	Pareto      []placement.Ranked `json:"pareto"`
	ByFull      []placement.Ranked `json:"by_full"`
	Single      []placement.Ranked `json:"single"` // one full layer each
	Teacher     search.Scores      `json:"teacher"`
	None        search.Scores      `json:"none"` // all layers linear
	Checks      []Check            `json:"checks"`
	Evaluations int                `json:"evaluations"`
	Cost        Cost               `json:"cost"`
	Student     string             `json:"student"` // the folder of the initialised model
	Command     string             `json:"command"` // that trains it
}

// Check compares placements of the same budget on the questions of one seed.
type Check struct {
	Seed       uint64        `json:"seed"`
	Searched   search.Scores `json:"searched"`
	Even       search.Scores `json:"even"`
	EvenLayers string        `json:"even_layers"`
	Random     search.Scores `json:"random"` // the mean
}

// Cost is what a step took.
type Cost struct {
	Steps         int     `json:"steps"`
	Tokens        int64   `json:"tokens"`
	TrainSeconds  float64 `json:"train_seconds"`
	SearchSeconds float64 `json:"search_seconds"`
	TrainFLOPs    float64 `json:"train_flops"`
	SearchFLOPs   float64 `json:"search_flops"`
	LayersRun     int64   `json:"layers_run"`
	LayersShared  int64   `json:"layers_shared"`
}

// Names lists what was measured, sorted.
func Names(s search.Scores) []search.Objective {
	var list []search.Objective
	for o := range s {
		list = append(list, o)
	}
	slices.Sort(list)
	return list
}

// Mean of one placement over the checks.
func (p Placement) Mean(o search.Objective, of func(Check) search.Scores) float64 {
	var sum float64
	for _, c := range p.Checks {
		sum += of(c)[o] / float64(len(p.Checks))
	}
	return sum
}

// Summary is one line: the first objective of what was found, and of what it is compared with.
func (p Placement) Summary() string {
	o := p.Objectives[0]
	text := fmt.Sprintf("%s %.4f (teacher %.4f, no full layer %.4f)", o, p.Best.Scores[o], p.Teacher[o], p.None[o])
	if len(p.Checks) > 0 {
		text += fmt.Sprintf("; on %s %.4f, evenly spaced %.4f, random %.4f", p.sets("other "),
			p.Mean(o, func(c Check) search.Scores { return c.Searched }), p.Mean(o, func(c Check) search.Scores { return c.Even }), p.Mean(o, func(c Check) search.Scores { return c.Random }))
	}
	return strings.TrimSpace(text)
}

// sets counts the sets of questions of the checks.
func (p Placement) sets(which string) string {
	if len(p.Checks) == 1 {
		return "1 " + which + "set of questions"
	}
	return fmt.Sprintf("%d %ssets of questions", len(p.Checks), which)
}

// Trials is the result of comparing blocks, or shapes of one.
type Trials struct {
	Placement  string             `json:"placement"`
	Objectives []search.Objective `json:"objectives"`
	Rows       int                `json:"rows"`    // of the throughput
	Context    int                `json:"context"` // tokens before it
	Device     string             `json:"device"`
	Trials     []Trial            `json:"trials"`
}

// Trial is a candidate, trained and measured.
type Trial struct {
	Name       string         `json:"name"`
	Kind       string         `json:"kind"`
	Options    map[string]any `json:"options"`
	Recipe     string         `json:"recipe_sha256"`
	Left       string         `json:"left,omitempty"` // why it was not trained
	Parameters int64          `json:"parameters"`     // of the model
	StateBytes int64          `json:"state_bytes"`    // of a sequence
	Scores     search.Scores  `json:"scores"`
	Loss       float64        `json:"loss"` // of the last step
	Tokens     int64          `json:"tokens"`

	TrainTokensPerSecond   float64 `json:"train_tokens_per_second"`
	TrainSeconds           float64 `json:"train_seconds"`
	DecodeTokensPerSecond  float64 `json:"decode_tokens_per_second"`
	PrefillTokensPerSecond float64 `json:"prefill_tokens_per_second"`
}

// Trained lists the trials that were.
func (t Trials) Trained() []Trial {
	return slices.DeleteFunc(slices.Clone(t.Trials), func(x Trial) bool { return x.Left != "" })
}

// Pareto names the trials that no other beats in both decoding speed and the objective.
func (t Trials) Pareto(o search.Objective) []string {
	var names []string
	for _, a := range t.Trained() {
		beaten := slices.ContainsFunc(t.Trained(), func(b Trial) bool {
			return b.DecodeTokensPerSecond >= a.DecodeTokensPerSecond && !o.Better(a.Scores[o], b.Scores[o]) &&
				(b.DecodeTokensPerSecond > a.DecodeTokensPerSecond || o.Better(b.Scores[o], a.Scores[o]))
		})
		if !beaten {
			names = append(names, a.Name)
		}
	}
	return names
}

// Best is the trial that is best by the objective.
func (t Trials) Best(o search.Objective) (Trial, bool) {
	var best Trial
	found := false
	for _, x := range t.Trained() {
		if !found || o.Better(x.Scores[o], best.Scores[o]) {
			best, found = x, true
		}
	}
	return best, found
}
