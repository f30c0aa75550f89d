package wandb

import (
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func settings(t *testing.T) Settings {
	return Settings{Mode: Offline, State: t.TempDir(), RunID: "abc", Name: "a run", Config: map[string]any{"lr": 1e-5}}
}

func open(t *testing.T, s Settings) *Run {
	t.Helper()
	r, err := Open(s, slog.New(slog.NewTextHandler(failing{t}, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// failing is a log that should stay empty.
type failing struct{ t *testing.T }

func (f failing) Write(p []byte) (int, error) {
	f.t.Errorf("warning: %s", p)
	return len(p), nil
}

func items(step int) []Item {
	return []Item{{"loss", 1 / float64(step+1)}, {"stage", "warm"}, {"bad", math.NaN()}}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// content reads a run's file.
func content(t *testing.T, dir string) (w written) {
	t.Helper()
	w.step = -1
	records, _, err := unframe([]byte(read(t, filepath.Join(dir, "run-abc.wandb"))))
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range records {
		if err := w.take(r); err != nil {
			t.Fatal(err)
		}
		if w.num != int64(i+1) {
			t.Errorf("record %d has the number %d", i+1, w.num)
		}
	}
	return w
}

func TestOffline(t *testing.T) {
	s := settings(t)
	s.Tags = []string{"one", "two"}
	r := open(t, s)
	for step := range 3 {
		r.Log(step, items(step))
	}
	fmt.Fprint(r, "two\nlines, one ")
	fmt.Fprint(r, "in parts\nand an end")
	if err := r.Close(3); err != nil {
		t.Fatal(err)
	}
	w := content(t, r.Dir())
	if w.rows != 3 || w.step != 2 || !w.begun || !w.ended {
		t.Errorf("the file has %+v", w)
	}
	if want := `{"loss":0.5,"stage":"warm","bad":NaN,"_runtime":`; !strings.HasPrefix(w.last[1], want) || !strings.Contains(w.last[1], `,"_step":1,"_timestamp":`) {
		t.Errorf("row %s, want %s…", w.last[1], want)
	}
	for name, want := range map[string]string{
		"output.log":          "two\nlines, one in parts\nand an end\n",
		"config.yaml":         "\"lr\":\n    value: 0.00001\n",
		"wandb-summary.json":  `{"loss":0.3333333333333333,"stage":"warm","bad":NaN,"_runtime":`,
		"wandb-metadata.json": "{\n  \"os\": ",
	} {
		if got := read(t, filepath.Join(r.Dir(), "files", name)); !strings.HasPrefix(got, want) {
			t.Errorf("%s:\n%swant:\n%s", name, got, want)
		}
	}
	if base := filepath.Base(r.Dir()); !strings.HasPrefix(base, "offline-run-2") || !strings.HasSuffix(base, "-abc") {
		t.Errorf("folder %s", base)
	}
}

// TestOfflineResume cuts the file at places all over, as a kill would, and goes on: every row is there once.
func TestOfflineResume(t *testing.T) {
	s := settings(t)
	r := open(t, s)
	const steps = 6
	for step := range steps {
		r.Log(step, items(step))
		fmt.Fprintln(r, "line", step)
	}
	if err := r.Close(0); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(r.Dir(), "run-abc.wandb")
	whole := read(t, path)
	s.Resume = true
	for size := len(whole); size >= 0; size -= 7 {
		if err := os.WriteFile(path, []byte(whole[:size]), 0o644); err != nil {
			t.Fatal(err)
		}
		again := open(t, s)
		if again.Dir() != r.Dir() {
			t.Fatalf("resumed in %s, want %s", again.Dir(), r.Dir())
		}
		for step := 2; step < steps+2; step++ { // the checkpoint was behind the file, or before what is left of it
			again.Log(step, items(step))
		}
		if err := again.Close(0); err != nil {
			t.Fatal(err)
		}
		w := content(t, r.Dir())
		seen := map[string]int{}
		for _, row := range w.last {
			_, after, _ := strings.Cut(row, `"_step":`)
			step, _, _ := strings.Cut(after, ",")
			seen[step]++
		}
		for step := 2; step < steps+2; step++ {
			if seen[fmt.Sprint(step)] != 1 {
				t.Fatalf("cut at byte %d of %d: rows %v", size, len(whole), w.last)
			}
		}
		if !w.ended || !w.begun || w.step != steps+1 {
			t.Fatalf("cut at byte %d of %d: %+v", size, len(whole), w)
		}
	}
}

func TestOfflineForeign(t *testing.T) {
	s := settings(t)
	r := open(t, s)
	if err := r.Close(0); err != nil {
		t.Fatal(err)
	}
	s.Resume = true
	path := filepath.Join(r.Dir(), "run-abc.wandb")
	if err := os.WriteFile(path, []byte("something else"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(s, nil); err == nil || !strings.Contains(err.Error(), "no .wandb file") || read(t, path) != "something else" {
		t.Errorf("error %v, want it left alone", err)
	}
}

// TestFileLost: a file that can no longer be written is one warning, and the run goes on.
func TestFileLost(t *testing.T) {
	var log strings.Builder
	var r *Run
	logger := slog.New(slog.NewTextHandler(writers{&log, &r}, nil)) // warnings come back as output
	r, err := Open(settings(t), logger)
	if err != nil {
		t.Fatal(err)
	}
	r.Log(1, items(1))
	r.file.records.Close()
	fmt.Fprintln(r, "a line")
	for step := 2; step < 5; step++ {
		r.Log(step, items(step))
	}
	if err := r.Close(0); err != nil {
		t.Fatal(err)
	}
	if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "no more is written") {
		t.Errorf("log:\n%s", log.String())
	}
}

// writers is a log that W&B gets too.
type writers struct {
	log *strings.Builder
	run **Run
}

func (w writers) Write(p []byte) (int, error) {
	w.log.Write(p)
	return (*w.run).Write(p)
}

func TestLongOutput(t *testing.T) {
	r := open(t, settings(t))
	line := strings.Repeat("x", longestOutput+10)
	fmt.Fprint(r, line)
	fmt.Fprint(r, "\n\xff\n")
	if err := r.Close(0); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, filepath.Join(r.Dir(), "files", "output.log")), line[:longestOutput]+"\n"+line[longestOutput:]+"\n\ufffd\n"; got != want {
		t.Errorf("output.log has %d bytes, want %d", len(got), len(want))
	}
}

func TestSettings(t *testing.T) {
	env := map[string]string{"WANDB_MODE": "offline", "WANDB_PROJECT": "p", "WANDB_ENTITY": "e", "WANDB_DIR": t.TempDir(), "WANDB_RUN_ID": "id-1",
		"WANDB_NAME": "n", "WANDB_BASE_URL": "http://127.0.0.1:1", "WANDB_API_KEY": "k"}
	s := Settings{Project: "recipe", Notes: "kept", State: t.TempDir()}.WithEnvironment(func(name string) string { return env[name] })
	if s.Mode != Offline || s.Project != "p" || s.Entity != "e" || s.Dir != env["WANDB_DIR"] || s.RunID != "id-1" || s.Name != "n" ||
		s.BaseURL != "http://127.0.0.1:1" || s.APIKey != "k" || s.Notes != "kept" {
		t.Errorf("settings %+v", s)
	}
	r := open(t, s)
	if err := r.Close(0); err != nil || !strings.HasPrefix(r.Dir(), env["WANDB_DIR"]) || !strings.HasSuffix(r.Dir(), "-id-1") {
		t.Errorf("folder %s, error %v", r.Dir(), err)
	}
	if got := (Settings{Project: "recipe"}).WithEnvironment(func(string) string { return "" }); got.Project != "recipe" {
		t.Errorf("project %q, want the recipe's", got.Project)
	}
	for _, c := range []struct {
		s    Settings
		want string
	}{
		{Settings{Mode: "on"}, `mode is "on", want online, offline or disabled`},
		{Settings{Mode: Online}, "WANDB_API_KEY is not set"},
		{Settings{Mode: Offline, RunID: "../x"}, `id is "../x"`},
		{Settings{Mode: Offline, RunID: ".."}, `id is ".."`},
		{Settings{Mode: Offline, Project: "a/b"}, `project is "a/b"`},
		{Settings{Mode: Offline, State: t.TempDir(), Config: 3}, "config is a int"},
		{Settings{Mode: Offline, State: t.TempDir(), Config: math.NaN()}, "config: "},
		{Settings{Mode: Disabled}, ""},
		{Settings{}, ""},
	} {
		r, err := Open(c.s, nil)
		if c.want == "" && (err != nil || r != nil) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: run %v, error %v, want %q", c.s, r, err, c.want)
		}
	}
}

// TestRunID: a new run gets an id of its own, a resumed one its old id.
func TestRunID(t *testing.T) {
	s := Settings{Mode: Offline, State: t.TempDir()}
	var dirs []string
	for _, resume := range []bool{false, true, false} {
		s.Resume = resume
		r := open(t, s)
		dirs = append(dirs, r.Dir())
		if err := r.Close(0); err != nil {
			t.Fatal(err)
		}
	}
	if dirs[0] != dirs[1] || dirs[1] == dirs[2] {
		t.Errorf("folders %v", dirs)
	}
	if err := os.WriteFile(filepath.Join(s.State, "wandb", "run-id"), []byte("../../x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.Resume = true
	if _, err := Open(s, nil); err == nil || !strings.Contains(err.Error(), "no id of a run") {
		t.Errorf("error %v", err)
	}
}

func TestConfigYAML(t *testing.T) {
	config, err := configOf(struct {
		Name  string         `json:"name"`
		LR    float64        `json:"lr"`
		Big   float64        `json:"big"`
		Deep  map[string]any `json:"deep"`
		Empty []int          `json:"empty"`
		Nil   *int           `json:"nil"`
	}{"no: <yes> \"ü\"\n", 1e-7, 1.5e30, map[string]any{"b": []any{1, "x", true}, "a": map[string]any{}}, []int{}, nil})
	if err != nil {
		t.Fatal(err)
	}
	got, err := configYAML(config)
	const want = `"big":
    value: 1.5e+30
"deep":
    value: {"a": {}, "b": [1, "x", true]}
"empty":
    value: []
"lr":
    value: 1.0e-7
"name":
    value: "no: <yes> \"ü\"\n"
"nil":
    value: null
`
	if err != nil || got != want {
		t.Errorf("config:\n%swant:\n%serror %v", got, want, err)
	}
	if got, want := configObject(config[3:4]), `{"lr":{"value":1e-7}}`; got != want {
		t.Errorf("config %s, want %s", got, want)
	}
}
