package tracking

import (
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Curves are the rows of one run, under a name for the legend.
type Curves struct {
	Name string
	Rows []Row
}

// PlotOptions say how a plot looks.
type PlotOptions struct {
	Title string
	Log   bool // logarithmic loss
}

// ErrNoLoss is what Plot returns where there is nothing to draw.
var ErrNoLoss = errors.New("no finite loss to plot")

// Size of a plot.
const (
	plotWidth  = 9 * vg.Inch
	plotHeight = 5 * vg.Inch
)

// Plot draws train and held-out loss over steps into a .svg or .png file. One run shows every step, the smoothed
// course and where its stages begin; several runs have a colour each, smoothed, held-out loss dashed.
func Plot(path string, runs []Curves, o PlotOptions) error {
	format, err := plotFormat(path)
	if err != nil {
		return err
	}
	c := canvas{Plot: plot.New(), log: o.Log, least: math.Inf(1), greatest: math.Inf(-1)}
	c.style(o.Title)
	for i, run := range runs {
		if err := c.add(run, palette[i%len(palette)], len(runs) == 1); err != nil {
			return fmt.Errorf("plot %s: %w", path, err)
		}
	}
	if c.least > c.greatest {
		return fmt.Errorf("plot %s: %w", path, ErrNoLoss)
	}
	c.scale()
	if len(runs) == 1 {
		c.stages(runs[0].Rows)
	}
	w, err := c.WriterTo(plotWidth, plotHeight, format)
	if err != nil {
		return fmt.Errorf("plot %s: %w", path, err)
	}
	return writeFile(path, func(f io.Writer) error {
		_, err := w.WriteTo(f)
		return err
	})
}

func plotFormat(path string) (string, error) {
	format := strings.TrimPrefix(strings.ToLower(filepath.Ext(path)), ".")
	if format != "svg" && format != "png" {
		return "", fmt.Errorf("plot %s: want a name that ends in .svg or .png", path)
	}
	return format, nil
}

// palette is told apart by people of all kinds of colour vision (Okabe and Ito, https://jfly.uni-koeln.de/color/).
var palette = []color.RGBA{
	{0x00, 0x72, 0xb2, 0xff}, {0xd5, 0x5e, 0x00, 0xff}, {0x00, 0x9e, 0x73, 0xff}, {0xcc, 0x79, 0xa7, 0xff},
	{0xe6, 0x9f, 0x00, 0xff}, {0x56, 0xb4, 0xe9, 0xff}, {0x40, 0x40, 0x40, 0xff},
}

var (
	gridColor  = color.Gray{0xe6}
	stageColor = color.Gray{0x80}
)

// canvas is a plot and the range of what it shows.
type canvas struct {
	*plot.Plot
	log             bool
	least, greatest float64 // loss
}

func (c *canvas) style(title string) {
	c.Title.Text = title
	c.Title.Padding = vg.Points(6)
	c.X.Label.Text, c.Y.Label.Text = "step", "loss"
	c.Legend.Top = true
	c.Legend.Padding = vg.Points(2)
	c.Legend.XOffs, c.Legend.YOffs = vg.Points(-8), vg.Points(-16)
	c.BackgroundColor = color.White
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = gridColor, gridColor
	c.Add(grid)
	if c.log {
		c.Y.Scale = plot.LogScale{}
	}
}

// add draws the curves of one run.
func (c *canvas) add(run Curves, colour color.RGBA, alone bool) error {
	train, held := c.points(run.Rows, Loss), c.points(run.Rows, EvalLoss)
	if alone {
		if err := c.line("train", train, draw.LineStyle{Color: fade(colour), Width: vg.Points(0.7)}); err != nil {
			return err
		}
		if err := c.line("train, smoothed", smooth(train), draw.LineStyle{Color: colour, Width: vg.Points(1.6)}); err != nil {
			return err
		}
		return c.held("held-out", held, draw.LineStyle{Color: palette[1], Width: vg.Points(1.6)})
	}
	if err := c.line(run.Name, smooth(train), draw.LineStyle{Color: colour, Width: vg.Points(1.5)}); err != nil {
		return err
	}
	return c.held(run.Name+", held-out", held,
		draw.LineStyle{Color: colour, Width: vg.Points(1.2), Dashes: []vg.Length{vg.Points(5), vg.Points(3)}})
}

// segment is a curve within one stage: losses of different stages may mean different things, so no line joins them.
type segment = plotter.XYs

// points returns what a plot can show of a metric, stage by stage.
func (c *canvas) points(rows []Row, metric string) (segments []segment) {
	stage, open := "", false
	for _, r := range rows {
		v, ok := r.Get(metric)
		if !ok || math.IsNaN(v) || math.IsInf(v, 0) || c.log && v <= 0 {
			continue
		}
		if !open || r.Stage != stage {
			segments = append(segments, nil)
			stage, open = r.Stage, true
		}
		last := &segments[len(segments)-1]
		*last = append(*last, plotter.XY{X: float64(r.Step), Y: v})
	}
	for i := range segments {
		segments[i] = thin(segments[i])
	}
	return segments
}

// mostPoints of a segment that are drawn: more than there are dots across the plot would only make it larger.
const mostPoints = 1500

// thin replaces neighbours by their mean until few enough points are left.
func thin(points segment) segment {
	for len(points) > mostPoints {
		half := make(segment, 0, (len(points)+1)/2)
		for i := 0; i+1 < len(points); i += 2 {
			half = append(half, plotter.XY{X: (points[i].X + points[i+1].X) / 2, Y: (points[i].Y + points[i+1].Y) / 2})
		}
		if len(points)%2 == 1 {
			half = append(half, points[len(points)-1])
		}
		points = half
	}
	return points
}

// smooth is the mean of the neighbours on both sides, together about a thirtieth of the segment, fewer at its ends:
// unlike a mean of the past it does not lag behind.
func smooth(segments []segment) []segment {
	out := make([]segment, len(segments))
	for i, points := range segments {
		sums := make([]float64, len(points)+1)
		for j, p := range points {
			sums[j+1] = sums[j] + p.Y
		}
		for j, p := range points {
			reach := min(len(points)/60, j, len(points)-1-j)
			mean := (sums[j+reach+1] - sums[j-reach]) / float64(2*reach+1)
			out[i] = append(out[i], plotter.XY{X: p.X, Y: mean})
		}
	}
	return out
}

// line draws a curve and gives it one entry in the legend.
func (c *canvas) line(name string, segments []segment, style draw.LineStyle) error {
	for i, s := range segments {
		for _, p := range s {
			c.least, c.greatest = min(c.least, p.Y), max(c.greatest, p.Y)
		}
		l, err := plotter.NewLine(s)
		if err != nil {
			return err
		}
		l.LineStyle = style
		c.Add(l)
		if i == 0 {
			c.Legend.Add(name, l)
		}
	}
	return nil
}

// held draws held-out loss, which is measured rarely: a dot for each value too.
func (c *canvas) held(name string, segments []segment, style draw.LineStyle) error {
	if err := c.line(name, segments, style); err != nil {
		return err
	}
	for _, s := range segments {
		dots, err := plotter.NewScatter(s)
		if err != nil {
			return err
		}
		dots.GlyphStyle = draw.GlyphStyle{Color: style.Color, Radius: vg.Points(2), Shape: draw.CircleGlyph{}}
		c.Add(dots)
	}
	return nil
}

// scale sets the range of the loss, with some room, and marks that fit it.
func (c *canvas) scale() {
	if c.X.Max > c.X.Min {
		c.X.Tick.Marker = plot.TickerFunc(LinearTicks)
	}
	least, greatest := c.least, c.greatest
	if !c.log {
		room := max(0.04*(greatest-least), 1e-3*math.Abs(greatest), 1e-9)
		c.Y.Min, c.Y.Max = least-room, greatest+room
		c.Y.Tick.Marker = plot.TickerFunc(LinearTicks)
		return
	}
	room := max(math.Pow(greatest/least, 0.04), 1.001)
	c.Y.Min, c.Y.Max = least/room, greatest*room
	c.Y.Tick.Marker = plot.TickerFunc(logTicks)
}

// LinearTicks marks up to eleven multiples of 1, 2 or 5 times a power of ten.
func LinearTicks(least, greatest float64) []plot.Tick {
	const rounding = 1e-6 // of a mark's place, in marks
	size := math.Pow(10, math.Floor(math.Log10(greatest-least)))
	for _, part := range []float64{0.1, 0.2, 0.5} {
		if (greatest-least)/(part*size) <= 10+rounding {
			size *= part
			break
		}
	}
	var ticks []plot.Tick
	// 0 is added as it makes 0 of -0.
	for i := math.Ceil(least/size-rounding) + 0; i <= greatest/size+rounding; i++ {
		ticks = append(ticks, plot.Tick{Value: i * size, Label: strconv.FormatFloat(i*size, 'g', 6, 64)})
	}
	return ticks
}

// logTicks marks 1, 2, 5 of each decade, or as LinearTicks where the range is too narrow to hold enough of those.
func logTicks(least, greatest float64) []plot.Tick {
	var ticks []plot.Tick
	for e := math.Floor(math.Log10(least)); e <= math.Log10(greatest); e++ {
		for _, m := range []float64{1, 2, 5} {
			if v := m * math.Pow(10, e); v >= least && v <= greatest {
				ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'g', 6, 64)})
			}
		}
	}
	if len(ticks) < 3 {
		return LinearTicks(least, greatest)
	}
	return ticks
}

// stages draws a line where each stage begins, with its name at the top.
func (c *canvas) stages(rows []Row) {
	var marks stageMarks
	for i, r := range rows {
		if r.Stage != "" && (i == 0 || rows[i-1].Stage != r.Stage) {
			marks = append(marks, stageMark{float64(r.Step), r.Stage})
		}
	}
	c.Add(marks)
}

type stageMark struct {
	step float64
	name string
}

// stageMarks is a plot.Plotter.
type stageMarks []stageMark

func (marks stageMarks) Plot(area draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&area)
	line := draw.LineStyle{Color: stageColor, Width: vg.Points(0.8), Dashes: []vg.Length{vg.Points(2), vg.Points(2)}}
	style := p.X.Tick.Label
	style.Color, style.XAlign, style.YAlign = stageColor, text.XLeft, text.YTop
	for _, m := range marks {
		at := x(m.step)
		area.StrokeLine2(line, at, area.Min.Y, at, area.Max.Y)
		area.FillText(style, vg.Point{X: at + vg.Points(3), Y: area.Max.Y - vg.Points(2)}, m.name)
	}
}

// fade mixes a colour with white.
func fade(c color.RGBA) color.RGBA {
	mix := func(v uint8) uint8 { return uint8((int(v) + 2*0xff) / 3) }
	return color.RGBA{mix(c.R), mix(c.G), mix(c.B), c.A}
}
