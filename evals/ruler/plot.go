package ruler

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// shades of the heat map, from a score of 0 to 1.
const shades = 64

// Plot writes the grid as a heat map, lengths to the right and depths downwards: PNG or SVG by the file's name.
func (g Grid) Plot(path, title string) error {
	if len(g.Scores) == 0 {
		return fmt.Errorf("ruler: %s: no score to plot", path)
	}
	p := plot.New()
	p.Title.Text = title
	p.X.Label.Text, p.Y.Label.Text = "length (tokens)", "depth of the needle (%)"
	heat := plotter.NewHeatMap(field{g}, scale{})
	heat.Min, heat.Max = 0, 1
	p.Add(heat)
	var x, y plot.ConstantTicks
	for i, l := range g.Lengths {
		x = append(x, plot.Tick{Value: float64(i), Label: Tokens(l)})
	}
	for i := range g.Depths {
		depth := g.Depths[len(g.Depths)-1-i]
		y = append(y, plot.Tick{Value: float64(i), Label: fmt.Sprint(math.Round(10*depth) / 10)})
	}
	p.X.Tick.Marker, p.Y.Tick.Marker = x, y
	labels := plotter.XYLabels{}
	for d := range g.Depths {
		for l := range g.Lengths {
			if s := g.Scores[d][l]; !math.IsNaN(s) {
				labels.XYs = append(labels.XYs, plotter.XY{X: float64(l), Y: float64(len(g.Depths) - 1 - d)})
				labels.Labels = append(labels.Labels, fmt.Sprintf("%.0f", 100*s))
			}
		}
	}
	scores, err := plotter.NewLabels(labels)
	if err != nil {
		return fmt.Errorf("ruler: %w", err)
	}
	for i := range scores.TextStyle {
		scores.TextStyle[i].XAlign, scores.TextStyle[i].YAlign = -0.5, -0.5
	}
	p.Add(scores)
	width := vg.Length(3+0.7*float64(len(g.Lengths))) * vg.Centimeter * 1.5
	height := vg.Length(3+0.6*float64(len(g.Depths))) * vg.Centimeter * 1.2
	if err := p.Save(width, height, path); err != nil {
		return fmt.Errorf("ruler: %w", err)
	}
	return nil
}

// field is the grid as the heat map reads it: columns are lengths, rows depths from below.
type field struct{ g Grid }

func (f field) Dims() (c, r int)   { return len(f.g.Lengths), len(f.g.Depths) }
func (f field) X(c int) float64    { return float64(c) }
func (f field) Y(r int) float64    { return float64(r) }
func (f field) Z(c, r int) float64 { return f.g.Scores[len(f.g.Depths)-1-r][c] }

// scale goes from red over yellow to green.
type scale struct{}

func (scale) Colors() []color.Color {
	all := make([]color.Color, shades)
	for i := range all {
		x := float64(i) / (shades - 1)
		red, green := math.Min(1, 2-2*x), math.Min(1, 2*x)
		all[i] = color.RGBA{uint8(90 + 160*red), uint8(90 + 140*green), 90, 255}
	}
	return all
}
