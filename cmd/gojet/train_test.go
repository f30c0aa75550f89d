package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tinyRecipe is a run of seconds: a model of two layers learns to count, then a hybrid learns from it.
const tinyRecipe = `
name: tiny
models:
  teacher:
    config: {model_type: qwen2, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 2,
             num_key_value_heads: 1, max_position_embeddings: 128, tie_word_embeddings: true, vocab_size: 256}
  student:
    from: teacher
    layer_types: [jet, attn]
    blocks: {jet: {num_heads: 2, head_dim: 8, expand_v: 2}}
data: {path: %s, tokenizer: bytes, held_out: 0.2, cache: %s}
stages:
  - {name: learn, model: teacher, steps: 6, length: 32, rows: 2, loss: {cross_entropy: 1}, eval_every: 3, save_every: 2, sample_every: 6}
  - {name: distill, model: student, teacher: teacher, steps: 4, length: 32, rows: 2, loss: {kl: 1, hidden: 1}, save_every: 2}
samples: {prompts: ["count 1"], max_tokens: 4}
log: {csv: true, plot: svg}
`

// tinyRun writes a corpus and the recipe that learns it.
func tinyRun(t *testing.T) (recipe, output string) {
	t.Helper()
	dir := t.TempDir()
	corpus := filepath.Join(dir, "corpus")
	if err := os.Mkdir(corpus, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		text := fmt.Sprintf("count %d %s\n", i, strings.Repeat(fmt.Sprint(i, " "), 20))
		if err := os.WriteFile(filepath.Join(corpus, fmt.Sprintf("%02d.txt", i)), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	recipe = filepath.Join(dir, "tiny.yaml")
	text := fmt.Sprintf(tinyRecipe, corpus, filepath.Join(dir, "cache"))
	if err := os.WriteFile(recipe, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return recipe, filepath.Join(dir, "run")
}

func trainCalls(t *testing.T) []call {
	recipe, output := tinyRun(t)
	out := "output=" + output
	return []call{
		{name: "dry run", args: []string{"train", recipe, out, "--dry-run"}, parts: []string{
			"stage learn", "stage distill", "parameters  ", " trained, 0 frozen", "memory", "FLOP a step", "all            tokens"}},
		{name: "run", args: []string{"train", recipe, out}, parts: []string{
			"learn, step 0: held-out loss", "learn, step 6: held-out loss", "sample after step 6:", "KL to the teacher", "% of the gap recovered"}},
		{name: "again", args: []string{"train", recipe, out}, code: 1, parts: []string{""}, err: "holds a run already: go on with --resume, or choose another place with output=DIR"},
		{name: "resume", args: []string{"train", recipe, out, "--resume"}, parts: []string{"going on after step 10, stage distill", "of the gap recovered"}},
		{name: "another recipe", args: []string{"train", recipe, out, "seed=7", "--resume"}, code: 1, parts: []string{""}, err: "the recipe has changed since step 10"},
		{name: "bad value", args: []string{"train", recipe, out, "stages.learn.steps=0"}, code: 1, parts: []string{""}, err: "steps is 0"},
		{name: "no such recipe", args: []string{"train", "quikstart"}, code: 1, parts: []string{""}, err: "quickstart"},
		{name: "generates", args: []string{"generate", filepath.Join(output, "models", "student"), "count", "--tokenizer", "bytes", "--max-tokens", "3"}, parts: []string{""}},
	}
}
