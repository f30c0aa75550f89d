package run

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/checkpoints/safetensors"
)

const configText = `{"model_type": "qwen2", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
	"num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 32, "rope_theta": 10000.0, "torch_dtype": "float32"}`

// values are n numbers that belong to one step and one tensor only.
func values(n, step, tensor int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(step) + float32(tensor)/16 + float32(i)/1024
	}
	return x
}

var names = []string{"model.a.weight", "model.b.weight", "model.c.weight"}

// snapshot is a checkpoint whose every file tells its step.
func snapshot(t *testing.T, step int) Snapshot {
	t.Helper()
	config, err := checkpoints.ParseConfig([]byte(configText))
	if err != nil {
		t.Fatal(err)
	}
	s := Snapshot{
		State: State{
			Step: step, Stage: "distil", Recipe: RecipeHash([]byte("recipe")), Sampler: int64(3 * step),
			RNG: map[string][]byte{"init": {1, 2, byte(step)}}, Counters: map[string]int64{"tokens": int64(100 * step)},
			Metrics: map[string]float64{"loss": math.Abs(float64(step) - 21), "broken": math.NaN()}, MetricsOffset: int64(7 * step),
			Trainer: json.RawMessage(`{"best": 1.5}`),
		},
		Config: config,
		Extra:  map[string][]safetensors.Source{"adapters": {safetensors.Float32s("lora", []int{4}, safetensors.F32, safetensors.Values(values(4, step, 9)))}},
	}
	for i, name := range names {
		shape := []int{2, 3 + i}
		n := shape[0] * shape[1]
		s.Params = append(s.Params, checkpoints.Param{Name: name, Shape: shape, Values: safetensors.Values(values(n, step, i))})
		if i > 0 { // the first is frozen
			s.Optimizer = append(s.Optimizer, Moments{name, shape, safetensors.Values(values(n, step, 3+i)), safetensors.Values(values(n, step, 6+i))})
		}
	}
	return s
}

func save(t *testing.T, runDir string, keep Keep, steps ...int) {
	t.Helper()
	for _, step := range steps {
		path, err := Save(runDir, snapshot(t, step), keep)
		if err != nil {
			t.Fatal(err)
		}
		if want := stepPath(runDir, step); path != want {
			t.Fatalf("saved at %s, want %s", path, want)
		}
	}
}

// wholly fails unless every tensor and the state of the checkpoint are those of its step.
func wholly(t *testing.T, s *Saved) {
	t.Helper()
	step := s.Step()
	model, err := s.Model()
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	moments, err := s.Optimizer()
	if err != nil {
		t.Fatal(err)
	}
	defer moments.Close()
	extra, err := s.Extra("adapters")
	if err != nil {
		t.Fatal(err)
	}
	defer extra.Close()
	same := func(what string, got, want []float32) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Fatalf("%s: %s is %v, want %v", s.Path(), what, got, want)
		}
	}
	for i, name := range names {
		w, _ := model.Tensor(name)
		x, err := w.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		same(name, x, values(2*(3+i), step, i))
		if i == 0 {
			continue
		}
		m, v := make([]float32, len(x)), make([]float32, len(x))
		if err := moments.Read(name, m, v); err != nil {
			t.Fatal(err)
		}
		same("m of "+name, m, values(len(x), step, 3+i))
		same("v of "+name, v, values(len(x), step, 6+i))
	}
	lora, _ := extra.Tensor("lora")
	x, err := lora.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	same("lora", x, values(4, step, 9))
	st := s.State()
	if st.Sampler != int64(3*step) || st.RNG["init"][2] != byte(step) || st.Counters["tokens"] != int64(100*step) || st.MetricsOffset != int64(7*step) || st.Stage != "distil" {
		t.Fatalf("%s: state %+v is not of step %d", s.Path(), st, step)
	}
}

// newestIs fails unless the newest checkpoint is whole, of one of these steps, and nothing is wrong with
// the others.
func newestIs(t *testing.T, runDir string, steps ...int) {
	t.Helper()
	s, problems, err := Newest(runDir)
	if err != nil || len(problems) > 0 {
		t.Fatalf("newest: %v, problems %v", err, problems)
	}
	defer s.Close()
	if !slices.Contains(steps, s.Step()) {
		t.Fatalf("newest is of step %d, want one of %v", s.Step(), steps)
	}
	wholly(t, s)
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range list {
		all = append(all, e.Name())
	}
	return all
}

func TestSave(t *testing.T) {
	runDir := filepath.Join(t.TempDir(), "deep", "run")
	tokenizer := t.TempDir()
	for _, name := range []string{"tokenizer.json", "merges.txt"} {
		if err := os.WriteFile(filepath.Join(tokenizer, name), []byte("{}"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	shot := snapshot(t, 7)
	shot.Tokenizer = tokenizer
	path, err := Save(runDir, shot, Keep{})
	if err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string][]string{
		runDir:                          {"checkpoints", "lock"},
		path:                            {"config.json", "manifest.json", "merges.txt", "model.safetensors", "tokenizer.json", "trainer"},
		filepath.Join(path, trainerDir): {"adapters.safetensors", "optimizer.safetensors", "state.json"},
	} {
		if got := entries(t, dir); !slices.Equal(got, want) {
			t.Errorf("%s has %q, want %q", dir, got, want)
		}
	}
	newestIs(t, runDir, 7)
	s, _, err := Newest(runDir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want := shot.State
	want.Metrics = map[string]float64{"loss": 14}
	got := s.State()
	var trainer struct{ Best float64 }
	if err := json.Unmarshal(got.Trainer, &trainer); err != nil || trainer.Best != 1.5 {
		t.Errorf("trainer state %s: %v", got.Trainer, err)
	}
	if !maps.Equal(got.Metrics, want.Metrics) || got.Recipe != want.Recipe {
		t.Errorf("state %+v, want %+v", got, want)
	}
	if b, err := got.Generator("init"); err != nil || !slices.Equal(b, []byte{1, 2, 7}) {
		t.Errorf("generator %v, %v", b, err)
	}
	moments, err := s.Optimizer()
	if err != nil {
		t.Fatal(err)
	}
	defer moments.Close()
	if got := moments.Names(); !slices.Equal(got, names[1:]) {
		t.Errorf("moments of %q, want %q", got, names[1:])
	}
	infos, problems, err := List(runDir)
	if err != nil || len(problems) > 0 || len(infos) != 1 || infos[0].Step != 7 || infos[0].Path != path || infos[0].Metrics["loss"] != 14 || infos[0].Bytes < 1000 {
		t.Errorf("list %+v, %v, %v", infos, problems, err)
	}
}

// A snapshot that cannot be written changes nothing.
func TestSaveRefuses(t *testing.T) {
	runDir := ready(t, 1)
	for _, tc := range []struct {
		name  string
		spoil func(s *Snapshot, k *Keep)
		err   string
	}{
		{"config", func(s *Snapshot, _ *Keep) { s.Config = nil }, "no Config"},
		{"params", func(s *Snapshot, _ *Keep) { s.Params = nil }, "no tensors"},
		{"generators", func(s *Snapshot, _ *Keep) { s.State.RNG = nil }, "rng is empty"},
		{"generator", func(s *Snapshot, _ *Keep) { s.State.RNG["data"] = nil }, `generator "data" has no state`},
		{"step", func(s *Snapshot, _ *Keep) { s.State.Step = -1 }, "step is -1"},
		{"offset", func(s *Snapshot, _ *Keep) { s.State.MetricsOffset = -1 }, "metrics_offset is -1"},
		{"sampler", func(s *Snapshot, _ *Keep) { s.State.Sampler = -1 }, "sampler is -1"},
		{"trainer", func(s *Snapshot, _ *Keep) { s.State.Trainer = json.RawMessage(`{"a":`) }, "trainer's state"},
		{"trainer's keys", func(s *Snapshot, _ *Keep) { s.State.Trainer = json.RawMessage(`{"a":1,"a":2}`) }, `"a" comes twice`},
		{"extra", func(s *Snapshot, _ *Keep) { s.Extra["../x"] = nil }, `extra "../x"`},
		{"extra optimizer", func(s *Snapshot, _ *Keep) { s.Extra["optimizer"] = nil }, `extra "optimizer"`},
		{"moments", func(s *Snapshot, _ *Keep) { s.Optimizer = append(s.Optimizer, s.Optimizer[0]) }, "comes twice"},
		{"lengths", func(s *Snapshot, _ *Keep) { s.Optimizer[0].V = safetensors.Values(nil) }, "wrote 0 bytes"},
		{"device", func(s *Snapshot, _ *Keep) {
			s.Params[2].Values = func() ([]float32, error) { return nil, errors.New("device lost") }
		}, "device lost"},
		{"last", func(_ *Snapshot, k *Keep) { k.Last = -1 }, "keep the last -1"},
		{"best", func(_ *Snapshot, k *Keep) { k.Best = -1 }, "keep the best -1"},
		{"metric", func(_ *Snapshot, k *Keep) { k.Best = 1 }, "no metric"},
	} {
		s, keep := snapshot(t, 2), Keep{}
		tc.spoil(&s, &keep)
		path, err := Save(runDir, s, keep)
		if path != "" || err == nil || !strings.Contains(err.Error(), tc.err) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q, error %v, want one line with %q", tc.name, path, err, tc.err)
		}
		if got := entries(t, filepath.Join(runDir, checkpointsDir)); !slices.Equal(got, []string{"step-1"}) {
			t.Fatalf("%s: left %q", tc.name, got)
		}
	}
	newestIs(t, runDir, 1)
}

func TestKeep(t *testing.T) {
	for _, tc := range []struct {
		keep  Keep
		steps []int
		want  []string
	}{
		{Keep{}, []int{1, 2, 3}, []string{"step-1", "step-2", "step-3"}},
		{Keep{Last: 1}, []int{1, 2, 3}, []string{"step-3"}},
		{Keep{Last: 2}, []int{9, 10, 11}, []string{"step-10", "step-11"}},
		{Keep{Last: 1, Best: 1, Metric: "loss"}, []int{10, 20, 30}, []string{"step-20", "step-30"}}, // the loss is the distance to 21
		{Keep{Last: 1, Best: 2, Metric: "loss"}, []int{10, 20, 23, 30, 40}, []string{"step-20", "step-23", "step-40"}},
		{Keep{Last: 1, Best: 1, Metric: "loss", Higher: true}, []int{10, 20, 30}, []string{"step-10", "step-30"}},
		{Keep{Last: 1, Best: 1, Metric: "loss"}, []int{20, 22, 30}, []string{"step-20", "step-30"}}, // equally good
		{Keep{Last: 1, Best: 3, Metric: "broken"}, []int{10, 20, 30}, []string{"step-30"}},          // never finite
		{Keep{Last: 1}, []int{1, 5, 3}, []string{"step-3", "step-5"}},                               // later ones stay
	} {
		runDir := onDisk(t, inMemory(t, tc.keep, tc.steps...).Now())
		if got := entries(t, filepath.Join(runDir, checkpointsDir)); len(got) != len(tc.want) || !slices.Equal(slices.Sorted(slices.Values(got)), tc.want) {
			t.Errorf("%+v after %v: %q, want %q", tc.keep, tc.steps, got, tc.want)
		}
	}
}

// What a reader holds stays until it is closed.
func TestHeld(t *testing.T) {
	runDir := ready(t, 1)
	s, _, err := Newest(runDir)
	if err != nil {
		t.Fatal(err)
	}
	save(t, runDir, Keep{Last: 1}, 2, 3)
	if got := entries(t, filepath.Join(runDir, checkpointsDir)); !slices.Equal(got, []string{"step-1", "step-3"}) {
		t.Errorf("while step 1 is held: %q", got)
	}
	wholly(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	save(t, runDir, Keep{Last: 1}, 4)
	if got := entries(t, filepath.Join(runDir, checkpointsDir)); !slices.Equal(got, []string{"step-4"}) {
		t.Errorf("when step 1 is closed: %q", got)
	}
}

// A run that is over may lose its checkpoints, but not those that somebody reads.
func TestDiscard(t *testing.T) {
	runDir := ready(t, 1, 2)
	held, err := Open(stepPath(runDir, 1))
	if err != nil {
		t.Fatal(err)
	}
	discard := func(want ...string) {
		t.Helper()
		if err := Discard(runDir); err != nil {
			t.Fatal(err)
		}
		if got := entries(t, filepath.Join(runDir, checkpointsDir)); !slices.Equal(got, want) {
			t.Errorf("left %q, want %q", got, want)
		}
	}
	discard("step-1")
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	discard()
	absent := filepath.Join(t.TempDir(), "absent")
	if err := Discard(absent); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(absent); err == nil {
		t.Error("a run that was not there is")
	}
}

// What is not whole, or of a later version, is neither removed nor counted.
func TestKeepLeavesBadOnes(t *testing.T) {
	runDir := ready(t, 1, 2, 3)
	if err := os.Remove(filepath.Join(stepPath(runDir, 3), manifestName)); err != nil {
		t.Fatal(err)
	}
	save(t, runDir, Keep{Last: 2}, 4)
	if got := entries(t, filepath.Join(runDir, checkpointsDir)); !slices.Equal(got, []string{"step-2", "step-3", "step-4"}) {
		t.Errorf("left %q", got)
	}
}

// Readers find a whole checkpoint at any time while a writer adds and removes them.
func TestReadWhileWriting(t *testing.T) {
	runDir := t.TempDir()
	w, err := Claim(runDir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Save(snapshot(t, 0), Keep{}); err != nil {
		t.Fatal(err)
	}
	const last = 30
	var shots []Snapshot
	for step := 1; step <= last; step++ {
		shots = append(shots, snapshot(t, step))
	}
	done := make(chan error, 1)
	go func() {
		for _, shot := range shots {
			if _, err := w.Save(shot, Keep{Last: 1}); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for step, reads := 0, 0; ; reads++ {
		s, problems, err := Newest(runDir)
		if err != nil || len(problems) > 0 || s.Step() < step {
			t.Fatalf("%v, problems %v", err, problems)
		}
		step = s.Step()
		wholly(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			newestIs(t, runDir, last)
			t.Logf("%d reads during %d saves", reads, last)
			return
		case <-time.After(time.Millisecond):
		}
	}
}
