package tracking

import (
	"encoding/xml"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
)

// course is a run of two stages with noise that repeats.
func course(steps int, shift float64) (rows []Row) {
	rows = append(rows, Row{Stage: "stage1", Metrics: []Metric{{EvalLoss, 9 + shift}}})
	for i := 1; i <= steps; i++ {
		noise := 0.25 * math.Sin(float64(i)*12.9898) * math.Cos(float64(i*i)*0.37)
		r := Row{Step: i, Stage: "stage1", Metrics: []Metric{{Loss, 2 + shift + 6*math.Exp(-float64(i)/float64(steps)*6) + noise}, {LR, 1e-3}}}
		if i > steps/2 {
			r.Stage = "stage2"
			r.Metrics[0].Value -= 0.8
		}
		if i%(steps/20) == 0 {
			r.Metrics = append(r.Metrics, Metric{EvalLoss, r.Metrics[0].Value - noise + 0.1})
		}
		if i == steps/3 {
			r.Metrics[0].Value = math.NaN()
		}
		rows = append(rows, r)
	}
	return rows
}

func TestPlot(t *testing.T) {
	one, two := course(2000, 0), course(400, 0.3)
	for _, c := range []struct {
		name    string
		file    string
		runs    []Curves
		options PlotOptions
		parts   []string // of the SVG
		want    string
	}{
		{name: "one", file: "a.svg", runs: []Curves{{"one", one}}, options: PlotOptions{Title: "quick"},
			parts: []string{">quick<", ">stage1<", ">stage2<", ">train<", ">train, smoothed<", ">held-out<", ">9<", ">1000<"}},
		{name: "logarithmic", file: "a.svg", runs: []Curves{{"one", one}}, options: PlotOptions{Log: true}, parts: []string{">5<", ">2<", ">1<"}},
		{name: "two", file: "a.SVG", runs: []Curves{{"one", one}, {"two", two}}, parts: []string{">one<", ">one, held-out<", ">two<", ">two, held-out<"}},
		{name: "a picture", file: "a.png", runs: []Curves{{"one", one}}},
		{name: "one point", file: "a.svg", runs: []Curves{{"one", []Row{{Step: 1, Metrics: []Metric{{Loss, 2}}}}}}, parts: []string{">2<"}},
		{name: "one point, logarithmic", file: "a.svg", runs: []Curves{{"one", []Row{{Step: 1, Metrics: []Metric{{Loss, 2}}}}}},
			options: PlotOptions{Log: true}, parts: []string{">2<"}},
		{name: "constant zero", file: "a.svg", runs: []Curves{{"one", []Row{{Step: 1, Metrics: []Metric{{Loss, 0}}}}}}},
		{name: "huge", file: "a.svg", runs: []Curves{{"one", []Row{{Step: 1, Metrics: []Metric{{Loss, 1e300}}}, {Step: 1, Metrics: []Metric{{Loss, -1e300}}}}}}},
		{name: "no loss", file: "a.svg", runs: []Curves{{"one", rows()[1:2]}}, want: "no finite loss to plot"},
		{name: "no positive loss", file: "a.svg", runs: []Curves{{"one", []Row{{Step: 1, Metrics: []Metric{{Loss, 0}}}}}},
			options: PlotOptions{Log: true}, want: "no finite loss to plot"},
		{name: "no runs", file: "a.svg", want: "no finite loss to plot"},
		{name: "unknown format", file: "a.gif", runs: []Curves{{"one", one}}, want: "want a name that ends in .svg or .png"},
		{name: "no folder", file: "none/a.svg", runs: []Curves{{"one", one}}, want: "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := filepath.Join(t.TempDir(), c.file)
			wants(t, Plot(p, c.runs, c.options), c.want)
			if c.want != "" {
				if entries, err := os.ReadDir(filepath.Dir(p)); err == nil && len(entries) > 0 {
					t.Errorf("%v was left behind", entries)
				}
				return
			}
			data := read(t, p)
			if filepath.Ext(p) == ".png" {
				if _, err := png.Decode(strings.NewReader(data)); err != nil {
					t.Error(err)
				}
				return
			}
			if err := xml.Unmarshal([]byte(data), new(struct{})); err != nil {
				t.Error(err)
			}
			for _, part := range c.parts {
				if !strings.Contains(data, part) {
					t.Errorf("the picture lacks %q", part)
				}
			}
		})
	}
}

// TestThin: many points are few dots, and keep their mean.
func TestThin(t *testing.T) {
	var points segment
	for i := range 4096 {
		points = append(points, plotter.XY{X: float64(i), Y: float64(i % 7)})
	}
	few := thin(points)
	mean := func(points segment) (x, y float64) {
		for _, p := range points {
			x, y = x+p.X/float64(len(points)), y+p.Y/float64(len(points))
		}
		return x, y
	}
	x, y := mean(points)
	if fx, fy := mean(few); len(few) != 1024 || math.Abs(fx-x) > 1e-9 || math.Abs(fy-y) > 1e-9 {
		t.Errorf("%d points of mean %v, %v, want 1024 of %v, %v", len(few), fx, fy, x, y)
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		ticks           func(least, greatest float64) []plot.Tick
		least, greatest float64
		want            string
	}{
		{LinearTicks, 0, 1, "0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1"},
		{LinearTicks, 0.7, 9.3, "1 2 3 4 5 6 7 8 9"},
		{LinearTicks, 0, 2100, "0 500 1000 1500 2000"},
		{LinearTicks, 2.31, 2.33, "2.31 2.312 2.314 2.316 2.318 2.32 2.322 2.324 2.326 2.328 2.33"},
		{logTicks, 0.9, 30, "1 2 5 10 20"},
		{logTicks, 1e-4, 2e-3, "0.0001 0.0002 0.0005 0.001 0.002"},
		{logTicks, 2.1, 2.9, "2.1 2.2 2.3 2.4 2.5 2.6 2.7 2.8 2.9"},
	} {
		var labels []string
		for _, tick := range c.ticks(c.least, c.greatest) {
			labels = append(labels, tick.Label)
		}
		if got := strings.Join(labels, " "); got != c.want {
			t.Errorf("from %v to %v: %s, want %s", c.least, c.greatest, got, c.want)
		}
	}
}
