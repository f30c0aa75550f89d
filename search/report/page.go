package report

import (
	"fmt"
	"html"
	"math"
	"strings"

	"github.com/gojet/gojet/search"
	"github.com/gojet/gojet/search/placement"
)

// Search is everything that a recipe's search has found so far; steps that were not run are nil.
type Search struct {
	Name      string
	Placement *Placement
	Blocks    *Trials
	Shape     *Trials
	// Plots are SVG images by name: loss of the super network, speed against quality of the shapes.
	Plots map[string]string
}

// Names of plots.
const (
	LossPlot   = "loss"
	ByFullPlot = "by_full"
	ShapePlot  = "shape"
)

// page is a document that is written as Markdown or as HTML.
type page interface {
	heading(level int, text string)
	text(text string)
	table(head []string, rows [][]cell)
	image(name, title string)
	code(text string)
}

// cell is a field of a table; shade from 0 to 1 colours it, below 0 does not.
type cell struct {
	text  string
	shade float64
}

func plain(text string) cell { return cell{text, -1} }

func number(x float64) string { return fmt.Sprintf("%.4g", x) }

func cells(first string, s search.Scores, by []search.Objective) []cell {
	row := []cell{plain(first)}
	for _, o := range by {
		row = append(row, plain(number(s[o])))
	}
	return row
}

func head(first string, by []search.Objective) []string {
	row := []string{first}
	for _, o := range by {
		row = append(row, string(o))
	}
	return row
}

// Markdown is the report for a reader of text. Plots are files beside it, named NAME.svg.
func (s Search) Markdown() string {
	m := &markdown{plots: s.Plots}
	s.write(m)
	return m.String()
}

// HTML is the report as one page that needs nothing else.
func (s Search) HTML() string {
	w := &htmlPage{plots: s.Plots}
	w.WriteString("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>" + html.EscapeString(s.Name) + `</title><style>
body{font:15px/1.5 system-ui,sans-serif;max-width:95em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0;display:block;overflow-x:auto}
th,td{border:1px solid #ddd;padding:.25em .6em;text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
pre{background:#f4f4f4;padding:.6em;overflow-x:auto}
svg{max-width:100%;height:auto}
</style></head><body>
`)
	s.write(w)
	w.WriteString("</body></html>\n")
	return w.String()
}

func (s Search) write(p page) {
	p.heading(1, s.Name)
	if s.Placement != nil {
		s.placement(p)
	}
	if s.Blocks != nil {
		p.heading(2, "Blocks")
		s.trials(p, s.Blocks, "block")
	}
	if s.Shape != nil {
		p.heading(2, "Shapes at constant state")
		s.trials(p, s.Shape, "heads × key × value")
		p.image(ShapePlot, "decoding speed against "+string(s.Shape.Objectives[0]))
	}
	if s.Placement != nil {
		p.heading(2, "Train the result")
		p.text("The student in " + s.Placement.Student + " has the placement found and the blocks as the super network trained them.")
		p.code(s.Placement.Command)
	}
}

func (s Search) placement(p page) {
	f := s.Placement
	by := Names(f.Best.Scores)
	p.heading(2, "Placement")
	p.text(fmt.Sprintf("%s: %d layers of full attention and %d of a sliding window among %d, the others %s; strategy %s, %d placements measured. F is full attention, S a sliding window, - linear.",
		f.Best.Layers, f.Full, f.Window, f.Layers, f.Linear, f.Strategy, f.Evaluations))
	rows := [][]cell{cells("teacher", f.Teacher, by), cells(f.Best.Layers+" (found)", f.Best.Scores, by)}
	for _, r := range f.Pareto {
		if r.Layers != f.Best.Layers {
			rows = append(rows, cells(r.Layers+" (Pareto)", r.Scores, by))
		}
	}
	p.table(head("placement", by), append(rows, cells("no full layer", f.None, by)))
	if len(f.Checks) > 0 {
		p.heading(3, "Against other placements of the same budget")
		p.text(fmt.Sprintf("On %s that the search has not seen: means, and how often the placement found is better.", f.sets("")))
		s.checks(p, f, by)
	}
	p.heading(3, "Importance of layers")
	p.text("Scores with one layer of full attention and all others linear; darker is better.")
	p.table(head("layer", by), heat(f.Single, by))
	if len(f.ByFull) > 1 {
		p.heading(3, "By number of full layers")
		var rows [][]cell
		for n, r := range f.ByFull {
			rows = append(rows, append([]cell{plain(fmt.Sprint(n))}, append([]cell{plain(r.Layers)}, cells("", r.Scores, by)[1:]...)...))
		}
		p.table(append([]string{"full layers", "placement"}, head("", by)[1:]...), rows)
		p.image(ByFullPlot, string(f.Objectives[0])+" by number of full layers")
	}
	p.heading(3, "Cost")
	c := f.Cost
	p.text(fmt.Sprintf("Super network: %d steps, %d tokens, %.3g FLOP, %.0f s. Search and verification: %.3g FLOP for placements of the search, %.0f s in all, %d layers run on a batch, %d more shared with placements that begin alike.",
		c.Steps, c.Tokens, c.TrainFLOPs, c.TrainSeconds, c.SearchFLOPs, c.SearchSeconds, c.LayersRun, c.LayersShared))
	p.image(LossPlot, "loss of the super network")
}

func (s Search) checks(p page, f *Placement, by []search.Objective) {
	sets := []struct {
		name string
		of   func(Check) search.Scores
	}{{f.Best.Layers + " (found)", func(c Check) search.Scores { return c.Searched }}, {f.Checks[0].EvenLayers + " (evenly spaced)", func(c Check) search.Scores { return c.Even }},
		{"random, mean", func(c Check) search.Scores { return c.Random }}}
	var rows [][]cell
	for i, set := range sets {
		row := []cell{plain(set.name)}
		for _, o := range by {
			text := number(f.Mean(o, set.of))
			if i > 0 {
				wins := 0
				for _, c := range f.Checks {
					if o.Better(c.Searched[o], set.of(c)[o]) {
						wins++
					}
				}
				text += fmt.Sprintf(" (%d/%d)", wins, len(f.Checks))
			}
			row = append(row, plain(text))
		}
		rows = append(rows, row)
	}
	p.table(head("placement", by), rows)
}

// heat shades the scores of single layers, objective by objective.
func heat(single []placement.Ranked, by []search.Objective) [][]cell {
	rows := make([][]cell, len(single))
	for i := range single {
		rows[i] = []cell{plain(fmt.Sprint(i))}
	}
	for _, o := range by {
		least, most := math.Inf(1), math.Inf(-1)
		for _, r := range single {
			least, most = min(least, r.Scores[o]), max(most, r.Scores[o])
		}
		for i, r := range single {
			shade := 0.0
			if most > least {
				shade = (r.Scores[o] - least) / (most - least)
			}
			if !o.Higher() {
				shade = 1 - shade
			}
			rows[i] = append(rows[i], cell{number(r.Scores[o]), shade})
		}
	}
	return rows
}

// millions writes a number of parameters.
func millions(n int64) string {
	if n < 1e9 {
		return fmt.Sprintf("%.2f M", float64(n)/1e6)
	}
	return fmt.Sprintf("%.2f B", float64(n)/1e9)
}

func (s Search) trials(p page, t *Trials, first string) {
	p.text(fmt.Sprintf("Placement %s, the same data, seed and steps. Throughput on %s: %d sequences after %d tokens.", t.Placement, t.Device, t.Rows, t.Context))
	trained := t.Trained()
	if len(trained) == 0 {
		p.text("None was trained.")
		return
	}
	by := Names(trained[0].Scores)
	var rows [][]cell
	for _, x := range t.Trials {
		row := []cell{plain(x.Name), plain(millions(x.Parameters)), plain(fmt.Sprintf("%.1f KiB", float64(x.StateBytes)/1024))}
		if x.Left != "" {
			rows = append(rows, append(row, plain(x.Left)))
			continue
		}
		row = append(row, plain(fmt.Sprintf("%.0f", x.TrainTokensPerSecond)), plain(fmt.Sprintf("%.0f", x.PrefillTokensPerSecond)), plain(fmt.Sprintf("%.0f", x.DecodeTokensPerSecond)))
		rows = append(rows, append(row, cells("", x.Scores, by)[1:]...))
	}
	p.table(append([]string{first, "parameters", "state", "training tokens/s", "prefill tokens/s", "decoding tokens/s"}, head("", by)[1:]...), rows)
	var seconds float64
	for _, x := range trained {
		seconds += x.TrainSeconds
	}
	p.text(fmt.Sprintf("Trained on %d tokens each, in %.0f s together.", trained[0].Tokens, seconds))
	o := t.Objectives[0]
	if best, ok := t.Best(o); ok {
		p.text(fmt.Sprintf("Best by %s: %s. Not beaten in both %s and decoding speed: %s.", o, best.Name, o, strings.Join(t.Pareto(o), ", ")))
	}
}

type markdown struct {
	strings.Builder
	plots map[string]string
}

func (m *markdown) heading(level int, text string) {
	fmt.Fprintf(m, "%s %s\n\n", strings.Repeat("#", level), text)
}
func (m *markdown) text(text string) { m.WriteString(text + "\n\n") }
func (m *markdown) code(text string) { fmt.Fprintf(m, "```sh\n%s\n```\n", text) }

func (m *markdown) image(name, title string) {
	if m.plots[name] != "" {
		fmt.Fprintf(m, "![%s](%s.svg)\n\n", title, name)
	}
}

func (m *markdown) table(head []string, rows [][]cell) {
	m.WriteString("| " + strings.Join(head, " | ") + " |\n|" + strings.Repeat("---|", len(head)) + "\n")
	for _, r := range rows {
		m.WriteString("|")
		for _, c := range r {
			m.WriteString(" " + strings.ReplaceAll(c.text, "|", "\\|") + " |")
		}
		m.WriteString("\n")
	}
	m.WriteString("\n")
}

type htmlPage struct {
	strings.Builder
	plots map[string]string
}

func (w *htmlPage) heading(level int, text string) {
	fmt.Fprintf(w, "<h%d>%s</h%d>\n", level, html.EscapeString(text), level)
}
func (w *htmlPage) text(text string) { fmt.Fprintf(w, "<p>%s</p>\n", html.EscapeString(text)) }
func (w *htmlPage) code(text string) { fmt.Fprintf(w, "<pre>%s</pre>\n", html.EscapeString(text)) }

func (w *htmlPage) image(name, title string) {
	if svg := w.plots[name]; svg != "" {
		if i := strings.Index(svg, "<svg"); i > 0 { // without the XML declaration
			svg = svg[i:]
		}
		fmt.Fprintf(w, "<figure>%s<figcaption>%s</figcaption></figure>\n", svg, html.EscapeString(title))
	}
}

func (w *htmlPage) table(head []string, rows [][]cell) {
	w.WriteString("<table><tr>")
	for _, h := range head {
		w.WriteString("<th>" + html.EscapeString(h) + "</th>")
	}
	w.WriteString("</tr>\n")
	for _, r := range rows {
		w.WriteString("<tr>")
		for _, c := range r {
			style := ""
			if c.shade >= 0 {
				style = fmt.Sprintf(" style=\"background:rgba(0,114,178,%.2f)\"", 0.75*c.shade)
			}
			fmt.Fprintf(w, "<td%s>%s</td>", style, html.EscapeString(c.text))
		}
		w.WriteString("</tr>\n")
	}
	w.WriteString("</table>\n")
}
