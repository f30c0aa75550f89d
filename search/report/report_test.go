package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/gojet/gojet/search"
	"github.com/gojet/gojet/search/placement"
)

func scores(x float64) search.Scores {
	return search.Scores{"recall/loss": x, "recall/accuracy": 1 - x/10, search.TextKL: x / 2}
}

func example(t *testing.T) Search {
	t.Helper()
	ranked := func(layers string, x float64) placement.Ranked {
		return placement.Ranked{Layers: layers, Scores: scores(x)}
	}
	p := &Placement{
		Layers: 3, Full: 1, Linear: "jet", Strategy: placement.Beam, Objectives: []search.Objective{"recall/loss"}, Best: ranked("-F-", 1),
		Pareto: []placement.Ranked{ranked("-F-", 1), ranked("F--", 1.5)}, ByFull: []placement.Ranked{ranked("---", 3), ranked("-F-", 1)},
		Single: []placement.Ranked{ranked("F--", 1.5), ranked("-F-", 1), ranked("--F", 2)}, Teacher: scores(0.5), None: scores(3),
		Checks:  []Check{{1, scores(1.1), scores(1.4), "-F-", scores(1.6)}, {2, scores(1.5), scores(1.4), "-F-", scores(1.7)}},
		Student: "runs/<x>/model", Command: "gojet train r models.student.path=runs/<x>/model",
	}
	trial := func(name string, speed, x float64) Trial {
		return Trial{Name: name, Kind: "jet", Parameters: 2e6, StateBytes: 4096, Scores: scores(x), DecodeTokensPerSecond: speed}
	}
	trials := &Trials{Placement: "-F-", Objectives: p.Objectives, Rows: 2, Context: 8, Device: "cpu",
		Trials: []Trial{trial("fast", 30, 2), trial("good", 20, 1), trial("slow", 10, 1.5), {Name: "large", Left: "too large"}}}
	s := Search{Name: "a <search>", Placement: p, Blocks: trials, Shape: trials, Plots: map[string]string{}}
	var err error
	if s.Plots[ByFullPlot], err = p.PlotByFull(); err != nil {
		t.Fatal(err)
	}
	if s.Plots[ShapePlot], err = trials.Plot("recall/loss"); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPareto(t *testing.T) {
	s := example(t)
	if got := s.Shape.Pareto("recall/loss"); !slices.Equal(got, []string{"fast", "good"}) {
		t.Errorf("%v", got)
	}
	if best, ok := s.Shape.Best("recall/loss"); !ok || best.Name != "good" {
		t.Errorf("%v", best.Name)
	}
}

func TestMarkdown(t *testing.T) {
	text := example(t).Markdown()
	for _, want := range []string{"# a <search>", "| -F- (found) | 0.9 | 1 | 0.5 |", "| F-- (Pareto) |", "| 1 | -F- |", "(1/2)", "| large |", "too large",
		"Not beaten in both recall/loss and decoding speed: fast, good", "![decoding speed against recall/loss](shape.svg)", "gojet train r models.student.path"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// TestHTML: the page is well formed, escaped, and refers to nothing outside.
func TestHTML(t *testing.T) {
	text := example(t).HTML()
	d := xml.NewDecoder(strings.NewReader(text))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	depth := 0
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token.(type) {
		case xml.StartElement:
			depth++
		case xml.EndElement:
			depth--
		}
	}
	if depth != 0 {
		t.Errorf("%d elements are left open", depth)
	}
	for _, want := range []string{"a &lt;search&gt;", "rgba(0,114,178,0.75)", "rgba(0,114,178,0.00)", "<svg", "Pareto set"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	if strings.Contains(text, "<img") || strings.Contains(text, "<script") || strings.Count(text, "<svg") != 2 {
		t.Errorf("%d images", strings.Count(text, "<svg"))
	}
}

func TestSummary(t *testing.T) {
	p := example(t).Placement
	want := fmt.Sprintf("recall/loss 1.0000 (teacher 0.5000, no full layer 3.0000); on 2 other sets of questions %.4f, evenly spaced 1.4000, random 1.6500", 1.3)
	if got := p.Summary(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	p.Checks = p.Checks[:1]
	if got := p.Summary(); !strings.Contains(got, "on 1 other set of questions ") {
		t.Errorf("with one set: %q", got)
	}
}

func TestMillions(t *testing.T) {
	for n, want := range map[int64]string{413_000: "0.41 M", 999_000_000: "999.00 M", 1_723_936_256: "1.72 B"} {
		if got := millions(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
