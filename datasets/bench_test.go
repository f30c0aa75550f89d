package datasets

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gojet/gojet/datasets/source"
)

func BenchmarkBatch(b *testing.B) {
	c := invent(1, lengths(1, 2000, 10000)...)
	d := &Data{config: config(nil), names: []string{"invented"}, caches: []*cached{{corpus: *c}}}
	if err := d.makeStreams(); err != nil {
		b.Fatal(err)
	}
	for name, s := range map[string]Shape{"256": {Rows: 8, Length: 256}, "4096": {Rows: 4, Length: 4096}} {
		b.Run(name, func(b *testing.B) {
			l, err := d.Train(s)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(s.Rows * s.Length)) // tokens, not bytes
			for step := range b.N {
				if _, err := l.Batch(step); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkEpoch orders a million documents and finds their rows.
func BenchmarkEpoch(b *testing.B) {
	c := invent(1, lengths(1, 1_000_000, 100)...)
	d := &Data{config: config(nil), names: []string{"invented"}, caches: []*cached{{corpus: *c}}}
	if err := d.makeStreams(); err != nil {
		b.Fatal(err)
	}
	l, err := d.Train(Shape{Rows: 8, Length: 2048})
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for epoch := range b.N {
		l.decks[0].newPlan(epoch)
	}
}

// goTree is the source tree of the Go installation.
func goTree(b *testing.B) string {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		b.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(root)), "src")
}

// BenchmarkBuild tokenises Go's source tree. GOJET_TOKENIZER may name another tokenizer than bytes.
func BenchmarkBuild(b *testing.B) {
	c := config(func(c *Config) {
		c.Tokenizer = "bytes"
		if path := os.Getenv("GOJET_TOKENIZER"); path != "" {
			c.Tokenizer = path
		}
		c.Sources = []Source{{Spec: source.Spec{Path: goTree(b), Include: []string{"*.go"}}}}
	})
	for b.Loop() {
		c.Cache = b.TempDir()
		d, err := Open(context.Background(), c, Options{})
		if err != nil {
			b.Fatal(err)
		}
		all, _ := d.Stats()
		b.SetBytes(all.Bytes)
		b.ReportMetric(float64(all.Tokens), "tokens")
		b.ReportMetric(float64(all.Documents), "documents")
		if err := d.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen finds Go's source tree in the cache.
func BenchmarkOpen(b *testing.B) {
	c := config(func(c *Config) {
		c.Tokenizer, c.Cache = "bytes", b.TempDir()
		c.Sources = []Source{{Spec: source.Spec{Path: goTree(b), Include: []string{"*.go"}}}}
	})
	for b.Loop() {
		d, err := Open(context.Background(), c, Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := d.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
