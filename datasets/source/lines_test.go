package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/gojet/gojet/datasets/chat"
)

func zip(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zst(t testing.TB, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil, zstd.WithZeroFrames(true))
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}

func TestLines(t *testing.T) {
	two := []string{"a", "b"}
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"plain", "{\"text\": \"a\"}\n{\"text\": \"b\"}\n", two},
		{"no line end", "{\"text\": \"a\"}\n{\"text\": \"b\"}", two},
		{"crlf", "{\"text\": \"a\"}\r\n{\"text\": \"b\"}\r\n", two},
		{"bom", "\ufeff{\"text\": \"a\"}\n{\"text\": \"b\"}\n", two},
		{"blank_line", "\n{\"text\": \"a\"}\n\n \t\r\n{\"text\": \"b\"}\n\n", two},
		{"empty file", "", nil},
		{"empty text", `{"text": ""}`, []string{""}},
		{"other fields", `{"id": 1.5e-3, "text": "a", "meta": {"x": [1, -0, {}, [], "\u00e9"], "y": null}, "z": true}`, []string{"a"}},
		{"escapes", `{"text": "\"\\\/\b\f\n\r\t\u0041\ud83d\ude00é"}`, []string{"\"\\/\b\f\n\r\tA😀é"}},
		{"escaped key", `{"te\u0078t": "a"}`, []string{"a"}},
		{"many keys", "{" + strings.Repeat(" ", 10) + manyKeys(1000) + `"text": "a"}`, []string{"a"}},
		{"text before messages", `{"messages": [{"role": "user", "content": "x"}], "text": "a"}`, []string{"a"}},
		{"long line", `{"text": "` + strings.Repeat("x", 200_000) + `"}`, []string{strings.Repeat("x", 200_000)}},
		{"nested", `{"n": ` + strings.Repeat("[", 60) + strings.Repeat("]", 60) + `, "text": "a"}`, []string{"a"}},
		{"only \\u0000", `{"text": "\u0000"}`, []string{"\x00"}},
	} {
		for extension, pack := range map[string]func(testing.TB, []byte) []byte{
			".jsonl": func(_ testing.TB, b []byte) []byte { return b }, ".jsonl.gz": zip, ".ndjson.zst": zst,
		} {
			path := put(t, filepath.Join(t.TempDir(), "x"+extension), pack(t, []byte(tc.text)))
			if found := textsOf(t, Spec{Path: path}); !slices.Equal(found, tc.want) {
				t.Errorf("%s%s: found %.200q, want %.200q", tc.name, extension, found, tc.want)
			}
		}
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"k%d": %d, `, i, i)
	}
	return b.String()
}

func TestLinesRefused(t *testing.T) {
	const good = "{\"text\": \"a\"}\n"
	for _, tc := range []struct{ name, text, want string }{
		{"truncated_last_line", good + `{"text": "b`, "line 2, column 12: text: the line ends inside a string (the file ends without a line end: it may be cut off)"},
		{"truncated in key", good + `{"te`, "line 2, column 5: the line ends inside a string (the file ends"},
		{"truncated object", good + `{"text": "b"`, "line 2, column 13: found the end of the line, want ',' or '}' (the file ends"},
		{"truncated escape", good + `{"text": "b\u00`, `line 2, column 12: text: "\\u" is no escape`},
		{"broken in the middle", `{"text": "b` + "\n" + good, "line 1, column 12: text: the line ends inside a string"},
		{"NUL_byte", good + "{\"text\": \"a\x00\"}\n", "line 2, column 12: text: a NUL byte in a string"},
		{"NUL outside", good + "\x00\n", "line 2, column 1: found a NUL byte, want an object"},
		{"NUL before", "{\x00\"text\": \"a\"}\n", "line 1, column 2: found a NUL byte"},
		{"control", "{\"text\": \"a\tb\"}\n", "line 1, column 12: text: control character 0x09 in a string, want an escape"},
		{"invalid_utf8", good + good + "{\"text\": \"a\xff\"}\n", "line 3, column 12: found 0xff, want UTF-8"},
		{"invalid UTF-8 elsewhere", "{\"x\": \"\xc3\", \"text\": \"a\"}\n", "line 1, column 8: found 0xc3, want UTF-8"},
		{"lone_surrogate", `{"text": "\ud800"}`, `line 1, column 11: text: lone surrogate \ud800, want a pair`},
		{"lone low surrogate", `{"text": "\udc00x"}`, `lone surrogate \udc00`},
		{"two high surrogates", `{"text": "\ud83d\ud83d"}`, `lone surrogate \ud83d`},
		{"surrogate in skipped", `{"x": "\ud800", "text": "a"}`, `lone surrogate`},
		{"1GB_line", good + `{"text": "` + strings.Repeat("x", 1<<20) + `"}`, "line 2: is longer than 65536 bytes, want at most that (max_bytes)"},
		{"deep_nesting", `{"x": ` + strings.Repeat("[", 30_000), "line 1, column 71: nested deeper than 64"},
		{"deep_nesting objects", `{"x": ` + strings.Repeat(`{"a":`, 10_000), "nested deeper than 64"},
		{"duplicate_key", `{"text": "a", "text": "b"}`, `line 1, column 15: the key "text" comes twice`},
		{"duplicate escaped", `{"text": "a", "te\u0078t": "b"}`, `the key "text" comes twice`},
		{"duplicate inside", `{"text": "a", "x": {"y": 1, "y": 2}}`, `column 29: the key "y" comes twice`},
		{"duplicate among many", "{" + manyKeys(100) + `"k3": 1, "text": "a"}`, `the key "k3" comes twice`},
		{"wrong_type number", `{"text": 12}`, "line 1, column 10: text: found a number, want a string"},
		{"wrong_type object", `{"text": {}}`, "text: found an object, want a string"},
		{"wrong_type array", `{"text": ["a"]}`, "text: found an array, want a string"},
		{"wrong_type bool", `{"text": true}`, "text: found true, want a string"},
		{"null_text", `{"text": null}`, "line 1, column 10: text: found null, want a string"},
		{"no text", good + `{"body": "a", "id": 3}`, `line 2, column 1: the object has no field "text" or "messages", found ["body" "id"]`},
		{"array", `["a"]`, "line 1, column 1: found an array, want an object"},
		{"string", `"a"`, "found a string, want an object"},
		{"concatenated_objects", `{"text": "a"}{"text": "b"}`, "line 1, column 14: found an object after the object, want one object on a line"},
		{"comma after", `{"text": "a"},`, "found ',' after the object"},
		{"bom inside", good + "\ufeff" + good, `line 2, column 1: found '\ufeff', want an object`},
		{"not JSON", "text: a\n", "line 1, column 1: found 't', want an object"},
		{"single quotes", "{'text': 'a'}", "line 1, column 2: found '\\'', want a string"},
		{"trailing comma", `{"text": "a",}`, "column 14: found '}', want a string"},
		{"NaN", `{"x": NaN, "text": "a"}`, "column 7: found 'N', want a value"},
		{"leading zero", `{"x": 01, "text": "a"}`, "column 7: found"},
		{"bare dot", `{"x": 1., "text": "a"}`, "column 7: found"},
		{"bad escape", `{"text": "\x41"}`, `"\\x" is no escape`},
		{"gzip_mislabelled plain", string(zip(t, []byte(good))), "begins as gzip does, want plain text or a name that ends in .gz or .zst"},
		{"zstd mislabelled", string(zst(t, []byte(good))), "begins as zstd does"},
		{"messages null", `{"messages": null}`, "messages: found null, want an array"},
		{"messages string", `{"messages": "hi"}`, "messages: found a string, want an array"},
		{"message string", `{"messages": ["hi"]}`, "messages: message 0: found a string, want an object"},
		{"no role", `{"messages": [{"content": "x"}]}`, `column 15: messages: message 0: has no "role"`},
		{"no content", `{"messages": [{"role": "user", "content": "a"}, {"role": "user"}]}`, `messages: message 1: has no "content"`},
		{"null content", `{"messages": [{"role": "user", "content": null}]}`, `message 0: has no "content"`},
		{"content number", `{"messages": [{"role": "user", "content": 3}]}`, "message 0: content: found a number, want a string"},
		{"tool calls", `{"messages": [{"role": "user", "tool_calls": "x"}]}`, "tool_calls: found a string, want an array"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := put(t, filepath.Join(t.TempDir(), "x.jsonl"), []byte(tc.text))
			refused(t, Spec{Path: path, MaxBytes: 1 << 16}, tc.want)
		})
	}
}

func TestCompressedLinesRefused(t *testing.T) {
	const good = "{\"text\": \"a\"}\n"
	packed := zip(t, []byte(strings.Repeat(good, 1000)))
	sum := slices.Clone(packed)
	sum[len(sum)-8] ^= 1
	zpacked := zst(t, []byte(strings.Repeat(good, 1000)))
	zsum := slices.Clone(zpacked)
	zsum[len(zsum)-1] ^= 1
	bomb := `{"text": "` + strings.Repeat("x", 32<<20)
	for _, tc := range []struct {
		name, file string
		data       []byte
		want       string
	}{
		{"gzip_mislabelled", "x.jsonl.gz", []byte(good), `begins with "{\"te", want gzip as the name says`},
		{"zstd named gzip", "x.jsonl.gz", zpacked, "want gzip as the name says"},
		{"empty gzip", "x.jsonl.gz", nil, "want gzip"},
		{"gzip cut off", "x.jsonl.gz", packed[:len(packed)-12], "unexpected EOF"},
		{"gzip header cut off", "x.jsonl.gz", packed[:6], "gzip: unexpected EOF"},
		{"gzip checksum", "x.jsonl.gz", sum, "line 1001: gzip: invalid checksum"},
		{"zstd cut off", "x.jsonl.zst", zpacked[:len(zpacked)-6], "unexpected EOF"},
		{"zstd checksum", "x.jsonl.zst", zsum, "CRC check failed"},
		{"gzip bomb", "x.jsonl.gz", zip(t, []byte(bomb)), "line 1: is longer than 65536 bytes"},
		{"zstd bomb", "x.jsonl.zst", zst(t, []byte(bomb)), "line 1: is longer than 65536 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			refused(t, Spec{Path: put(t, filepath.Join(t.TempDir(), tc.file), tc.data), MaxBytes: 1 << 16}, tc.want)
		})
	}
}

func TestChats(t *testing.T) {
	text := `{"id": 1, "messages": [{"role": "user", "content": "Hi", "name": "x"}, {"role": "assistant", "content": null, "tool_calls": [{"a": 1.0}]}]}` + "\n" +
		`{"messages": []}` + "\n"
	path := put(t, filepath.Join(t.TempDir(), "x.jsonl"), []byte(text))
	docs, err := all(one(t, Spec{Path: path}))
	if err != nil {
		t.Fatal(err)
	}
	want := []chat.Message{{Role: "user", Content: "Hi"}, {Role: "assistant", ToolCalls: []byte(`[{"a": 1.0}]`)}}
	if len(docs) != 2 || !reflect.DeepEqual(docs[0].Messages, want) || len(docs[1].Messages) != 0 {
		t.Errorf("found %+v, want %+v and an empty one", docs, want)
	}
	path = put(t, filepath.Join(t.TempDir(), "y.jsonl"), []byte(`{"text": "x", "turns": [{"role": "a", "content": "b"}]}`))
	docs, err = all(one(t, Spec{Path: path, Messages: "turns"}))
	if err != nil || len(docs) != 1 || docs[0].Text != "" || len(docs[0].Messages) != 1 {
		t.Errorf("field turns: found %+v, %v", docs, err)
	}
}

func TestTokenLines(t *testing.T) {
	dir := t.TempDir()
	spec := Spec{Path: put(t, filepath.Join(dir, "x.jsonl"), []byte(`{"ids": [0, 5, 2147483647], "text": "x"}`)), Tokens: "ids"}
	docs, err := all(one(t, spec))
	if err != nil || len(docs) != 1 || !slices.Equal(docs[0].Tokens, []int32{0, 5, 2147483647}) || docs[0].Text != "" {
		t.Errorf("found %+v, %v", docs, err)
	}
	for text, want := range map[string]string{
		`{"ids": [1, -1]}`:         "column 13: ids: found -1, want a token id",
		`{"ids": [2147483648]}`:    "found 2147483648, want a token id",
		`{"ids": [1.0]}`:           "found 1.0, want a token id",
		`{"ids": ["1"]}`:           "found a string, want a number",
		`{"ids": 3}`:               "found a number, want an array",
		`{"ids": [1e2]}`:           "found 1e2",
		`{"text": "x", "id": [1]}`: `no field "ids", found ["text" "id"]`,
	} {
		spec.Path = put(t, filepath.Join(dir, "y.jsonl"), []byte(text))
		refused(t, spec, want)
	}
}

// TestChanged changes files between Open and the end of reading.
func TestChanged(t *testing.T) {
	line := []byte("{\"text\": \"" + strings.Repeat("x", 300) + "\"}\n")
	old := time.Now().Add(-time.Hour)
	for name, change := range map[string]func(path string) error{
		"longer":  func(p string) error { return os.WriteFile(p, bytes.Repeat(line, 1001), 0o644) },
		"shorter": func(p string) error { return os.Truncate(p, 70_000) },
		"touched": func(p string) error { return os.Chtimes(p, old, old) },
		"replaced": func(p string) error {
			info, err := os.Stat(p)
			if err != nil {
				return err
			}
			if err := os.WriteFile(p+"2", bytes.Repeat(line, 1000), 0o644); err != nil {
				return err
			}
			return errors.Join(os.Chtimes(p+"2", info.ModTime(), info.ModTime()), os.Rename(p+"2", p))
		},
		"removed": os.Remove,
	} {
		path := put(t, filepath.Join(t.TempDir(), "x.jsonl"), bytes.Repeat(line, 1000))
		f := one(t, Spec{Path: path})
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		if err := change(path); err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = r.Next()
		}
		if name != "removed" && !errors.Is(err, ErrChanged) || name == "removed" && !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: read to %v, want ErrChanged", name, err)
		}
		if _, again := r.Next(); again != err {
			t.Errorf("%s: after the error found %v", name, again)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if _, err := f.Open(); err == nil {
			t.Errorf("%s: opened again", name)
		}
		if _, err := f.Key(); err == nil {
			t.Errorf("%s: has a key", name)
		}
	}
}

func FuzzLines(f *testing.F) {
	for _, s := range []string{`{"text": "a"}`, "{\"text\": \"\\ud83d\\ude00\"}\n\n{\"text\":\"\"}", `{"messages": [{"role": "r", "content": "c", "tool_calls": []}]}`, `{"a": [1e5, -0.1, {}], "text": "x"}`} {
		f.Add([]byte(s))
	}
	path := filepath.Join(f.TempDir(), "x.jsonl")
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, err := all(one(t, Spec{Path: put(t, path, data), MaxBytes: 1 << 16}))
		if err != nil && (strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), path) || errors.Is(err, io.EOF)) {
			t.Errorf("error %q", err)
		}
		for _, d := range docs {
			if !validText(d.Text) {
				t.Errorf("text %q is not UTF-8", d.Text)
			}
		}
	})
}

func validText(s string) bool { return checkUTF8([]byte(s)) == nil }
