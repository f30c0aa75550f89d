package recipes

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gojet/gojet/datasets/source"
)

// input is a path that the run reads.
type input struct {
	path []string // its key, as parts
	file string
	// fixed is the part of file before a pattern.
	fixed string
	deep  bool // everything below counts
}

// files checks that what is read is there and that the run does not write over it.
func (c *checker) files() {
	var inputs []input
	add := func(file string, path ...string) {
		if file != "" {
			inputs = append(inputs, input{path: path, file: file, fixed: file})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Models)) {
		if dir := c.Models[name].Path; dir != "" {
			add(dir, "models", name, "path")
			c.folder(dir, "models", name, "path")
		}
	}
	if t := c.Data.Tokens; t != nil && t.Path != "" {
		add(t.Path, "data", "tokens", "path")
		c.exists(t.Path, "data", "tokens", "path")
	}
	if t := c.Data.Tokenizer; t != "" && t != bytesTokenizer {
		add(t, "data", "tokenizer")
		c.exists(t, "data", "tokenizer")
	}
	inputs = append(inputs, c.sources()...)
	c.output(inputs)
}

// bytesTokenizer as data.tokenizer is no path.
const bytesTokenizer = "bytes"

// sources finds the files of the data.
func (c *checker) sources() []input {
	var inputs []input
	look := func(s source.Spec, path ...string) {
		if s.Validate() != nil {
			return // reported with the data
		}
		in := input{path: path, file: s.Path, fixed: s.Path}
		info, err := c.disk.stat(s.Path)
		if err == nil {
			in.deep = info.IsDir()
		} else if i := strings.IndexAny(s.Path, "*?["); i >= 0 {
			in.fixed, in.deep = filepath.Dir(s.Path[:i]+"x"), strings.Contains(s.Path, "**")
		}
		inputs = append(inputs, in)
		if err := c.disk.find(s); errors.Is(err, fs.ErrNotExist) {
			c.missing(in.file, path)
		} else if err != nil {
			c.report(path[:len(path)-1], "path is %s: %s", s.Path, strings.TrimPrefix(err.Error(), "source: "))
		}
	}
	if c.Data.Path != "" {
		look(source.Spec{Path: c.Data.Path}, "data", "path")
	}
	for i, s := range c.Data.Sources {
		look(s.Spec, "data", "sources", c.document.Name(i, "data", "sources"), "path")
	}
	return inputs
}

func (c *checker) missing(file string, path []string) {
	last := len(path) - 1
	c.report(path[:last], "%s is %s, which does not exist", path[last], file)
}

func (c *checker) exists(file string, path ...string) os.FileInfo {
	info, err := c.disk.stat(file)
	switch last := len(path) - 1; {
	case errors.Is(err, fs.ErrNotExist):
		c.missing(file, path)
	case err != nil:
		c.report(path[:last], "%s is %s: %v", path[last], file, err)
	}
	return info
}

// folder reads the configuration of a model on disk.
func (c *checker) folder(dir string, path ...string) {
	info := c.exists(dir, path...)
	switch last := len(path) - 1; {
	case info == nil:
	case !info.IsDir():
		c.report(path[:last], "%s is %s, a file, want the folder of a model in Hugging Face form", path[last], dir)
	default:
		config, err := c.disk.config(dir)
		if err != nil {
			c.report(path[:last], "%s is %s: %s", path[last], dir, strings.TrimPrefix(err.Error(), "checkpoints: "+dir+": "))
			return
		}
		c.configs[path[1]] = config
	}
}

// output checks that the run's folder holds nothing that it reads, nor lies in a folder that it reads whole.
func (c *checker) output(inputs []input) {
	if c.Output == "" {
		return // no name either, which is reported
	}
	if info, err := c.disk.stat(c.Output); err == nil && !info.IsDir() {
		c.report(nil, "output is %s, a file, want a folder", c.Output)
		return
	}
	out := canonical(c.Output)
	for _, in := range inputs {
		key := strings.Join(in.path, ".")
		switch from := canonical(in.fixed); {
		case out == from:
			c.report(nil, "output is %s, equal to %s, want a folder of its own", c.Output, key)
		case within(from, out):
			c.report(nil, "output is %s, which holds %s, want a folder of its own", c.Output, key)
		case in.deep && within(out, from):
			c.report(nil, "output is %s, inside %s, %s, and would be read with it, want a folder outside", c.Output, key, in.file)
		default:
			continue
		}
		return // one says enough
	}
}

// canonical is the absolute path without links, as far as it exists.
func canonical(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return filepath.Clean(path)
	}
	rest := ""
	for dir := abs; ; dir = filepath.Dir(dir) {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.Join(real, rest)
		}
		if dir == filepath.Dir(dir) {
			return abs
		}
		rest = filepath.Join(filepath.Base(dir), rest)
	}
}

func within(path, folder string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && rel != "." && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}
