package recipes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/evals/tasks"
	"github.com/gojet/gojet/search"
	"github.com/gojet/gojet/search/placement"
	"github.com/gojet/gojet/search/supernet"
	"github.com/gojet/gojet/train"
)

// Mix puts rows of questions among the training rows of the data. A stage without a teacher learns their answers, which are
// all that can be known; one with a teacher learns what the teacher says everywhere. Held-out measurements are of the
// data alone.
type Mix struct {
	Share float64        `yaml:"share"` // of the rows
	Tasks []tasks.Config `yaml:"tasks"`
}

// Validate reports the first value that cannot be, by its key.
func (m Mix) Validate() error {
	if !(m.Share > 0 && m.Share < 1) {
		return fmt.Errorf("share is %v, want above 0 and below 1", m.Share)
	}
	if len(m.Tasks) == 0 {
		return fmt.Errorf("tasks is empty, want at least one")
	}
	return validTasks(m.Tasks)
}

func validTasks(list []tasks.Config) error {
	seen := map[string]bool{}
	for i, t := range list {
		if err := t.Validate(); err != nil {
			return fmt.Errorf("tasks.%d: %w", i, err)
		}
		name := t.Fill().Name
		if seen[name] || name == "text" || name == "mean" {
			return fmt.Errorf("tasks.%d: name is %q, which is taken, want another", i, name)
		}
		seen[name] = true
	}
	return nil
}

// Search is what gojet search looks for: which layers of a teacher keep attention, and which block the others get.
type Search struct {
	// Teacher is one of the models, with a path or trained by the recipe's stages.
	Teacher string `yaml:"teacher"`
	// Linear is the block of layers that lose their attention.
	Linear Block `yaml:"linear"`
	// WindowSize is how many tokens sliding-window layers see.
	WindowSize int              `yaml:"window_size"`
	Exam       Exam             `yaml:"exam"`
	Supernet   supernet.Config  `yaml:"supernet"`
	Placement  placement.Config `yaml:"placement"`
	Verify     Verify           `yaml:"verify"`
	// Blocks and Shape are the steps after placement; nil where the recipe leaves them out.
	Blocks *Blocks `yaml:"blocks"`
	Shape  *Shape  `yaml:"shape"`
}

// Block is a linear block and its options.
type Block struct {
	Kind           string         `yaml:"kind"` // a layer type
	Options        map[string]any `yaml:"options"`
	MapProjections bool           `yaml:"map_projections"`
}

// Exam is what candidates are measured on.
type Exam struct {
	Tasks []tasks.Config `yaml:"tasks"`
	Items int            `yaml:"items"` // questions of each task; of one with several queries, documents
	// Text is how many batches of held-out data perplexity and divergence are measured on.
	Text int `yaml:"text"`
	// Rows and Length make a batch of Rows·Length tokens; no item may be longer than that.
	Rows   int `yaml:"rows"`
	Length int `yaml:"length"`
}

// Verify measures the placement found beside evenly spaced and random ones, on questions that the search has not seen.
type Verify struct {
	Seeds  int `yaml:"seeds"`  // sets of questions; 0 for no verification
	Random int `yaml:"random"` // placements drawn for each
}

// DefaultSearch is what a search is where its recipe is silent.
func DefaultSearch() Search {
	return Search{
		Teacher: "teacher", Linear: Block{Kind: checkpoints.Jet, MapProjections: true}, WindowSize: 1024,
		Exam:     Exam{Items: 64, Text: 4, Rows: 4, Length: 512},
		Supernet: supernet.DefaultConfig(), Placement: placement.DefaultConfig(), Verify: Verify{Seeds: 3, Random: 8},
	}
}

// Model is the teacher with layers of those types.
func (s Search) Model(types []string) train.Model {
	m := train.Model{From: s.Teacher, LayerTypes: types, MapProjections: s.Linear.MapProjections, Blocks: map[string]map[string]any{}}
	for _, t := range types {
		switch t {
		case checkpoints.SWA:
			m.Blocks[t] = map[string]any{"window_size": s.WindowSize}
		case s.Linear.Kind:
			m.Blocks[t] = s.Linear.Options
			if m.Blocks[t] == nil {
				m.Blocks[t] = map[string]any{}
			}
		}
	}
	return m
}

// search checks what is searched for.
func (c *checker) search() {
	if c.Mix != nil {
		if err := c.Mix.Validate(); err != nil {
			c.report([]string{"mix"}, "%v", err)
		}
		if c.Data.Tokens != nil {
			c.report([]string{"mix"}, "share is %v, but the data is tokens packed beforehand, want text", c.Mix.Share)
		}
	}
	s := c.Search
	if s == nil {
		return
	}
	at := []string{"search"}
	if !c.knows(at, "teacher", s.Teacher) {
		return
	}
	teacher := c.decoder(s.Teacher, 1)
	if teacher == nil {
		return // which is reported where it is
	}
	part := func(name string, err error) {
		if err != nil {
			c.report(append(at, name), "%s", strings.TrimPrefix(err.Error(), name+"."))
		}
	}
	part("exam", s.Exam.validate(c.Recipe))
	part("supernet", s.Supernet.Validate())
	n := teacher.Config.NumLayers
	part("placement", s.Placement.Validate(n))
	part("placement", s.measured())
	if s.Verify.Seeds < 0 || s.Verify.Seeds > 1000 || s.Verify.Random < 1 || s.Verify.Random > 1000 {
		c.report(append(at, "verify"), "seeds is %d and random %d, want 0 to 1000 and 1 to 1000", s.Verify.Seeds, s.Verify.Random)
	}
	c.block(append(at, "linear"), s.Linear, teacher.Config)
	if s.Placement.Window > 0 && s.WindowSize < 1 {
		c.report(at, "window_size is %d, want at least 1", s.WindowSize)
	}
	c.trials(teacher.Config)
	if most := teacher.Config.MaxPositions; s.Supernet.Length > most {
		c.report(append(at, "supernet"), "length is %d, want at most %d, max_position_embeddings of %s", s.Supernet.Length, most, s.Teacher)
	}
}

func (e Exam) validate(r *Recipe) error {
	switch {
	case len(e.Tasks) == 0 && e.Text == 0:
		return fmt.Errorf("tasks is empty and text 0, want something to measure")
	case e.Items < 1 || e.Items > 1<<20:
		return fmt.Errorf("items is %d, want 1 to %d", e.Items, 1<<20)
	case e.Text < 0 || e.Text > 1<<20:
		return fmt.Errorf("text is %d, want 0 to %d", e.Text, 1<<20)
	case e.Rows < 1 || e.Length < 2 || e.Rows > 1<<20 || e.Length > 1<<24:
		return fmt.Errorf("rows is %d and length %d, want at least 1 and 2", e.Rows, e.Length)
	case e.Text > 0 && r.Data.HeldOut == 0:
		return fmt.Errorf("text is %d, but data.held_out is 0, want documents to measure on", e.Text)
	case r.Data.Tokenizer == "" && len(e.Tasks) > 0:
		return fmt.Errorf("tasks has %d entries, but data.tokenizer is empty, want what the model reads", len(e.Tasks))
	}
	for _, t := range e.Tasks {
		if t.Kind == tasks.Continuation && r.Data.HeldOut == 0 {
			return fmt.Errorf("tasks has %s, but data.held_out is 0, want documents to make it of", t.Kind)
		}
	}
	return validTasks(e.Tasks)
}

// measured reports an objective that the exam does not measure.
func (s Search) measured() error {
	known := []search.Objective{}
	add := func(name string) {
		known = append(known, search.Objective(name+"/"+search.Loss), search.Objective(name+"/"+search.Accuracy))
	}
	for _, t := range s.Exam.Tasks {
		add(t.Fill().Name)
	}
	if len(s.Exam.Tasks) > 0 {
		known = append(known, search.MeanLoss, search.MeanAccuracy)
	}
	if s.Exam.Text > 0 {
		known = append(known, search.TextLoss, search.TextPerplexity, search.TextKL)
	}
	for key, list := range map[string][]search.Objective{"objectives": s.Placement.Objectives, "window_objectives": s.Placement.WindowObjectives} {
		for _, o := range list {
			if !slices.Contains(known, o) {
				return fmt.Errorf("%s has %s, which is not measured, want some of %v", key, o, known)
			}
		}
	}
	if s.Placement.Strategy == placement.Greedy && s.Exam.Text == 0 {
		return fmt.Errorf("strategy is %s, which goes by %s, but exam.text is 0", placement.Greedy, search.TextKL)
	}
	return nil
}

// SearchHash identifies what the search of a placement computes, as Hash does for training.
func (r *Recipe) SearchHash() (string, error) {
	base, err := r.Hash()
	if err != nil {
		return "", err
	}
	s := *r.Search
	s.Blocks, s.Shape = nil, nil // steps that come after
	return hashOf(struct {
		Base   string
		Search Search
	}{base, s})
}
