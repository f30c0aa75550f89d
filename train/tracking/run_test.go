package tracking

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gojet/gojet/train/tracking/wandb"
)

// recorder is a further tracker.
type recorder struct {
	steps []int
	exit  int
	err   error
}

func (r *recorder) Log(row Row) error {
	r.steps = append(r.steps, row.Step)
	return r.err
}

func (r *recorder) Close(exit int) error {
	r.exit = exit
	return r.err
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	var console strings.Builder
	also := &recorder{exit: -1}
	o := Options{Dir: dir, Title: "quick", CSV: true, Plots: []string{"loss.svg", "loss.png"}, Console: &console, Also: []Tracker{also},
		WandB: wandb.Settings{Mode: wandb.Offline, Config: map[string]any{"lr": 1e-5}}}
	run, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	run.Logger().With("a", 1).WithGroup("g").Info("began", "b", "two words")
	run.Logger().Warn("a step was skipped", "step", 3)
	run.Logger().Debug("unseen")
	run.Progress().Start("warm", 20)
	var mark Mark
	for _, row := range course(20, 0) {
		if err := run.Log(row); err != nil {
			t.Fatal(err)
		}
		if row.Step == 0 {
			continue
		}
		run.Progress().Step(row.Step, row.Metrics[0].Value, 100)
		if row.Step == 10 {
			if mark, err = run.Mark(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := run.Close(0); err != nil {
		t.Fatal(err)
	}
	whole := read(t, filepath.Join(dir, MetricsFile))
	if len(also.steps) != 21 || also.exit != 0 || strings.Count(whole, "\n") != 21 {
		t.Errorf("the further tracker got steps %v and exit code %d, the file has\n%s", also.steps, also.exit, whole)
	}
	for _, line := range []string{"began a=1 g.b=\"two words\"\n", "warn: a step was skipped step=3\n", "warm  1/20  loss ", "warm 20/20  loss "} {
		if !strings.Contains(console.String(), line) || strings.Contains(console.String(), "unseen") {
			t.Errorf("the console lacks %q:\n%s", line, console.String())
		}
	}
	if log := read(t, filepath.Join(dir, LogFile)); !strings.Contains(log, "level=WARN msg=\"a step was skipped\" step=3\n") {
		t.Errorf("log:\n%s", log)
	}
	if table := read(t, filepath.Join(dir, CSVFile)); !strings.HasPrefix(table, "step,stage,eval/loss,loss,lr\n0,stage1,9,,\n1,stage1,") {
		t.Errorf("table:\n%s", table)
	}
	for _, name := range []string{"loss.svg", "loss.png"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() < 1000 {
			t.Errorf("plot: %v, error %v", info, err)
		}
	}
	outputs, err := filepath.Glob(filepath.Join(dir, "wandb", "offline-run-*", "files", "output.log"))
	if err != nil || len(outputs) != 1 {
		t.Fatalf("W&B's folders: %v, error %v", outputs, err)
	}
	if got := read(t, outputs[0]); got != "began a=1 g.b=\"two words\"\nwarn: a step was skipped step=3\n" {
		t.Errorf("W&B's output.log:\n%s", got)
	}

	o.Resume = &mark
	run, err = Open(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range course(20, 0)[11:] {
		if err := run.Log(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := run.Close(0); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(dir, MetricsFile)); got != whole {
		t.Errorf("resumed from step 10:\n%swant:\n%s", got, whole)
	}
	if got, err := filepath.Glob(filepath.Join(dir, "wandb", "offline-run-*")); err != nil || len(got) != 1 {
		t.Errorf("W&B's folders: %v, error %v, want the same one", got, err)
	}
}

func TestRunErrors(t *testing.T) {
	dir := t.TempDir()
	_, err := Open(Options{Dir: dir, Plots: []string{"loss.gif"}})
	wants(t, err, "want a name that ends in")
	_, err = Open(Options{Dir: filepath.Join(dir, "none")})
	wants(t, err, "no such file")
	_, err = Open(Options{Dir: dir, WandB: wandb.Settings{Mode: "sometimes"}})
	wants(t, err, "want online, offline or disabled")
	also := &recorder{err: errors.New("refused")}
	run, err := Open(Options{Dir: dir, Plots: []string{"loss.svg"}, Also: []Tracker{also}}) // nothing of the above is in its way
	if err != nil {
		t.Fatal(err)
	}
	wants(t, run.Log(Row{Step: 2}), "refused")
	wants(t, run.Log(Row{Step: 1}), "step 1 after step 2")
	wants(t, run.Close(1), "refused") // and no plot, as there is no loss
	if _, err := os.Stat(filepath.Join(dir, "loss.svg")); err == nil || !slices.Equal(also.steps, []int{2}) {
		t.Errorf("plot there: %v, steps %v", err == nil, also.steps)
	}
}

func TestSummary(t *testing.T) {
	rows := []Row{
		{0, "a", []Metric{{EvalLoss, 9}}},
		{1, "a", []Metric{{Loss, 4}, {LR, 1e-3}, {Tokens, 600}, {StepSeconds, 0.5}, {Skipped, 0}}},
		{2, "a", []Metric{{Loss, 2}, {LR, 2e-3}, {Tokens, 600}, {StepSeconds, 1.5}, {EvalLoss, 3}, {Skipped, 1}}},
		{3, "a", []Metric{{Loss, 2.5}, {LR, 1e-3}, {EvalLoss, 3.5}}},
		{4, "b", []Metric{{Loss, rows()[1].Metrics[0].Value}}},
	}
	got := Summarize(rows)
	if len(got) != 2 {
		t.Fatalf("%d stages, want 2", len(got))
	}
	for i, want := range []string{
		"a|3|2.5000|2.0000 @2|3.5000|3.0000 @2|0.002|1|1.20k|2s|600",
		"b|1|NaN|-|-|-|-|-|-|-|-",
	} {
		if cells := got[i].Cells(); strings.Join(cells, "|") != want || len(cells) != len(TableHead()) {
			t.Errorf("stage %d: %s, want %s", i, strings.Join(cells, "|"), want)
		}
	}
}

func TestReadRun(t *testing.T) {
	dir := t.TempDir()
	_, err := ReadRun(filepath.Join(dir, "none"))
	wants(t, err, "none: no such folder")
	_, err = ReadRun(dir)
	wants(t, err, "not the folder of a run: it has no metrics.jsonl")
	p := filepath.Join(dir, MetricsFile)
	write(t, p, "")
	_, err = ReadRun(p)
	wants(t, err, "metrics.jsonl: a file, want the folder of a run")
	_, err = ReadRun(dir)
	wants(t, err, "the run has no steps yet")
	write(t, p, "x\n")
	_, err = ReadRun(dir)
	wants(t, err, "metrics.jsonl:1: ")
	write(t, p, lines)
	got, err := ReadRun(dir)
	if err != nil || len(got) != 4 {
		t.Errorf("%d rows, error %v", len(got), err)
	}
}
