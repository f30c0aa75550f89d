// Package ruler makes long prompts of any length out of a seed, with answers that can be looked up in them: the tasks of
// RULER (https://arxiv.org/abs/2404.06654), and a grid of needles by length and depth.
//
// The prompts read as RULER's do, and are scored as there: the share of the answers that stand in what the model
// writes, or for questions with one answer whether it does. What RULER takes from data sets is generated here: the
// haystack is sentences of a small grammar in place of essays, the words are from a small vocabulary, and the
// questions are about people, places and firms that do not exist. Scores are therefore near those of RULER but not the same.
//
// A length is that of the whole in the model's own tokens: the prompt, the beginning of the answer that is given, and the
// room that is left for the rest of it. Each prompt is as long as it can be made below that.
package ruler

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// Config describes a set of prompts of one task and length.
type Config struct {
	Task    string // one of Tasks
	Length  int    // tokens, answer included
	Samples int
	Seed    uint64
	// Depth is where a needle stands, in hundredths of the haystack; nil is anywhere. Only single needles have one.
	Depth *float64
}

// Limits of Config.
const (
	LeastLength = 256
	MostLength  = 1 << 24
	MostSamples = 1 << 16
)

// Tasks lists the names of all tasks, sorted.
func Tasks() []string { return slices.Sorted(maps.Keys(tasks)) }

// Validate reports the first value that cannot be.
func (c Config) Validate() error {
	t, ok := tasks[c.Task]
	switch {
	case !ok:
		return fmt.Errorf("ruler: task is %q, want one of %s", c.Task, strings.Join(Tasks(), ", "))
	case c.Length < LeastLength || c.Length > MostLength:
		return fmt.Errorf("ruler: length is %d, want %d to %d", c.Length, LeastLength, MostLength)
	case c.Samples < 1 || c.Samples > MostSamples:
		return fmt.Errorf("ruler: samples is %d, want 1 to %d", c.Samples, MostSamples)
	case c.Depth != nil && (!(*c.Depth >= 0) || *c.Depth > 100):
		return fmt.Errorf("ruler: depth is %v, want 0 to 100", *c.Depth)
	case c.Depth != nil && !t.deep:
		return fmt.Errorf("ruler: depth is %v, but task %s has more than one place", *c.Depth, c.Task)
	}
	return nil
}

// Sample is one prompt.
type Sample struct {
	Input   string
	Prefix  string   // the beginning of the answer, given to the model after Input
	Outputs []string // what the answer should hold
	Tokens  int      // of all, with room for the answer: at most Length
	Length  int      // that was asked for
	Depth   float64  // of a single needle in hundredths, −1 where there is none
}

// Document is the sample as the fields of a document: input, gen_prefix, outputs, tokens, max_length, depth.
func (s Sample) Document() map[string]any {
	outputs := make([]any, len(s.Outputs))
	for i, o := range s.Outputs {
		outputs[i] = o
	}
	return map[string]any{
		"input": s.Input, "gen_prefix": s.Prefix, "outputs": outputs, "tokens": s.Tokens, "max_length": s.Length, "depth": s.Depth,
	}
}

// Encoder is the model's tokenizer.
type Encoder interface{ Encode(text string) []int32 }

// Room is how many tokens a task leaves for the answer.
func Room(task string) int { return tasks[task].room }

// Any tells whether one of a task's outputs suffices: its metric is string_match_part, else string_match_all.
func Any(task string) bool { return tasks[task].any }

// Generate makes the prompts. Sample i is a function of the configuration without Samples, the tokenizer and i alone.
func Generate(ctx context.Context, c Config, enc Encoder) ([]Sample, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	all := make([]Sample, 0, c.Samples)
	for i := range c.Samples {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s, err := c.sample(i, enc)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// draft is a prompt with a number of units in its haystack.
type draft struct {
	input, prefix string
	outputs       []string
	depth         float64
}

// task makes drafts.
type task struct {
	least int // units of the haystack without which it is none
	room  int // tokens of the answer
	any   bool
	deep  bool
	build func(r *source, c Config, units int) draft
}

var tasks = map[string]task{
	"niah_single_1":   needles{hay: repeated, glue: "\n", key: word, value: digits}.task(),
	"niah_single_2":   needles{hay: prose, glue: " ", key: word, value: digits}.task(),
	"niah_single_3":   needles{hay: prose, glue: " ", key: word, value: identifier}.task(),
	"niah_multikey_1": needles{hay: prose, glue: " ", key: word, value: digits, keys: 4}.task(),
	"niah_multikey_2": needles{hay: others, glue: "\n", key: word, value: digits}.task(),
	"niah_multikey_3": needles{hay: others, glue: "\n", key: identifier, value: identifier}.task(),
	"niah_multivalue": needles{hay: prose, glue: " ", key: word, value: digits, values: 4}.task(),
	"niah_multiquery": needles{hay: prose, glue: " ", key: word, value: digits, keys: 4, queries: 4}.task(),
	"vt":              {least: hops + 2, room: 30, build: tracking},
	"cwe":             {least: commonWords, room: 120, build: common},
	"fwe":             {least: 80, room: 50, build: frequent},
	"qa_1":            {least: 1, room: 32, any: true, build: oneHop},
	"qa_2":            {least: 2, room: 32, any: true, build: twoHops},
}

// sample finds the greatest number of units that fits.
func (c Config) sample(i int, enc Encoder) (Sample, error) {
	t := tasks[c.Task]
	length := func(units int) (draft, int) {
		d := t.build(newSource(c.Seed, uint64(i)), c, units)
		return d, len(enc.Encode(d.input+" "+d.prefix)) + t.room
	}
	d, n := length(t.least)
	if n > c.Length {
		return Sample{}, fmt.Errorf("ruler: %s takes %d tokens at least with room for its answer, but the length is %d", c.Task, n, c.Length)
	}
	fits, over := t.least, t.least
	for step := t.least; over == fits; step *= 2 { // over fits not
		if next, m := length(fits + step); m <= c.Length {
			fits, d, n = fits+step, next, m
			over = fits
		} else {
			over = fits + step
		}
		if fits > c.Length {
			return Sample{}, fmt.Errorf("ruler: %d pieces of text have %d tokens: the tokenizer does not count them", fits, n)
		}
	}
	for over-fits > 1 {
		middle := fits + (over-fits)/2
		if next, m := length(middle); m <= c.Length {
			fits, d, n = middle, next, m
		} else {
			over = middle
		}
	}
	return Sample{Input: d.input, Prefix: d.prefix, Outputs: d.outputs, Tokens: n, Length: c.Length, Depth: d.depth}, nil
}

// source is what a sample is drawn from.
type source struct{ *rand.Rand }

func newSource(seed, sample uint64) *source {
	return &source{rand.New(rand.NewPCG(seed, sample*0x9e3779b97f4a7c15+1))}
}

func pick[T any](r *source, from []T) T { return from[r.IntN(len(from))] }

// relative draws n places in a haystack of so many units, in increasing order. They are parts of it, so that they stay
// where they are when it grows.
func (r *source) relative(n, units int) []int {
	parts := make([]float64, n)
	for i := range parts {
		parts[i] = r.Float64()
	}
	slices.Sort(parts)
	at := make([]int, n)
	for i, p := range parts {
		at[i] = int(math.Round(p * float64(units)))
	}
	return at
}

// distinct draws n different texts.
func distinct(n int, draw func() string) []string {
	seen := map[string]bool{}
	var all []string
	for len(all) < n {
		if s := draw(); !seen[s] {
			seen[s] = true
			all = append(all, s)
		}
	}
	return all
}
