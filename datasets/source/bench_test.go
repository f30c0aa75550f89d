package source

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
)

// BenchmarkRead reads 8,000 texts of 2 kB from each format.
func BenchmarkRead(b *testing.B) {
	var texts []string
	var lines bytes.Buffer
	size := 0
	for i := range 8000 {
		s := strings.Repeat(fmt.Sprintf("text %d, ", i), 2000/(7+len(fmt.Sprint(i))))
		texts = append(texts, s)
		fmt.Fprintf(&lines, "{\"id\": %d, \"text\": %q}\n", i, s)
		size += len(s)
	}
	rows := []arrow.Record{textRows(b, texts...)}
	for name, data := range map[string][]byte{
		"x.jsonl": lines.Bytes(), "x.jsonl.zst": zst(b, lines.Bytes()), "x.arrow": arrowFile(b, rows),
		"zstd.parquet":   parquetFile(b, rows, parquet.WithCompression(compress.Codecs.Zstd)),
		"snappy.parquet": parquetFile(b, rows, parquet.WithCompression(compress.Codecs.Snappy), parquet.WithDictionaryDefault(false)),
	} {
		b.Run(name, func(b *testing.B) {
			f := one(b, Spec{Path: put(b, filepath.Join(b.TempDir(), name), data)})
			b.SetBytes(int64(size))
			for b.Loop() {
				if docs, err := all(f); err != nil || len(docs) != len(texts) {
					b.Fatal(len(docs), err)
				}
			}
		})
	}
}
