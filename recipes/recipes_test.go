package recipes

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/datasets/source"
	"github.com/gojet/gojet/internal/fixtures"
	"github.com/gojet/gojet/recipes/schema"
	"github.com/gojet/gojet/train"
)

// published stands for a machine that has the models and data which the recipes name: models by their configurations
// in testdata, and what a run of another recipe leaves by that recipe.
func published(t *testing.T) disk {
	t.Helper()
	folder, err := os.Stat("testdata")
	if err != nil {
		t.Fatal(err)
	}
	var d disk
	d = disk{
		stat: func(path string) (os.FileInfo, error) {
			if strings.HasPrefix(path, "models/") || strings.HasPrefix(path, "runs/") && strings.Contains(path, "/models/") {
				return folder, nil
			}
			return nil, fs.ErrNotExist
		},
		config: func(dir string) (*checkpoints.Config, error) {
			parts := strings.Split(dir, "/")
			if parts[0] == "models" {
				return checkpoints.ReadConfig(filepath.Join("testdata", dir))
			}
			r, err := Load(parts[1])
			if err != nil {
				return nil, err
			}
			c := newChecker(r, d)
			c.files()
			return c.decoder(parts[3], 0).Config, nil
		},
		find: func(source.Spec) error { return nil },
	}
	return d
}

// TestEmbedded finds the recipes in the binary by walking: each is valid where its files are there, its models can be
// built, and it survives being written with all defaults.
func TestEmbedded(t *testing.T) {
	walked := 0
	err := fs.WalkDir(embedded, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		walked++
		t.Run(path, func(t *testing.T) {
			name := strings.TrimSuffix(path, extension)
			r, err := Load(name)
			if err != nil {
				t.Fatal(err)
			}
			if r.Name != name || r.Description == "" || r.Output != filepath.Join("runs", name) {
				t.Errorf("name %q, output %q, description %q", r.Name, r.Output, r.Description)
			}
			if err := r.validate(published(t)); err != nil {
				t.Error(err)
			}
			c := newChecker(r, published(t))
			c.files()
			for model := range r.Models {
				if c.decoder(model, 0) == nil {
					t.Errorf("model %s cannot be built", model)
				}
			}
			resolved(t, r)
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if names := Names(); walked != len(names) || walked < 10 {
		t.Errorf("%d recipes walked, %d named", walked, len(names))
	}
}

// resolved writes the recipe and reads it back.
func resolved(t *testing.T, r *Recipe) {
	t.Helper()
	text, err := r.Resolved()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse("resolved.yaml", text)
	if err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	twice, err := again.Resolved()
	if err != nil || string(twice) != string(text) {
		t.Errorf("%v: resolved again\n%s\nwant\n%s", err, twice, text)
	}
	if hash(t, r) != hash(t, again) {
		t.Error("the hash changes when a resolved recipe is read back")
	}
}

func hash(t *testing.T, r *Recipe) string {
	t.Helper()
	h, err := r.Hash()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestPublished holds the real models' recipes to what is published of them.
func TestPublished(t *testing.T) {
	for _, tc := range []struct {
		recipe     string
		parameters int // about
		attn, swa  []int
		window     int
		jet        checkpoints.JetConfig
	}{
		{"jet-nemotron-2b", 1_960_000_000, []int{14, 19}, []int{20, 21}, 1152,
			checkpoints.JetConfig{NumHeads: 12, HeadDim: 96, ExpandV: 2.6666666667}},
		{"jet-nemotron-4b", 4_000_000_000, []int{17, 20, 32}, []int{5, 16, 19, 21, 22, 25, 27}, 2048,
			checkpoints.JetConfig{NumHeads: 16, HeadDim: 128, ExpandV: 2}},
	} {
		for stage, tokens := range map[string]float64{"-stage1": 50e9, "-stage2": 350e9} {
			r, err := Load(tc.recipe + stage)
			if err != nil {
				t.Fatal(err)
			}
			if off := float64(r.Tokens())/tokens - 1; off < -1e-4 || off > 1e-4 {
				t.Errorf("%s%s: %d tokens, want %.0f", tc.recipe, stage, r.Tokens(), tokens)
			}
		}
		r, err := Load(tc.recipe + "-stage1")
		if err != nil {
			t.Fatal(err)
		}
		c := newChecker(r, published(t))
		c.files()
		d := c.decoder("student", 0)
		if d == nil {
			t.Fatal(c.problems)
		}
		size := 0
		for _, p := range d.Params() {
			size += p.Size()
		}
		if off := float64(size)/float64(tc.parameters) - 1; off < -0.05 || off > 0.05 {
			t.Errorf("%s has %d parameters, want about %d", tc.recipe, size, tc.parameters)
		}
		for i, kind := range d.Config.LayerTypes {
			want := "jet"
			if slices.Contains(tc.attn, i) {
				want = "attn"
			} else if slices.Contains(tc.swa, i) {
				want = "swa"
			}
			if kind != want {
				t.Errorf("%s: layer %d is %s, want %s", tc.recipe, i, kind, want)
			}
		}
		jet, err := d.Config.Jet("jet")
		window, err2 := d.Config.Window()
		if err := errors.Join(err, err2); err != nil || window != tc.window || jet.NumHeads != tc.jet.NumHeads || jet.HeadDim != tc.jet.HeadDim || jet.ExpandV != tc.jet.ExpandV {
			t.Errorf("%s: %v, window %d, %+v", tc.recipe, err, window, jet)
		}
		s := r.Stages[0]
		if s.Learns("model.layers.3.mlp.up_proj.weight") || !s.Learns("model.layers.3.self_attn.q_proj.weight") {
			t.Errorf("%s: stage 1 trains MLPs or not the mixers", tc.recipe)
		}
	}
}

// TestReference: the recipe of the reference distillation is that of the reference values.
func TestReference(t *testing.T) {
	dir := filepath.Join(fixtures.Dir(t), "distill")
	r, err := Load("testdata/distill-reference.yaml", "models.teacher.path="+filepath.Join(dir, "teacher"),
		"models.student.path="+filepath.Join(dir, "student_init"), "data.tokens.path="+filepath.Join(dir, "expected.safetensors"),
		"output="+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	s := r.Stages[0]
	if want := (train.Optimizer{LR: 3e-3, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, ClipNorm: 1}); s.Optimizer != want {
		t.Errorf("optimizer %+v, want %+v", s.Optimizer, want)
	}
	if want := (train.Schedule{Kind: train.Cosine, Warmup: 5, MinLR: 3e-4}); s.Schedule != want {
		t.Errorf("schedule %+v, want %+v", s.Schedule, want)
	}
	if s.Steps != 30 || s.Length != 48 || s.Rows != 4 || s.Loss != (train.Loss{KL: 1, Temperature: 1}) {
		t.Errorf("stage %+v", s)
	}
	resolved(t, r)
}

func TestHash(t *testing.T) {
	load := func(overrides ...string) string {
		r, err := Load("quickstart", overrides...)
		if err != nil {
			t.Fatal(err)
		}
		return hash(t, r)
	}
	base := load()
	for _, same := range []string{"output=elsewhere", "threads=3", "data.workers=2", "data.cache=there", "log.csv=true", "device=cpu", "description=d", "checkpoint.keep_last=5"} {
		if load(same) != base {
			t.Errorf("%s changes the hash", same)
		}
	}
	for _, other := range []string{"seed=2", "data.seed=7", "data.path=README.md", "stages.align.steps=151", "models.student.map_projections=false"} {
		if load(other) == base {
			t.Errorf("%s leaves the hash as it is", other)
		}
	}
}

func TestLoad(t *testing.T) {
	r, err := Load("quickstart", "stages.distill.steps=10", "models.student.layer_types=[jet,attn,jet,jet]", "seed=9")
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Stage("distill")
	if err != nil || s.Steps != 10 || r.Models["student"].LayerTypes[1] != "attn" || r.Data.Seed != 9 {
		t.Errorf("%v: %+v", err, r)
	}
	tree := r.Data.Path
	for _, s := range r.Data.Sources {
		tree += s.Path
	}
	if strings.HasPrefix(tree, goTree) || !strings.Contains(filepath.ToSlash(tree), "/src/") {
		t.Errorf("data is %s, want the Go source tree", tree)
	}
	r, err = Parse("tree.yaml", []byte("data: {sources: [{path: a}], tokens: {path: b}}"), "data.path=c")
	if err != nil || r.Data.Path != "c" || r.Data.Sources != nil || r.Data.Tokens != nil {
		t.Errorf("%v: data.path leaves %+v", err, r.Data)
	}
	if _, err := r.Stage("align2"); err == nil {
		t.Error("a stage that is not there is found")
	}
	r, err = Parse("two.yaml", []byte("stages: [{steps: 3, rows: 2, length: 5}, {steps: 1, rows: 1, length: 4, accumulate: 7}]"))
	if err != nil || r.Tokens() != 3*2*5+4*7 {
		t.Errorf("%v: %d tokens, want 58", err, r.Tokens())
	}
	large := filepath.Join(t.TempDir(), "large.yaml")
	if err := os.WriteFile(large, []byte(strings.Repeat("# large\n", schema.MaxBytes)), 0o644); err != nil {
		t.Fatal(err)
	}
	for arg, want := range map[string]string{
		"quikstart":        "recipe quikstart: no file, and no recipe of that name, did you mean quickstart? (gojet recipes ls lists them)",
		"no/such.yaml":     "recipe no/such.yaml: no file, and no recipe of that name (gojet recipes ls",
		"testdata":         "recipe testdata: not a regular file",
		large:              "large.yaml: the document has 65537 bytes, want at most 65536",
		"testdata/\x00bad": "recipe: ",
	} {
		if _, err := Load(arg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", arg, err, want)
		}
	}
}

// TestNoGo: without the go command the Go source tree is not found, and the message says so.
func TestNoGo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Load("quickstart")
	if err == nil || !strings.HasPrefix(err.Error(), "quickstart.yaml:") || !strings.Contains(err.Error(), "the Go source tree, which is not to be found") {
		t.Error(err)
	}
	if _, err := Load("quickstart", "data.path=README.md"); err != nil {
		t.Error(err)
	}
}
