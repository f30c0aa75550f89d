package checkpoints

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gojet/gojet/checkpoints/safetensors"
)

// Checkpoint is an open model folder. The weights are mapped, not read.
type Checkpoint struct {
	Config *Config

	dir   string
	files []*safetensors.File
	in    map[string]*safetensors.File // by tensor
	names []string
}

// Open opens a folder with config.json and either model.safetensors or several files and their index,
// and holds index and files to each other.
func Open(dir string) (*Checkpoint, error) {
	c := &Checkpoint{dir: dir, in: map[string]*safetensors.File{}}
	err := c.open()
	if err != nil {
		return nil, fmt.Errorf("checkpoints: %s: %w", dir, errors.Join(err, c.Close()))
	}
	return c, nil
}

func (c *Checkpoint) open() (err error) {
	if c.Config, err = readConfig(c.dir); err != nil {
		return err
	}
	data, err := readSmall(c.dir, indexName, maxIndex)
	if errors.Is(err, fs.ErrNotExist) {
		return c.openSingle()
	}
	if err != nil {
		return err
	}
	x, err := parseIndex(data)
	if err == nil {
		err = c.openShards(x)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", indexName, err)
	}
	return nil
}

func (c *Checkpoint) openSingle() error {
	if shards, err := filepath.Glob(filepath.Join(escape(c.dir), shardGlob)); err != nil || len(shards) > 0 {
		return errors.Join(err, fmt.Errorf("%s is missing, which says what %d files of the form %s hold", indexName, len(shards), shardGlob))
	}
	_, err := c.openFile(modelName)
	return err
}

// openFile adds a file's tensors.
func (c *Checkpoint) openFile(name string) (*safetensors.File, error) {
	path, err := inside(c.dir, name)
	if err != nil {
		return nil, err
	}
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	c.files = append(c.files, f)
	for _, tensor := range f.Names() {
		c.in[tensor] = f
		c.names = append(c.names, tensor)
	}
	return f, nil
}

func (c *Checkpoint) openShards(x *index) error {
	named := x.shards()
	present, err := filepath.Glob(filepath.Join(escape(c.dir), shardGlob))
	if err != nil {
		return err
	}
	if _, err := os.Lstat(filepath.Join(c.dir, modelName)); err == nil {
		present = append(present, modelName)
	}
	files := map[string]*safetensors.File{}
	for _, shard := range named {
		if _, err := os.Stat(filepath.Join(c.dir, shard)); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("file %s is missing, want %d files: %s", shard, len(named), some(named))
		}
		if files[shard], err = c.openFile(shard); err != nil {
			return err
		}
	}
	for _, path := range present {
		if name := filepath.Base(path); !slices.Contains(named, name) {
			return fmt.Errorf("does not name %s, which is in the folder: the index is of another save", name)
		}
	}
	return x.check(files)
}

// inside returns the path of a file of dir, unless it is a link that leads elsewhere. The cache of the
// Hugging Face hub is known: its snapshots/REVISION holds links into blobs beside snapshots.
func inside(dir, name string) (string, error) {
	path := filepath.Join(dir, name)
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	home, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	if home, err = filepath.Abs(home); err != nil {
		return "", err
	}
	if target, err = filepath.Abs(target); err != nil {
		return "", err
	}
	snapshots := filepath.Dir(home)
	blobs := filepath.Join(filepath.Dir(snapshots), "blobs")
	switch in := filepath.Dir(target); {
	case in == home || strings.HasPrefix(in, home+string(filepath.Separator)):
		return path, nil
	case filepath.Base(snapshots) == "snapshots" && in == blobs:
		return path, nil
	}
	return "", fmt.Errorf("%s is a link to %s, want a file inside the folder", name, target)
}

// escape makes dir literal in a pattern.
func escape(dir string) string {
	if filepath.Separator == '\\' {
		return dir // where patterns have no escapes
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// Dir is the folder's path.
func (c *Checkpoint) Dir() string { return c.dir }

// Names lists the tensors in the order of the files and of their data.
func (c *Checkpoint) Names() []string { return slices.Clone(c.names) }

// Tensor finds a tensor by name. Its data is valid until Close.
func (c *Checkpoint) Tensor(name string) (safetensors.Tensor, bool) {
	f, ok := c.in[name]
	if !ok {
		return safetensors.Tensor{}, false
	}
	return f.Tensor(name)
}

// Close gives the weights back; no tensor may be used after.
func (c *Checkpoint) Close() error {
	var errs []error
	for _, f := range c.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// Spec is a tensor that a model has.
type Spec struct {
	Name  string
	Shape []int
}

// head is the output projection, the embedding itself where embeddings are tied.
const head = "lm_head.weight"

// Match reports, all at once, which tensors of want are missing, have another shape or no floating-point
// elements, and which others there are. Where embeddings are tied, lm_head.weight may be there or not.
func (c *Checkpoint) Match(want []Spec) error {
	unknown := maps.Clone(c.in)
	if c.Config.TieEmbeddings {
		delete(unknown, head)
	}
	var missing, misfit []string
	for _, w := range want {
		delete(unknown, w.Name)
		t, ok := c.Tensor(w.Name)
		switch {
		case !ok && w.Name == head && c.Config.TieEmbeddings:
		case !ok:
			missing = append(missing, w.Name)
		case !slices.Equal(t.Shape, w.Shape):
			misfit = append(misfit, fmt.Sprintf("%s is %v, want %v", w.Name, t.Shape, w.Shape))
		case !isWeight(t.DType):
			misfit = append(misfit, fmt.Sprintf("%s is of type %v, want F32, BF16, F16 or F64", w.Name, t.DType))
		}
	}
	if len(missing)+len(misfit)+len(unknown) == 0 {
		return nil
	}
	var parts []string
	for _, p := range []struct {
		what string
		list []string
	}{{"missing", missing}, {"misshapen", misfit}, {"unknown", slices.Sorted(maps.Keys(unknown))}} {
		if len(p.list) > 0 {
			parts = append(parts, fmt.Sprintf("%d %s (%s)", len(p.list), p.what, some(p.list)))
		}
	}
	return fmt.Errorf("checkpoints: %s: the tensors do not fit the %s model of config.json: %s", c.dir, c.Config.ModelType, strings.Join(parts, "; "))
}

// some lists the first names.
func some(names []string) string {
	const most = 12
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
