package checkpoints

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gojet/gojet/checkpoints/internal/commit"
	"github.com/gojet/gojet/checkpoints/safetensors"
)

// Param is a weight to be saved. Values is called once, when the weight is written; its result is not
// kept, so it may be the same buffer for every weight.
type Param struct {
	Name   string
	Shape  []int
	Values func() ([]float32, error)
}

// SaveOptions say how to save; the zero value saves one file of the config's type.
type SaveOptions struct {
	DType         string // float32, bfloat16 or float16; "" for that of the config
	MaxShardBytes int64  // start another file when a file's tensors would exceed it; 0 for a single file
	Tokenizer     string // folder whose tokenizer files go along; "" for none
	Overwrite     bool   // replace what is there even if it is no checkpoint
}

// tokenizerFiles are those that transformers may write for a tokenizer.
var tokenizerFiles = []string{
	"tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
}

// Save writes a model folder at dir. The folder appears whole or not at all, in place of an older
// checkpoint that may be there; anything else that is there is refused. Parameters are written in the
// order given where there are several files; a tied lm_head.weight is left out.
func Save(dir string, c *Config, params []Param, o SaveOptions) error {
	if err := save(dir, c, params, o); err != nil {
		return fmt.Errorf("checkpoints: saving %s: %w", dir, err)
	}
	return nil
}

func save(dir string, c *Config, params []Param, o SaveOptions) error {
	files, err := Files(c, params, o)
	if err != nil {
		return err
	}
	if dir, err = target(dir, o.Overwrite); err != nil {
		return err
	}
	return commit.Dir(commit.OS{}, dir, func(tmp string) error {
		for _, f := range files {
			if err := commit.Put(commit.OS{}, filepath.Join(tmp, f.Name), f.Write); err != nil {
				return fmt.Errorf("%s: %w", f.Name, err)
			}
		}
		return nil
	})
}

// File is a file of a model folder that is yet to be written.
type File struct {
	Name  string
	Bytes int64 // that Write will write
	Write func(io.Writer) error
}

// Files are what Save writes into a folder, for those who put it there in their own way. Each is written
// once, in the order given.
func Files(c *Config, params []Param, o SaveOptions) ([]File, error) {
	if o.DType != "" {
		c = c.Clone()
		c.DType = o.DType
	}
	config, err := c.Format()
	if err != nil {
		return nil, err
	}
	sources, err := c.sources(params)
	if err != nil {
		return nil, err
	}
	if o.MaxShardBytes < 0 {
		return nil, fmt.Errorf("MaxShardBytes is %d, want at least 0", o.MaxShardBytes)
	}
	shards, err := plan(sources, o.MaxShardBytes)
	if err != nil {
		return nil, err
	}
	files, err := tokenizer(o.Tokenizer)
	if err != nil {
		return nil, err
	}
	for _, f := range shards {
		p, err := safetensors.NewPlan(f.sources, map[string]string{"format": "pt"})
		if err != nil {
			return nil, err
		}
		files = append(files, File{f.name, p.Bytes(), p.Write})
	}
	if len(shards) > 1 {
		index, err := formatIndex(shards)
		if err != nil {
			return nil, err
		}
		files = append(files, textFile(indexName, index))
	}
	return append(files, textFile(configName, config)), nil
}

func textFile(name string, text []byte) File {
	return File{name, int64(len(text)), func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	}}
}

// sources are the params in the config's type.
func (c *Config) sources(params []Param) ([]safetensors.Source, error) {
	d, err := weightType(c.DType)
	if err != nil || d == safetensors.F64 {
		return nil, fmt.Errorf("torch_dtype is %q, want float32, bfloat16 or float16", c.DType)
	}
	seen := map[string]bool{}
	var sources []safetensors.Source
	for _, p := range params {
		if seen[p.Name] {
			return nil, fmt.Errorf("tensor %q comes twice", p.Name)
		}
		seen[p.Name] = true
		if p.Name == head && c.TieEmbeddings {
			continue
		}
		sources = append(sources, safetensors.Float32s(p.Name, p.Shape, d, p.Values))
	}
	if len(sources) == 0 {
		return nil, errors.New("no tensors, want those of a model")
	}
	return sources, nil
}

func isWeight(d safetensors.DType) bool {
	for _, t := range weightTypes {
		if d == t {
			return true
		}
	}
	return false
}

// weightTypes are the types of weights by torch's names.
var weightTypes = map[string]safetensors.DType{
	"float32": safetensors.F32, "bfloat16": safetensors.BF16, "float16": safetensors.F16, "float64": safetensors.F64,
}

func weightType(dtype string) (safetensors.DType, error) {
	d, ok := weightTypes[dtype]
	if !ok {
		return 0, fmt.Errorf("torch_dtype is %q, want float32, bfloat16, float16 or float64", dtype)
	}
	return d, nil
}

// shard is a file to be written.
type shard struct {
	name    string
	sources []safetensors.Source
	bytes   int64
	params  int64
}

// plan deals the tensors out to files of at most most bytes, in their order; a greater tensor has a
// file of its own.
func plan(sources []safetensors.Source, most int64) ([]shard, error) {
	files := []shard{{}}
	for _, s := range sources {
		n, err := s.Bytes()
		if err != nil {
			return nil, err
		}
		last := &files[len(files)-1]
		if most > 0 && len(last.sources) > 0 && last.bytes+int64(n) > most {
			files = append(files, shard{})
			last = &files[len(files)-1]
		}
		last.sources = append(last.sources, s)
		last.bytes += int64(n)
		last.params += int64(n * 8 / s.DType.Bits())
	}
	if len(files) == 1 {
		files[0].name = modelName
		return files, nil
	}
	for i := range files {
		files[i].name = fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(files))
	}
	return files, nil
}

// formatIndex is the text of the index file.
func formatIndex(files []shard) ([]byte, error) {
	var total struct {
		Params int64 `json:"total_parameters"`
		Bytes  int64 `json:"total_size"`
	}
	where := map[string]string{}
	for _, f := range files {
		total.Params += f.params
		total.Bytes += f.bytes
		for _, s := range f.sources {
			where[s.Name] = f.name
		}
	}
	return formatJSON(map[string]any{"metadata": total, "weight_map": where})
}

// tokenizer is the tokenizer files of dir, tokenizer.json among them.
func tokenizer(dir string) ([]File, error) {
	if dir == "" {
		return nil, nil
	}
	var files []File
	for _, name := range tokenizerFiles {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil {
			files = append(files, File{name, info.Size(), func(w io.Writer) error { return stream(w, path) }})
		} else if name == tokenizerFiles[0] || !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("tokenizer: %w", err)
		}
	}
	return files, nil
}

func stream(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(w, f); err != nil {
		return fmt.Errorf("copying %s: %w", path, err)
	}
	return nil
}

// target makes room for a new folder and returns its path, links followed.
func target(dir string, overwrite bool) (string, error) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return dir, os.MkdirAll(filepath.Dir(filepath.Clean(dir)), 0o755)
	case err != nil && !overwrite:
		return "", err
	case err == nil && len(entries) > 0 && !overwrite && !isCheckpoint(dir):
		return "", fmt.Errorf("is there already and is no checkpoint: it has no %s beside %s; not overwritten", configName, modelName)
	}
	return filepath.EvalSymlinks(dir)
}

func isCheckpoint(dir string) bool {
	there := func(name string) bool {
		info, err := os.Stat(filepath.Join(dir, name))
		return err == nil && info.Mode().IsRegular()
	}
	return there(configName) && (there(modelName) || there(indexName))
}
