package source

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// put writes a file of a test.
func put(t testing.TB, name string, data []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// one finds the only file of a specification.
func one(t testing.TB, s Spec) File {
	t.Helper()
	files, err := Open(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 1 {
		t.Fatalf("found %d files, want 1", len(files))
	}
	return files[0]
}

// all reads every document of a file.
func all(f File) ([]Document, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	var docs []Document
	for {
		d, err := r.Next()
		if err == io.EOF {
			return docs, r.Close()
		}
		if err != nil {
			return docs, errors.Join(err, r.Close())
		}
		docs = append(docs, d)
	}
}

// texts reads every text of a file that must be good.
func textsOf(t testing.TB, s Spec) []string {
	t.Helper()
	docs, err := all(one(t, s))
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for i, d := range docs {
		if d.Index != i || d.Path == "" {
			t.Errorf("document %d is number %d of %q", i, d.Index, d.Path)
		}
		texts = append(texts, d.Text)
	}
	return texts
}

// refused reads a file that must be refused with one line that names it and contains all of want, without much memory.
func refused(t testing.TB, s Spec, want ...string) {
	t.Helper()
	f := one(t, s)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	docs, err := all(f)
	runtime.ReadMemStats(&after)
	if err == nil {
		t.Errorf("accepted %d documents, want an error with %q", len(docs), want)
		return
	}
	for _, w := range append(want, s.Path) {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q, want %q in it", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") || len(err.Error()) > 600 {
		t.Errorf("error %q is no clear line", err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
		t.Errorf("allocated %d bytes, want at most 16 MiB", used)
	}
}
