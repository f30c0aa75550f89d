package recipes

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/layers"
	"github.com/gojet/gojet/search"
	"github.com/gojet/gojet/train"
)

// Blocks compares linear blocks at the placement found: each is trained with the same data, seed and steps.
type Blocks struct {
	// Candidates are blocks by a name of one's own, which may differ in kind or in options alone.
	Candidates map[string]Block `yaml:"candidates"`
	Trial      Trial            `yaml:"trial"`
}

// Trial is how a candidate is trained and measured. Its stage has no name and no models: those are the search's.
type Trial struct {
	Stage train.Stage `yaml:"stage"`
	// Rows sequences of Context tokens are continued side by side, for Tokens steps, to measure throughput.
	Rows    int `yaml:"rows"`
	Context int `yaml:"context"`
	Tokens  int `yaml:"tokens"`
}

// Shape compares sizes of one block: every head count of Heads with a few key dims, values as wide as a constant state allows.
type Shape struct {
	Heads []int `yaml:"heads"`
	// Points is how many key dims each head count gets, the widest of 2ⁿ and 3·2ⁿ that MostKeyDim and a whole value dim allow.
	Points int `yaml:"points"`
	// MostKeyDim bounds head count times key dim, and WidestKey the key dim itself.
	MostKeyDim int `yaml:"most_key_dim"`
	WidestKey  int `yaml:"widest_key"`
	// State is key dim times value dim times heads; 0 for that of the search's linear block.
	State int `yaml:"state"`
	// MostBytes bounds the state of a sequence in all layers, 0 for any.
	MostBytes int64 `yaml:"most_bytes"`
	Trial     Trial `yaml:"trial"`
}

// DefaultTrial is what a recipe has where it is silent.
func DefaultTrial() Trial {
	s := train.DefaultStage()
	s.Loss = train.Loss{Hidden: 1, Temperature: 1}
	s.Train = []string{"*.self_attn.*"} // MLPs, embedding, norms and head stay as they are
	return Trial{Stage: s, Rows: 4, Context: 256, Tokens: 32}
}

// DefaultBlocks and DefaultShape are what a recipe has where it is silent.
func DefaultBlocks() Blocks { return Blocks{Trial: DefaultTrial()} }

// DefaultShape has the limits under which the paper's grid for its 2B model comes out.
func DefaultShape() Shape {
	return Shape{Heads: []int{4, 8, 12}, Points: 3, MostKeyDim: 2048, WidestKey: 256, Trial: DefaultTrial()}
}

// Names of the models of a trial.
const (
	TrialStage   = "distill"
	TrialStudent = "student"
	TrialTeacher = "teacher"
)

// Filled is the stage with the names that trials have.
func (t Trial) Filled() train.Stage {
	s := t.Stage
	s.Name, s.Model, s.Teacher = TrialStage, TrialStudent, ""
	if s.Loss.NeedsTeacher() {
		s.Teacher = TrialTeacher
	}
	return s
}

func (t Trial) validate() error {
	if s := t.Stage; s.Name != "" || s.Model != "" || s.Teacher != "" {
		return fmt.Errorf("stage has name %q, model %q and teacher %q, want none: they are the search's", s.Name, s.Model, s.Teacher)
	}
	if t.Rows < 1 || t.Rows > 1<<16 || t.Context < 1 || t.Context > 1<<24 || t.Tokens < 1 || t.Tokens > 1<<20 {
		return fmt.Errorf("rows is %d, context %d and tokens %d, want at least 1 of each", t.Rows, t.Context, t.Tokens)
	}
	if err := t.Filled().Validate(); err != nil {
		return fmt.Errorf("stage.%w", err)
	}
	return nil
}

// Point is a size of a block with a matrix of key times value dims for a state.
type Point struct{ Heads, Key, Value int }

// Name is HxKxV.
func (p Point) Name() string { return fmt.Sprintf("%dx%dx%d", p.Heads, p.Key, p.Value) }

// valueStep divides every value dim of a grid.
const valueStep = 4

// Grid lists the points of a constant state: for each head count, the widest key dims of the form 2ⁿ or 3·2ⁿ under which heads
// times key dim keeps to MostKeyDim and the value dim is whole.
func (s Shape) Grid(state int) []Point {
	var grid []Point
	for _, h := range s.Heads {
		n := 0
		for k := s.WidestKey; k >= 8 && n < s.Points; k-- {
			odd := k
			for odd%2 == 0 {
				odd /= 2
			}
			if odd != 1 && odd != 3 || h*k > s.MostKeyDim || state%(h*k*valueStep) != 0 {
				continue
			}
			grid = append(grid, Point{h, k, state / (h * k)})
			n++
		}
	}
	return grid
}

// Options are those of the search's linear block at a point.
func (p Point) Options(base map[string]any) map[string]any {
	o := maps.Clone(base)
	if o == nil {
		o = map[string]any{}
	}
	o["num_heads"], o["head_dim"], o["expand_v"] = p.Heads, p.Key, float64(p.Value)/float64(p.Key)
	return o
}

// StateSize is key dim times value dim times heads of the search's linear block, from its options.
func (s Search) StateSize(teacher *checkpoints.Config) (int, error) {
	if s.Shape != nil && s.Shape.State > 0 {
		return s.Shape.State, nil
	}
	c, err := s.Model(search.Uniform(teacher.NumLayers, search.Linear).LayerTypes(s.Linear.Kind)).DerivedConfig(teacher)
	if err != nil {
		return 0, err
	}
	j, err := c.Jet(s.Linear.Kind)
	if err != nil {
		return 0, err
	}
	return j.NumHeads * j.HeadDim * j.ValueHeadDim(), nil
}

// trials checks blocks and shape.
func (c *checker) trials(teacher *checkpoints.Config) {
	s := c.Search
	if b := s.Blocks; b != nil {
		at := []string{"search", "blocks"}
		if len(b.Candidates) == 0 {
			c.report(at, "candidates is empty, want at least one")
		}
		if err := b.Trial.validate(); err != nil {
			c.report(append(at, "trial"), "%v", err)
		}
		for _, name := range slices.Sorted(maps.Keys(b.Candidates)) {
			if !names.MatchString(name) {
				c.report(append(at, "candidates", name), "the name is %q, %s", name, wantName)
			}
			c.block(append(at, "candidates", name), b.Candidates[name], teacher)
		}
	}
	if s.Shape == nil {
		return
	}
	at := []string{"search", "shape"}
	if err := s.Shape.Trial.validate(); err != nil {
		c.report(append(at, "trial"), "%v", err)
	}
	if s.Shape.Points < 1 || s.Shape.Points > 64 || len(s.Shape.Heads) == 0 || slices.Min(s.Shape.Heads) < 1 || s.Shape.WidestKey < 8 || s.Shape.WidestKey > 1<<14 || s.Shape.MostBytes < 0 {
		c.report(at, "heads is %v, points %d, widest_key %d and most_bytes %d, want head counts, 1 to 64, 8 or more, and 0 or more", s.Shape.Heads, s.Shape.Points, s.Shape.WidestKey, s.Shape.MostBytes)
		return
	}
	state, err := s.StateSize(teacher)
	if err != nil {
		c.report(append(at, "state"), "%s", modelMessage(err))
		return
	}
	grid := s.Shape.Grid(state)
	if len(grid) == 0 {
		c.report(at, "heads %v and most_key_dim %d leave no point with a state of %d and whole value dims", s.Shape.Heads, s.Shape.MostKeyDim, state)
	}
	for _, p := range grid {
		c.block(at, Block{Kind: s.Linear.Kind, Options: p.Options(s.Linear.Options)}, teacher)
	}
}

// block checks that a block can stand in the teacher's layers.
func (c *checker) block(at []string, b Block, teacher *checkpoints.Config) {
	if b.Kind == checkpoints.Attn || b.Kind == checkpoints.SWA {
		c.report(at, "kind is %q, want a linear block", b.Kind)
		return
	}
	s := *c.Search
	s.Linear = b
	config, err := s.Model(search.Uniform(teacher.NumLayers, search.Linear).LayerTypes(b.Kind)).DerivedConfig(teacher)
	if err == nil {
		_, err = layers.NewDecoder(config)
	}
	if err != nil {
		c.report(at, "%s", strings.TrimPrefix(modelMessage(err), "layers: "))
	}
}
