// Package harness runs tasks of package suite on a model: it makes their prompts, asks the model, judges the answers,
// and puts the scores together, as lm-evaluation-harness does.
package harness

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/gojet/gojet/datasets/tokenizer"
	"github.com/gojet/gojet/evals"
	"github.com/gojet/gojet/evals/metrics"
	"github.com/gojet/gojet/evals/suite"
)

// Config is how tasks are run.
type Config struct {
	// Data is the folder of the data sets.
	Data string
	// FewshotData is a folder with files of examples that tasks may ask for, or "".
	FewshotData string
	// NumFewshot is how many examples every task has that does not say 0; −1 leaves it to the tasks.
	NumFewshot int
	// Lengths, in tokens, and the number of Samples of each, are those of tasks whose documents are generated. Tokenizer is the
	// model's; those of recall need it.
	Lengths   []int
	Samples   int
	Tokenizer tokenizer.Tokenizer
	// Limit bounds the documents of a task: a number from 1 on, a part below 1, or 0 for all.
	Limit float64
	// BatchSize is how many requests the model computes together. It is handed some times as many at once.
	BatchSize int
	// Seed is what the choice of examples begins from.
	Seed int64
	// Bootstrap is how often documents are drawn again for standard errors that have no formula; 0 is no standard errors at all.
	Bootstrap int
	// Generation is put over the generation_kwargs of tasks.
	Generation suite.Options
	// Runner runs the code that the model writes; nil forbids it.
	Runner metrics.Runner
	// Chat writes prompts as conversations; nil leaves them plain. Multiturn makes each example a question and an answer
	// of their own.
	Chat      template
	Multiturn bool
	// SystemInstruction stands before every prompt.
	SystemInstruction string
}

// Defaults of a run.
func Defaults() Config {
	return Config{NumFewshot: -1, Lengths: []int{4096}, Samples: 100, BatchSize: 8, Seed: 1234, Bootstrap: 100_000, Multiturn: true}
}

// Validate reports the first value that cannot be.
func (c Config) Validate() error {
	switch {
	case c.NumFewshot < -1:
		return fmt.Errorf("num-fewshot is %d, want 0 or more", c.NumFewshot)
	case c.Limit < 0 || math.IsNaN(c.Limit) || c.Limit > 1 && c.Limit != math.Trunc(c.Limit):
		return fmt.Errorf("limit is %v, want a number of documents, or a part of them below 1", c.Limit)
	case c.BatchSize < 1 || c.BatchSize > 1<<16:
		return fmt.Errorf("batch-size is %d, want 1 to %d", c.BatchSize, 1<<16)
	case c.Samples < 1:
		return fmt.Errorf("samples is %d, want 1 or more", c.Samples)
	case c.Bootstrap < 0:
		return fmt.Errorf("bootstrap-iters is %d, want 0 or more", c.Bootstrap)
	case c.Seed < 0:
		return fmt.Errorf("seed is %d, want 0 or more", c.Seed)
	}
	return nil
}

// TaskResult is what a task has come to.
type TaskResult struct {
	Task      *suite.Task
	Shots     int
	Documents int // evaluated, of Available
	Available int
	Scores    []Score
}

// GroupResult is what a group has come to.
type GroupResult struct {
	suite.Selected
	Documents int
	Scores    []Score
}

// Results of all tasks and groups, in the order in which they were asked for.
type Results struct {
	Tasks  []TaskResult
	Groups []GroupResult
}

// Watcher sees how a run gets on. It is called from one goroutine.
type Watcher interface {
	// Begin says that a task, number `task` of all from 0, has so many requests.
	Begin(name string, task, tasks, requests int)
	// Done says that so many more requests of the task are answered.
	Done(requests int)
	// Sample is a document that was judged.
	Sample(task string, s Sample) error
}

// Harness runs tasks. Encoder is nil where the tokenizer of the model is not at hand, Store where answers are not kept.
type Harness struct {
	Config  Config
	Model   evals.Model
	Encoder evals.Encoder
	Store   *Store
	Watcher Watcher
}

// Run runs the tasks of a selection one after the other. Before the first request it looks whether all that they need
// is there.
func (h *Harness) Run(ctx context.Context, sel suite.Selection) (*Results, error) {
	if err := h.Config.Validate(); err != nil {
		return nil, fmt.Errorf("harness: %w", err)
	}
	jobs := make([]*job, len(sel.Tasks))
	for i, t := range sel.Tasks {
		var err error
		if jobs[i], err = newJob(ctx, t, h.Config, h.Encoder); err != nil {
			return nil, err
		}
	}
	r := &Results{}
	for i, j := range jobs {
		t, err := h.task(ctx, j, i, len(jobs))
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, fmt.Errorf("task %s: %w", j.Name, err)
		}
		r.Tasks = append(r.Tasks, t)
	}
	for _, g := range sel.Groups {
		r.Groups = append(r.Groups, r.group(g))
	}
	return r, nil
}

// task runs one task.
func (h *Harness) task(ctx context.Context, j *job, at, all int) (TaskResult, error) {
	t := TaskResult{Task: j.Task, Shots: j.shots}
	items, documents, err := j.items(ctx, h.Encoder)
	if err != nil {
		return t, err
	}
	t.Documents, t.Available = len(items), documents
	requests := 0
	for _, it := range items {
		requests += len(it.scored) + len(it.prompted)
	}
	h.Watcher.Begin(j.Name, at, all, requests)
	if err := h.answer(ctx, items); err != nil {
		return t, err
	}
	var values [][]judged
	for _, it := range items {
		v, err := j.judge(ctx, it)
		if err != nil {
			return t, err
		}
		values = append(values, v)
		for _, g := range v {
			if err := h.Watcher.Sample(j.Name, it.sample(g)); err != nil {
				return t, err
			}
		}
	}
	t.Scores = h.Config.scores(values)
	return t, nil
}

// group puts the scores of a group's tasks together.
func (r *Results) group(g suite.Selected) GroupResult {
	out := GroupResult{Selected: g}
	var tasks []TaskResult
	for _, name := range g.Leaves {
		i := slices.IndexFunc(r.Tasks, func(t TaskResult) bool { return t.Task.Name == name })
		tasks = append(tasks, r.Tasks[i])
		out.Documents += r.Tasks[i].Documents
	}
	for _, a := range spelledOut(g.Aggregates, tasks) {
		filters := []string(a.Filters)
		if len(filters) == 0 {
			filters = filtersOf(a.Metric, tasks)
		}
		for _, f := range filters {
			if s, ok := together(a, f, tasks); ok {
				out.Scores = append(out.Scores, s)
			}
		}
	}
	return out
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
