package run

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/checkpoints/safetensors"
)

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

// edit changes a JSON file.
func edit(t *testing.T, path string, change func(m map[string]any)) {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(read(t, path), &m); err != nil {
		t.Fatal(err)
	}
	change(m)
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, b)
}

// sign makes the manifest say that the folder is as it should be, so that only deeper checks can object.
func sign(t *testing.T, dir string) {
	t.Helper()
	edit(t, filepath.Join(dir, manifestName), func(m map[string]any) {
		for name := range m["files"].(map[string]any) {
			b := read(t, filepath.Join(dir, name))
			h := sha256.Sum256(b)
			m["files"].(map[string]any)[name] = sum{int64(len(b)), hex.EncodeToString(h[:])}
		}
	})
}

// Each way to spoil the newest of two checkpoints is named in one line, and the one before is taken.
func TestBadCheckpoints(t *testing.T) {
	at := func(dir, name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
	key := func(name, key string, value any) func(t *testing.T, dir, other string) {
		return func(t *testing.T, dir, _ string) {
			edit(t, at(dir, name), func(m map[string]any) {
				if m[key] = value; value == nil {
					delete(m, key)
				}
			})
			if name != manifestName {
				sign(t, dir)
			}
		}
	}
	fileKey := func(name string, s sum) func(t *testing.T, dir, other string) {
		return func(t *testing.T, dir, _ string) {
			edit(t, at(dir, manifestName), func(m map[string]any) { m["files"].(map[string]any)[name] = s })
		}
	}
	tensors := func(name, step string, sources ...safetensors.Source) func(t *testing.T, dir, other string) {
		return func(t *testing.T, dir, _ string) {
			if err := safetensors.Write(at(dir, name), sources, map[string]string{stepKey: step}); err != nil {
				t.Fatal(err)
			}
			sign(t, dir)
		}
	}
	f32 := func(name string, shape ...int) safetensors.Source {
		n := 1
		for _, d := range shape {
			n *= d
		}
		return safetensors.Float32s(name, shape, safetensors.F32, safetensors.Values(make([]float32, n)))
	}
	good := sum{1, strings.Repeat("0", 64)}
	for _, tc := range []struct {
		name  string
		spoil func(t *testing.T, dir, other string) // other is the checkpoint before
		err   string
	}{
		{"missing_manifest", func(t *testing.T, dir, _ string) { remove(t, at(dir, manifestName)) }, "manifest.json is missing"},
		{"manifest torn", func(t *testing.T, dir, _ string) {
			write(t, at(dir, manifestName), read(t, at(dir, manifestName))[:100])
		}, "manifest.json: "},
		{"manifest empty", func(t *testing.T, dir, _ string) { write(t, at(dir, manifestName), nil) }, "manifest.json: "},
		{"manifest a list", func(t *testing.T, dir, _ string) { write(t, at(dir, manifestName), []byte("[]")) }, "no JSON object"},
		{"manifest a folder", func(t *testing.T, dir, _ string) {
			remove(t, at(dir, manifestName))
			if err := os.Mkdir(at(dir, manifestName), 0o755); err != nil {
				t.Fatal(err)
			}
		}, "no regular file"},
		{"manifest's keys", key(manifestName, "colour", "red"), `unknown field "colour"`},
		{"manifest without files", key(manifestName, "files", nil), "files is missing"},
		{"manifest with few files", key(manifestName, "files", map[string]sum{}), "config.json is missing"},
		{"files of a wrong type", key(manifestName, "files", 7), "cannot unmarshal number"},
		{"path outside", fileKey("../../x", good), `"../../x" is not the path`},
		{"absolute path", fileKey("/etc/passwd", good), `"/etc/passwd" is not the path`},
		{"negative size", fileKey("x", sum{-1, good.SHA256}), "size -1"},
		{"short sum", fileKey("x", sum{1, "00"}), "64 hexadecimal digits"},
		{"file not there", fileKey("x", good), "x is missing"},

		{"hash_mismatch", func(t *testing.T, dir, _ string) {
			b := read(t, at(dir, optimizerName))
			b[len(b)-3] ^= 4
			write(t, at(dir, optimizerName), b)
		}, "optimizer.safetensors: has SHA-256"},
		{"torn file", func(t *testing.T, dir, _ string) {
			write(t, at(dir, "model.safetensors"), read(t, at(dir, "model.safetensors"))[:200])
		}, "model.safetensors has 200 bytes, want"},
		{"file gone", func(t *testing.T, dir, _ string) { remove(t, at(dir, stateName)) }, "trainer/state.json is missing"},
		{"folder gone", func(t *testing.T, dir, _ string) { remove(t, at(dir, trainerDir)) }, "is missing"},
		{"file added", func(t *testing.T, dir, _ string) { write(t, at(dir, "model.safetensors.index.json"), []byte("{}")) }, "model.safetensors.index.json is not in the manifest"},
		{"file added to trainer", func(t *testing.T, dir, _ string) { write(t, at(dir, "trainer/x.safetensors"), []byte("{}")) }, "trainer/x.safetensors is not in the manifest"},
		{"a link", func(t *testing.T, dir, other string) {
			remove(t, at(dir, configName))
			if err := os.Symlink(at(other, configName), at(dir, configName)); err != nil {
				t.Skip(err)
			}
		}, "config.json is no regular file"},
		{"a file in its place", func(t *testing.T, dir, _ string) {
			remove(t, dir)
			write(t, dir, []byte("step 20"))
		}, "not a directory"},

		{"mixed_steps: file", func(t *testing.T, dir, other string) {
			write(t, at(dir, "model.safetensors"), read(t, at(other, "model.safetensors")))
		}, "model.safetensors: has SHA-256"},
		{"mixed_steps: manifest", func(t *testing.T, dir, other string) {
			write(t, at(dir, manifestName), read(t, at(other, manifestName)))
		}, "manifest.json is of step 10, but the folder of step 20"},
		{"mixed_steps: state", func(t *testing.T, dir, other string) {
			write(t, at(dir, stateName), read(t, at(other, stateName)))
			sign(t, dir)
		}, "state.json: is of step 10, but the manifest of step 20"},
		{"mixed_steps: optimizer", func(t *testing.T, dir, other string) {
			write(t, at(dir, optimizerName), read(t, at(other, optimizerName)))
			sign(t, dir)
		}, `optimizer.safetensors: is of step "10", but the manifest of step 20`},
		{"mixed_steps: renamed", func(t *testing.T, dir, other string) {
			remove(t, dir)
			if err := os.CopyFS(dir, os.DirFS(other)); err != nil {
				t.Fatal(err)
			}
		}, "manifest.json is of step 10, but the folder of step 20"},

		{"optimizer_shape_mismatch", tensors(optimizerName, "20", f32("m."+names[1], 4, 2), f32("v."+names[1], 4, 2)), "the moments of model.b.weight are [4 2], but the weight is [2 4]"},
		{"moments of two shapes", tensors(optimizerName, "20", f32("m."+names[1], 2, 4), f32("v."+names[1], 4, 2)), `"m.model.b.weight" is [2 4], but "v.model.b.weight" is [4 2]`},
		{"one moment", tensors(optimizerName, "20", f32("m."+names[1], 2, 4)), `"v.model.b.weight" is missing`},
		{"no moment", tensors(optimizerName, "20", f32("x", 1)), `"x" is no moment`},
		{"moments of another type", tensors(optimizerName, "20",
			safetensors.Float32s("m.x", []int{1}, safetensors.BF16, safetensors.Values([]float32{0})),
			safetensors.Float32s("v.x", []int{1}, safetensors.BF16, safetensors.Values([]float32{0}))), "is BF16, want F32"},
		{"tensors no tensors", func(t *testing.T, dir, _ string) {
			write(t, at(dir, optimizerName), []byte("no tensors at all"))
			sign(t, dir)
		}, "optimizer.safetensors: header length"},
		{"model no model", key(configName, "hidden_size", -1), "hidden_size"},
		{"no weights", func(t *testing.T, dir, _ string) {
			edit(t, at(dir, manifestName), func(m map[string]any) { delete(m["files"].(map[string]any), "model.safetensors") })
			remove(t, at(dir, "model.safetensors"))
		}, "model.safetensors: no such file"},

		{"rng_missing", key(stateName, "rng", nil), "trainer/state.json: rng is missing"},
		{"rng empty", key(stateName, "rng", map[string]string{}), "rng is empty"},
		{"rng of a generator empty", key(stateName, "rng", map[string]string{"init": ""}), `generator "init" has no state`},
		{"rng no base64", key(stateName, "rng", map[string]string{"init": "!"}), "base64"},
		{"state without step", key(stateName, "step", nil), "step is missing"},
		{"state of a wrong type", key(stateName, "step", "x"), "cannot unmarshal string"},
		{"state twice", func(t *testing.T, dir, _ string) {
			write(t, at(dir, stateName), []byte(strings.Replace(string(read(t, at(dir, stateName))), `"step"`, `"step": 1, "step"`, 1)))
			sign(t, dir)
		}, `"step" comes twice`},

		{"future_version", key(manifestName, "format_version", 2), "written by a later version of gojet: format_version is 2, want at most 1"},
		{"future_version: all else new", func(t *testing.T, dir, _ string) {
			write(t, at(dir, manifestName), []byte(`{"format_version": 3, "roots": ["x"]}`))
		}, "written by a later version of gojet: format_version is 3"},
		{"future_version: state", key(stateName, "format_version", 2), "trainer/state.json: written by a later version"},
		{"no version", key(manifestName, "format_version", nil), "format_version is missing"},
		{"version zero", key(manifestName, "format_version", 0), "format_version is 0"},
		{"version in words", key(manifestName, "format_version", "one"), `format_version is "one"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			runDir := ready(t, 10, 20)
			write(t, filepath.Join(runDir, metricsName), []byte("{\"step\":1}\n"))
			dir := stepPath(runDir, 20)
			tc.spoil(t, dir, stepPath(runDir, 10))
			s, problems, err := Newest(runDir)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if s.Step() != 10 || len(problems) != 1 || problems[0].Path != dir {
				t.Fatalf("newest is of step %d, problems %v", s.Step(), problems)
			}
			wholly(t, s)
			oneLine(t, problems[0], dir, tc.err)
			if strings.HasPrefix(tc.name, "future_version") != errors.Is(problems[0], ErrFuture) {
				t.Errorf("%v: is it ErrFuture?", problems[0])
			}
			// With the other gone as well, there is nothing to go on from, and no beginning anew.
			remove(t, stepPath(runDir, 10))
			s, problems, err = Newest(runDir)
			if s != nil || len(problems) != 1 || errors.Is(err, ErrFresh) {
				t.Fatalf("without another: %v, problems %v", err, problems)
			}
			oneLine(t, err, runDir, "no whole checkpoint left", tc.err)
		})
	}
}

// A bad checkpoint is replaced when its step comes again, and till then does not count.
func TestBadOneReplaced(t *testing.T) {
	runDir := ready(t, 10, 20)
	bad := filepath.Join(stepPath(runDir, 20), "model.safetensors")
	b := read(t, bad)
	b[len(b)-1]++
	write(t, bad, b)
	save(t, runDir, Keep{Last: 1}, 15)
	s, problems, err := Newest(runDir)
	if err != nil || s.Step() != 15 || len(problems) != 1 {
		t.Fatalf("%v, problems %v", err, problems)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	save(t, runDir, Keep{Last: 1}, 20)
	newestIs(t, runDir, 20)
}

// oneLine fails unless the error is one line with these texts.
func oneLine(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil || strings.Contains(err.Error(), "\n") {
		t.Fatalf("error %v, want one line", err)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %v, want one with %q", err, text)
		}
	}
}

// There is no pointer file: stale_pointer and pointer_to_missing cannot happen, and files that other
// programs use as pointers are nothing to us. Nor are other strangers.
func TestStrangersAreIgnored(t *testing.T) {
	runDir := ready(t, 10, 20)
	dir := filepath.Join(runDir, checkpointsDir)
	for name, text := range map[string]string{"latest": "step-10", "latest_checkpointed_iteration.txt": "99", "step-030": "", "step-": "", "step--1": "", ".step-40.tmp-0a": "", "step-7 (copy)": ""} {
		write(t, filepath.Join(dir, name), []byte(text))
	}
	for _, name := range []string{"latest", "newest"} {
		if err := os.Symlink("step-99", filepath.Join(runDir, name)); err != nil {
			t.Skip(err)
		}
	}
	write(t, filepath.Join(stepPath(runDir, 20), "NOTES.md"), []byte("the good one"))
	newestIs(t, runDir, 20)
	save(t, runDir, Keep{Last: 1}, 30)
	newestIs(t, runDir, 30)
	if _, err := os.Stat(filepath.Join(dir, "latest")); err != nil {
		t.Error(err)
	}
	if err := os.Symlink("nowhere", stepPath(runDir, 50)); err != nil {
		t.Fatal(err)
	}
	s, problems, err := Newest(runDir)
	if err != nil || s.Step() != 30 || len(problems) != 1 {
		t.Fatalf("a link that leads nowhere: %v, problems %v", err, problems)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRecipeChanged(t *testing.T) {
	runDir := ready(t, 10)
	s, _, err := Newest(runDir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.State().CheckRecipe(RecipeHash([]byte("recipe"))); err != nil {
		t.Error(err)
	}
	changed := RecipeHash([]byte("recipe, changed"))
	oneLine(t, s.State().CheckRecipe(changed), "the recipe has changed since step 10", changed, RecipeHash([]byte("recipe")))
}

func TestGeneratorMissing(t *testing.T) {
	s := State{Step: 3, RNG: map[string][]byte{"data": {1}, "init": {2}}}
	_, err := s.Generator("dropout")
	oneLine(t, err, `no random generator "dropout"`, `["data" "init"]`)
}

func TestFresh(t *testing.T) {
	runDir := filepath.Join(t.TempDir(), "run")
	fresh := func() {
		t.Helper()
		if s, problems, err := Newest(runDir); s != nil || problems != nil || !errors.Is(err, ErrFresh) {
			t.Fatalf("%v, %v, error %v, want ErrFresh", s, problems, err)
		}
	}
	fresh()
	w, err := Claim(runDir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	fresh()
	write(t, filepath.Join(runDir, metricsName), nil)
	fresh()
	write(t, filepath.Join(runDir, metricsName), []byte("{\"step\":1}\n"))
	_, _, err = Newest(runDir)
	oneLine(t, err, runDir, "has logged steps", "no checkpoint")
	if errors.Is(err, ErrFresh) {
		t.Error("a run that has logged steps is fresh")
	}
	if _, err := w.Save(snapshot(t, 1), Keep{}); err != nil {
		t.Fatal(err)
	}
	newestIs(t, runDir, 1)
}

func TestOptimizerMatch(t *testing.T) {
	runDir := ready(t, 10)
	s, err := Open(stepPath(runDir, 10) + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	o, err := s.Optimizer()
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	b, c := checkpoints.Spec{Name: names[1], Shape: []int{2, 4}}, checkpoints.Spec{Name: names[2], Shape: []int{2, 5}}
	if err := o.Match([]checkpoints.Spec{b, c}); err != nil {
		t.Error(err)
	}
	oneLine(t, o.Match([]checkpoints.Spec{{Name: names[1], Shape: []int{8}}, {Name: "new", Shape: []int{1}}}),
		"model.b.weight has [2 4], want [8]", "new has none", "model.c.weight is not trained")
	var many []checkpoints.Spec
	for i := range 30 {
		many = append(many, checkpoints.Spec{Name: fmt.Sprint(i)})
	}
	oneLine(t, o.Match(append(many, b, c)), "11 has none; and 18 more")
	oneLine(t, o.Read(names[0], nil, nil), "model.a.weight has no moments")
	oneLine(t, o.Read(names[1], make([]float32, 7), nil), `"m.model.b.weight" has 8 elements, want 7`)
	oneLine(t, o.Read(names[1], make([]float32, 8), make([]float32, 9)), `"v.model.b.weight" has 8 elements, want 9`)
}

func TestOpenRefuses(t *testing.T) {
	_, err := Open(t.TempDir())
	oneLine(t, err, "is not named step-N")
	_, err = Open(filepath.Join(t.TempDir(), "step-3"))
	oneLine(t, err, "step-3")
	if errors.Is(err, errMoved) {
		t.Errorf("%v, though it was never there", err)
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"format_version": 1, "step": 3, "files": {"config.json": {"size": 1, "sha256": "00"}}}`))
	f.Add([]byte(`{"format_version": 1e400}`))
	f.Add([]byte(`{"format_version": 2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseManifest(text)
		if err != nil {
			return
		}
		for name := range m.Files {
			if !filepath.IsLocal(name) {
				t.Fatalf("accepted file %q", name)
			}
		}
	})
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{"format_version": 1, "step": 3, "stage": "", "recipe_sha256": "", "sampler": 0, "rng": {"a": "AA=="}, "counters": null, "metrics": {}, "metrics_offset": 0, "trainer": null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseState(text)
		if err != nil {
			return
		}
		again, err := s.format()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := parseState(again); err != nil || back.Step != s.Step || len(back.RNG) != len(s.RNG) {
			t.Fatalf("%+v came back as %+v, %v", s, back, err)
		}
	})
}
