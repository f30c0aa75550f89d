package ruler

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pieces counts words in pieces of four letters, and every other sign but a blank.
type pieces struct{}

func (pieces) Encode(text string) []int32 {
	n, run := 0, 0
	for i := range len(text) {
		c := text[i] | 0x20
		switch {
		case c >= 'a' && c <= 'z':
			if run%4 == 0 {
				n++
			}
			run++
			continue
		case c != ' ':
			n++
		}
		run = 0
	}
	return make([]int32, n)
}

func TestGenerate(t *testing.T) {
	for _, name := range Tasks() {
		for _, length := range []int{1024, 5000} {
			c := Config{Task: name, Length: length, Samples: 4, Seed: 7}
			samples, err := Generate(t.Context(), c, pieces{})
			if err != nil {
				t.Errorf("%s at %d: %v", name, length, err)
				continue
			}
			for i, s := range samples {
				if n := len(pieces{}.Encode(s.Input+" "+s.Prefix)) + Room(name); n != s.Tokens || n > length || n < length*8/10 {
					t.Errorf("%s %d at %d: %d tokens, and says %d", name, i, length, n, s.Tokens)
				}
				if len(s.Outputs) == 0 || s.Length != length {
					t.Errorf("%s: %+v", name, s)
				}
				for _, o := range s.Outputs {
					if !strings.Contains(s.Input, o) || strings.Contains(s.Prefix, o) {
						t.Errorf("%s %d at %d: the answer %q does not stand in the prompt alone", name, i, length, o)
					}
				}
			}
			if samples[0].Input == samples[1].Input {
				t.Errorf("%s: two samples are the same", name)
			}
			more, err := Generate(t.Context(), Config{Task: name, Length: length, Samples: 2, Seed: 7}, pieces{})
			if err != nil || more[1].Input != samples[1].Input {
				t.Errorf("%s: a sample depends on how many there are (%v)", name, err)
			}
			other, err := Generate(t.Context(), Config{Task: name, Length: length, Samples: 1, Seed: 8}, pieces{})
			if err != nil || other[0].Input == samples[0].Input {
				t.Errorf("%s: another seed gives the same (%v)", name, err)
			}
		}
	}
}

// generate makes one sample.
func generate(t *testing.T, name string, length int) Sample {
	t.Helper()
	s, err := Generate(t.Context(), Config{Task: name, Length: length, Samples: 1, Seed: 3}, pieces{})
	if err != nil {
		t.Fatal(err)
	}
	return s[0]
}

// TestAnswers finds the answers again by reading the prompts.
func TestAnswers(t *testing.T) {
	needle := regexp.MustCompile(`One of the special magic \w+ for (\S+) is: (\S+)\.`)
	for name, want := range map[string]struct{ needles, outputs int }{
		"niah_single_1": {1, 1}, "niah_single_2": {1, 1}, "niah_single_3": {1, 1}, "niah_multikey_1": {4, 1},
		"niah_multikey_2": {-1, 1}, "niah_multikey_3": {-1, 1}, "niah_multivalue": {4, 4}, "niah_multiquery": {4, 4},
	} {
		s := generate(t, name, 3000)
		found := needle.FindAllStringSubmatch(s.Input, -1)
		if want.needles > 0 && len(found) != want.needles || want.needles < 0 && len(found) < 20 {
			t.Errorf("%s has %d needles, want %d", name, len(found), want.needles)
		}
		question := s.Input[strings.LastIndex(s.Input, "\n"):]
		var values []string
		for _, f := range found {
			if strings.Contains(question, " "+f[1]+" ") || strings.Contains(question, " "+f[1]+",") {
				values = append(values, f[2])
			}
		}
		slices.Sort(values)
		if outputs := slices.Sorted(slices.Values(s.Outputs)); len(outputs) != want.outputs || !slices.Equal(values, outputs) {
			t.Errorf("%s: the text has %v, the answers are %v", name, values, outputs)
		}
	}
}

func TestTracking(t *testing.T) {
	s := generate(t, "vt", 3000)
	_, main, _ := strings.Cut(s.Input, "\n\n\n")
	value := regexp.MustCompile(`value (\d+) in`).FindStringSubmatch(main)[1]
	has := map[string]bool{}
	for _, f := range regexp.MustCompile(`VAR (\w+) = (?:VAR )?(\w+)`).FindAllStringSubmatch(main, -1) {
		if f[2] == value || has[f[2]] {
			has[f[1]] = true
		}
	}
	if len(has) != 5 || len(s.Outputs) != 5 {
		t.Errorf("%d variables have the value, the answers are %v", len(has), s.Outputs)
	}
	for _, o := range s.Outputs {
		if !has[o] {
			t.Errorf("%s has not the value", o)
		}
	}
}

func TestWords(t *testing.T) {
	for _, length := range []int{2000, 6000, 60000} {
		s := generate(t, "cwe", length)
		list := s.Input[strings.LastIndex(s.Input, "Below is"):]
		counts := map[string]int{}
		for _, f := range regexp.MustCompile(`\d+\. (\w+)`).FindAllStringSubmatch(list, -1) {
			counts[f[1]]++
		}
		mostCommon(t, "cwe", counts, s.Outputs)
	}
	s := generate(t, "fwe", 4000)
	counts := map[string]int{}
	text, _, _ := strings.Cut(s.Input, "\nQuestion")
	for _, w := range strings.Fields(text)[20:] {
		if len(w) == codedLetters {
			counts[w]++
		}
	}
	mostCommon(t, "fwe", counts, s.Outputs)
}

func mostCommon(t *testing.T, name string, counts map[string]int, outputs []string) {
	t.Helper()
	least := math.MaxInt
	for _, o := range outputs {
		least = min(least, counts[o])
	}
	for w, n := range counts {
		if n >= least && !slices.Contains(outputs, w) {
			t.Errorf("%s: %q is there %d times, an answer only %d", name, w, n, least)
		}
	}
}

func TestQuestions(t *testing.T) {
	born := regexp.MustCompile(`(\S+ \S+) was born in (\S+) in`)
	for _, name := range []string{"qa_1", "qa_2"} {
		s := generate(t, name, 5000)
		who := regexp.MustCompile(`In which town was (.*) born\?$`).FindStringSubmatch(s.Input)[1]
		if of, ok := strings.CutPrefix(who, "the founder of "); ok {
			who = regexp.MustCompile(regexp.QuoteMeta(of) + ` was founded by (\S+ \S+) in`).FindStringSubmatch(s.Input)[1]
		}
		towns := map[string]int{}
		answer := ""
		for _, f := range born.FindAllStringSubmatch(s.Input, -1) {
			towns[f[2]]++
			if f[1] == who {
				answer = f[2]
			}
		}
		if answer != s.Outputs[0] || towns[answer] != 1 || len(towns) < 10 || !Any(name) {
			t.Errorf("%s: the text says %q (%d times), the answer is %q", name, answer, towns[answer], s.Outputs)
		}
	}
}

func TestGrid(t *testing.T) {
	c := DefaultGrid(512, 1024)
	c.Samples = 2
	samples, err := c.Generate(t.Context(), pieces{})
	if err != nil || len(samples) != 2*11*2 {
		t.Fatalf("%d samples, %v", len(samples), err)
	}
	var points []Point
	for _, s := range samples {
		at := 100 * float64(strings.Index(s.Input, "One of the special")) / float64(len(s.Input))
		if s.Length == 1024 && math.Abs(at-s.Depth) > 20 { // the instruction and the question count here
			t.Errorf("a needle of depth %v stands at %v %%", s.Depth, at)
		}
		score := 0.0
		if s.Length == 512 {
			score = 1
		}
		points = append(points, Point{s.Length, s.Depth, score})
	}
	g := NewGrid(points)
	table := g.Table()
	if !strings.Contains(table, "| depth % | 512 | 1K | mean |\n") || !strings.Contains(table, "| 30 | 100 | 0 | 50 |\n") || !strings.Contains(table, "| mean | 100 | 0 | 50 |\n") {
		t.Error(table)
	}
	g.Scores[2][1] = math.NaN()
	if !strings.Contains(g.Table(), "| 20 | 100 |  – | 100 |") {
		t.Error(g.Table())
	}
	for _, name := range []string{"grid.png", "grid.svg"} {
		path := filepath.Join(t.TempDir(), name)
		if err := g.Plot(path, "needles"); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() < 1000 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if err := (Grid{}).Plot(filepath.Join(t.TempDir(), "a.png"), ""); err == nil {
		t.Error("an empty grid was plotted")
	}
	if _, err := (GridConfig{}).Generate(t.Context(), pieces{}); err == nil {
		t.Error("a grid without cells was made")
	}
}

func TestErrors(t *testing.T) {
	depth := func(d float64) *float64 { return &d }
	for _, tc := range []struct {
		c    Config
		want string
	}{
		{Config{Task: "niah", Length: 1024, Samples: 1}, `task is "niah", want one of cwe, fwe, niah_multikey_1`},
		{Config{Task: "vt", Length: 10, Samples: 1}, "length is 10"},
		{Config{Task: "vt", Length: 1024, Samples: 0}, "samples is 0"},
		{Config{Task: "vt", Length: 1024, Samples: 1, Depth: depth(50)}, "more than one place"},
		{Config{Task: "niah_single_1", Length: 1024, Samples: 1, Depth: depth(101)}, "depth is 101"},
		{Config{Task: "niah_single_1", Length: 1024, Samples: 1, Depth: depth(math.NaN())}, "depth is NaN"},
		{Config{Task: "cwe", Length: 256, Samples: 1}, "but the length is 256"},
	} {
		if _, err := Generate(t.Context(), tc.c, pieces{}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v, want %q", tc.c, err, tc.want)
		}
	}
	if _, err := Generate(t.Context(), Config{Task: "niah_single_1", Length: 1024, Samples: 1}, blind{}); err == nil || !strings.Contains(err.Error(), "does not count") {
		t.Errorf("a tokenizer without tokens: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Generate(ctx, Config{Task: "vt", Length: 1024, Samples: 1}, pieces{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

type blind struct{}

func (blind) Encode(string) []int32 { return nil }

// TestVocabulary: a word that were in two lists could be counted twice.
func TestVocabulary(t *testing.T) {
	seen := map[string]bool{}
	for _, w := range slices.Concat(adjectives, nouns, verbs) {
		if seen[w] {
			t.Errorf("%q is there twice", w)
		}
		seen[w] = true
	}
}

func TestDocument(t *testing.T) {
	d := generate(t, "niah_single_2", 1024).Document()
	if len(d) != 6 || d["max_length"] != 1024 || len(d["outputs"].([]any)) != 1 {
		t.Errorf("%v", d)
	}
}
