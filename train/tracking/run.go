package tracking

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/gojet/gojet/train/tracking/wandb"
)

// Names of the files in a run's folder.
const (
	MetricsFile = "metrics.jsonl"
	CSVFile     = "metrics.csv"
	LogFile     = "run.log"
)

// Options of what a run writes.
type Options struct {
	Dir    string // the run's folder, which must exist
	Title  string // of the plot
	Resume *Mark  // of the checkpoint that the run goes on from, nil for a new run

	CSV     bool     // write metrics.csv at the end
	Plots   []string // to draw at the end: names in Dir that end in .svg or .png
	LogLoss bool     // logarithmic loss in the plots

	Console io.Writer     // takes progress and messages; nil for none
	Every   time.Duration // between plain lines of progress; 0 for ten seconds

	WandB wandb.Settings // State and Resume are filled in
	Also  []Tracker      // further ones, which end with the run; an error of theirs stops the training
}

// Run is what a training tells its course to. It fans out: every row to the metrics file, W&B and further trackers.
type Run struct {
	options  Options
	metrics  *Metrics
	wandb    *wandb.Run
	progress Progress
	file     *os.File // the log
	log      *slog.Logger
}

var _ Tracker = (*Run)(nil)

// Open begins to take down a run.
func Open(o Options) (*Run, error) {
	for _, name := range o.Plots {
		if _, err := plotFormat(name); err != nil {
			return nil, err
		}
	}
	if o.Console == nil {
		o.Console = io.Discard
	}
	if o.Every == 0 {
		o.Every = 10 * time.Second
	}
	r := &Run{options: o, progress: NewProgress(o.Console, o.Every)}
	var err error
	if r.metrics, err = OpenMetrics(filepath.Join(o.Dir, MetricsFile), o.Resume); err != nil {
		return nil, err
	}
	if r.file, err = os.OpenFile(filepath.Join(o.Dir, LogFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644); err != nil {
		return nil, errors.Join(err, r.metrics.Close(0))
	}
	s := o.WandB
	s.State, s.Resume = o.Dir, o.Resume != nil
	own := slog.NewMultiHandler(newConsole(r.progress), slog.NewTextHandler(r.file, &slog.HandlerOptions{Level: slog.LevelDebug}))
	// W&B's own warnings go everywhere but to W&B, whose log ends with the run.
	if r.wandb, err = wandb.Open(s, slog.New(own)); err != nil {
		return nil, errors.Join(err, r.metrics.Close(0), r.file.Close())
	}
	r.log = slog.New(own)
	if r.wandb != nil {
		r.log = slog.New(slog.NewMultiHandler(own, newConsole(r.wandb)))
	}
	return r, nil
}

// Logger takes messages: to run.log, and those that are more than details to the console and W&B.
func (r *Run) Logger() *slog.Logger { return r.log }

// Progress shows how far the run is, on the console.
func (r *Run) Progress() Progress { return r.progress }

// Log takes down a row. An error means that the row is not in the metrics file, or that a further tracker refused it.
func (r *Run) Log(row Row) error {
	if err := r.metrics.Log(row); err != nil {
		return err
	}
	if r.wandb != nil {
		items := make([]wandb.Item, 0, len(row.Metrics)+1)
		if row.Stage != "" {
			items = append(items, wandb.Item{Key: stageKey, Value: row.Stage})
		}
		for _, m := range row.Metrics {
			items = append(items, wandb.Item{Key: m.Name, Value: m.Value})
		}
		r.wandb.Log(row.Step, items)
	}
	var errs []error
	for _, t := range r.options.Also {
		errs = append(errs, t.Log(row))
	}
	return errors.Join(errs...)
}

// Mark brings all rows so far to the disk and returns their place, for a checkpoint.
func (r *Run) Mark() (Mark, error) { return r.metrics.Mark() }

// Close ends the run with the exit code of the process: it ends the progress, writes table and plots, and closes all.
func (r *Run) Close(exit int) error {
	r.progress.Done()
	errs := []error{r.metrics.Close(exit), r.results()}
	for _, t := range r.options.Also {
		errs = append(errs, t.Close(exit))
	}
	if r.wandb != nil {
		errs = append(errs, r.wandb.Close(exit))
	}
	return errors.Join(append(errs, r.file.Close())...)
}

// results writes what is made of all rows. A run that ended before its first loss has nothing to draw.
func (r *Run) results() error {
	if !r.options.CSV && len(r.options.Plots) == 0 {
		return nil
	}
	rows, err := ReadMetrics(filepath.Join(r.options.Dir, MetricsFile))
	if err != nil {
		return err
	}
	var errs []error
	if r.options.CSV {
		errs = append(errs, writeFile(filepath.Join(r.options.Dir, CSVFile), func(w io.Writer) error { return WriteCSV(w, rows) }))
	}
	for _, name := range r.options.Plots {
		err := Plot(filepath.Join(r.options.Dir, name), []Curves{{r.options.Title, rows}}, PlotOptions{r.options.Title, r.options.LogLoss})
		if !errors.Is(err, ErrNoLoss) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// writeFile writes a file that is seen whole or not at all.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	err = errors.Join(write(f), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
