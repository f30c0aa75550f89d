package source

import (
	"bytes"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"

	"github.com/gojet/gojet/datasets/chat"
)

// Schemas of the tests' tables.
var (
	textSchema = arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64},
		{Name: "text", Type: arrow.BinaryTypes.String, Nullable: true},
	}, nil)
	messageType = arrow.StructOf(
		arrow.Field{Name: "role", Type: arrow.BinaryTypes.String, Nullable: true},
		arrow.Field{Name: "content", Type: arrow.BinaryTypes.String, Nullable: true},
		arrow.Field{Name: "weight", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
	)
	chatSchema  = arrow.NewSchema([]arrow.Field{{Name: "messages", Type: arrow.ListOf(messageType), Nullable: true}}, nil)
	tokenSchema = arrow.NewSchema([]arrow.Field{{Name: "ids", Type: arrow.ListOf(arrow.PrimitiveTypes.Int32), Nullable: true}}, nil)
	int64Tokens = arrow.NewSchema([]arrow.Field{{Name: "ids", Type: arrow.ListOf(arrow.PrimitiveTypes.Int64), Nullable: true}}, nil)
)

// record makes a table from JSON.
func record(t testing.TB, schema *arrow.Schema, rows string) arrow.Record {
	t.Helper()
	r, _, err := array.RecordFromJSON(memory.NewGoAllocator(), schema, strings.NewReader(rows))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// textRows is a table of texts; null is a null.
func textRows(t testing.TB, texts ...string) arrow.Record {
	t.Helper()
	b := array.NewRecordBuilder(memory.NewGoAllocator(), textSchema)
	for i, s := range texts {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		if s == "null" {
			b.Field(1).AppendNull()
		} else {
			b.Field(1).(*array.StringBuilder).Append(s)
		}
	}
	return b.NewRecord()
}

// parquetFile writes a row group for each record.
func parquetFile(t testing.TB, records []arrow.Record, options ...parquet.WriterProperty) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := pqarrow.NewFileWriter(records[0].Schema(), &out, parquet.NewWriterProperties(options...), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// layouts are the ways in which the writer can lay out the same table.
func layouts() map[string][]parquet.WriterProperty {
	all := map[string][]parquet.WriterProperty{}
	for _, codec := range []compress.Compression{compress.Codecs.Uncompressed, compress.Codecs.Snappy, compress.Codecs.Gzip, compress.Codecs.Zstd, compress.Codecs.Brotli} {
		for _, version := range []parquet.DataPageVersion{parquet.DataPageV1, parquet.DataPageV2} {
			for _, dictionary := range []bool{true, false} {
				all[fmt.Sprint(codec, version, dictionary)] = []parquet.WriterProperty{parquet.WithCompression(codec), parquet.WithDataPageVersion(version),
					parquet.WithDictionaryDefault(dictionary), parquet.WithDataPageSize(1000)}
			}
		}
	}
	for _, e := range []parquet.Encoding{parquet.Encodings.DeltaLengthByteArray, parquet.Encodings.DeltaByteArray} {
		all[e.String()] = []parquet.WriterProperty{parquet.WithDictionaryDefault(false), parquet.WithEncodingFor("text", e), parquet.WithDataPageSize(1000)}
	}
	return all
}

func TestParquet(t *testing.T) {
	var first, second []string
	for i := range 700 {
		first = append(first, fmt.Sprintf("row %d é %s", i%50, strings.Repeat("x", i%40)))
	}
	for i := range 3 {
		second = append(second, []string{"", "last", strings.Repeat("y", 5000)}[i])
	}
	want := append(slices.Clone(first), second...)
	for name, layout := range layouts() {
		data := parquetFile(t, []arrow.Record{textRows(t, first...), textRows(t, second...)}, layout...)
		path := put(t, filepath.Join(t.TempDir(), "x.parquet"), data)
		if found := textsOf(t, Spec{Path: path}); !slices.Equal(found, want) {
			t.Errorf("%s: found %d texts, want %d", name, len(found), len(want))
		}
	}
	empty := put(t, filepath.Join(t.TempDir(), "x.parquet"), parquetFile(t, []arrow.Record{textRows(t)}))
	if found := textsOf(t, Spec{Path: empty}); len(found) != 0 {
		t.Errorf("found %q in an empty table", found)
	}
}

func TestParquetRequired(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "body", Type: arrow.BinaryTypes.String}}, nil)
	rows := record(t, schema, `[{"body": "a"}, {"body": "b"}, {"body": "a"}]`)
	for name, layout := range layouts() {
		if strings.HasPrefix(name, "DELTA") {
			layout = append(layout, parquet.WithEncodingFor("body", parquet.Encodings.DeltaLengthByteArray))
		}
		path := put(t, filepath.Join(t.TempDir(), "x.parquet"), parquetFile(t, []arrow.Record{rows}, layout...))
		if found := textsOf(t, Spec{Path: path, Text: "body"}); !slices.Equal(found, []string{"a", "b", "a"}) {
			t.Errorf("%s: found %q", name, found)
		}
	}
}

const chatRows = `[
	{"messages": [{"role": "user", "content": "Hi", "weight": 1}, {"role": "assistant", "content": "Yo"}]},
	{"messages": []},
	{"messages": [{"role": "user", "content": ""}]}]`

var wantChats = [][]chat.Message{{{Role: "user", Content: "Hi"}, {Role: "assistant", Content: "Yo"}}, nil, {{Role: "user", Content: ""}}}

func TestParquetChats(t *testing.T) {
	long := strings.Repeat(`{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]},`, 600)
	for name, layout := range layouts() {
		records := []arrow.Record{record(t, chatSchema, chatRows), record(t, chatSchema, "["+strings.TrimSuffix(long, ",")+"]")}
		path := put(t, filepath.Join(t.TempDir(), "x.parquet"), parquetFile(t, records, layout...))
		docs, err := all(one(t, Spec{Path: path}))
		if err != nil || len(docs) != 603 {
			t.Errorf("%s: %d documents, %v", name, len(docs), err)
			continue
		}
		for i, d := range docs {
			want := wantChats[0]
			if i < 3 {
				want = wantChats[i]
			}
			if len(d.Messages) != len(want) || len(want) > 0 && !reflect.DeepEqual(d.Messages, want) {
				t.Errorf("%s: document %d is %v, want %v", name, i, d.Messages, want)
			}
		}
	}
}

func TestParquetTokens(t *testing.T) {
	for _, schema := range []*arrow.Schema{tokenSchema, int64Tokens} {
		for _, encoding := range []parquet.Encoding{parquet.Encodings.Plain, parquet.Encodings.DeltaBinaryPacked, parquet.Encodings.RLEDict} {
			rows := record(t, schema, `[{"ids": [1, 2, 3]}, {"ids": []}, {"ids": [2147483647]}]`)
			option := []parquet.WriterProperty{parquet.WithDictionaryDefault(true)}
			if encoding != parquet.Encodings.RLEDict {
				option = []parquet.WriterProperty{parquet.WithDictionaryDefault(false), parquet.WithEncoding(encoding)}
			}
			path := put(t, filepath.Join(t.TempDir(), "x.parquet"), parquetFile(t, []arrow.Record{rows}, option...))
			docs, err := all(one(t, Spec{Path: path, Tokens: "ids"}))
			if err != nil || len(docs) != 3 {
				t.Errorf("%v: %d documents, %v", encoding, len(docs), err)
				continue
			}
			for i, want := range [][]int32{{1, 2, 3}, nil, {2147483647}} {
				if !slices.Equal(docs[i].Tokens, want) {
					t.Errorf("%v: document %d is %v, want %v", encoding, i, docs[i].Tokens, want)
				}
			}
		}
	}
}

// TestParquetSchemas has tables in which the document is not what it should be.
func TestParquetSchemas(t *testing.T) {
	field := func(name string, t arrow.DataType) *arrow.Schema {
		return arrow.NewSchema([]arrow.Field{{Name: name, Type: t, Nullable: true}}, nil)
	}
	roles := arrow.StructOf(arrow.Field{Name: "role", Type: arrow.BinaryTypes.String}, arrow.Field{Name: "content", Type: arrow.PrimitiveTypes.Int64})
	for _, tc := range []struct {
		name   string
		schema *arrow.Schema
		rows   string
		spec   Spec
		want   string
	}{
		{"wrong_column_type", field("text", arrow.PrimitiveTypes.Int64), `[{"text": 1}]`, Spec{}, `column "text": is of type INT64, want a string`},
		{"wrong_column_type list", field("text", arrow.ListOf(arrow.BinaryTypes.String)), `[{"text": ["a"]}]`, Spec{}, `column "text": is a group of columns, want a string`},
		{"missing_column", textSchema, `[{"id": 1, "text": "a"}]`, Spec{Text: "body"}, `has no column "body", found ["id" "text"]`},
		{"missing_column by default", field("body", arrow.BinaryTypes.String), `[{"body": "a"}]`, Spec{}, `has no column "text" or "messages", found ["body"]`},
		{"unexpected_nulls", textSchema, `[{"id": 1, "text": "a"}, {"id": 2, "text": null}]`, Spec{}, `row 1 (row group 0): column "text" is null, want a string`},
		{"null list", chatSchema, `[{"messages": null}]`, Spec{}, `is null, want a list`},
		{"null message", chatSchema, `[{"messages": [{"role": "a", "content": "b"}, null]}]`, Spec{}, `message 1 has no role`},
		{"null role", chatSchema, `[{"messages": [{"role": null, "content": "b"}]}]`, Spec{}, `message 0 has no role`},
		{"null content", chatSchema, `[{"messages": [{"role": "a", "content": null}]}]`, Spec{}, `message 0 has no content`},
		{"messages of strings", field("messages", arrow.ListOf(arrow.BinaryTypes.String)), `[{"messages": ["a"]}]`, Spec{}, `column "messages": is no list of structures, want a list of {role, content}`},
		{"messages no list", field("messages", messageType), `[{"messages": {"role": "a", "content": "b"}}]`, Spec{}, `is within 0 lists, not 1`},
		{"messages of numbers", field("messages", arrow.ListOf(roles)), `[{"messages": [{"role": "a", "content": 1}]}]`, Spec{}, `content: is of type INT64`},
		{"tokens of strings", field("ids", arrow.ListOf(arrow.BinaryTypes.String)), `[{"ids": ["a"]}]`, Spec{Tokens: "ids"}, `is a list of BYTE_ARRAY, want a list of token ids`},
		{"tokens no list", textSchema, `[{"id": 1, "text": "a"}]`, Spec{Tokens: "id"}, `is within 0 lists, not 1`},
		{"tokens null", tokenSchema, `[{"ids": [1, null]}]`, Spec{Tokens: "ids"}, `element 1 is null, want a token id`},
		{"tokens negative", tokenSchema, `[{"ids": [1, -1]}]`, Spec{Tokens: "ids"}, `found -1, want a token id`},
		{"long text", textSchema, `[{"id": 1, "text": "` + strings.Repeat("x", 2000) + `"}]`, Spec{MaxBytes: 1900}, `want at most 1900 (max_bytes)`},
		{"long chat", chatSchema, `[{"messages": [` + strings.Repeat(`{"role": "a", "content": "b"},`, 300) + `{"role": "a", "content": "b"}]}]`, Spec{MaxBytes: 10_000}, `has more than 10000 bytes of messages`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.spec.Path = put(t, filepath.Join(t.TempDir(), "x.parquet"), parquetFile(t, []arrow.Record{record(t, tc.schema, tc.rows)}))
			refused(t, tc.spec, tc.want)
		})
	}
}

// TestSchemaDiffers has files of one folder that disagree: each one that lacks the column is named.
func TestSchemaDiffers(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a.parquet"), parquetFile(t, []arrow.Record{textRows(t, "a")}))
	number := arrow.NewSchema([]arrow.Field{{Name: "text", Type: arrow.PrimitiveTypes.Int64}}, nil)
	put(t, filepath.Join(dir, "b.parquet"), parquetFile(t, []arrow.Record{record(t, number, `[{"text": 1}]`)}))
	put(t, filepath.Join(dir, "c.parquet"), parquetFile(t, []arrow.Record{record(t, chatSchema, chatRows)}))
	files, err := Open(t.Context(), Spec{Path: dir, Text: "text"})
	if err != nil || len(files) != 3 {
		t.Fatalf("found %d files, %v", len(files), err)
	}
	for i, want := range []string{"", `b.parquet: column "text": is of type INT64, want a string`, `c.parquet: has no column "text", found ["messages"]`} {
		_, err := all(files[i])
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", files[i].Path, err, want)
		}
	}
}
