package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/gojet/gojet/evals"
	"github.com/gojet/gojet/evals/suite"
)

func TestPair(t *testing.T) {
	enc := &toy{most: 8}
	for _, tc := range []struct {
		context, continuation string
		ctx, end              string // the bytes of both
		err                   string
	}{
		{"a b", " c", "a b", " c", ""},
		{"a b ", "c", "a b", " c", ""}, // a space at the end goes over
		{"a b \n\u00a0", "c", "a b", " \n\u00a0c", ""},
		{"", "xy", "\x00", "xy", ""},   // the prefix stands before
		{"", "\x00y", "\x00", "y", ""}, // unless it is there
		{"  ", "c", "\x00", "  c", ""},
		{"12345678", "ab", "2345678", "ab", ""}, // 8 are read, and the last is not
		{"123", "456789012", "", "", "has 9 tokens, but the model reads 8"},
		{"a", "", "", "", "no token of its own"},
	} {
		got, err := pair(enc, tc.context, tc.continuation)
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%q %q: error %v, want %q", tc.context, tc.continuation, err, tc.err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got.ContextTokens, enc.Encode(tc.ctx)) || !reflect.DeepEqual(got.ContinuationTokens, enc.Encode(tc.end)) {
			t.Errorf("%q %q: %v %v, %v; want %q %q", tc.context, tc.continuation, got.ContextTokens, got.ContinuationTokens, err, tc.ctx, tc.end)
		}
	}
	if got, err := pair(nil, "a ", "b"); err != nil || got.ContextTokens != nil || got.Context != "a " {
		t.Errorf("without an encoder: %+v, %v", got, err)
	}
}

// Each token of a text is asked for once, behind as many others as the model reads.
func TestRolling(t *testing.T) {
	enc := &toy{most: 4}
	for text, want := range map[string]string{
		"":           "",
		"abc":        "\x00>abc",
		"abcd":       "\x00>abcd",
		"abcdefghij": "\x00>abcd d>efgh fgh>ij",
		"abcdefgh":   "\x00>abcd d>efgh",
	} {
		windows, err := rolling(enc, text)
		var got []string
		for _, w := range windows {
			var b strings.Builder
			for _, id := range w.ContextTokens {
				b.WriteByte(byte(id))
			}
			b.WriteByte('>')
			for _, id := range w.ContinuationTokens {
				b.WriteByte(byte(id))
			}
			got = append(got, b.String())
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
	if _, err := rolling(nil, "a"); err == nil {
		t.Error("no encoder is no error")
	}
}

func TestFit(t *testing.T) {
	enc := &toy{most: 10}
	for _, tc := range []struct {
		text string
		room int
		want string
	}{{"abc", 4, "abc"}, {"abcdefghij", 4, "efghij"}, {"", 4, "\x00"}, {"a", 10, "error"}} {
		got, err := fit(enc, evals.Prompted{Prompt: tc.text, MaxTokens: tc.room})
		if (err != nil) != (tc.want == "error") || err == nil && !reflect.DeepEqual(got.Tokens, enc.Encode(tc.want)) {
			t.Errorf("%q with room for %d: %v, %v, want %q", tc.text, tc.room, got.Tokens, err, tc.want)
		}
	}
}

func TestFilters(t *testing.T) {
	doc := map[string]any{"choices": list("red fox", "Red", "blue"), "n": 7}
	for _, tc := range []struct {
		steps string
		in    []string
		want  []string
	}{
		{`[{"function": "regex", "regex_pattern": "#### (\\-?[0-9\\.\\,]+)"}]`, []string{"so #### 1,2 #### 3", "none"}, []string{"1,2", "[invalid]"}},
		{`[{"function": "regex", "regex_pattern": "(-?[$0-9.,]{2,})|(-?[0-9]+)", "group_select": -1}]`, []string{"1 and $20.", "5", ""}, []string{"$20.", "5", "[invalid]"}},
		{`[{"function": "regex", "regex_pattern": "(?<=the answer is )(.*)(?=.)"}]`, []string{"so the answer is (B)."}, []string{"(B)"}},
		{`[{"function": "regex", "regex_pattern": "x(a)?(b)?", "fallback": "?"}]`, []string{"xb", "x"}, []string{"b", "?"}},
		{`[{"function": "remove_whitespace"}, {"function": "lowercase"}, {"function": "take_first"}]`, []string{" A\n", "b"}, []string{"a"}},
		{`[{"function": "uppercase"}, {"function": "take_first_k", "k": 2}]`, []string{"a", "b", "c"}, []string{"A", "B"}},
		{`[{"function": "majority_vote"}]`, []string{"a", "b", "b", "a", "c"}, []string{"a"}},
		{`[{"function": "map", "mapping_dict": {"a": "1"}, "default_value": "none"}]`, []string{"a", "b"}, []string{"1", "none"}},
		{`[{"function": "template", "template": "{{n}}:{{response}}"}]`, []string{"a"}, []string{"7:a"}},
		{`[{"function": "multi_choice_regex", "regex_pattern": "(\\([A-Z]\\))", "ignore_case": true}]`,
			[]string{"it is (B)", "the red fox", "RED", "answer: C", "?"}, []string{"(B)", "(A)", "(B)", "(C)", "[invalid]"}},
	} {
		var steps []suite.Options
		if err := json.Unmarshal([]byte(tc.steps), &steps); err != nil {
			t.Fatal(err)
		}
		for _, s := range steps { // YAML has ints
			for k, v := range s {
				if f, ok := v.(float64); ok {
					s[k] = int(f)
				}
			}
		}
		all, err := chains([]suite.Chain{{Name: "f", Steps: steps}})
		if err != nil {
			t.Errorf("%s: %v", tc.steps, err)
			continue
		}
		if got, err := all[0].apply(tc.in, doc); err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s of %q: %q, %v, want %q", tc.steps, tc.in, got, err, tc.want)
		}
	}
	for _, tc := range []struct {
		chain suite.Chain
		want  string
	}{
		{suite.Chain{Steps: nil}, "name is missing"},
		{suite.Chain{Name: "f", Steps: []suite.Options{{"function": "guess"}}}, `function is "guess"`},
		{suite.Chain{Name: "f", Steps: []suite.Options{{"function": "regex", "regex_pattern": "("}}}, "regex_pattern"},
		{suite.Chain{Name: "f", Steps: []suite.Options{{"function": "lowercase", "k": 1}}}, `no option "k"`},
		{suite.Chain{Name: "f", Steps: []suite.Options{{"function": "regex", "group_select": "x"}}}, "group_select is x"},
	} {
		if _, err := chains([]suite.Chain{tc.chain}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v: error %v, want %q", tc.chain, err, tc.want)
		}
	}
}

// letters is a task whose likelihoods are known: see toy.
const letters = `task: letters
dataset_path: o/letters
output_type: multiple_choice
test_split: test
doc_to_text: "{{q}}"
doc_to_target: "{{a}}"
doc_to_choice: "{{c}}"
target_delimiter: ""
metric_list: [{metric: acc}, {metric: acc_norm}, {metric: acc_bytes}, {metric: exact_match}, {metric: acc_mutual_info}, {metric: f1}, {metric: mcc}, {metric: brier_score}]
`

// A byte costs its distance from m, in 64ths: "m" 0, "l" 1, "mk" 2, "ü" (195, 188) 86+79.
func TestChoices(t *testing.T) {
	root := data(t, map[string][]row{"o/letters/data/test": {
		{"q": "?", "c": list("l", "mk"), "a": 1},    // −1 and −2: 0 is chosen; by characters −1 and −1: 0
		{"q": "?", "c": list("mmk", "l"), "a": 0},   // −2 and −1: 1; by characters −2/3 and −1: 0
		{"q": "?", "c": list("üü", "iii"), "a": 1},  // −330 and −12
		{"q": "?", "c": list("m", "k"), "a": "[0]"}, // no choice is called "[0]", so none is right
	}})
	s := own(t, map[string]string{"letters.yaml": letters})
	m, w := &toy{most: 100}, &watch{}
	h := &Harness{Config: config(root), Model: m, Encoder: m, Watcher: w}
	r, err := h.Run(context.Background(), selection(t, s, "letters"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{
		"acc": 1. / 4, "acc_norm": 2. / 4, "acc_bytes": 2. / 4, "exact_match": 0, "acc_mutual_info": 1. / 4,
	}
	got := map[string]Score{}
	for _, sc := range r.Tasks[0].Scores {
		got[sc.Metric] = sc
	}
	for name, value := range want {
		if math.Abs(got[name].Value-value) > 1e-12 {
			t.Errorf("%s is %v, want %v", name, got[name].Value, value)
		}
	}
	// Of 1, 0, 0, 0 the mean is 1/4 and the standard error √(3·(1/4)²+(3/4)²)/3)/√4 = 1/4.
	if e := got["acc"].Error; e == nil || math.Abs(*e-0.25) > 1e-12 {
		t.Errorf("standard error of acc %v, want 0.25", e)
	}
	if got["brier_score"].Error != nil || got["brier_score"].HigherIsBetter {
		t.Errorf("brier_score: %+v", got["brier_score"])
	}
	// Each choice twice, as given and alone; asked once although "l" and "k" behind the prefix come often.
	if w.requests != 16 || w.done != 16 {
		t.Errorf("%d requests, %d done, want 16 of both", w.requests, w.done)
	}
	if len(w.samples["letters"]) != 4 {
		t.Errorf("%d samples, want 4", len(w.samples["letters"]))
	}
	line, err := json.Marshal(w.samples["letters"][1])
	if err != nil || !strings.Contains(string(line), `"acc":0,"acc_norm":1`) || !strings.Contains(string(line), `"arguments":[["?","mmk"],["?","l"]`) {
		t.Errorf("sample: %s, %v", line, err)
	}
}

func TestGreatest(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(-1)
	for _, tc := range []struct {
		in   []float64
		want int
	}{{[]float64{1, 3, 3}, 1}, {[]float64{nan, 5}, 0}, {[]float64{5, nan, nan}, 1}, {[]float64{inf, inf}, 0}} {
		if got := greatest(tc.in); got != tc.want {
			t.Errorf("%v: %d, want %d", tc.in, got, tc.want)
		}
	}
}

func TestTexts(t *testing.T) {
	root := data(t, map[string][]row{"o/texts/data/test": {{"a": "x", "b": "mm"}, {"a": "x", "b": "mi"}}})
	s := own(t, map[string]string{
		"likely.yaml": "task: likely\ndataset_path: o/texts\noutput_type: loglikelihood\ntest_split: test\ndoc_to_text: a\ndoc_to_target: b\n",
		"whole.yaml":  "task: whole\ndataset_path: o/texts\noutput_type: loglikelihood_rolling\ntest_split: test\ndoc_to_target: b\ndoc_to_length: \" {{b}} {{b}}\"\n",
	})
	m := &toy{most: 100}
	h := &Harness{Config: config(root), Model: m, Encoder: m, Watcher: &watch{}}
	r, err := h.Run(context.Background(), selection(t, s, "likely", "whole"))
	if err != nil {
		t.Fatal(err)
	}
	// "mi" costs 4/64. " mm mm" has three words, as one before the first blank counts, and six bytes.
	for i, want := range []map[string]float64{
		{"perplexity": math.Exp(4. / 64 / 2), "acc": 0.5},
		{"word_perplexity": math.Exp(4. / 64 / 6), "byte_perplexity": math.Exp(4. / 64 / 12), "bits_per_byte": 4. / 64 / 12 / math.Ln2},
	} {
		for _, sc := range r.Tasks[i].Scores {
			if math.Abs(sc.Value-want[sc.Metric]) > 1e-12 {
				t.Errorf("%s is %v, want %v", sc.Metric, sc.Value, want[sc.Metric])
			}
		}
		if len(r.Tasks[i].Scores) != len(want) {
			t.Errorf("scores %v, want %v", r.Tasks[i].Scores, want)
		}
	}
}

const sums = `task: sums%s
dataset_path: o/sums
output_type: generate_until
test_split: test
doc_to_text: "{{q}}"
doc_to_target: "{{a}}"
generation_kwargs: {until: ["!"], max_gen_toks: 5}
filter_list:
  - {name: number, filter: [{function: regex, regex_pattern: "[0-9]+"}, {function: take_first}]}
  - {name: whole, filter: [{function: take_first}]}
metric_list: [{metric: exact_match}]
metadata: {version: 1.5}
`

const sumsGroup = `group: all_sums
group_alias: all
task: [sums1, sums2]
aggregate_metric_list: [{metric: exact_match, weight_by_size: %v}]
metadata: {version: 3}
`

func TestAnswers(t *testing.T) {
	root := data(t, map[string][]row{"o/sums/data/test": {{"q": "1+1", "a": 2}, {"q": "1+2", "a": 3}, {"q": "2+2", "a": 5}}})
	s := own(t, map[string]string{
		"1.yaml": fmt.Sprintf(sums, "1"), "2.yaml": strings.Replace(fmt.Sprintf(sums, "2"), "test_split: test", "test_split: test\nprocess_docs: {where: \"{{ a < 5 }}\"}", 1),
		"g.yaml": fmt.Sprintf(sumsGroup, false),
	})
	m := &toy{most: 100, text: func(p string) string { return "so " + map[string]string{"1+1": "2!3", "1+2": "4", "2+2": "5"}[p] }}
	h := &Harness{Config: config(root), Model: m, Encoder: m, Watcher: &watch{}}
	r, err := h.Run(context.Background(), selection(t, s, "all_sums"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := r.Table(&b); err != nil {
		t.Fatal(err)
	}
	// sums1 has 2 of 3 right, sums2 1 of 2: by tasks 7/12, and √((1/3)² + (1/2)²)/2 = 0.3005.
	want := `task      version  filter  n-shot  metric          value      stderr
all       3        number  0       exact_match  ↑  0.5833  ±  0.3005
                   whole   0       exact_match  ↑  0.0000  ±  0.0000
 - sums1  1.5      number  0       exact_match  ↑  0.6667  ±  0.3333
                   whole   0       exact_match  ↑  0.0000  ±  0.0000
 - sums2  1.5      number  0       exact_match  ↑  0.5000  ±  0.5000
                   whole   0       exact_match  ↑  0.0000  ±  0.0000
`
	if b.String() != want {
		t.Errorf("table:\n%s\nwant:\n%s", b.String(), want)
	}
	data, err := json.Marshal(r.JSON(map[string]any{"model": "toy"}))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`"groups":{"all_sums":{"alias":"all","exact_match,number":0.5833333333333333`, `"group_subtasks":{"all_sums":["sums1","sums2"]}`,
		`"n-samples":{"sums1":{"effective":3,"original":3},"sums2":{"effective":2,"original":2}}`, `"n-shot":{"all_sums":0,"sums1":0,"sums2":0}`,
		`"versions":{"all_sums":"3","sums1":"1.5","sums2":"1.5"}`, `"exact_match_stderr,whole":0`, `"config":{"model":"toy"}`,
	} {
		if !strings.Contains(string(data), part) {
			t.Errorf("results lack %s:\n%s", part, data)
		}
	}
	h.Config.Limit, h.Config.Bootstrap = 0.4, 0
	if r, err = h.Run(context.Background(), selection(t, s, "sums1")); err != nil || r.Tasks[0].Documents != 2 || r.Tasks[0].Available != 3 || r.Tasks[0].Scores[0].Error != nil {
		t.Errorf("two of three documents: %+v, %v", r, err)
	}
}

// A run that is killed in the middle goes on where it was, and what it ends with is what an undisturbed run has.
func TestResume(t *testing.T) {
	var rows []row
	for i := range 20 {
		rows = append(rows, row{"q": fmt.Sprintf("%d+%d", i, i), "c": list("l", strings.Repeat("k", i+1)), "a": i % 2})
	}
	root := data(t, map[string][]row{"o/letters/data/test": rows, "o/sums/data/test": rows})
	s := own(t, map[string]string{"letters.yaml": letters, "1.yaml": fmt.Sprintf(sums, "1")})
	path := filepath.Join(t.TempDir(), "requests.jsonl")
	run := func(m *toy, name string) (*Results, error) {
		store, err := OpenStore(path, name)
		if err != nil {
			t.Fatal(err)
		}
		m.most, m.text = 100, func(p string) string { return p }
		h := &Harness{Config: config(root), Model: m, Encoder: m, Watcher: &watch{}, Store: store}
		r, err := h.Run(context.Background(), selection(t, s, "letters", "sums1"))
		if closed := store.Close(); closed != nil {
			t.Fatal(closed)
		}
		return r, err
	}
	first := &toy{fail: 50}
	if _, err := run(first, "toy"); !errors.Is(err, errKilled) {
		t.Fatalf("error %v, want that of the model", err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"key":"cut`); err != nil {
		t.Fatal(err)
	}
	f.Close()
	second := &toy{}
	resumed, err := run(second, "toy")
	if err != nil {
		t.Fatal(err)
	}
	third := &toy{}
	again, err := run(third, "toy")
	if err != nil || third.asked != 0 {
		t.Errorf("after all is answered %d requests were asked, error %v", third.asked, err)
	}
	other := &toy{}
	fresh, err := run(other, "another model")
	if err != nil {
		t.Fatal(err)
	}
	if first.asked <= 32 || second.asked >= other.asked || second.asked < other.asked-first.asked {
		t.Errorf("%d requests until the end of the first run, %d in the second, %d in a whole one", first.asked, second.asked, other.asked)
	}
	if !reflect.DeepEqual(resumed, again) || !reflect.DeepEqual(resumed, fresh) {
		t.Errorf("results differ:\n%+v\n%+v\n%+v", resumed, again, fresh)
	}
	if err := os.WriteFile(path, []byte("what\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStore(path, "toy"); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("error %v, want that line 1 is no answer", err)
	}
}

func TestRepeats(t *testing.T) {
	root := data(t, map[string][]row{"o/sums/data/test": {{"q": "1+1", "a": 2}}})
	s := own(t, map[string]string{
		"1.yaml": fmt.Sprintf(sums, "1") + "repeats: 3\n",
		"2.yaml": strings.Replace(fmt.Sprintf(sums, "2"), "max_gen_toks: 5", "max_gen_toks: 5, do_sample: true, temperature: 0.5", 1) + "repeats: 3\n",
	})
	for task, want := range map[string]int{"sums1": 1, "sums2": 3} { // drawn answers differ, the likeliest is one
		m := &toy{most: 100, text: func(p string) string { return p }}
		h := &Harness{Config: config(root), Model: m, Encoder: m, Watcher: &watch{}}
		if _, err := h.Run(context.Background(), selection(t, s, task)); err != nil || m.asked != want {
			t.Errorf("%s: %d requests, %v, want %d", task, m.asked, err, want)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, tc := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.NumFewshot = -2 }, "num-fewshot is -2"},
		{func(c *Config) { c.Limit = 2.5 }, "limit is 2.5"},
		{func(c *Config) { c.Limit = math.NaN() }, "limit is NaN"},
		{func(c *Config) { c.BatchSize = 0 }, "batch-size is 0"},
		{func(c *Config) { c.Bootstrap = -1 }, "bootstrap-iters is -1"},
		{func(c *Config) { c.Samples = 0 }, "samples is 0"},
		{func(c *Config) { c.Seed = -1 }, "seed is -1"},
	} {
		c := Defaults()
		tc.change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("error %v, want %q", err, tc.want)
		}
	}
	if err := Defaults().Validate(); err != nil {
		t.Error(err)
	}
}
