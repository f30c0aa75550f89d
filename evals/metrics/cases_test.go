package metrics

import (
	"bufio"
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/gojet/gojet/evals"
	"github.com/gojet/gojet/evals/metrics/python"
)

// line is a case that dev/metrics_check.py wrote: what Python gives.
type line struct {
	Kind, Text, Name, Answer, A, B string
	Pattern, Sub, Lower, Strip     string
	Found                          [][]string
	Split, Targets                 []string
	Seed                           int64
	N, K, Draws                    int
	Floats, Xs                     []float64
	Choices, Sample, Order         []int
	Difflib, Edit                  float64
	Options, Doc                   map[string]any
	Want                           json.RawMessage
	Labels, Binary                 [][2]int
	Weighted, Parts                [][2]float64
	Normal, Solution, Extracted    string
	Boxed                          *string
}

// TestCases repeats testdata/cases.jsonl, or the file that GOJET_METRICS_CASES names.
func TestCases(t *testing.T) {
	path := os.Getenv("GOJET_METRICS_CASES")
	if path == "" {
		path = "testdata/cases.jsonl"
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<24)
	counts, same := map[string]int{}, 0
	for in.Scan() {
		var c line
		if err := json.Unmarshal(in.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		counts[c.Kind]++
		switch c.Kind {
		case "regexp":
			c.regexp(t)
		case "text":
			c.texts(t)
		case "random":
			c.random(t)
		case "ratio":
			c.ratio(t)
		case "metric":
			c.metric(t)
		case "final":
			c.final(t)
		case "sets":
			c.sets(t)
		case "equal":
			if got, want := MathEquivalent(c.A, c.B), string(c.Want) == "true"; got == want {
				same++
			} else {
				t.Logf("%s = %s: %v, SymPy says %v", c.A, c.B, got, want)
			}
		default:
			t.Fatalf("unknown kind %q", c.Kind)
		}
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"regexp", "text", "random", "ratio", "metric", "final", "sets"} {
		if counts[kind] == 0 {
			t.Errorf("no case of kind %s", kind)
		}
	}
	t.Logf("%v; SymPy agrees in %d of %d", counts, same, counts["equal"])
}

func (c line) regexp(t *testing.T) {
	re, err := python.Compile(c.Pattern)
	if err != nil {
		t.Error(err)
		return
	}
	all, err := re.FindAll(c.Text)
	if err != nil {
		t.Error(err)
	}
	var got [][]string
	for _, m := range all {
		got = append(got, m.Text)
	}
	if !slices.EqualFunc(got, c.Found, slices.Equal[[]string]) {
		t.Errorf("%q in %q: %q, want %q", c.Pattern, c.Text, got, c.Found)
	}
	if sub, err := re.Sub(c.Text, func(python.Match) string { return "<>" }); err != nil || sub != c.Sub {
		t.Errorf("%q in %q replaced: %q, %v, want %q", c.Pattern, c.Text, sub, err, c.Sub)
	}
}

func (c line) texts(t *testing.T) {
	if got := python.Lower(c.Text); got != c.Lower {
		t.Errorf("lower of %q is %q, want %q", c.Text, got, c.Lower)
	}
	if got := python.Split(c.Text); !slices.Equal(got, c.Split) {
		t.Errorf("split of %q is %q, want %q", c.Text, got, c.Split)
	}
	if got := python.Strip(c.Text); got != c.Strip {
		t.Errorf("strip of %q is %q, want %q", c.Text, got, c.Strip)
	}
}

func (c line) random(t *testing.T) {
	r := python.NewRandom(c.Seed)
	for i, want := range c.Floats {
		if got := r.Float64(); got != want {
			t.Errorf("seed %d: number %d is %v, want %v", c.Seed, i, got, want)
		}
	}
	if got := r.Choices(c.N, c.K); !slices.Equal(got, c.Choices) {
		t.Errorf("seed %d: %d choices of %d are %v, want %v", c.Seed, c.K, c.N, got, c.Choices)
	}
	if got := r.Sample(c.N, c.K); !slices.Equal(got, c.Sample) {
		t.Errorf("seed %d: a sample of %d of %d is %v, want %v", c.Seed, c.K, c.N, got, c.Sample)
	}
	order := make([]int, c.N)
	for i := range order {
		order[i] = i
	}
	r.Shuffle(c.N, func(i, j int) { order[i], order[j] = order[j], order[i] })
	if !slices.Equal(order, c.Order) {
		t.Errorf("seed %d: %d shuffled are %v, want %v", c.Seed, c.N, order, c.Order)
	}
}

func (c line) ratio(t *testing.T) {
	if got := python.Ratio(c.A, c.B); got != c.Difflib {
		t.Errorf("ratio of %q and %q is %v, want %v", c.A, c.B, got, c.Difflib)
	}
	if got := EditSimilarity(c.A, c.B); math.Abs(got-c.Edit) > 1e-12 {
		t.Errorf("edit similarity of %q and %q is %v, want %v", c.A, c.B, got, c.Edit)
	}
}

func (c line) metric(t *testing.T) {
	var want float64
	if err := json.Unmarshal(c.Want, &want); err != nil {
		t.Fatal(err)
	}
	judge, err := Open(c.Name, c.Options, nil)
	if err != nil {
		t.Error(err)
		return
	}
	got, err := judge(t.Context(), evals.Answered{Doc: c.Doc, Answers: []string{c.Answer}, Targets: c.Targets})
	if err != nil {
		t.Error(err)
	}
	if math.Abs(got[c.Name]-want) > 1e-12 {
		t.Errorf("%s %v of %q against %q is %v, want %v", c.Name, c.Options, c.Answer, c.Targets, got[c.Name], want)
	}
}

func (c line) final(t *testing.T) {
	if got := NormaliseFinal(c.Text); got != c.Normal {
		t.Errorf("%q normalised is %q, want %q", c.Text, got, c.Normal)
	}
	if got := finalAnswer(c.Answer); got != c.Extracted {
		t.Errorf("the final answer of %q is %q, want %q", c.Answer, got, c.Extracted)
	}
	got, ok := LastBoxed(c.Solution)
	if ok != (c.Boxed != nil) || ok && got != *c.Boxed {
		t.Errorf("the last box of %q is %q, %v, want %v", c.Solution, got, ok, c.Boxed)
	}
}

func (c line) sets(t *testing.T) {
	want := map[string]float64{}
	if err := json.Unmarshal(c.Want, &want); err != nil {
		t.Fatal(err)
	}
	labels := func(pairs [][2]int) (ls []Labelled) {
		for _, p := range pairs {
			ls = append(ls, Labelled{p[0], p[1]})
		}
		return ls
	}
	var weighted []Weighted
	for _, p := range c.Weighted {
		weighted = append(weighted, Weighted{p[0], p[1]})
	}
	var parts []Part
	for _, p := range c.Parts {
		parts = append(parts, Part{p[0], int(p[1])})
	}
	got := map[string]float64{
		"mean": Mean(c.Xs), "median": Median(c.Xs), "perplexity": Perplexity(c.Xs), "mean_error": MeanError(c.Xs),
		"weighted": WeightedPerplexity(weighted), "bits": BitsPerByte(weighted), "f1": BinaryF1(labels(c.Binary)),
		"matthews": Matthews(labels(c.Labels)), "bootstrap": Bootstrap(Perplexity, c.Xs, c.Draws),
		"pooled": PooledError(parts), "unweighted": UnweightedError(parts),
	}
	for name, w := range want {
		if g, ok := got[name]; !ok || math.Abs(g-w) > 1e-11*math.Max(1, math.Abs(w)) {
			t.Errorf("%s is %v, want %v", name, g, w)
		}
	}
}
