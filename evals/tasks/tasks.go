// Package tasks asks models questions: questions that are generated from a seed, and questions from files. A question is
// given as tokens, and an answer is judged by the model's own next-token predictions, so that any model that yields
// logits can be asked: whole, in part, or one of many that share a super network.
//
// Config describes a task, Open makes its Set, Pack lays items into batches, and Tally turns log-probabilities at the
// places that were asked for into Scores.
package tasks

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/gojet/gojet/datasets/tokenizer"
)

// Turn is one question of an item: what the model reads, and what may follow. Choices[Answer] does.
type Turn struct {
	Context []int32
	Choices [][]int32
	Answer  int
}

// Item is one document with one or more questions. The right answers stand in the document that later questions follow.
type Item struct{ Turns []Turn }

// Right is the right answer of a turn.
func (t Turn) Right() []int32 { return t.Choices[t.Answer] }

// Kinds of tasks.
const (
	Recall       = "recall"       // pairs of key and value, then several keys, whose values are asked for (https://arxiv.org/abs/2312.04927)
	Needle       = "needle"       // one fact somewhere in a long text of other things
	Lookup       = "lookup"       // a list of long keys and values, of which one is asked for (https://arxiv.org/abs/2307.03172)
	Arithmetic   = "arithmetic"   // a chain of sums, each using the last
	Continuation = "continuation" // which of several pieces of text goes on from here
	File         = "file"         // JSON lines with context, choices and answer
)

// Config describes a task. What a kind does not use must be zero.
type Config struct {
	Kind string `yaml:"kind"`
	// Name stands for the task in results; the kind where it is empty.
	Name string `yaml:"name"`
	// Length is about how many tokens an item has: of needle the text around the fact, of continuation the context.
	Length int `yaml:"length"`
	// Pairs of key and value, of recall and lookup.
	Pairs int `yaml:"pairs"`
	// Queries is how many keys recall asks for.
	Queries int `yaml:"queries"`
	// Width is the number of letters of a key and of digits of a value: recall, needle and lookup.
	Width int `yaml:"width"`
	// Steps is the number of sums of arithmetic.
	Steps int `yaml:"steps"`
	// Choices is the number of continuations to choose from.
	Choices int `yaml:"choices"`
	// Path is the JSON lines of file.
	Path string `yaml:"path"`
}

// DefaultConfig is a small recall task; the defaults of other kinds are what Fill puts in.
func DefaultConfig() Config { return Config{Kind: Recall} }

// Fill puts the kind's defaults where the configuration is silent.
func (c Config) Fill() Config {
	if c.Name == "" {
		c.Name = c.Kind
	}
	set := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	switch c.Kind {
	case Recall:
		set(&c.Pairs, 8)
		set(&c.Queries, 4)
		set(&c.Width, 1)
	case Needle:
		set(&c.Length, 256)
		set(&c.Width, 3)
	case Lookup:
		set(&c.Pairs, 8)
		set(&c.Width, 4)
	case Arithmetic:
		set(&c.Steps, 3)
	case Continuation:
		set(&c.Length, 128)
		set(&c.Choices, 4)
	}
	return c
}

// keys of the fields that a kind uses, beside kind and name.
var uses = map[string][]string{
	Recall: {"pairs", "queries", "width"}, Needle: {"length", "width"}, Lookup: {"pairs", "width"},
	Arithmetic: {"steps"}, Continuation: {"length", "choices"}, File: {"path"},
}

// Kinds lists the kinds of tasks.
func Kinds() []string { return []string{Recall, Needle, Lookup, Arithmetic, Continuation, File} }

// Validate reports the first value that cannot be, by its key.
func (c Config) Validate() error {
	used, ok := uses[c.Kind]
	if !ok {
		return fmt.Errorf("kind is %q, want one of %s", c.Kind, strings.Join(Kinds(), ", "))
	}
	for _, f := range []struct {
		key         string
		value       int
		least, most int
	}{
		{"length", c.Length, 16, 1 << 24}, {"pairs", c.Pairs, 2, 1 << 16}, {"queries", c.Queries, 1, 1 << 16},
		{"width", c.Width, 1, 32}, {"steps", c.Steps, 1, 20}, {"choices", c.Choices, 2, 64},
	} {
		switch {
		case f.value == 0:
		case !slices.Contains(used, f.key):
			return fmt.Errorf("%s is %d, but kind %s has none", f.key, f.value, c.Kind)
		case f.value < f.least || f.value > f.most:
			return fmt.Errorf("%s is %d, want %d to %d", f.key, f.value, f.least, f.most)
		}
	}
	c = c.Fill()
	switch {
	case (c.Kind == File) != (c.Path != ""):
		return fmt.Errorf("path is %q with kind %s: kind file has one, and nothing else does", c.Path, c.Kind)
	case strings.ContainsAny(c.Name, "/ \t\n"):
		return fmt.Errorf("name is %q, want no slash and no space", c.Name)
	case c.Queries > c.Pairs:
		return fmt.Errorf("queries is %d, want at most pairs, %d", c.Queries, c.Pairs)
	case c.Kind == Recall && float64(c.Pairs) > keysOf(c.Width)/2:
		return fmt.Errorf("pairs is %d, want at most half of the %.0f keys of width %d", c.Pairs, keysOf(c.Width), c.Width)
	}
	return nil
}

// Materials are what items are made of.
type Materials struct {
	Tokenizer tokenizer.Tokenizer
	// Text returns piece i of running text, of at least n tokens; nil where there is none. Continuation needs it.
	Text func(i uint64, n int) []int32
}

// Set is the items of a task. Item i is a function of the configuration, the seed and i alone.
type Set struct {
	Config
	with  Materials
	fixed []Item
}

// Open makes the set, and reads a file's items.
func Open(c Config, with Materials) (*Set, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("tasks: %w", err)
	}
	s := &Set{Config: c.Fill(), with: with}
	switch {
	case with.Tokenizer == nil:
		return nil, fmt.Errorf("tasks: %s: no tokenizer", s.Name)
	case c.Kind == Continuation && with.Text == nil:
		return nil, fmt.Errorf("tasks: %s: continuation needs held-out text", s.Name)
	case c.Kind == File:
		var err error
		if s.fixed, err = Read(c.Path, with.Tokenizer); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Most is how many items there are, or n where items are generated without end.
func (s *Set) Most(n int) int {
	if s.Kind == File {
		return min(n, len(s.fixed))
	}
	return n
}

// Item returns item i of the seed.
func (s *Set) Item(seed uint64, i int) Item {
	if s.Kind == File {
		return s.fixed[i%len(s.fixed)]
	}
	r := rand.New(rand.NewPCG(seed, uint64(i)*0x9e3779b97f4a7c15+1))
	switch s.Kind {
	case Recall:
		return s.recall(r)
	case Needle:
		return s.needle(r)
	case Lookup:
		return s.lookup(r)
	case Arithmetic:
		return s.arithmetic(r)
	}
	return s.continuation(r)
}
