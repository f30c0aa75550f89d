package main

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/gojet/gojet/train/tracking"
)

type reportFlags struct {
	plot string
	log  bool
	json bool
}

func newReport() *cobra.Command {
	var f reportFlags
	c := &cobra.Command{
		Use:   "report RUN ...",
		Short: "Compare runs: losses, tokens, time",
		Long: `Compare runs: losses, tokens, time.

RUN is the folder of a run. The table has a line for each of its stages: the loss of the last step and the best one
with its step, the same of held-out data, the highest learning rate, steps whose update was skipped, and what the
steps took. A run that is still going on, or was killed, is shown as far as it got.`,
		Example: `  gojet report runs/a runs/b
  gojet report --plot losses.svg --log runs/*
  gojet report --json runs/a`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if f.log && f.plot == "" {
				return fmt.Errorf("--log goes with --plot")
			}
			return compareRuns(c.OutOrStdout(), f, args)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.plot, "plot", "", "draw the losses into a `FILE` that ends in .svg or .png")
	flags.BoolVar(&f.log, "log", false, "with --plot, draw them on a logarithmic scale")
	flags.BoolVar(&f.json, "json", false, "write the summaries as JSON instead of the table")
	return c
}

// reportedRun is a run in the report.
type reportedRun struct {
	Run    string             `json:"run"`
	Stages []tracking.Summary `json:"stages"`
}

func compareRuns(out io.Writer, f reportFlags, dirs []string) error {
	var runs []reportedRun
	var curves []tracking.Curves
	for _, dir := range dirs {
		rows, err := tracking.ReadRun(dir)
		if err != nil {
			return err
		}
		name := filepath.Clean(dir)
		runs = append(runs, reportedRun{name, tracking.Summarize(rows)})
		curves = append(curves, tracking.Curves{Name: name, Rows: rows})
	}
	if f.plot != "" {
		title := ""
		if len(runs) == 1 {
			title = runs[0].Run
		}
		if err := tracking.Plot(f.plot, curves, tracking.PlotOptions{Title: title, Log: f.log}); err != nil {
			return err
		}
	}
	if f.json {
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(runs)
	}
	return writeTable(out, runs)
}

func writeTable(out io.Writer, runs []reportedRun) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(cells ...string) { fmt.Fprintln(table, strings.Join(cells, "\t")) } // an error stays until Flush
	line(append([]string{"run"}, tracking.TableHead()...)...)
	for _, r := range runs {
		for _, s := range r.Stages {
			line(append([]string{r.Run}, s.Cells()...)...)
		}
	}
	return table.Flush()
}
