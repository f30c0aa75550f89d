package tokenizer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gojet/gojet/internal/fixtures"
)

// samples returns texts of some kinds; English and Go come from this repository.
func samples(b *testing.B) map[string]string {
	b.Helper()
	read := func(pattern string) string {
		var all strings.Builder
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			b.Fatalf("%s: no files, %v", pattern, err)
		}
		for _, p := range paths {
			text, err := os.ReadFile(p)
			if err != nil {
				b.Fatal(err)
			}
			all.Write(text)
		}
		return all.String()
	}
	return map[string]string{
		"go":      read("*.go"),
		"english": read(filepath.Join(fixtures.Dir(b), "..", "*.md")),
		"chinese": strings.Repeat("分词器把文本切成词元，再把词元变成编号。模型只看见编号，不看见文字。", 2000),
		"accents": strings.Repeat("Größere Bäume, ältere Häuser: déjà fermé, e\u0301te\u0301. ", 2000),
		"oneword": strings.Repeat("againstthewall", 1<<16),
	}
}

func BenchmarkEncode(b *testing.B) {
	t := qwen(b)
	for name, text := range samples(b) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			var ids []int32
			for b.Loop() {
				ids = t.AppendEncode(ids[:0], text)
			}
		})
	}
}

// A cold encoder has seen none of the words.
func BenchmarkEncodeCold(b *testing.B) {
	t := qwen(b)
	text := samples(b)["go"]
	e := t.encoder()
	var ids []int32
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		*e.cache = cache{seed: e.cache.seed}
		ids = e.appendWords(ids[:0], text)
	}
}

func BenchmarkDecode(b *testing.B) {
	t := qwen(b)
	text := samples(b)["go"]
	ids := t.Encode(text)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		t.Decode(ids)
	}
}

func BenchmarkScan(b *testing.B) {
	words := scanner{classes: newClasses()}
	for name, text := range samples(b) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				for rest := text; rest != ""; {
					rest = rest[words.word(rest):]
				}
			}
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	qwen(b)
	dir := filepath.Join(fixtures.Dir(b), "..", "tokenizers", "qwen2.5")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(dir); err != nil {
			b.Fatal(err)
		}
	}
}
