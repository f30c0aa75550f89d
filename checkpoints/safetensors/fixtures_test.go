package safetensors_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gojet/gojet/checkpoints/safetensors"
	"github.com/gojet/gojet/internal/fixtures"
)

// Files that the format's own library wrote come out byte for byte when they are written again.
func TestRewriteFixtures(t *testing.T) {
	paths := fixtures.Glob(t, "*.safetensors")
	for _, pattern := range []string{"*/*.safetensors", "distill/*/*.safetensors"} {
		paths = append(paths, fixtures.Glob(t, pattern)...)
	}
	for _, path := range paths {
		f, err := safetensors.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		var sources []safetensors.Source
		for _, name := range f.Names() {
			x, _ := f.Tensor(name)
			sources = append(sources, x.Source())
		}
		slices.Reverse(sources)
		metadata := f.Metadata()
		if len(metadata) == 0 {
			metadata = nil
		}
		again := filepath.Join(t.TempDir(), "again.safetensors")
		if err := safetensors.Write(again, sources, metadata); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(again)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: written again it differs", path)
		}
	}
}
