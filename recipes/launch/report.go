package launch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gojet/gojet/recipes"
	"github.com/gojet/gojet/search/report"
	"github.com/gojet/gojet/train/tracking"
)

// ReportDir holds the report of a search, in its run directory.
const ReportDir = "report"

// Report writes what the search in a run directory has found so far, as report.html, which needs nothing else, and report.md
// with its plots beside it. It returns the path of the page.
func Report(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	s := report.Search{Name: filepath.Base(abs), Placement: &report.Placement{}, Blocks: &report.Trials{}, Shape: &report.Trials{}, Plots: map[string]string{}}
	placed, err := readResult(filepath.Join(dir, PlacementDir), s.Placement)
	if err != nil {
		return "", err
	}
	if !placed {
		return "", fmt.Errorf("%s holds no finished search: it has no %s", dir, filepath.Join(PlacementDir, ResultFile))
	}
	if len(s.Placement.Objectives) == 0 {
		return "", fmt.Errorf("%s: the result of a placement has no objectives", dir)
	}
	for _, step := range []struct {
		dir string
		to  **report.Trials
	}{{BlocksDir, &s.Blocks}, {ShapeDir, &s.Shape}} {
		there, err := readResult(filepath.Join(dir, step.dir), *step.to)
		if err != nil {
			return "", err
		}
		if !there {
			*step.to = nil
		}
	}
	out := filepath.Join(dir, ReportDir)
	if err := os.MkdirAll(out, 0o755); err != nil {
		return "", err
	}
	if err := plots(dir, out, &s); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(out, "report.md"), []byte(s.Markdown()), 0o644); err != nil {
		return "", err
	}
	path := filepath.Join(out, "report.html")
	return path, os.WriteFile(path, []byte(s.HTML()), 0o644)
}

// SearchAll runs every step of the recipe's search, and writes the report.
func SearchAll(ctx context.Context, r *recipes.Recipe, o Options) (string, error) {
	if r.Search == nil {
		return "", fmt.Errorf("recipe %s has no search", r.Name)
	}
	if _, err := Placement(ctx, r, o); err != nil {
		return "", err
	}
	if r.Search.Blocks != nil {
		if _, err := Blocks(ctx, r, o); err != nil {
			return "", err
		}
	}
	if r.Search.Shape != nil {
		if _, err := Shapes(ctx, r, o); err != nil {
			return "", err
		}
	}
	return Report(r.Output)
}

// plots draws what there is to draw, into the report's folder and into the page.
func plots(dir, out string, s *report.Search) error {
	loss := filepath.Join(out, report.LossPlot+".svg")
	rows, err := tracking.ReadRun(filepath.Join(dir, PlacementDir))
	if err == nil {
		err = tracking.Plot(loss, []tracking.Curves{{Name: s.Name, Rows: rows}}, tracking.PlotOptions{Title: "super network", Log: true})
	}
	if err != nil && !errors.Is(err, tracking.ErrNoLoss) {
		return err
	}
	text, err := os.ReadFile(loss)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.Plots[report.LossPlot] = string(text)
	if s.Plots[report.ByFullPlot], err = s.Placement.PlotByFull(); err != nil {
		return err
	}
	if s.Shape != nil {
		if s.Plots[report.ShapePlot], err = s.Shape.Plot(s.Placement.Objectives[0]); err != nil {
			return err
		}
	}
	for _, name := range []string{report.ByFullPlot, report.ShapePlot} {
		if s.Plots[name] == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(out, name+".svg"), []byte(s.Plots[name]), 0o644); err != nil {
			return err
		}
	}
	return nil
}
