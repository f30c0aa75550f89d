package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// tinySearch is a search of a second over the corpus of tinyRun.
const tinySearch = `
name: tiny-search
models:
  teacher:
    config: {model_type: qwen2, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 3, num_attention_heads: 2,
             num_key_value_heads: 1, max_position_embeddings: 256, tie_word_embeddings: true, vocab_size: 256}
data: {path: %s, tokenizer: bytes, held_out: 0.2, cache: %s}
stages:
  - {name: learn, model: teacher, steps: 4, length: 32, rows: 2, loss: {cross_entropy: 1}}
search:
  linear: {kind: jet, options: {num_heads: 2, head_dim: 8, expand_v: 2}}
  exam: {tasks: [{kind: recall, pairs: 3, queries: 2}], items: 4, text: 1, rows: 2, length: 64}
  supernet: {steps: 4, length: 32, rows: 2, loss: {hidden: 1}}
  placement: {full: 1, objectives: [recall/loss]}
  verify: {seeds: 2, random: 2}
  blocks:
    candidates: {jet: {kind: jet, options: {num_heads: 2, head_dim: 8, expand_v: 2}}}
    trial: {stage: {steps: 2, length: 32, rows: 2, loss: {hidden: 1}}, rows: 2, context: 16, tokens: 4}
  shape: {heads: [2], points: 2, most_key_dim: 32, widest_key: 16, trial: {stage: {steps: 2, length: 32, rows: 2, loss: {hidden: 1}}, rows: 2, context: 16, tokens: 4}}
log: {plot: none}
`

func searchCalls(t *testing.T) []call {
	corpus, _ := tinyRun(t)
	dir := t.TempDir()
	recipe, out := filepath.Join(dir, "tiny-search.yaml"), "output="+filepath.Join(dir, "run")
	text := fmt.Sprintf(tinySearch, filepath.Join(filepath.Dir(corpus), "corpus"), filepath.Join(dir, "cache"))
	if err := os.WriteFile(recipe, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return []call{
		{name: "help", args: []string{"search"}, parts: []string{"placement"}},
		{name: "placement", args: []string{"search", "placement", recipe, out}, parts: []string{"searching: 1 full and 0 window layers of 3", "recall/loss", "on 2 other sets of questions", "student: "}},
		{name: "again", args: []string{"search", "placement", recipe, out}, code: 1, parts: []string{""}, err: "holds a search already: go on with --resume"},
		{name: "resume", args: []string{"search", "placement", recipe, out, "--resume"}, parts: []string{"student: "}},
		{name: "no search", args: []string{"search", "placement", corpus}, code: 1, parts: []string{""}, err: "has no search"},
		{name: "bad budget", args: []string{"search", "placement", recipe, out, "search.placement.full=4"}, code: 1, parts: []string{""}, err: "full is 4"},
		{name: "unknown objective", args: []string{"search", "placement", recipe, out + "2", "search.placement.objectives=[recall/speed]"}, code: 1, parts: []string{""}, err: "objectives has recall/speed, which is not measured"},
		{name: "report without search", args: []string{"search", "report", dir}, code: 1, parts: []string{""}, err: "holds no finished search"},
		{name: "blocks", args: []string{"search", "blocks", recipe, out}, parts: []string{"DECODE TOK/S", "jet  "}},
		{name: "shape", args: []string{"search", "shape", recipe, out}, parts: []string{"2x16x8", "2x8x16"}},
		{name: "report", args: []string{"search", "report", filepath.Join(dir, "run")}, parts: []string{"report.html"}},
		{name: "all again", args: []string{"search", "all", recipe, out}, code: 1, parts: []string{""}, err: "--resume"},
		{name: "blocks resumed", args: []string{"search", "blocks", recipe, out, "--resume"}, parts: []string{"jet  "}},
		{name: "shape resumed", args: []string{"search", "shape", recipe, out, "--resume"}, parts: []string{"2x8x16"}},
		{name: "all resumed", args: []string{"search", "all", recipe, out, "--resume"}, parts: []string{"report: "}},
		{name: "generates", args: []string{"generate", filepath.Join(dir, "run", "placement", "model"), "count", "--tokenizer", "bytes", "--max-tokens", "3"}, parts: []string{""}},
	}
}
