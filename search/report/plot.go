package report

import (
	"bytes"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/gojet/gojet/search"
	"github.com/gojet/gojet/train/tracking"
)

// Colours that are told apart by people of all kinds of colour vision.
var (
	strong = color.RGBA{0x00, 0x72, 0xb2, 0xff}
	faint  = color.RGBA{0x90, 0x90, 0x90, 0xff}
)

const (
	plotWidth  = 7 * vg.Inch
	plotHeight = 4 * vg.Inch
)

func canvas(x, y string) *plot.Plot {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = x, y
	p.BackgroundColor = color.White
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{0xe6}, color.Gray{0xe6}
	p.Add(grid)
	return p
}

func svg(p *plot.Plot) (string, error) {
	w, err := p.WriterTo(plotWidth, plotHeight, "svg")
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	_, err = w.WriteTo(&b)
	return b.String(), err
}

// PlotByFull draws the first objective over the number of full-attention layers, with the teacher as a line; "" where too few
// were measured.
func (p Placement) PlotByFull() (string, error) {
	if len(p.ByFull) < 2 {
		return "", nil
	}
	o := p.Objectives[0]
	var points plotter.XYs
	for n, r := range p.ByFull {
		points = append(points, plotter.XY{X: float64(n), Y: r.Scores[o]})
	}
	c := canvas("layers of full attention", string(o))
	l, dots, err := plotter.NewLinePoints(points)
	if err != nil {
		return "", err
	}
	l.Color, dots.Color, dots.Shape = strong, strong, draw.CircleGlyph{}
	teacher, err := plotter.NewLine(plotter.XYs{{X: 0, Y: p.Teacher[o]}, {X: float64(len(p.ByFull) - 1), Y: p.Teacher[o]}})
	if err != nil {
		return "", err
	}
	teacher.Color, teacher.Dashes = faint, []vg.Length{vg.Points(4), vg.Points(3)}
	c.Add(teacher, l, dots)
	c.Legend.Add("searched", l)
	c.Legend.Add("teacher", teacher)
	c.Legend.Top = true
	c.Y.Tick.Marker = plot.TickerFunc(tracking.LinearTicks)
	return svg(c)
}

// Plot draws decoding speed against an objective, every trial with its name, those of the Pareto set filled; "" where none was
// trained.
func (t Trials) Plot(o search.Objective) (string, error) {
	front := map[string]bool{}
	for _, name := range t.Pareto(o) {
		front[name] = true
	}
	var in, out plotter.XYs
	var labels plotter.XYLabels
	for _, x := range t.Trained() {
		at := plotter.XY{X: x.DecodeTokensPerSecond, Y: x.Scores[o]}
		if front[x.Name] {
			in = append(in, at)
		} else {
			out = append(out, at)
		}
		labels.XYs, labels.Labels = append(labels.XYs, at), append(labels.Labels, " "+x.Name)
	}
	if len(labels.XYs) == 0 {
		return "", nil
	}
	c := canvas("decoding, tokens/s", string(o))
	for _, set := range []struct {
		name   string
		points plotter.XYs
		shape  draw.GlyphDrawer
		colour color.Color
	}{{"Pareto set", in, draw.CircleGlyph{}, strong}, {"beaten", out, draw.RingGlyph{}, faint}} {
		if len(set.points) == 0 {
			continue
		}
		dots, err := plotter.NewScatter(set.points)
		if err != nil {
			return "", err
		}
		dots.GlyphStyle = draw.GlyphStyle{Color: set.colour, Radius: vg.Points(4), Shape: set.shape}
		c.Add(dots)
		c.Legend.Add(set.name, dots)
	}
	names, err := plotter.NewLabels(labels)
	if err != nil {
		return "", err
	}
	c.Add(names)
	c.Legend.Top = true
	c.Y.Tick.Marker = plot.TickerFunc(tracking.LinearTicks)
	return svg(c)
}
