package recipes

import (
	"reflect"
	"strings"
	"testing"
)

// TestPaperGrid: the nine points of arXiv 2508.15884, table 4, come out of the state of its start alone.
func TestPaperGrid(t *testing.T) {
	got := DefaultShape().Grid(294_912)
	want := []Point{{4, 256, 288}, {4, 192, 384}, {4, 128, 576}, {8, 256, 144}, {8, 192, 192}, {8, 128, 288}, {12, 128, 192}, {12, 96, 256}, {12, 64, 384}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("grid %v, want %v", got, want)
	}
	for _, p := range got {
		if p.Heads*p.Key*p.Value != 294_912 {
			t.Errorf("%v has another state", p)
		}
	}
}

const searchText = `
name: hunt
models:
  teacher:
    config: {model_type: qwen2, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 4, num_attention_heads: 2,
             num_key_value_heads: 1, max_position_embeddings: 256, tie_word_embeddings: true, vocab_size: 256}
data: {path: DIR, tokenizer: bytes, held_out: 0.2}
mix: {share: 0.3, tasks: [{kind: recall}]}
stages: [{name: learn, model: teacher, steps: 3, loss: {cross_entropy: 1}, length: 64}]
search:
  linear: {kind: jet, options: {num_heads: 2, head_dim: 8, expand_v: 2}}
  exam: {tasks: [{kind: recall}]}
  supernet: {length: 64}
  placement: {full: 1}
  blocks: {candidates: {jet: {kind: jet, options: {num_heads: 2, head_dim: 8, expand_v: 2}}}, trial: {stage: {steps: 2, length: 64}}}
  shape: {heads: [1, 2], points: 2, most_key_dim: 64, widest_key: 16, trial: {stage: {steps: 2, length: 64}}}
`

// TestSearchProblems: every mistake in a search is one problem that names its key.
func TestSearchProblems(t *testing.T) {
	text := strings.ReplaceAll(searchText, "DIR", t.TempDir())
	problem := func(overrides ...string) string {
		r, err := Parse("hunt.yaml", []byte(text), overrides...)
		if err == nil {
			err = r.validate(published(t))
		}
		if err == nil {
			return ""
		}
		return err.Error()
	}
	if p := problem(); p != "" {
		t.Fatal(p)
	}
	for override, want := range map[string]string{
		"search.teacher=techer":                         "did you mean teacher?",
		"search.linear.kind=attn":                       "want a linear block",
		"search.linear.kind=yet":                        `"yet"`,
		"search.linear.options.num_heads=0":             "num_heads",
		"search.placement.full=5":                       "full is 5",
		"search.placement.strategy=luck":                "strategy is \"luck\"",
		"search.placement.objectives=[]":                "objectives is empty",
		"search.supernet.steps=0":                       "steps is 0",
		"search.supernet.length=512":                    "length is 512",
		"search.supernet.sampling=all":                  "sampling is \"all\"",
		"search.exam.items=0":                           "items is 0",
		"search.exam.tasks=[{kind: recall, pairs: 90}]": "pairs is 90",
		"search.verify.random=0":                        "random 0",
		"search.blocks.candidates.jet.kind=swa":         "want a linear block",
		"search.blocks.trial.rows=0":                    "rows is 0",
		"search.blocks.trial.stage.steps=0":             "steps is 0",
		"search.blocks.trial.stage.model=teacher":       "model \"teacher\"",
		"search.shape.heads=[0]":                        "heads is [0]",
		"search.shape.state=7":                          "leave no point",
		"search.budget=3":                               "search.budget is unknown",
		"search.placement.objectives=[mean/speed]":      "objectives has mean/speed",
		"mix.share=1.5":                                 "share is 1.5",
		"mix.tasks=[]":                                  "tasks is empty",
		"data.held_out=0":                               "held_out is 0",
	} {
		if got := problem(override); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", override, got, want)
		}
	}
}

// TestSearchHash: the hash changes with what is searched, and not with the steps that come after, and that of training not
// with the search.
func TestSearchHash(t *testing.T) {
	text := strings.ReplaceAll(searchText, "DIR", "x")
	hashes := func(overrides ...string) (train, search string) {
		r, err := Parse("hunt.yaml", []byte(text), overrides...)
		if err != nil {
			t.Fatal(err)
		}
		if search, err = r.SearchHash(); err != nil {
			t.Fatal(err)
		}
		return hash(t, r), search
	}
	train, found := hashes()
	for override, changed := range map[string][2]bool{
		"search.exam.items=9": {false, true}, "search.shape.points=1": {}, "mix.share=0.1": {true, true}, "output=there": {}, "stages.learn.steps=4": {true, true},
	} {
		a, b := hashes(override)
		if (a != train) != changed[0] || (b != found) != changed[1] {
			t.Errorf("%s changes training %v and search %v, want %v", override, a != train, b != found, changed)
		}
	}
}
