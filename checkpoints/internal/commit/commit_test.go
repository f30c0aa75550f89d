package commit

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

// holds fails unless dir holds just these names.
func holds(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if len(got) != len(want) {
		t.Fatalf("%s holds %q, want %q", dir, got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s holds %q, want %q", dir, got, want)
		}
	}
}

func reads(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Fatalf("%s: %q, %v, want %q", path, got, err, want)
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, s := range []string{"first", "second"} {
		if err := File(path, text(s)); err != nil {
			t.Fatal(err)
		}
		reads(t, path, s)
	}
	broken := errors.New("disk full")
	if err := File(path, func(io.Writer) error { return broken }); !errors.Is(err, broken) {
		t.Fatalf("error %v, want %v", err, broken)
	}
	reads(t, path, "second")
	holds(t, dir, "f")
	if err := Put(OS{}, filepath.Join(dir, "g"), text("third")); err != nil {
		t.Fatal(err)
	}
	reads(t, filepath.Join(dir, "g"), "third")
	if err := Put(OS{}, path, text("fourth")); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("over a file: %v, want %v", err, fs.ErrExist)
	}
}

func TestDir(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "d") + "/" // as a user may write it
	fill := func(name string) func(string) error {
		return func(tmp string) error { return Put(OS{}, filepath.Join(tmp, name), text(name)) }
	}
	for _, name := range []string{"first", "second"} {
		if err := Dir(OS{}, path, fill(name)); err != nil {
			t.Fatal(err)
		}
		holds(t, path, name)
		holds(t, dir, "d")
	}
	broken := errors.New("disk full")
	if err := Dir(OS{}, path, func(string) error { return broken }); !errors.Is(err, broken) {
		t.Fatalf("error %v, want %v", err, broken)
	}
	holds(t, path, "second")
	holds(t, dir, "d")
}
