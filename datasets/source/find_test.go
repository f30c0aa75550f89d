package source

import (
	"context"
	"go/build"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tree makes a folder with a bit of everything.
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.txt": "A", "b.md": "B", "c.go": "package c", "noext": "N", "z.jsonl": `{"text": "Z"}`, "z.jsonl.gz": string(zip(t, []byte(`{"text": "G"}`))),
		"sub/a.txt": "SA", "sub/c.go": "package sub", "sub-/x.txt": "X", "sub/deep/d.go": "package deep", "sub/deep/c_test.go": "package deep",
		".git/x.txt": "hidden", ".hidden.txt": "hidden", "sub/.x/y.go": "hidden", "p.parquet": "PAR1", "f.feather": "", "bin.go": "a\x00b", "latin.go": "caf\xe9",
	} {
		put(t, filepath.Join(dir, name), []byte(text))
	}
	return dir
}

func TestFind(t *testing.T) {
	dir := tree(t)
	for _, tc := range []struct {
		name string
		spec Spec
		want string
	}{
		{"directory", Spec{Path: dir}, "a.txt b.md f.feather p.parquet sub-/x.txt sub/a.txt z.jsonl z.jsonl.gz"},
		{"directory of texts", Spec{Path: dir, Format: Text, Exclude: []string{"*.jsonl*", "*.parquet", "*.feather"}}, "a.txt b.md bin.go c.go latin.go noext sub-/x.txt sub/a.txt sub/c.go sub/deep/c_test.go sub/deep/d.go"},
		{"directory of lines", Spec{Path: dir, Format: JSONL}, "z.jsonl z.jsonl.gz"},
		{"include", Spec{Path: dir, Include: []string{"**/*.go"}}, "bin.go c.go latin.go sub/c.go sub/deep/c_test.go sub/deep/d.go"},
		{"include by name", Spec{Path: dir, Include: []string{"*.go", "noext"}, Exclude: []string{"*_test.go", "bin.go", "sub/c.*"}}, "c.go latin.go noext sub/deep/d.go"},
		{"exclude folder", Spec{Path: dir, Include: []string{"*.go"}, Exclude: []string{"sub/**"}}, "bin.go c.go latin.go"},
		{"glob", Spec{Path: dir + "/*.txt"}, "a.txt"},
		{"glob in folders", Spec{Path: dir + "/sub*/*.txt"}, "sub-/x.txt sub/a.txt"},
		{"glob any depth", Spec{Path: dir + "/**/*.go"}, "bin.go c.go latin.go sub/c.go sub/deep/c_test.go sub/deep/d.go"},
		{"glob below", Spec{Path: dir + "/sub/**/d.go"}, "deep/d.go"},
		{"glob class", Spec{Path: dir + "/[ab].*"}, "a.txt b.md"},
		{"glob with format", Spec{Path: dir + "/c.g?", Format: JSONL}, "c.go"},
		{"file", Spec{Path: dir + "/a.txt"}, "a.txt"},
		{"file with format", Spec{Path: dir + "/noext", Format: Text}, "noext"},
	} {
		for range 2 {
			files, err := Open(context.Background(), tc.spec)
			var names []string
			for _, f := range files {
				names = append(names, f.Name())
				if info, err := os.Stat(f.Path); err != nil || info.Size() != f.Size {
					t.Errorf("%s: %s of %d bytes: %v", tc.name, f.Path, f.Size, err)
				}
			}
			if found := strings.Join(names, " "); err != nil || found != tc.want {
				t.Errorf("%s: found %q, %v, want %q", tc.name, found, err, tc.want)
			}
		}
	}
}

func TestFindRefused(t *testing.T) {
	dir := tree(t)
	for _, tc := range []struct {
		spec Spec
		want string
	}{
		{Spec{}, "path is empty"},
		{Spec{Path: dir + "/nothing"}, "no such file"},
		{Spec{Path: dir + "/*.nothing"}, "no file of " + dir + "/*.nothing"},
		{Spec{Path: dir + "/nothing/*.txt"}, "no such file"},
		{Spec{Path: dir, Include: []string{"*.py"}}, `no file of ` + dir + ` is a text, .jsonl, .parquet or .arrow file and one of ["*.py"]`},
		{Spec{Path: dir, Format: Arrow, Exclude: []string{"*"}}, `is of the format arrow and none of ["*"]`},
		{Spec{Path: dir, Format: "csv"}, `format "csv", want one of text, jsonl, parquet, arrow`},
		{Spec{Path: dir + "/noext"}, `the extension "" says no format`},
		{Spec{Path: dir + "/c.go"}, `the extension ".go" says no format`},
		{Spec{Path: dir, Text: "a", Messages: "b"}, "want only one of them"},
		{Spec{Path: dir, MaxBytes: -1}, "max_bytes -1"},
		{Spec{Path: dir, Include: []string{"a["}}, `pattern "a["`},
		{Spec{Path: dir, Exclude: []string{"a**/b"}}, "must be alone between slashes"},
		{Spec{Path: dir + "/[*.txt"}, "has a bracket"},
		{Spec{Path: os.DevNull}, "neither a file nor a directory"},
	} {
		files, err := Open(context.Background(), tc.spec)
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: found %d files, %v, want %q", tc.spec, len(files), err, tc.want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Open(ctx, Spec{Path: dir}); err == nil || !strings.Contains(err.Error(), context.Canceled.Error()) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestLinks(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	put(t, filepath.Join(other, "x.txt"), []byte("X"))
	for from, to := range map[string]string{"x.txt": "x.txt", "folder": ".", "loop": "."} {
		target := filepath.Join(other, to)
		if from == "loop" {
			target = dir
		}
		if err := os.Symlink(target, filepath.Join(dir, from)); err != nil {
			t.Skip(err)
		}
	}
	if found := textsOf(t, Spec{Path: dir}); !slices.Equal(found, []string{"X"}) {
		t.Errorf("found %q, want the linked file once", found)
	}
	if found := textsOf(t, Spec{Path: filepath.Join(dir, "folder")}); !slices.Equal(found, []string{"X"}) {
		t.Errorf("found %q below a linked folder", found)
	}
}

func TestTexts(t *testing.T) {
	dir := tree(t)
	files, err := Open(context.Background(), Spec{Path: dir, Include: []string{"*.go"}})
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, f := range files {
		docs, err := all(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range docs {
			found = append(found, d.Text)
		}
	}
	// bin.go and latin.go are no texts.
	if want := []string{"package c", "package sub", "package deep", "package deep"}; !slices.Equal(found, want) {
		t.Errorf("found %q, want %q", found, want)
	}
	refused(t, Spec{Path: filepath.Join(dir, "bin.go"), Format: Text}, "is binary: byte 0")
	refused(t, Spec{Path: filepath.Join(dir, "latin.go"), Format: Text}, "byte 3: found 0xe9, want UTF-8")
	refused(t, Spec{Path: put(t, filepath.Join(dir, "long.txt"), make9(100)), MaxBytes: 99}, "is longer than 99 bytes")
	for text, want := range map[string]string{"\ufeffa": "a", "": "", "a\r\n": "a\r\n"} {
		path := put(t, filepath.Join(t.TempDir(), "x.txt"), []byte(text))
		if found := textsOf(t, Spec{Path: path}); !slices.Equal(found, []string{want}) {
			t.Errorf("%q: found %q", text, found)
		}
		path = put(t, filepath.Join(t.TempDir(), "x.txt.gz"), zip(t, []byte(text)))
		if found := textsOf(t, Spec{Path: path}); !slices.Equal(found, []string{want}) {
			t.Errorf("%q in gzip: found %q", text, found)
		}
	}
}

func make9(n int) []byte { return []byte(strings.Repeat("9", n)) }

// TestGoSource reads a part of the Go tree, as a quickstart does.
func TestGoSource(t *testing.T) {
	root := filepath.Join(build.Default.GOROOT, "src", "encoding")
	if _, err := os.Stat(root); err != nil {
		t.Skip("no Go tree: ", err)
	}
	files, err := Open(context.Background(), Spec{Path: root, Include: []string{"**/*.go"}, Exclude: []string{"**/testdata/**"}})
	if err != nil || len(files) < 50 {
		t.Fatalf("found %d files, %v", len(files), err)
	}
	for _, f := range files {
		docs, err := all(f)
		if err != nil || len(docs) != 1 || int64(len(docs[0].Text)) != f.Size {
			t.Errorf("%s: %d documents, %v", f.Path, len(docs), err)
		}
	}
}

func TestKey(t *testing.T) {
	dir := t.TempDir()
	key := func(s Spec) string {
		t.Helper()
		k, err := one(t, s).Key()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	for _, size := range []int{0, 10, keyWhole, keyWhole + 1, 3 * keyWhole} {
		path := put(t, filepath.Join(dir, "x.txt"), make9(size))
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		first := key(Spec{Path: path})
		if again := key(Spec{Path: path}); again != first {
			t.Errorf("%d bytes: keys %s and %s", size, first, again)
		}
		if as := key(Spec{Path: path, Format: JSONL}); as == first {
			t.Errorf("%d bytes: the key is the same for another format", size)
		}
		if as := key(Spec{Path: path, Text: "x"}); as == first {
			t.Errorf("%d bytes: the key is the same for another column", size)
		}
		moved := filepath.Join(dir, "moved.txt")
		if err := os.Rename(path, moved); err != nil {
			t.Fatal(err)
		}
		if k := key(Spec{Path: moved}); k != first {
			t.Errorf("%d bytes: key %s after a move, want %s", size, k, first)
		}
		for _, at := range []int{0, size - 1} {
			if size == 0 {
				continue
			}
			data := make9(size)
			data[at] = '8'
			put(t, moved, data)
			if err := os.Chtimes(moved, info.ModTime(), info.ModTime()); err != nil {
				t.Fatal(err)
			}
			if k := key(Spec{Path: moved}); k == first {
				t.Errorf("%d bytes: the key is the same with byte %d changed", size, at)
			}
		}
	}
}
