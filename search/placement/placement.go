// Package placement decides which layers of a model keep attention: strategies that look for the best placement under a
// budget by asking an Evaluator for the scores of candidates.
package placement

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gojet/gojet/search"
)

// Evaluator measures placements.
type Evaluator interface {
	Evaluate(context.Context, []search.Placement) ([]search.Scores, error)
}

// Strategies.
const (
	Beam       = "beam"       // adds one layer at a time and goes on with the best few
	Greedy     = "greedy"     // a beam of one by the divergence from the teacher (after https://arxiv.org/abs/2512.20569)
	Importance = "importance" // the layers that help most on their own, restored one at a time
	Even       = "even"       // evenly spaced
	List       = "list"       // the placement given
	Random     = "random"     // drawn from the seed
	Exhaustive = "exhaustive" // every placement of the budget
)

// Strategies lists them.
func Strategies() []string {
	return []string{Beam, Greedy, Importance, Even, List, Random, Exhaustive}
}

// Config is a search for a placement.
type Config struct {
	Full   int `yaml:"full"`   // layers that keep full attention
	Window int `yaml:"window"` // layers of sliding-window attention
	// Strategy is one of Strategies.
	Strategy string `yaml:"strategy"`
	// Width is how many placements a beam goes on with; with several objectives, of each.
	Width int `yaml:"width"`
	// Branch is how many layers a beam adds to a placement, those that helped most on their own; 0 for all.
	Branch int `yaml:"branch"`
	// Objectives choose the layers of full attention, the first before the others; WindowObjectives those of windows, the
	// same where it is empty.
	Objectives       []search.Objective `yaml:"objectives"`
	WindowObjectives []search.Objective `yaml:"window_objectives"`
	// Layers is the placement of strategy list, a sign a layer: - linear, F full, S window.
	Layers string `yaml:"layers"`
	// Samples is how many placements random draws.
	Samples int `yaml:"samples"`
}

// DefaultConfig is what a recipe has where it is silent.
func DefaultConfig() Config {
	return Config{Full: 2, Strategy: Beam, Width: 4, Objectives: []search.Objective{search.MeanLoss}, Samples: 8}
}

// mostExhaustive is how many placements exhaustive measures at most.
const mostExhaustive = 10000

// Validate reports the first value that cannot be for a model of so many layers, by its key.
func (c Config) Validate(layers int) error {
	switch {
	case !slices.Contains(Strategies(), c.Strategy):
		return fmt.Errorf("strategy is %q, want one of %s", c.Strategy, strings.Join(Strategies(), ", "))
	case c.Full < 0 || c.Window < 0 || c.Full+c.Window > layers:
		return fmt.Errorf("full is %d and window %d, want 0 or more of both and at most %d together, the layers of the teacher", c.Full, c.Window, layers)
	case c.Width < 1 || c.Width > 1<<10:
		return fmt.Errorf("width is %d, want 1 to %d", c.Width, 1<<10)
	case c.Branch < 0 || c.Branch > 1<<12:
		return fmt.Errorf("branch is %d, want 1 or more, or 0 for all layers", c.Branch)
	case c.Samples < 1 || c.Samples > 1<<16:
		return fmt.Errorf("samples is %d, want 1 to %d", c.Samples, 1<<16)
	case len(c.Objectives) == 0:
		return fmt.Errorf("objectives is empty, want at least one such as %s", search.MeanLoss)
	case (c.Strategy == List) != (c.Layers != ""):
		return fmt.Errorf("layers is %q with strategy %s: strategy %s has it, and no other", c.Layers, c.Strategy, List)
	case c.Strategy == Exhaustive && count(layers, c.Full)*count(layers-c.Full, c.Window) > mostExhaustive:
		return fmt.Errorf("strategy is %s, which would measure %.0f placements, want at most %d", Exhaustive, count(layers, c.Full)*count(layers-c.Full, c.Window), mostExhaustive)
	}
	if c.Strategy == List {
		p, err := search.ParsePlacement(c.Layers)
		if err != nil {
			return err
		}
		if len(p) != layers || p.Count(search.Full) != c.Full || p.Count(search.Window) != c.Window {
			return fmt.Errorf("layers is %s, want %d signs, %d of them F and %d S", c.Layers, layers, c.Full, c.Window)
		}
	}
	return nil
}

// count is n over k.
func count(n, k int) float64 {
	c := 1.0
	for i := range k {
		c = c * float64(n-i) / float64(i+1)
	}
	return c
}

// Ranked is a placement with its scores.
type Ranked struct {
	Placement search.Placement `json:"-"`
	Layers    string           `json:"layers"` // the placement as text
	Scores    search.Scores    `json:"scores"`
}

// Outcome is what a search found.
type Outcome struct {
	// Best are placements of the whole budget, the best first.
	Best []Ranked `json:"best"`
	// Pareto are those of Best that no other beats in every objective.
	Pareto []Ranked `json:"pareto"`
	// ByFull is the best placement found on the way for each number of full-attention layers, from none.
	ByFull []Ranked `json:"by_full"`
	// Single are the placements of one full-attention layer, layer by layer: the importance of each. Strategies that do
	// not measure them leave it empty.
	Single []Ranked `json:"single"`
	// Evaluations counts the placements that were measured.
	Evaluations int `json:"evaluations"`
}

// seeker is one search.
type seeker struct {
	Config
	layers int
	seed   uint64
	eval   Evaluator
	known  map[string]Ranked
	out    Outcome
}

// Search looks for a placement in a model of so many layers.
func Search(ctx context.Context, c Config, layers int, seed uint64, e Evaluator) (Outcome, error) {
	if err := c.Validate(layers); err != nil {
		return Outcome{}, fmt.Errorf("placement: %w", err)
	}
	if len(c.WindowObjectives) == 0 {
		c.WindowObjectives = c.Objectives
	}
	s := &seeker{Config: c, layers: layers, seed: seed, eval: e, known: map[string]Ranked{}}
	found, err := s.seek(ctx)
	if err != nil {
		return Outcome{}, err
	}
	s.out.Best = found
	s.out.Pareto = pareto(found, c.Objectives)
	s.out.Evaluations = len(s.known)
	return s.out, nil
}

func (s *seeker) seek(ctx context.Context) ([]Ranked, error) {
	switch s.Strategy {
	case Greedy:
		s.Objectives, s.WindowObjectives, s.Width, s.Branch = []search.Objective{search.TextKL}, []search.Objective{search.TextKL}, 1, 0
		return s.beam(ctx)
	case Importance:
		return s.importance(ctx)
	case Exhaustive:
		return s.rank(ctx, all(s.layers, s.Full, s.Window), s.Objectives)
	case Random:
		return s.rank(ctx, Draw(s.layers, s.Full, s.Window, s.Samples, s.seed), s.Objectives)
	case Even:
		return s.rank(ctx, []search.Placement{Evenly(s.layers, s.Full, s.Window)}, s.Objectives)
	case List:
		p, err := search.ParsePlacement(s.Layers)
		if err != nil {
			return nil, err
		}
		return s.rank(ctx, []search.Placement{p}, s.Objectives)
	}
	return s.beam(ctx)
}

// measure returns the scores of placements, each measured once.
func (s *seeker) measure(ctx context.Context, ps []search.Placement) ([]Ranked, error) {
	var fresh []search.Placement
	for _, p := range ps {
		if _, ok := s.known[p.String()]; !ok && !slices.ContainsFunc(fresh, func(q search.Placement) bool { return slices.Equal(p, q) }) {
			fresh = append(fresh, p)
		}
	}
	scores, err := s.eval.Evaluate(ctx, fresh)
	if err != nil {
		return nil, err
	}
	for i, p := range fresh {
		s.known[p.String()] = Ranked{p, p.String(), scores[i]}
	}
	all := make([]Ranked, len(ps))
	for i, p := range ps {
		all[i] = s.known[p.String()]
	}
	return all, nil
}

// rank measures placements and sorts them, the best first.
func (s *seeker) rank(ctx context.Context, ps []search.Placement, by []search.Objective) ([]Ranked, error) {
	found, err := s.measure(ctx, ps)
	if err != nil {
		return nil, err
	}
	for _, o := range by {
		for _, f := range found {
			if _, ok := f.Scores[o]; !ok {
				return nil, fmt.Errorf("placement: objective %s is not measured, want one of %s", o, strings.Join(names(f.Scores), ", "))
			}
		}
	}
	sorted := slices.Clone(found)
	slices.SortStableFunc(sorted, func(a, b Ranked) int { return compare(a, b, by) })
	return sorted, nil
}

func names(s search.Scores) []string {
	var list []string
	for o := range s {
		list = append(list, string(o))
	}
	slices.Sort(list)
	return list
}

// compare puts the better one first: by the first objective in which they differ, and then by where the layers are, so that
// the order never depends on anything else.
func compare(a, b Ranked, by []search.Objective) int {
	for _, o := range by {
		x, y := a.Scores[o], b.Scores[o]
		switch {
		case x == y:
		case o.Better(x, y):
			return -1
		default:
			return 1
		}
	}
	return cmp.Compare(a.Layers, b.Layers)
}

// dominates says whether a is as good as b in every objective and better in one.
func dominates(a, b Ranked, by []search.Objective) bool {
	better := false
	for _, o := range by {
		x, y := a.Scores[o], b.Scores[o]
		if o.Better(y, x) {
			return false
		}
		better = better || o.Better(x, y)
	}
	return better
}

// pareto keeps those that no other dominates, in their order.
func pareto(all []Ranked, by []search.Objective) []Ranked {
	var front []Ranked
	for _, r := range all {
		if !slices.ContainsFunc(all, func(q Ranked) bool { return dominates(q, r, by) }) {
			front = append(front, r)
		}
	}
	return front
}
