package checkpoints

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gojet/gojet/bf16"
	"github.com/gojet/gojet/checkpoints/safetensors"
	"github.com/gojet/gojet/internal/fixtures"
)

// weights are all tensors of a checkpoint, to be saved again.
func weights(c *Checkpoint) []Param {
	var ps []Param
	for _, name := range c.Names() {
		x, _ := c.Tensor(name)
		ps = append(ps, Param{name, x.Shape, x.Float32s})
	}
	return ps
}

func TestRoundTrip(t *testing.T) {
	for _, name := range []string{"tiny-jet-nemotron", "tiny-qwen2", "tiny-qwen3"} {
		for _, o := range []SaveOptions{{}, {MaxShardBytes: 100_000}, {DType: "bfloat16"}} {
			c := open(t, filepath.Join(fixtures.Dir(t), name))
			dir := filepath.Join(t.TempDir(), "out")
			if err := Save(dir, c.Config, weights(c), o); err != nil {
				t.Fatal(err)
			}
			again := open(t, dir)
			if err := again.Match(specs(c)); err != nil {
				t.Fatal(err)
			}
			for _, tensor := range c.Names() {
				want, _ := c.Tensor(tensor)
				got, _ := again.Tensor(tensor)
				if o.DType == "" && !bytes.Equal(got.Data, want.Data) || o.DType != "" && !isRounded(t, got, want) {
					t.Errorf("%s, %+v: %s differs", name, o, tensor)
				}
			}
			if _, err := os.Stat(filepath.Join(dir, modelName)); (err == nil) != (o.MaxShardBytes == 0) {
				t.Errorf("%s, %+v: %s: %v", name, o, modelName, err)
			}
			if want := o.DType; want != "" && again.Config.DType != want {
				t.Errorf("%s: torch_dtype is %q, want %q", name, again.Config.DType, want)
			}
		}
	}
}

func isRounded(t *testing.T, got, want safetensors.Tensor) bool {
	t.Helper()
	x, err := want.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	y, ok := got.BF16View()
	return ok && slices.EqualFunc(x, y, func(x float32, y bf16.BF16) bool { return bf16.From(x) == y })
}

// The index of a sharded fixture comes out as its own library wrote it.
func TestIndexAsTransformers(t *testing.T) {
	from := filepath.Join(fixtures.Dir(t), "tiny-qwen3")
	c := open(t, from)
	want, err := os.ReadFile(filepath.Join(from, indexName))
	if err != nil {
		t.Fatal(err)
	}
	x, err := parseIndex(want)
	if err != nil {
		t.Fatal(err)
	}
	files := make([]shard, len(x.shards()))
	for i, name := range x.shards() {
		files[i].name = name
	}
	for _, p := range weights(c) {
		tensor, _ := c.Tensor(p.Name)
		f := &files[slices.Index(x.shards(), x.shard[p.Name])]
		f.sources = append(f.sources, tensor.Source())
		f.bytes += int64(len(tensor.Data))
		f.params += int64(tensor.Len())
	}
	got, err := formatIndex(files)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("written\n%s, want\n%s", got, want)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestSavedFiles(t *testing.T) {
	tokenizer := t.TempDir()
	put(t, tokenizer, "tokenizer.json", "{}")
	put(t, tokenizer, "merges.txt", "a b")
	put(t, tokenizer, "notes.txt", "not a tokenizer's")
	c, err := ParseConfig([]byte(small(keys{"tie_word_embeddings": true})))
	if err != nil {
		t.Fatal(err)
	}
	parent := t.TempDir()
	dir := filepath.Join(parent, "deep", "model")
	for _, o := range []SaveOptions{{Tokenizer: tokenizer}, {MaxShardBytes: 24, Tokenizer: tokenizer}} {
		if err := Save(dir+"/", c, params("a", "b", "c", head), o); err != nil {
			t.Fatal(err)
		}
		want := []string{"config.json", "merges.txt", modelName, "tokenizer.json"}
		if o.MaxShardBytes > 0 {
			want = []string{"config.json", "merges.txt", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", indexName, "tokenizer.json"}
		}
		if got := names(t, dir); !slices.Equal(got, want) {
			t.Errorf("%+v: files %q, want %q", o, got, want)
		}
		if got := names(t, filepath.Dir(dir)); !slices.Equal(got, []string{"model"}) {
			t.Errorf("beside the model: %q", got)
		}
		if got := open(t, dir).Names(); !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("tensors %q, want no tied head", got)
		}
	}
}

// A save that fails leaves what was there, and nothing beside it.
func TestSaveRefuses(t *testing.T) {
	good, err := ParseConfig([]byte(small(nil)))
	if err != nil {
		t.Fatal(err)
	}
	broken := good.Clone()
	broken.NumKVHeads = 0
	double := good.Clone()
	double.DType = "float64"
	lost := Param{"z", []int{1}, func() ([]float32, error) { return nil, errors.New("device lost") }}
	for _, tc := range []struct {
		name   string
		config *Config
		params []Param
		o      SaveOptions
		err    string
	}{
		{"bad config", broken, params("a"), SaveOptions{}, "num_key_value_heads is 0"},
		{"unknown type", good, params("a"), SaveOptions{DType: "int4"}, `torch_dtype is "int4"`},
		{"float64", double, params("a"), SaveOptions{}, `torch_dtype is "float64", want float32, bfloat16 or float16`},
		{"nothing", good, nil, SaveOptions{}, "no tensors"},
		{"twice", good, params("a", "a"), SaveOptions{MaxShardBytes: 1}, `tensor "a" comes twice`},
		{"bad name", good, params("a/b"), SaveOptions{}, `tensor "a/b": the name looks like a path`},
		{"shard size", good, params("a"), SaveOptions{MaxShardBytes: -1}, "MaxShardBytes is -1"},
		{"tokenizer", good, params("a"), SaveOptions{Tokenizer: t.TempDir()}, "tokenizer.json"},
		{"in the middle", good, append(params("a", "b"), lost), SaveOptions{MaxShardBytes: 1}, `tensor "z": device lost`},
	} {
		parent := t.TempDir()
		dir := saved(t, parent, nil, SaveOptions{})
		before := names(t, dir)
		err := Save(dir, tc.config, tc.params, tc.o)
		if err == nil || !strings.Contains(err.Error(), tc.err) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: error %v, want one with the folder and %q", tc.name, err, tc.err)
		}
		if got := names(t, parent); !slices.Equal(got, []string{"model"}) || !slices.Equal(names(t, dir), before) {
			t.Errorf("%s: left %q with %q", tc.name, got, names(t, dir))
		}
	}
}

func TestSaveOverOthers(t *testing.T) {
	c, err := ParseConfig([]byte(small(nil)))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := Save(dir, c, params("a"), SaveOptions{}); err != nil {
		t.Errorf("into an empty folder: %v", err)
	}
	home := t.TempDir()
	put(t, home, "thesis.txt", "dear to someone")
	if err := Save(home, c, params("a"), SaveOptions{}); err == nil || !strings.Contains(err.Error(), "is no checkpoint") {
		t.Errorf("over a folder of other things: %v", err)
	}
	file := filepath.Join(home, "thesis.txt")
	if err := Save(file, c, params("a"), SaveOptions{}); err == nil {
		t.Error("over a file: no error")
	}
	if got := names(t, home); !slices.Equal(got, []string{"thesis.txt"}) {
		t.Errorf("the folder has %q", got)
	}
	if err := Save(home, c, params("a"), SaveOptions{Overwrite: true}); err != nil {
		t.Errorf("as asked: %v", err)
	}
	if got := names(t, home); !slices.Equal(got, []string{"config.json", modelName}) {
		t.Errorf("the folder has %q", got)
	}
	alias := filepath.Join(t.TempDir(), "alias")
	link(t, home, alias)
	if err := Save(alias, c, params("b"), SaveOptions{}); err != nil {
		t.Errorf("through a link: %v", err)
	}
	if got := open(t, home).Names(); !slices.Equal(got, []string{"b"}) {
		t.Errorf("through a link: tensors %q", got)
	}
}

// A model of 24 layers, hidden size 1024, opens without its data being read.
func TestOpenIsLazy(t *testing.T) {
	if testing.Short() {
		t.Skip("writes a file of 0.6 GB with holes")
	}
	dir := t.TempDir()
	put(t, dir, "config.json", small(nil))
	shapes := map[string][]int{
		"self_attn.q_proj": {1024, 1024}, "self_attn.k_proj": {128, 1024}, "self_attn.v_proj": {128, 1024}, "self_attn.o_proj": {1024, 1024},
		"mlp.gate_proj": {3072, 1024}, "mlp.up_proj": {3072, 1024}, "mlp.down_proj": {1024, 3072},
		"input_layernorm": {1024}, "post_attention_layernorm": {1024},
	}
	var header strings.Builder
	end := 0
	for layer := range 24 {
		for name, shape := range shapes {
			n := 2
			for _, d := range shape {
				n *= d
			}
			fmt.Fprintf(&header, `,"model.layers.%d.%s.weight":{"dtype":"BF16","shape":%s,"data_offsets":[%d,%d]}`,
				layer, name, strings.ReplaceAll(fmt.Sprint(shape), " ", ","), end, end+n)
			end += n
		}
	}
	text := "{" + header.String()[1:] + "}"
	text += strings.Repeat(" ", -len(text)&7)
	path := filepath.Join(dir, modelName)
	if err := os.WriteFile(path, append([]byte{byte(len(text)), byte(len(text) >> 8), byte(len(text) >> 16), 0, 0, 0, 0, 0}, text...), 0o644); err != nil {
		t.Fatal(err)
	}
	size := int64(8 + len(text) + end)
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	c := open(t, dir)
	took := time.Since(start)
	t.Logf("%d tensors, %d MB in %v", len(c.Names()), size>>20, took)
	if took > 500*time.Millisecond || len(c.Names()) != 24*len(shapes) {
		t.Errorf("%d tensors in %v, want %d in well under a second", len(c.Names()), took, 24*len(shapes))
	}
	x, ok := c.Tensor("model.layers.23.mlp.down_proj.weight")
	if view, is := x.BF16View(); !ok || !is || len(view) != 1024*3072 {
		t.Errorf("down_proj: %v, %v, %d elements", ok, is, len(view))
	}
}
