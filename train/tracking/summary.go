package tracking

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// Summary is what a stage of a run came to. Values that were not measured are nil.
type Summary struct {
	Stage           string  `json:"stage,omitempty"`
	Steps           int     `json:"steps"` // that have a loss
	LastStep        int     `json:"last_step"`
	Loss            *Number `json:"loss"` // of the last step
	BestLoss        *Number `json:"best_loss"`
	BestStep        int     `json:"best_step,omitempty"`
	EvalLoss        *Number `json:"eval_loss"` // the last one
	BestEvalLoss    *Number `json:"best_eval_loss"`
	BestEvalStep    int     `json:"best_eval_step,omitempty"`
	PeakLR          *Number `json:"peak_lr"`
	LR              *Number `json:"lr"` // of the last step
	Skipped         *Number `json:"skipped"`
	Tokens          *Number `json:"tokens"`
	Seconds         *Number `json:"seconds"` // in steps: without evaluation and saving
	TokensPerSecond *Number `json:"tokens_per_second"`
}

// ReadRun returns the rows of a run's folder.
func ReadRun(dir string) ([]Row, error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: no such folder", dir)
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, fmt.Errorf("%s: a file, want the folder of a run", dir)
	}
	rows, err := ReadMetrics(filepath.Join(dir, MetricsFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: not the folder of a run: it has no %s", dir, MetricsFile)
	case err != nil:
		return nil, err
	case len(rows) == 0:
		return nil, fmt.Errorf("%s: the run has no steps yet", dir)
	}
	return rows, nil
}

// Summarize returns a summary for each stage, in the order of their first rows.
func Summarize(rows []Row) []Summary {
	var all []Summary
	at := map[string]int{}
	for _, r := range rows {
		i, ok := at[r.Stage]
		if !ok {
			i = len(all)
			at[r.Stage] = i
			all = append(all, Summary{Stage: r.Stage})
		}
		all[i].add(r)
	}
	for i := range all {
		if s := &all[i]; s.Tokens != nil && s.Seconds != nil && *s.Seconds > 0 {
			rate := *s.Tokens / *s.Seconds
			s.TokensPerSecond = &rate
		}
	}
	return all
}

func (s *Summary) add(r Row) {
	s.LastStep = r.Step
	for _, m := range r.Metrics {
		v := Number(m.Value)
		switch m.Name {
		case Loss:
			s.Steps++
			s.Loss = &v
			s.BestLoss, s.BestStep = lower(s.BestLoss, s.BestStep, v, r.Step)
		case EvalLoss:
			s.EvalLoss = &v
			s.BestEvalLoss, s.BestEvalStep = lower(s.BestEvalLoss, s.BestEvalStep, v, r.Step)
		case LR:
			s.LR = &v
			if s.PeakLR == nil || v > *s.PeakLR {
				s.PeakLR = &v
			}
		case Skipped:
			s.Skipped = &v
		case Tokens:
			s.Tokens = sum(s.Tokens, v)
		case StepSeconds:
			s.Seconds = sum(s.Seconds, v)
		}
	}
}

// lower is the lower of the best so far and v; NaN is never the best.
func lower(best *Number, at int, v Number, step int) (*Number, int) {
	if math.IsNaN(float64(v)) || best != nil && *best <= v {
		return best, at
	}
	return &v, step
}

func sum(a *Number, v Number) *Number {
	if a != nil {
		v += *a
	}
	return &v
}

// TableHead are the columns of Summary.Cells.
func TableHead() []string {
	return strings.Fields("stage steps loss best eval best lr skipped tokens time tokens/s")
}

// Cells are the summary's values to be read in a table, "-" where there is none.
func (s Summary) Cells() []string {
	cell := func(v *Number, format func(float64) string) string {
		if v == nil {
			return "-"
		}
		return format(float64(*v))
	}
	best := func(v *Number, step int) string {
		if v == nil {
			return "-"
		}
		return fmt.Sprintf("%s @%d", lossText(float64(*v)), step)
	}
	plain := func(v float64) string { return fmt.Sprintf("%.4g", v) }
	stage := s.Stage
	if stage == "" {
		stage = "-"
	}
	return []string{
		stage, fmt.Sprint(s.Steps), cell(s.Loss, lossText), best(s.BestLoss, s.BestStep),
		cell(s.EvalLoss, lossText), best(s.BestEvalLoss, s.BestEvalStep), cell(s.PeakLR, plain), cell(s.Skipped, plain),
		cell(s.Tokens, count), cell(s.Seconds, secondsText), cell(s.TokensPerSecond, count),
	}
}
