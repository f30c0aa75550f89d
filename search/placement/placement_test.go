package placement

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/gojet/gojet/search"
)

// synthetic scores a placement by the worth of its layers, less for neighbours: what one layer does the next need not.
type synthetic struct {
	worth []float64
	calls int
}

func (s *synthetic) Evaluate(_ context.Context, ps []search.Placement) ([]search.Scores, error) {
	var all []search.Scores
	for _, p := range ps {
		s.calls++
		loss := 5.0
		for i, k := range p {
			w := s.worth[i]
			if i > 0 && p[i-1] == search.Full {
				w /= 2
			}
			switch k {
			case search.Full:
				loss -= w
			case search.Window:
				loss -= w / 3
			}
		}
		all = append(all, search.Scores{search.MeanLoss: loss, search.MeanAccuracy: 1 / loss, search.TextKL: loss * loss, "odd/loss": math.Abs(loss - 4)})
	}
	return all, nil
}

func seek(t *testing.T, c Config, e Evaluator) Outcome {
	t.Helper()
	o, err := Search(context.Background(), c, 6, 3, e)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func worth() *synthetic {
	return &synthetic{worth: []float64{0.1, 0.7, 0.65, 0.2, 0.6, 0.05}}
}

// TestBeam: among the best two of all placements, with fewer measurements.
func TestBeam(t *testing.T) {
	c := DefaultConfig()
	c.Width, c.Branch = 2, 4
	found := seek(t, c, worth())
	c.Strategy = Exhaustive
	every := seek(t, c, worth())
	if len(every.Best) != 15 || every.Evaluations != 15 {
		t.Fatalf("%d of 15 placements", len(every.Best))
	}
	if got := found.Best[0].Layers; got != every.Best[0].Layers && got != every.Best[1].Layers {
		t.Errorf("the beam found %s, the best are %s and %s", got, every.Best[0].Layers, every.Best[1].Layers)
	}
	if found.Evaluations >= every.Evaluations {
		t.Errorf("%d measurements, exhaustive takes %d", found.Evaluations, every.Evaluations)
	}
	if len(found.Single) != 6 || len(found.ByFull) != 3 || found.Single[4].Layers != "----F-" {
		t.Errorf("%d single layers, %d by number", len(found.Single), len(found.ByFull))
	}
}

func TestStrategies(t *testing.T) {
	for strategy, want := range map[string]string{
		Importance: "-FF---", // does not see that neighbours share
		Even:       "-F--F-",
		Greedy:     "-F--F-",
		Beam:       "-F--F-",
		Exhaustive: "-F--F-",
		List:       "F----F",
	} {
		c := DefaultConfig()
		c.Strategy = strategy
		if strategy == List {
			c.Layers = want
		}
		o := seek(t, c, worth())
		if o.Best[0].Layers != want {
			t.Errorf("%s found %s, want %s", strategy, o.Best[0].Layers, want)
		}
	}
	c := DefaultConfig()
	c.Strategy, c.Samples = Random, 40
	if o := seek(t, c, worth()); len(o.Best) != 15 {
		t.Errorf("%d different random placements, there are 15", len(o.Best))
	}
	c = DefaultConfig()
	c.Window = 2
	if o := seek(t, c, worth()); o.Best[0].Placement.Count(search.Window) != 2 || o.Best[0].Placement.Count(search.Full) != 2 {
		t.Errorf("found %s", o.Best[0].Layers)
	}
	if p := Evenly(28, 2, 2); p.Count(search.Full) != 2 || p.Count(search.Window) != 2 || p[7] != search.Full || p[21] != search.Full {
		t.Errorf("%v", p)
	}
}

// TestPareto: with two objectives that disagree, both ends stay.
func TestPareto(t *testing.T) {
	c := DefaultConfig()
	c.Objectives = []search.Objective{search.MeanLoss, "odd/loss"}
	c.Strategy = Exhaustive
	o := seek(t, c, worth())
	if len(o.Pareto) < 2 || len(o.Pareto) == len(o.Best) {
		t.Fatalf("%d of %d in the Pareto set", len(o.Pareto), len(o.Best))
	}
	for _, a := range o.Pareto {
		for _, b := range o.Best {
			if dominates(b, a, c.Objectives) {
				t.Errorf("%s beats %s", b.Layers, a.Layers)
			}
		}
	}
	c.Strategy = Beam
	if beam := seek(t, c, worth()); beam.Best[0].Layers != o.Best[0].Layers {
		t.Errorf("the beam found %s, want %s", beam.Best[0].Layers, o.Best[0].Layers)
	}
	c.Objectives = []search.Objective{"none/loss"}
	if _, err := Search(context.Background(), c, 6, 3, worth()); err == nil {
		t.Error("an objective that is not measured is taken")
	}
}

// TestJournal: what is written down is not measured again, not even after a torn write.
func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "placements.jsonl")
	run := func(e Evaluator) (Outcome, int, error) {
		j, err := OpenJournal(path, e)
		if err != nil {
			t.Fatal(err)
		}
		fresh := 0
		j.Each = func(Ranked) error { fresh++; return nil }
		o, err := Search(context.Background(), DefaultConfig(), 6, 3, j)
		return o, fresh, errors.Join(err, j.Close())
	}
	first, n, err := run(worth())
	if err != nil || n != first.Evaluations {
		t.Fatal(n, err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text[:len(text)-7], 0o644); err != nil {
		t.Fatal(err)
	}
	again, n, err := run(worth())
	if err != nil || n != 1 || !reflect.DeepEqual(first, again) {
		t.Errorf("%d measured again, error %v", n, err)
	}
	if err := os.WriteFile(path, []byte("{\"layers\":\"-x\",\"scores\":{}}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenJournal(path, worth()); err == nil {
		t.Error("a damaged journal is read")
	}
}

func TestValidate(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"strategy": func(c *Config) { c.Strategy = "guess" }, "full": func(c *Config) { c.Full = 7 }, "width": func(c *Config) { c.Width = 0 },
		"objectives": func(c *Config) { c.Objectives = nil }, "layers": func(c *Config) { c.Layers = "-F" }, "list": func(c *Config) { c.Strategy, c.Layers = List, "FFF---" },
	} {
		c := DefaultConfig()
		change(&c)
		if c.Validate(6) == nil {
			t.Errorf("%s: valid", name)
		}
	}
	c := DefaultConfig()
	c.Strategy, c.Full = Exhaustive, 14
	if c.Validate(28) == nil {
		t.Error("40 million placements are measured")
	}
}
