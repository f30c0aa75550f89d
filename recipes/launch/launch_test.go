package launch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/checkpoints/run"
	"github.com/gojet/gojet/datasets"
	"github.com/gojet/gojet/internal/fixtures"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/recipes"
	"github.com/gojet/gojet/train"
	"github.com/gojet/gojet/train/tracking"
)

const smallRecipe = `
name: small
models:
  teacher:
    config: {model_type: qwen2, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 2,
             num_key_value_heads: 1, max_position_embeddings: 128, tie_word_embeddings: true, vocab_size: 256}
  student:
    from: teacher
    layer_types: [jet, attn]
    blocks: {jet: {num_heads: 2, head_dim: 8, expand_v: 2}}
data: {path: CORPUS, tokenizer: bytes, held_out: 0.2, cache: CACHE}
stages:
  - {name: learn, model: teacher, steps: 30, length: 32, rows: 2, loss: {cross_entropy: 1}, eval_every: 10, save_every: 3}
  - {name: distill, model: student, teacher: teacher, steps: 30, length: 32, rows: 2, loss: {kl: 1, hidden: 1}, save_every: 4}
log: {plot: none}
`

// small is a recipe over a corpus of its own below dir.
func small(t *testing.T, dir string, overrides ...string) *recipes.Recipe {
	t.Helper()
	corpus := filepath.Join(dir, "corpus")
	if err := os.MkdirAll(corpus, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		text := fmt.Sprintf("line %d of %s\n", i, strings.Repeat(fmt.Sprint("text ", i*i, "; "), 15))
		path := filepath.Join(corpus, fmt.Sprintf("%02d.txt", i))
		if _, err := os.Stat(path); err == nil {
			continue // a rewritten file counts as changed
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text := strings.NewReplacer("CORPUS", corpus, "CACHE", filepath.Join(dir, "cache")).Replace(smallRecipe)
	r, err := recipes.Parse("small.yaml", []byte(text), overrides...)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	return r
}

// numbers are the metrics of a run that do not measure the machine.
func numbers(t *testing.T, dir string) []string {
	t.Helper()
	rows, err := tracking.ReadMetrics(filepath.Join(dir, tracking.MetricsFile))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, r := range rows {
		line := fmt.Sprint(r.Step, " ", r.Stage)
		for _, m := range r.Metrics {
			if !tracking.Timing(m.Name) {
				line += fmt.Sprintf(" %s=%x", m.Name, math.Float64bits(m.Value))
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d rows of metrics, want %d", what, len(got), len(want))
		return
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%s: row %d is\n%s, want\n%s", what, i, got[i], want[i])
			return
		}
	}
}

// TestWorkersDoNotMatter runs with 1, 2 and 4 data workers.
func TestWorkersDoNotMatter(t *testing.T) {
	dir := t.TempDir()
	var first []string
	for _, workers := range []int{1, 2, 4} {
		out := filepath.Join(dir, fmt.Sprint("run", workers))
		r := small(t, dir, fmt.Sprint("data.workers=", workers), "output="+out)
		if err := Run(context.Background(), r, Options{}); err != nil {
			t.Fatal(err)
		}
		if workers == 1 {
			first = numbers(t, out)
		} else {
			same(t, fmt.Sprint(workers, " workers"), numbers(t, out), first)
		}
	}
}

func TestInterruptSavesAndResumes(t *testing.T) {
	dir := t.TempDir()
	whole, parts := filepath.Join(dir, "whole"), filepath.Join(dir, "parts")
	if err := Run(context.Background(), small(t, dir, "output="+whole), Options{}); err != nil {
		t.Fatal(err)
	}
	for round := 1; ; round++ {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Duration(round)*40*time.Millisecond, cancel) // ever longer, so that a slow machine ends too
		var console bytes.Buffer
		err := Run(ctx, small(t, dir, "output="+parts), Options{Resume: round > 1, Console: &console})
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, train.ErrInterrupted) && !errors.Is(err, context.Canceled) {
			t.Fatal(err, console.String())
		}
	}
	same(t, "interrupted run", numbers(t, parts), numbers(t, whole))
}

// TestExportIsExact measures the saved student once more: the held-out loss and the divergence from the teacher are, to the
// bit, those that the run measured in memory before saving.
func TestExportIsExact(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "run")
	r := small(t, dir, "output="+out)
	if err := Run(context.Background(), r, Options{}); err != nil {
		t.Fatal(err)
	}
	rows, err := tracking.ReadMetrics(filepath.Join(out, tracking.MetricsFile))
	if err != nil {
		t.Fatal(err)
	}
	data, err := datasets.Open(context.Background(), r.Data, datasets.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	s := r.Stages[len(r.Stages)-1]
	held, err := data.HeldOut(datasets.Shape{Rows: s.Rows, Length: s.Length})
	if err != nil {
		t.Fatal(err)
	}
	student, err := load(filepath.Join(out, "models", "student"))
	if err != nil {
		t.Fatal(err)
	}
	teacher, err := load(filepath.Join(out, "models", "teacher"))
	if err != nil {
		t.Fatal(err)
	}
	s.EvalBatches = min(s.EvalBatches, held.Steps())
	cores := cpu.New(2)
	defer cores.Close()
	again := train.Trainer{Stage: s, Student: *student, Teacher: teacher, HeldOut: newFeed(held, 0), Machine: autograd.OnCPU(cores)}
	e, err := again.Evaluate()
	if err != nil {
		t.Fatal(err)
	}
	last := rows[len(rows)-1]
	loss, _ := last.Get(tracking.EvalLoss)
	kl, _ := last.Get(tracking.EvalKL)
	if e.Loss != loss || e.KL != kl {
		t.Errorf("the saved student has loss %v and KL %v, the one trained had %v and %v", e.Loss, e.KL, loss, kl)
	}
}

// TestKeepBest keeps the checkpoint of the least held-out loss beside the last one.
func TestKeepBest(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "run")
	r := small(t, dir, "output="+out, "checkpoint.keep_last=1", "checkpoint.keep_best=eval/loss")
	if err := Run(context.Background(), r, Options{}); err != nil {
		t.Fatal(err)
	}
	infos, _, err := run.List(out)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := tracking.ReadMetrics(filepath.Join(out, tracking.MetricsFile))
	if err != nil {
		t.Fatal(err)
	}
	least := math.Inf(1)
	for _, row := range rows {
		if loss, ok := row.Get(tracking.EvalLoss); ok && row.Step > 0 {
			least = min(least, loss)
		}
	}
	if best := run.Best(infos, tracking.EvalLoss, false); len(infos) > 2 || len(best) == 0 || best[0].Metrics[tracking.EvalLoss] != least {
		t.Errorf("kept %+v, want the last and one of held-out loss %v", infos, least)
	}
}

func TestChangedDataIsNoticed(t *testing.T) {
	dir := t.TempDir()
	out := "output=" + filepath.Join(dir, "run")
	if err := Run(context.Background(), small(t, dir, out), Options{}); err != nil {
		t.Fatal(err)
	}
	r := small(t, dir, out)
	if err := os.WriteFile(filepath.Join(dir, "corpus", "07.txt"), []byte("something else"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := Run(context.Background(), r, Options{Resume: true})
	if err == nil || !strings.Contains(err.Error(), "the data has changed since step 60") {
		t.Errorf("got error %v", err)
	}
}

const killedRun = "GOJET_TEST_KILLED_RUN"

// TestKilledRunGoesOn kills a training process at 30 random instants, going on each time. The joined metrics equal those of
// a run left alone, bit for bit.
func TestKilledRunGoesOn(t *testing.T) {
	if dir := os.Getenv(killedRun); dir != "" {
		out := filepath.Join(dir, "killed")
		_, err := os.Stat(filepath.Join(out, "checkpoints"))
		if err := Run(context.Background(), small(t, dir, "output="+out), Options{Resume: err == nil, Console: os.Stdout}); err != nil {
			t.Fatal(err)
		}
		return
	}
	if testing.Short() {
		t.Skip("starts 30 processes")
	}
	dir := t.TempDir()
	whole, killed := filepath.Join(dir, "whole"), filepath.Join(dir, "killed")
	start := time.Now()
	if err := Run(context.Background(), small(t, dir, "output="+whole), Options{}); err != nil {
		t.Fatal(err)
	}
	length := time.Since(start)
	r := rand.New(rand.NewPCG(1, 2))
	kills := 0
	for kills < 30 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledRunGoesOn$")
		cmd.Env = append(os.Environ(), killedRun+"="+dir)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(float64(length)*(0.05+0.3*r.Float64())), func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		if err == nil { // it came to its end: begin again, so that there is more to kill
			same(t, fmt.Sprint("after ", kills, " kills"), numbers(t, killed), numbers(t, whole))
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
	_, err := os.Stat(filepath.Join(killed, "checkpoints"))
	if err := Run(context.Background(), small(t, dir, "output="+killed), Options{Resume: err == nil}); err != nil {
		t.Fatal(err)
	}
	same(t, "killed run", numbers(t, killed), numbers(t, whole))
}

// TestReferenceRecipe repeats the reference distillation through its recipe: loss, gradient norm and learning rate of every
// step within 1e-4, the final weights within 1e-3.
func TestReferenceRecipe(t *testing.T) {
	if raceDetector {
		t.Skip("minutes of float64 arithmetic under the race detector; other tests run the same code there")
	}
	dir := filepath.Join(fixtures.Dir(t), "distill")
	f := fixtures.Load(t, filepath.Join(dir, "expected.safetensors"))
	out := filepath.Join(t.TempDir(), "run")
	r, err := recipes.Load(filepath.Join("..", "testdata", "distill-reference.yaml"), "models.teacher.path="+filepath.Join(dir, "teacher"),
		"models.student.path="+filepath.Join(dir, "student_init"), "data.tokens.path="+filepath.Join(dir, "expected.safetensors"), "output="+out)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	if err := Run(context.Background(), r, Options{}); err != nil {
		t.Fatal(err)
	}
	rows, err := tracking.ReadMetrics(filepath.Join(out, tracking.MetricsFile))
	if err != nil {
		t.Fatal(err)
	}
	steps := 0
	for _, row := range rows {
		if _, ok := row.Get(tracking.Loss); !ok {
			continue
		}
		for metric, name := range map[string]string{tracking.Loss: "loss", tracking.GradNorm: "grad_norm", tracking.LR: "lr"} {
			got, _ := row.Get(metric)
			want := float64(f.Float32(name)[steps])
			if e := math.Abs(got-want) / want; !(e <= 1e-4) {
				t.Errorf("step %d: %s is %v, want %v (relative error %.2g)", steps, metric, got, want, e)
			}
		}
		steps++
	}
	if steps != len(f.Float32("loss")) {
		t.Errorf("%d steps, want %d", steps, len(f.Float32("loss")))
	}
	c, err := checkpoints.Open(filepath.Join(out, "models", "student"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, name := range f.Names() {
		if weight, ok := strings.CutPrefix(name, "final."); ok {
			v, _ := c.Tensor(weight)
			got, err := v.Float32s()
			if err != nil {
				t.Fatal(err)
			}
			check.Close(t, weight, got, f.Float32(name), 1e-3)
		}
	}
}

// TestLoRA trains adapters, stops in between, and finds them merged in the model and in PEFT's layout.
func TestLoRA(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "run")
	if err := Run(context.Background(), small(t, dir, "output="+filepath.Join(dir, "base")), Options{}); err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(dir, "base", "models", "teacher")
	text := strings.NewReplacer("CORPUS", filepath.Join(dir, "corpus"), "CACHE", filepath.Join(dir, "cache"), "BASE", base, "OUT", out).Replace(`
name: adapters
output: OUT
models: {model: {path: BASE}}
data: {path: CORPUS, tokenizer: bytes, held_out: 0.2, cache: CACHE}
stages:
  - {name: lora, model: model, steps: 8, length: 32, rows: 2, loss: {cross_entropy: 1}, save_every: 2, lora: {rank: 2, alpha: 4, targets: [q_proj, down_proj]}}
log: {plot: none}
`)
	r, err := recipes.Parse("lora.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	if err := Run(ctx, r, Options{}); err != nil && !errors.Is(err, train.ErrInterrupted) && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	} else if err != nil {
		if err := Run(context.Background(), r, Options{Resume: true}); err != nil {
			t.Fatal(err)
		}
	}
	before, err := load(base)
	if err != nil {
		t.Fatal(err)
	}
	after, err := load(filepath.Join(out, "models", "model"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range before.Decoder.Params() {
		target := strings.Contains(p.Name, "q_proj.weight") || strings.Contains(p.Name, "down_proj")
		if changed := check.RelErr(after.Weights[p.Name].F32, before.Weights[p.Name].F32) > 0; changed != target {
			t.Errorf("%s: changed %v, want %v", p.Name, changed, target)
		}
	}
	config, err := os.ReadFile(filepath.Join(out, "adapters", "lora", "adapter_config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var peft map[string]any
	if err := json.Unmarshal(config, &peft); err != nil || peft["r"] != 2.0 || peft["lora_alpha"] != 4.0 {
		t.Errorf("adapter_config.json says %s (%v)", config, err)
	}
	f := fixtures.Load(t, filepath.Join(out, "adapters", "lora", "adapter_model.safetensors"))
	if shape := f.Shape("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"); shape[0] != 2 || shape[1] != 16 {
		t.Errorf("lora_A has shape %v, want [2 16]", shape)
	}
}
