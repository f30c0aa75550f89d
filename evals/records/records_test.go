package records

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
)

// write makes a file below dir.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	p := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

// writeParquet makes a file of the schema from rows in Arrow's JSON.
func writeParquet(t *testing.T, path string, schema *arrow.Schema, rows string, how ...parquet.WriterProperty) {
	t.Helper()
	record, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(rows))
	if err != nil {
		t.Fatal(err)
	}
	defer record.Release()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := pqarrow.NewFileWriter(schema, f, parquet.NewWriterProperties(append(how, parquet.WithMaxRowGroupLength(2))...), pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Write(record), w.Close()); err != nil {
		t.Fatal(err)
	}
}

// The nested columns of ARC's schema, nulls, and more than one row group.
func TestParquet(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.BinaryTypes.String},
		{Name: "choices", Type: arrow.StructOf(
			arrow.Field{Name: "text", Type: arrow.ListOf(arrow.BinaryTypes.String)},
			arrow.Field{Name: "label", Type: arrow.ListOf(arrow.BinaryTypes.String)})},
		{Name: "answer", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "score", Type: arrow.PrimitiveTypes.Float32},
		{Name: "label", Type: arrow.FixedWidthTypes.Boolean},
	}, nil)
	p := filepath.Join(t.TempDir(), "test-00000-of-00001.parquet")
	rows := `[
		{"id": "a", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answer": 1, "score": 0.5, "label": true},
		{"id": "ü", "choices": {"text": [], "label": []}, "answer": null, "score": 1, "label": false},
		{"id": "c", "choices": {"text": ["z"], "label": ["1"]}, "answer": 3, "score": -2, "label": true}]`
	want := []Record{
		{"id": "a", "choices": Record{"text": []any{"x", "y"}, "label": []any{"A", "B"}}, "answer": 1, "score": 0.5, "label": true},
		{"id": "ü", "choices": Record{"text": []any{}, "label": []any{}}, "answer": nil, "score": 1.0, "label": false},
		{"id": "c", "choices": Record{"text": []any{"z"}, "label": []any{"1"}}, "answer": 3, "score": -2.0, "label": true},
	}
	for name, how := range map[string][]parquet.WriterProperty{
		"plain": {parquet.WithDictionaryDefault(false)}, "dictionaries": {parquet.WithDictionaryDefault(true)},
		"second version": {parquet.WithDataPageVersion(parquet.DataPageV2), parquet.WithVersion(parquet.V2_LATEST), parquet.WithCompression(compress.Codecs.Zstd)},
		"runs and deltas": {
			parquet.WithDictionaryDefault(false), parquet.WithEncodingFor("label", parquet.Encodings.RLE),
			parquet.WithEncodingFor("answer", parquet.Encodings.DeltaBinaryPacked), parquet.WithEncodingFor("id", parquet.Encodings.DeltaByteArray),
		},
	} {
		writeParquet(t, p, schema, rows, how...)
		got, err := Read(context.Background(), []string{p})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, %v\nwant %v", name, got, err, want)
		}
	}
	whole, err := os.ReadFile(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 3, 11, 40, len(whole) / 2, len(whole) - 1} {
		cut := write(t, t.TempDir(), "cut.parquet", string(whole[:n]))
		if _, err := Read(context.Background(), []string{cut}); err == nil || !strings.Contains(err.Error(), cut) {
			t.Errorf("%d of %d bytes: error %v, want one that names the file", n, len(whole), err)
		}
	}
}

func TestText(t *testing.T) {
	dir := t.TempDir()
	same := []Record{{"a": 1, "b": "x"}, {"a": 2.5, "b": nil}}
	for name, text := range map[string]string{
		"lines.jsonl":  "\xef\xbb\xbf{\"a\": 1, \"b\": \"x\"}\r\n\n {\"a\": 2.5}",
		"lines.json":   "{\"a\": 1, \"b\": \"x\"}\n{\"a\": 2.5, \"b\": null}\n",
		"array.json":   `[{"a": 1, "b": "x"}, {"a": 2.5}]`,
		"wrapped.json": `{"canary": "no", "examples": [{"a": 1, "b": "x"}, {"a": 2.5}]}`,
	} {
		got, err := Read(context.Background(), []string{write(t, dir, name, text)})
		if err != nil || !reflect.DeepEqual(got, same) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	got, err := Read(context.Background(), []string{write(t, dir, "t.csv", "\ufeffQuestion,Correct Answer\n\"Why, \"\"so\"\"?\nWell\",\n2,b\n")})
	want := []Record{{"Question": "Why, \"so\"?\nWell", "Correct Answer": nil}, {"Question": "2", "Correct Answer": "b"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("csv: got %v, %v", got, err)
	}
	for text, message := range map[string]string{
		"":                       "no records",
		"{\"a\": 1}\n[2]":        "line 2: found an array, want an object",
		"{\"a\": 1}\n{\"a\": ":   "line 2: ends within",
		"{\"a\": 1, \"a\": 2}":   `the key "a" comes twice`,
		"{\"a\": \"\xff\"}":      "is not UTF-8",
		"{\"a\": 1e999}":         "out of range",
		"{\"a\": 1} {\"a\": 2}":  "line 1: found more",
		strings.Repeat("[", 100): "nested deeper than 64",
	} {
		_, err := Read(context.Background(), []string{write(t, dir, "bad.jsonl", text)})
		if err == nil || !strings.Contains(err.Error(), message) || !strings.Contains(err.Error(), "bad.jsonl") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40q: error %v, want one line with %q", text, err, message)
		}
	}
}

func TestFind(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{
		"allenai/ai2_arc/ARC-Easy/test-00000-of-00001.parquet", "allenai/ai2_arc/ARC-Easy/train-00001-of-00002.parquet",
		"allenai/ai2_arc/ARC-Easy/train-00000-of-00002.parquet", "allenai/ai2_arc/ARC-Challenge/test/0000.parquet",
		"mmlu/anatomy/dev-00000-of-00001.parquet", "mmlu/anatomy/validation-00000-of-00001.parquet",
		"datasets--Rowan--hellaswag/snapshots/0/data/validation-00000-of-00001.parquet",
		"o/lines/train.jsonl", "o/lines/dev.jsonl", "o/gpqa/gpqa_main.csv",
	} {
		write(t, root, name, "")
	}
	for _, tc := range []struct {
		Split
		want string
	}{
		{Split{"allenai/ai2_arc", "ARC-Easy", "test", nil}, "allenai/ai2_arc/ARC-Easy/test-00000-of-00001.parquet"},
		{Split{"allenai/ai2_arc", "ARC-Easy", "train", nil}, "allenai/ai2_arc/ARC-Easy/train-00000-of-00002.parquet allenai/ai2_arc/ARC-Easy/train-00001-of-00002.parquet"},
		{Split{"allenai/ai2_arc", "ARC-Challenge", "test", nil}, "allenai/ai2_arc/ARC-Challenge/test/0000.parquet"},
		{Split{"cais/mmlu", "anatomy", "dev", nil}, "mmlu/anatomy/dev-00000-of-00001.parquet"},
		{Split{"cais/mmlu", "anatomy", "validation", nil}, "mmlu/anatomy/validation-00000-of-00001.parquet"},
		{Split{"Rowan/hellaswag", "", "validation", nil}, "datasets--Rowan--hellaswag/snapshots/0/data/validation-00000-of-00001.parquet"},
		{Split{"o/lines", "default", "validation", nil}, "o/lines/dev.jsonl"},
		{Split{"o/gpqa", "gpqa_main", "train", []string{"none/*.parquet", "gpqa_main.csv", "gpqa_*.csv"}}, "o/gpqa/gpqa_main.csv"},
	} {
		got, err := Find(root, tc.Split)
		for i := range got {
			rel, err := filepath.Rel(root, got[i])
			if err != nil {
				t.Fatal(err)
			}
			got[i] = filepath.ToSlash(rel)
		}
		if err != nil || strings.Join(got, " ") != tc.want {
			t.Errorf("%+v: got %v, %v, want %s", tc.Split, got, err, tc.want)
		}
	}
	for _, tc := range []struct {
		Split
		want []string
	}{
		{Split{"allenai/ai2_arc", "ARC-Easy", "validation", nil}, []string{"allenai/ai2_arc", "configuration ARC-Easy, split validation", "ARC-Easy/validation-*.parquet"}},
		{Split{"baber/piqa", "", "validation", nil}, []string{"baber/piqa", "split validation", filepath.Join(root, "baber", "piqa"), "datasets--baber--piqa"}},
		{Split{"o/lines", "", "test", []string{"../x"}}, []string{"leaves the folder"}},
	} {
		_, err := Find(root, tc.Split)
		for _, want := range tc.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: error %v, want %q in it", tc.Split, err, want)
			}
		}
	}
}

// No text makes a reader panic, and what is read is made of the values that records have.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a": [1, 2.5, null, {"b": true}]}`, `[{"a": 1}]`, "{\"a\":1}\n{\"b\":2}", `{"a": "\ud800"}`, "[[[["} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := document(context.Background(), data)
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("error of several lines: %q", err)
		}
		for _, r := range all {
			check(t, r)
		}
	})
}

func FuzzCSV(f *testing.F) {
	f.Add([]byte("a,b\n1,\"x\ny\"\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, _ := table(context.Background(), strings.NewReader(string(data)))
		for _, r := range all {
			check(t, r)
		}
	})
}

func check(t *testing.T, v any) {
	switch v := v.(type) {
	case nil, bool, int, float64, string:
	case []any:
		for _, e := range v {
			check(t, e)
		}
	case Record:
		for _, e := range v {
			check(t, e)
		}
	default:
		t.Errorf("value of type %T", v)
	}
}

// A damaged file is an error, never a panic.
func FuzzParquet(f *testing.F) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "q", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "c", Type: arrow.StructOf(arrow.Field{Name: "t", Type: arrow.ListOf(arrow.BinaryTypes.String)})},
		{Name: "n", Type: arrow.PrimitiveTypes.Int64},
	}, nil)
	p := filepath.Join(f.TempDir(), "a.parquet")
	record, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(`[{"q": "a", "c": {"t": ["x", "y"]}, "n": 1}, {"q": null, "c": {"t": []}, "n": 2}]`))
	if err != nil {
		f.Fatal(err)
	}
	out, err := os.Create(p)
	if err != nil {
		f.Fatal(err)
	}
	w, err := pqarrow.NewFileWriter(schema, out, parquet.NewWriterProperties(), pqarrow.DefaultWriterProps())
	if err != nil {
		f.Fatal(err)
	}
	if err := errors.Join(w.Write(record), w.Close()); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(p)
	if err != nil {
		f.Fatal(err)
	}
	for at := range len(whole) {
		f.Add(uint(at), byte(0xff))
	}
	f.Fuzz(func(t *testing.T, at uint, with byte) {
		bad := append([]byte{}, whole...)
		bad[at%uint(len(bad))] ^= with
		p := filepath.Join(t.TempDir(), "bad.parquet")
		if err := os.WriteFile(p, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		all, err := readParquet(context.Background(), p)
		if err == nil {
			for _, r := range all {
				check(t, r)
			}
		}
	})
}
