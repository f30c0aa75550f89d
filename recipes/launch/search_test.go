package launch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gojet/gojet/checkpoints/run"
	"github.com/gojet/gojet/recipes"
	"github.com/gojet/gojet/search"
	"github.com/gojet/gojet/search/report"
	"github.com/gojet/gojet/train"
)

const searchRecipe = `
name: hunt
models:
  teacher:
    config: {model_type: qwen2, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 6, num_attention_heads: 2, initializer_range: 0.2,
             num_key_value_heads: 1, max_position_embeddings: 256, tie_word_embeddings: true, vocab_size: 256}
data: {path: CORPUS, tokenizer: bytes, held_out: 0.2, cache: CACHE}
mix: {share: 0.3, tasks: [{kind: recall, pairs: 3, queries: 2}]}
stages:
  - {name: learn, model: teacher, steps: 30, length: 64, rows: 4, loss: {cross_entropy: 1}, optimizer: {lr: 1e-2}, save_every: 10}
search:
  linear: {kind: jet, options: {num_heads: 2, head_dim: 8, expand_v: 2}}
  window_size: 8
  exam: {tasks: [{kind: recall, pairs: 3, queries: 2}, {kind: continuation, length: 16, choices: 3}], items: 12, text: 2, rows: 2, length: 96}
  supernet: {steps: 24, length: 64, rows: 2, sampling: sandwich, loss: {hidden: 1, kl: 0.5, temperature: 1}, optimizer: {lr: 1e-2}, save_every: 5}
  placement: {full: 2, strategy: beam, width: 2, branch: 4, objectives: [text/kl]}
  verify: {seeds: 3, random: 3}
  blocks:
    candidates: {jet: {kind: jet, options: {num_heads: 2, head_dim: 8, expand_v: 2}, map_projections: true}, gdn: {kind: gated_deltanet, options: {num_heads: 2, head_dim: 8, expand_v: 2}}}
    trial: {stage: {steps: 4, length: 64, rows: 2, loss: {hidden: 1}, save_every: 2}, rows: 2, context: 24, tokens: 4}
  shape: {heads: [1, 2], points: 2, most_key_dim: 64, widest_key: 16, most_bytes: 0, trial: {stage: {steps: 3, length: 64, rows: 2, loss: {hidden: 1}}, rows: 2, context: 24, tokens: 4}}
log: {plot: none}
`

// hunting is a search over the corpus of small.
func hunting(t *testing.T, dir string, overrides ...string) *recipes.Recipe {
	t.Helper()
	small(t, dir)
	text := strings.NewReplacer("CORPUS", filepath.Join(dir, "corpus"), "CACHE", filepath.Join(dir, "cache")).Replace(searchRecipe)
	r, err := recipes.Parse("hunt.yaml", []byte(text), overrides...)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	return r
}

func place(t *testing.T, r *recipes.Recipe, resume bool) *report.Placement {
	t.Helper()
	p, err := Placement(context.Background(), r, Options{Resume: resume})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// found is a result without what measures the machine or the way to it.
func found(t *testing.T, p *report.Placement) string {
	t.Helper()
	q := *p
	q.Cost, q.Student, q.Command = report.Cost{}, "", ""
	text, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestPlacement searches twice: by beam and by measuring every placement. The beam's choice is among the best two, with fewer
// measurements; the student is there, is trained on by a recipe as it is, and differs from the teacher by what was measured.
func TestPlacement(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "beam")
	beam := place(t, hunting(t, dir, "output="+out), false)
	every := place(t, hunting(t, dir, "output="+filepath.Join(dir, "every"), "search.placement.strategy=exhaustive"), false)
	var order []string
	for _, p := range every.Pareto {
		order = append(order, p.Layers)
	}
	if every.Evaluations != 15 || beam.Evaluations >= 15 {
		t.Errorf("%d measurements, exhaustive takes %d", beam.Evaluations, every.Evaluations)
	}
	if better := ahead(t, filepath.Join(dir, "every", PlacementDir, journalFile), beam.Best.Scores[search.TextKL]); better > 1 {
		t.Errorf("%d placements are better than %s; the Pareto set is %v", better, beam.Best.Layers, order)
	}
	if len(beam.Single) != 6 || len(beam.ByFull) != 3 || len(beam.Checks) != 3 || beam.Checks[0].Random["recall/loss"] <= 0 {
		t.Errorf("single %d, by full %d, checks %d", len(beam.Single), len(beam.ByFull), len(beam.Checks))
	}
	if beam.Teacher[search.TextKL] > 1e-5 || beam.None[search.TextKL] <= beam.Best.Scores[search.TextKL] {
		t.Errorf("divergence: teacher %v, none %v, best %v", beam.Teacher[search.TextKL], beam.None[search.TextKL], beam.Best.Scores[search.TextKL])
	}
	// The student goes on by the command that the report gives, here with fewer steps.
	overrides := []string{"stages.distill.steps=4", "stages.distill.length=64", "stages.distill.accumulate=1", "stages.distill.schedule.warmup=0",
		"data.held_out=4", "data.cache=" + filepath.Join(dir, "cache"), "samples.prompts=[line 1]", "samples.max_tokens=4", "stages.distill.sample_every=4"}
	args := strings.Fields(strings.ReplaceAll(beam.Command, "'", ""))
	r, err := recipes.Load(args[2], append(args[3:], overrides...)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	var console bytes.Buffer
	if err := Run(context.Background(), r, Options{Console: &console}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(console.String(), "sample after step 4") {
		t.Errorf("no answer of the student:\n%s", console.String())
	}
	// Again without Resume is an error, with it the result.
	if _, err := Placement(context.Background(), hunting(t, dir, "output="+out), Options{}); err == nil || !strings.Contains(err.Error(), "--resume") {
		t.Errorf("a second search in the same place: %v", err)
	}
	if again := place(t, hunting(t, dir, "output="+out), true); found(t, again) != found(t, beam) {
		t.Error("the result read back differs")
	}
	if _, err := Placement(context.Background(), hunting(t, dir, "output="+out, "search.exam.items=9"), Options{Resume: true}); err == nil || !strings.Contains(err.Error(), "another recipe") {
		t.Errorf("the result of another recipe: %v", err)
	}
}

// ahead counts the placements of two full layers in a journal that are better than kl.
func ahead(t *testing.T, path string, kl float64) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		var r struct {
			Layers string        `json:"layers"`
			Scores search.Scores `json:"scores"`
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if strings.Count(r.Layers, "F") == 2 && r.Scores[search.TextKL] < kl {
			n++
		}
	}
	return n
}

// TestWindows searches with a budget of windows too.
func TestWindows(t *testing.T) {
	dir := t.TempDir()
	p := place(t, hunting(t, dir, "output="+filepath.Join(dir, "run"), "search.placement.window=1", "search.placement.full=1", "search.placement.objectives=[text/kl,recall/loss]", "search.supernet.steps=6", "stages.learn.steps=4"), false)
	if strings.Count(p.Best.Layers, "F") != 1 || strings.Count(p.Best.Layers, "S") != 1 {
		t.Errorf("found %s", p.Best.Layers)
	}
}

// TestSearchInterrupted stops the search ever later and goes on.
func TestSearchInterrupted(t *testing.T) {
	dir := t.TempDir()
	whole := place(t, hunting(t, dir, "output="+filepath.Join(dir, "whole")), false)
	parts := filepath.Join(dir, "parts")
	for round := 1; ; round++ {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Duration(round)*30*time.Millisecond, cancel)
		p, err := Placement(ctx, hunting(t, dir, "output="+parts), Options{Resume: true})
		cancel()
		if err == nil {
			if found(t, p) != found(t, whole) {
				t.Errorf("interrupted:\n%s\nwhole:\n%s", found(t, p), found(t, whole))
			}
			break
		}
		if !errors.Is(err, train.ErrInterrupted) && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	same(t, "interrupted search", numbers(t, filepath.Join(parts, PlacementDir)), numbers(t, filepath.Join(dir, "whole", PlacementDir)))
}

const killedSearch = "GOJET_TEST_KILLED_SEARCH"

// TestKilledSearchGoesOn kills a searching process at 12 random instants. The result, the metrics and the student are those of
// a search left alone, bit for bit.
func TestKilledSearchGoesOn(t *testing.T) {
	if dir := os.Getenv(killedSearch); dir != "" {
		place(t, hunting(t, dir, "output="+filepath.Join(dir, "killed")), true)
		return
	}
	if testing.Short() {
		t.Skip("starts 12 processes")
	}
	dir := t.TempDir()
	start := time.Now()
	whole := place(t, hunting(t, dir, "output="+filepath.Join(dir, "whole")), false)
	length := time.Since(start)
	r := rand.New(rand.NewPCG(1, 2))
	killed := filepath.Join(dir, "killed")
	for kills := 0; kills < 12; {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledSearchGoesOn$")
		cmd.Env = append(os.Environ(), killedSearch+"="+dir)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(float64(length)*(0.05+0.5*r.Float64())), func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		if err == nil { // it came to its end: begin again, so that there is more to kill
			compareSearch(t, dir, whole)
			if err := os.RemoveAll(killed); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if cmd.ProcessState.ExitCode() != -1 {
			t.Fatalf("after %d kills: %v\n%s", kills, err, out.String())
		}
		kills++
	}
	place(t, hunting(t, dir, "output="+killed), true)
	compareSearch(t, dir, whole)
}

func compareSearch(t *testing.T, dir string, whole *report.Placement) {
	t.Helper()
	killed := filepath.Join(dir, "killed", PlacementDir)
	var p report.Placement
	if there, err := readResult(killed, &p); err != nil || !there {
		t.Fatal("no result", err)
	}
	if found(t, &p) != found(t, whole) {
		t.Errorf("killed:\n%s\nwhole:\n%s", found(t, &p), found(t, whole))
	}
	same(t, "killed search", numbers(t, killed), numbers(t, filepath.Join(dir, "whole", PlacementDir)))
	a, err := os.ReadFile(filepath.Join(p.Student, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(whole.Student, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("the students differ")
	}
}

// TestSupernetCheckpoint: a checkpoint of the super network is a model folder with moments of the mixers alone.
func TestSupernetCheckpoint(t *testing.T) {
	dir := t.TempDir()
	place(t, hunting(t, dir, "output="+filepath.Join(dir, "run"), "search.supernet.steps=2", "stages.learn.steps=2"), false)
	saved, _, err := run.Newest(filepath.Join(dir, "run", PlacementDir))
	if err != nil {
		t.Fatal(err)
	}
	defer saved.Close()
	c, err := saved.Model()
	if err != nil {
		t.Fatal(err)
	}
	net, err := loadFrom(c)
	if err != nil {
		t.Fatal(err)
	}
	moments, err := readMoments(*net, saved)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range moments {
		if !strings.Contains(m.Name, ".self_attn.") {
			t.Errorf("%s has moments", m.Name)
		}
	}
	if !reflect.DeepEqual(c.Config.LayerTypes, search.Uniform(6, search.Linear).LayerTypes("jet")) || len(moments) == 0 {
		t.Errorf("layer types %v, %d moments", c.Config.LayerTypes, len(moments))
	}
}

// TestTrials compares blocks and shapes after a placement; a second time nothing is trained again, and an interruption loses
// nothing.
func TestTrials(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "run")
	recipe := func(overrides ...string) *recipes.Recipe {
		return hunting(t, dir, append([]string{"output=" + out, "search.supernet.steps=3", "stages.learn.steps=3"}, overrides...)...)
	}
	blocks, err := Blocks(context.Background(), recipe(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(blocks.Trials) != 2 || blocks.Trials[0].Name != "gdn" || blocks.Trials[1].Name != "jet" {
		t.Fatalf("%+v", blocks.Trials)
	}
	for _, x := range blocks.Trials {
		if x.Scores[search.TextKL] <= 0 || x.Scores["recall/loss"] <= 0 || x.Parameters == 0 || x.StateBytes == 0 || x.TrainTokensPerSecond <= 0 || x.DecodeTokensPerSecond <= 0 || x.PrefillTokensPerSecond <= 0 || x.Tokens != 4*2*64 {
			t.Errorf("%+v", x)
		}
	}
	if left, err := filepath.Glob(filepath.Join(out, BlocksDir, "*", "checkpoints", "*")); err != nil || len(left) > 0 {
		t.Errorf("measured trials leave checkpoints: %v, %v", left, err)
	}
	if kept, err := filepath.Glob(filepath.Join(out, BlocksDir, "*", "models", "student", "model.safetensors")); err != nil || len(kept) != 2 {
		t.Errorf("models of the trials: %v, %v, want 2", kept, err)
	}
	if _, err := Blocks(context.Background(), recipe("search.blocks.trial.stage.steps=5"), Options{Resume: true}); err == nil || !strings.Contains(err.Error(), "by another recipe") {
		t.Errorf("another recipe: %v", err)
	}
	if _, err := Blocks(context.Background(), recipe(), Options{}); err == nil || !strings.Contains(err.Error(), "--resume") {
		t.Errorf("a second time: %v", err)
	}
	again, err := Blocks(context.Background(), recipe(), Options{Resume: true})
	if err != nil {
		t.Fatal(err)
	}
	first, err := json.Marshal(blocks)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := json.Marshal(again); err != nil || !bytes.Equal(first, second) {
		t.Errorf("%s, at first %s, error %v", second, first, err)
	}
	shapes, err := Shapes(context.Background(), recipe(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, x := range shapes.Trials {
		names = append(names, x.Name)
	}
	if !reflect.DeepEqual(names, []string{"1x16x16", "1x8x32", "2x16x8", "2x8x16"}) || len(shapes.Pareto(search.TextKL)) == 0 {
		t.Errorf("shapes %v", names)
	}
	if err := os.RemoveAll(filepath.Join(out, ShapeDir)); err != nil {
		t.Fatal(err)
	}
	tight, err := Shapes(context.Background(), recipe("search.shape.most_bytes=10"), Options{})
	if err != nil || len(tight.Trained()) != 0 || len(tight.Trials) != 4 {
		t.Errorf("with no room for a state: %+v, %v", tight, err)
	}
}

// TestTrialsInterrupted stops the comparison of blocks ever later and goes on: the scores are those of one at once.
func TestTrialsInterrupted(t *testing.T) {
	dir := t.TempDir()
	run := func(ctx context.Context, out string) (*report.Trials, error) {
		return Blocks(ctx, hunting(t, dir, "output="+filepath.Join(dir, out), "search.supernet.steps=3", "stages.learn.steps=3"), Options{Resume: true})
	}
	whole, err := run(context.Background(), "whole")
	if err != nil {
		t.Fatal(err)
	}
	for round := 1; ; round++ {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Duration(round)*30*time.Millisecond, cancel)
		parts, err := run(ctx, "parts")
		cancel()
		if err == nil {
			for i, x := range parts.Trials {
				if !reflect.DeepEqual(x.Scores, whole.Trials[i].Scores) || x.Loss != whole.Trials[i].Loss {
					t.Errorf("%s: %v, want %v", x.Name, x.Scores, whole.Trials[i].Scores)
				}
			}
			return
		}
		if !errors.Is(err, train.ErrInterrupted) && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
}
