package checkpoints

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gojet/gojet/checkpoints/safetensors"
	"github.com/gojet/gojet/internal/fixtures"
)

func open(t *testing.T, dir string) *Checkpoint {
	t.Helper()
	c, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// specs are what the folder itself holds.
func specs(c *Checkpoint) []Spec {
	var all []Spec
	for _, name := range c.Names() {
		x, _ := c.Tensor(name)
		all = append(all, Spec{name, x.Shape})
	}
	return all
}

func TestOpenFixtures(t *testing.T) {
	for name, tensors := range map[string]int{"tiny-jet-nemotron": 62, "tiny-qwen2": 38, "tiny-qwen3": 36} {
		c := open(t, filepath.Join(fixtures.Dir(t), name))
		if got := len(c.Names()); got != tensors {
			t.Errorf("%s: %d tensors, want %d", name, got, tensors)
		}
		if err := c.Match(specs(c)); err != nil {
			t.Error(err)
		}
		x, ok := c.Tensor("model.embed_tokens.weight")
		if !ok || !slices.Equal(x.Shape, []int{c.Config.VocabSize, c.Config.HiddenSize}) {
			t.Errorf("%s: embedding %v, %v", name, x.Shape, ok)
		}
	}
}

// threeShards saves a model of three tensors, one to a file.
func threeShards(t *testing.T) string {
	t.Helper()
	return saved(t, t.TempDir(), keys{"tie_word_embeddings": true}, SaveOptions{MaxShardBytes: 1})
}

func saved(t *testing.T, parent string, model keys, o SaveOptions) string {
	t.Helper()
	c, err := ParseConfig([]byte(small(model)))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(parent, "model")
	if err := Save(dir, c, params("a", "b", "c"), o); err != nil {
		t.Fatal(err)
	}
	return dir
}

func params(names ...string) []Param {
	var ps []Param
	for i, name := range names {
		ps = append(ps, Param{name, []int{2, 3}, safetensors.Values([]float32{float32(i), 1, 2, 3, 4, -0.5})})
	}
	return ps
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func replace(t *testing.T, path, old, with string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), old) {
		t.Fatalf("%s has no %q", path, old)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(data), old, with, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path string, names ...string) {
	t.Helper()
	var sources []safetensors.Source
	for _, p := range params(names...) {
		sources = append(sources, safetensors.Float32s(p.Name, p.Shape, safetensors.BF16, p.Values))
	}
	if err := safetensors.Write(path, sources, nil); err != nil {
		t.Fatal(err)
	}
}

func TestBadIndex(t *testing.T) {
	const first, second, third = "model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors"
	for _, tc := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		err   string
	}{
		{"nothing", func(*testing.T, string) {}, ""},
		{"missing_shard", func(t *testing.T, dir string) { remove(t, dir, second) }, "file " + second + " is missing, want 3 files: "},
		{"missing_index", func(t *testing.T, dir string) { remove(t, dir, indexName) }, indexName + " is missing, which says what 3 files"},
		{"path_traversal", func(t *testing.T, dir string) {
			copyFile(t, filepath.Join(dir, second), filepath.Join(dir, "..", second))
			replace(t, filepath.Join(dir, indexName), second, "../"+second)
		}, `tensor "b" is in file "../` + second + `", want the plain name of a file beside the index`},
		{"absolute path", func(t *testing.T, dir string) { replace(t, filepath.Join(dir, indexName), second, "/etc/passwd") }, `is in file "/etc/passwd", want the plain name`},
		{"symlink_escape", func(t *testing.T, dir string) {
			outside := filepath.Join(t.TempDir(), "outside.safetensors")
			copyFile(t, filepath.Join(dir, second), outside)
			remove(t, dir, second)
			link(t, outside, filepath.Join(dir, second))
		}, second + " is a link to "},
		{"symlink inside", func(t *testing.T, dir string) {
			copyFile(t, filepath.Join(dir, second), filepath.Join(dir, "blob"))
			remove(t, dir, second)
			link(t, "blob", filepath.Join(dir, second))
		}, ""},
		{"tensor_in_wrong_shard", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, first), "a", "b")
			write(t, filepath.Join(dir, second), "other")
		}, `tensor "b" is in ` + first + `, want it in ` + second},
		{"shard without its tensor", func(t *testing.T, dir string) { write(t, filepath.Join(dir, second), "other") }, `tensor "b" is not in ` + second + `, where the index puts it, nor in another file`},
		{"tensor_in_two_shards", func(t *testing.T, dir string) { write(t, filepath.Join(dir, third), "b", "c") }, `tensor "b" is in two files, ` + second + ` and ` + third + `, want it in ` + second},
		{"extra_tensor", func(t *testing.T, dir string) { write(t, filepath.Join(dir, third), "c", "extra") }, `tensor "extra" is in ` + third + `, but the index does not name it`},
		{"wrong_total_size", func(t *testing.T, dir string) {
			replace(t, filepath.Join(dir, indexName), `"total_size": 36`, `"total_size": 35`)
		}, `metadata.total_size is 35, want 36, the bytes of all tensors`},
		{"float total_size", func(t *testing.T, dir string) {
			replace(t, filepath.Join(dir, indexName), `"total_size": 36`, `"total_size": 36.0`)
		}, ""},
		{"no total_size", func(t *testing.T, dir string) {
			replace(t, filepath.Join(dir, indexName), `"total_size": 36`, `"other": [1]`)
		}, ""},
		{"total_size as text", func(t *testing.T, dir string) {
			replace(t, filepath.Join(dir, indexName), `"total_size": 36`, `"total_size": "36"`)
		}, `metadata.total_size is`},
		{"index_from_other_save", func(t *testing.T, dir string) {
			other := saved(t, t.TempDir(), nil, SaveOptions{MaxShardBytes: 24})
			copyFile(t, filepath.Join(other, indexName), filepath.Join(dir, indexName))
		}, "file model-00001-of-00002.safetensors is missing"},
		{"index_from_other_save, shards of both", func(t *testing.T, dir string) {
			other := saved(t, t.TempDir(), nil, SaveOptions{MaxShardBytes: 24})
			for _, name := range []string{indexName, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"} {
				copyFile(t, filepath.Join(other, name), filepath.Join(dir, name))
			}
		}, "does not name " + first + ", which is in the folder: the index is of another save"},
		{"index_from_other_save, single file", func(t *testing.T, dir string) { write(t, filepath.Join(dir, modelName), "a", "b", "c") }, "does not name " + modelName},
		{"tensor twice in the index", func(t *testing.T, dir string) {
			replace(t, filepath.Join(dir, indexName), `"a": `, `"\u0062": "`+first+`", "a": `)
		}, `tensor "b" comes twice`},
		{"weight_map twice", func(t *testing.T, dir string) {
			replace(t, filepath.Join(dir, indexName), `"metadata"`, `"weight_map":{}, "metadata"`)
		}, `key "weight_map" comes twice`},
		{"no weight_map", func(t *testing.T, dir string) { put(t, dir, indexName, `{"metadata":{"total_size":0}}`) }, "weight_map is missing or empty"},
		{"index not JSON", func(t *testing.T, dir string) { put(t, dir, indexName, "index") }, indexName + `: byte 0: found "index", want an object`},
		{"shard cut off", func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, second), 70); err != nil {
				t.Fatal(err)
			}
		}, second},
		{"no config", func(t *testing.T, dir string) { remove(t, dir, "config.json") }, "config.json"},
		{"config elsewhere", func(t *testing.T, dir string) {
			outside := filepath.Join(t.TempDir(), "config.json")
			copyFile(t, filepath.Join(dir, "config.json"), outside)
			remove(t, dir, "config.json")
			link(t, outside, filepath.Join(dir, "config.json"))
		}, "config.json is a link to "},
	} {
		dir := threeShards(t)
		tc.spoil(t, dir)
		c, err := Open(dir)
		switch {
		case err == nil && tc.err != "":
			t.Errorf("%s: accepted, want an error with %q", tc.name, tc.err)
		case err != nil && (tc.err == "" || !strings.Contains(err.Error(), tc.err) || !strings.Contains(err.Error(), dir) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: error %q, want one line with the folder and %q", tc.name, err, tc.err)
		}
		if err == nil {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
}

// The cache of the Hugging Face hub keeps files as links into a folder of blobs.
func TestHubCache(t *testing.T) {
	dir := threeShards(t)
	repo := filepath.Join(t.TempDir(), "models--org--name")
	snapshot, blobs := filepath.Join(repo, "snapshots", "0123abcd"), filepath.Join(repo, "blobs")
	for _, d := range []string{snapshot, blobs} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		copyFile(t, filepath.Join(dir, e.Name()), filepath.Join(blobs, "hash-"+e.Name()))
		link(t, filepath.Join("..", "..", "blobs", "hash-"+e.Name()), filepath.Join(snapshot, e.Name()))
	}
	if c := open(t, snapshot); len(c.Names()) != 3 {
		t.Errorf("tensors %q", c.Names())
	}
}

func TestMatch(t *testing.T) {
	dir := threeShards(t)
	c := open(t, dir)
	fits := []Spec{{"a", []int{2, 3}}, {"b", []int{2, 3}}, {"c", []int{2, 3}}, {head, []int{9}}}
	if err := c.Match(fits); err != nil {
		t.Error(err)
	}
	err := c.Match([]Spec{{"a", []int{3, 2}}, {"b", []int{2, 3}}, {"d", nil}})
	for _, want := range []string{"1 missing (d)", "1 misshapen (a is [2 3], want [3 2])", "1 unknown (c)", dir} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	c.Config.TieEmbeddings = false
	if err := c.Match(fits); err == nil || !strings.Contains(err.Error(), "1 missing (lm_head.weight)") {
		t.Errorf("untied head: %v", err)
	}

	// A tied model may bring its head along, and no weights of integers.
	whole := saved(t, t.TempDir(), keys{"tie_word_embeddings": true}, SaveOptions{})
	sources := []safetensors.Source{safetensors.Int64s("a", []int{1}, []int64{1}), safetensors.Float32s(head, nil, safetensors.F32, safetensors.Values([]float32{1}))}
	if err := safetensors.Write(filepath.Join(whole, modelName), sources, nil); err != nil {
		t.Fatal(err)
	}
	err = open(t, whole).Match([]Spec{{"a", []int{1}}})
	if err == nil || !strings.Contains(err.Error(), "1 misshapen (a is of type I64") || strings.Contains(err.Error(), "unknown") {
		t.Errorf("integers: %v", err)
	}

	var many []Spec
	for i := range 30 {
		many = append(many, Spec{"x" + strings.Repeat("y", i), nil})
	}
	if err := c.Match(append(many, fits...)); err == nil || !strings.Contains(err.Error(), "31 missing (x, xy") || !strings.Contains(err.Error(), "and 19 more") {
		t.Errorf("many: %v", err)
	}
}

func FuzzParseIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":36.0},"weight_map":{"a":"model-00001-of-00002.safetensors","\u0062":"x"}}`))
	f.Add([]byte(`{"weight_map":{"a":"../x"}}`))
	f.Add([]byte(`{"weight_map":{"a":"x","a":"y"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := parseIndex(data)
		if err != nil {
			return
		}
		for _, shard := range slices.Collect(maps.Values(x.shard)) {
			if filepath.Base(shard) != shard || shard == ".." {
				t.Fatalf("accepted file %q", shard)
			}
		}
		if len(x.shards()) > len(x.shard) {
			t.Fatalf("%d files for %d tensors", len(x.shards()), len(x.shard))
		}
	})
}
