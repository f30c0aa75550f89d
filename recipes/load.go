package recipes

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gojet/gojet/recipes/schema"
	"github.com/gojet/gojet/train"
)

//go:embed *.yaml
var embedded embed.FS

const extension = ".yaml"

// Names lists the recipes in the binary.
func Names() []string {
	files, err := fs.Glob(embedded, "*"+extension)
	if err != nil {
		panic(err) // the pattern is a good one
	}
	for i := range files {
		files[i] = strings.TrimSuffix(files[i], extension)
	}
	slices.Sort(files)
	return files
}

// Text returns the text of a recipe in the binary, by its name, or of a file, by its path.
func Text(recipe string) ([]byte, error) {
	if slices.Contains(Names(), recipe) {
		return embedded.ReadFile(recipe + extension)
	}
	info, err := os.Stat(recipe)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		near := ""
		if names := schema.Nearest(recipe, Names()); names != nil {
			near = ", did you mean " + strings.Join(names, " or ") + "?"
		}
		return nil, fmt.Errorf("recipe %s: no file, and no recipe of that name%s (gojet recipes ls lists them)", recipe, near)
	case err != nil:
		return nil, fmt.Errorf("recipe: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("recipe %s: not a regular file", recipe)
	}
	f, err := os.Open(recipe)
	if err != nil {
		return nil, fmt.Errorf("recipe: %w", err)
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, schema.MaxBytes+1))
}

// Load reads a recipe in the binary, by its name, or a file, by its path, and applies overrides such as
// stages.align.steps=10. Validate checks what it says.
func Load(recipe string, overrides ...string) (*Recipe, error) {
	text, err := Text(recipe)
	if err != nil {
		return nil, err
	}
	file := recipe
	if slices.Contains(Names(), recipe) {
		file += extension
	}
	r, err := Parse(file, text, overrides...)
	if err != nil {
		return nil, err
	}
	return r, r.locate()
}

// Parse reads the text of a recipe; file is what problems call it. The override data.path=… stands for all data of the
// recipe.
func Parse(file string, text []byte, overrides ...string) (*Recipe, error) {
	d, err := schema.Parse(file, text)
	if err != nil {
		return nil, err
	}
	for _, o := range overrides {
		if strings.HasPrefix(o, "data.path=") { // other data, instead of what the recipe has, in whatever form
			d.Remove("data", "sources")
			d.Remove("data", "tokens")
		}
		if err := d.Set(o, Recipe{}); err != nil {
			return nil, err
		}
	}
	r := Default()
	r.document = d
	if err := d.Decode(&r, train.DefaultStage(), DefaultSearch(), DefaultBlocks(), DefaultShape()); err != nil {
		return nil, err
	}
	if r.Output == "" && r.Name != "" {
		r.Output = filepath.Join("runs", r.Name)
	}
	if r.Data.Seed == 0 {
		r.Data.Seed = r.Seed
	}
	return &r, nil
}

// goTree as the first part of a data path stands for the source tree of the Go installation, which every machine that
// builds this program has. A folder of that name is written ./goroot.
const goTree = "goroot"

// locate replaces goTree in the data's paths.
func (r *Recipe) locate() error {
	paths := []*string{&r.Data.Path}
	keys := [][]string{{"data", "path"}}
	for i := range r.Data.Sources {
		paths = append(paths, &r.Data.Sources[i].Path)
		keys = append(keys, []string{"data", "sources", r.document.Name(i, "data", "sources"), "path"})
	}
	for i, p := range paths {
		rest, ok := strings.CutPrefix(*p, goTree)
		if !ok || rest != "" && rest[0] != '/' {
			continue
		}
		root, err := goRoot()
		if err != nil {
			message := fmt.Sprintf("is %s, the Go source tree, which is not to be found: %v; want another path", *p, err)
			return schema.Problems{r.document.Explain(*r, keys[i][:len(keys[i])-1], "path "+message)}
		}
		*p = filepath.Join(root, "src") + filepath.FromSlash(rest)
	}
	return nil
}

// goRoot asks the go command.
func goRoot() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	root := strings.TrimSpace(string(out))
	if root == "" {
		return "", errors.New("go env GOROOT is empty")
	}
	return root, nil
}
