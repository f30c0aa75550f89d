package rooms

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/gojet/gojet"

// rooms lists what each room may import of the others; a room may always import itself. A folder within a room
// that is listed on its own counts as a room.
var rooms = map[string][]string{
	"bf16":                    {},
	"kernels":                 {"bf16", "kernels/device"},
	"kernels/device":          {"bf16"},
	"autograd":                {"kernels", "kernels/device", "bf16"},
	"layers":                  {"autograd", "kernels", "kernels/device", "checkpoints", "bf16"},
	"datasets":                {"checkpoints/safetensors", "bf16", "internal"}, // tokens come in that format
	"checkpoints":             {"checkpoints/safetensors", "bf16", "internal"},
	"checkpoints/safetensors": {"checkpoints", "bf16"}, // the file format alone; of its own room only what is internal
	"train":                   {"layers", "autograd", "kernels", "kernels/device", "datasets", "checkpoints", "checkpoints/safetensors", "bf16", "internal"},
	"infer":                   {"layers", "autograd", "kernels", "kernels/device", "datasets", "checkpoints", "checkpoints/safetensors", "bf16", "internal"},
	"evals":                   {"layers", "autograd", "kernels", "datasets", "checkpoints", "checkpoints/safetensors", "bf16", "internal"},
	"search":                  {"train", "evals", "layers", "autograd", "kernels", "kernels/device", "datasets", "checkpoints", "checkpoints/safetensors", "bf16", "internal"},
	"recipes":                 {"train", "search", "infer", "evals", "layers", "autograd", "kernels", "kernels/device", "datasets", "checkpoints", "checkpoints/safetensors", "internal"},
	"cmd":                     {"recipes", "train", "search", "infer", "evals", "layers", "autograd", "kernels", "kernels/device", "datasets", "checkpoints", "checkpoints/safetensors", "bf16", "internal"},
	"internal":                {"bf16", "checkpoints", "checkpoints/safetensors"},
	"examples":                {"infer", "layers", "autograd", "kernels", "datasets", "checkpoints", "checkpoints/safetensors", "bf16"},
	"dev":                     {"infer", "layers", "autograd", "kernels", "datasets", "checkpoints", "checkpoints/safetensors", "bf16"},
}

// forTests may be imported by the test files of every room.
var forTests = []string{"internal", "checkpoints/safetensors"}

// guests are imports from outside that only some rooms may have. The longest prefix counts.
var guests = map[string][]string{
	"C":                {"kernels/device"},
	"gorgonia.org":     {"autograd", "layers"},
	"gorgonia.org/cu":  {"kernels/device"},
	"github.com/spf13": {"cmd", "dev"},
}

// longest returns the key of m that is the longest prefix of p, in whole path elements.
func longest(m map[string][]string, p string) (string, bool) {
	for ; p != "." && p != "/"; p = path.Dir(p) {
		if _, ok := m[p]; ok {
			return p, true
		}
	}
	return "", false
}

// judge says what is wrong with one import by a package in folder, "" if nothing.
func judge(folder, imported string, isTest bool) string {
	room, ok := longest(rooms, folder)
	if !ok {
		return fmt.Sprintf("folder %s belongs to no room: add it to the table", folder)
	}
	inside, ours := strings.CutPrefix(imported, module+"/")
	if !ours {
		if guest, ok := longest(guests, imported); ok && !slices.Contains(guests[guest], room) {
			return fmt.Sprintf("%s may not import %s, only %v may", room, imported, guests[guest])
		}
		return ""
	}
	to, ok := longest(rooms, inside)
	if !ok {
		return fmt.Sprintf("import %s belongs to no room: add it to the table", imported)
	}
	if to == room || slices.Contains(rooms[room], to) {
		return ""
	}
	if isTest && slices.ContainsFunc(forTests, func(p string) bool { return inside == p || strings.HasPrefix(inside, p+"/") }) {
		return ""
	}
	return fmt.Sprintf("%s may not import %s, only %v", room, inside, rooms[room])
}

// TestImports reads the imports of every Go file, whatever its build constraints. Nested modules are houses of
// their own.
func TestImports(t *testing.T) {
	root := filepath.Join("..", "..")
	files := 0
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, nested := os.Stat(filepath.Join(p, "go.mod"))
			hidden := strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_") || d.Name() == "testdata"
			if p != root && (nested == nil || hidden) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		folder, err := filepath.Rel(root, filepath.Dir(p))
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		files++
		for _, spec := range f.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if wrong := judge(filepath.ToSlash(folder), imported, strings.HasSuffix(p, "_test.go")); wrong != "" {
				t.Errorf("%s: %s", p, wrong)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 2 {
		t.Errorf("found %d Go files, want the whole tree", files)
	}
}

func TestJudge(t *testing.T) {
	const m = module + "/"
	for _, tc := range []struct {
		folder, imported string
		test, ok         bool
	}{
		{"kernels/rope", m + "kernels/cpu", false, true},
		{"kernels/rope", m + "bf16", false, true},
		{"kernels/rope", "math", false, true},
		{"kernels/rope", m + "autograd", false, false},
		{"kernels/rope", m + "checkpoints/safetensors", false, false},
		{"kernels/rope", m + "checkpoints/safetensors", true, true},
		{"kernels/rope", m + "checkpoints", true, false},
		{"kernels/rope", m + "internal/fixtures", true, true},
		{"kernels/rope", m + "internal/fixtures", false, false},
		{"kernels/rope", "gorgonia.org/tensor", true, false},
		{"kernels/rope", "C", false, false},
		{"kernels/device", "C", false, true},
		{"kernels/device", "gorgonia.org/cu", false, true},
		{"autograd", "gorgonia.org/gorgonia", false, true},
		{"autograd", "gorgonia.org/cu", false, false},
		{"autograd", m + "layers", false, false},
		{"layers", m + "autograd", false, true},
		{"layers", m + "train", false, false},
		{"train", m + "infer/sampling", true, false},
		{"train", "gorgonia.org/gorgonia", false, false},
		{"evals", m + "train", false, false},
		{"search", m + "train", false, true},
		{"search", m + "infer", false, false},
		{"datasets/tokenizer", m + "checkpoints", false, false},
		{"checkpoints", m + "checkpoints/safetensors", false, true},
		{"infer", m + "cmd/gojet", false, false},
		{"infer", "github.com/spf13/cobra", false, false},
		{"cmd/gojet", m + "infer", false, true},
		{"cmd/gojet", "github.com/spf13/cobra", false, true},
		{"examples/jetblock", m + "layers", false, true},
		{"examples/jetblock", "gorgonia.org/gorgonia", false, false},
		{"layers", m + "examples/jetblock", false, false},
		{"dev/export", m + "infer", false, true},
		{"dev/export", "github.com/spf13/pflag", false, true},
		{"infer", m + "dev/export", false, false},
		{"lounge", "fmt", false, false},
		{"infer", m + "lounge", false, false},
	} {
		if wrong := judge(tc.folder, tc.imported, tc.test); (wrong == "") != tc.ok {
			t.Errorf("%s imports %s (test file: %v): %q", tc.folder, tc.imported, tc.test, wrong)
		}
	}
}
