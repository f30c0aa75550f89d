package strictjson

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	for _, tc := range []struct{ name, doc, err string }{
		{"scalars", ` [1, -0, 0.5, 1e9, 2E-3, "é\u00e9\ud83d\ude00\n", true, false, null, {}, []] `, ""},
		{"deep enough", strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth), ""},
		{"same key in different objects", `{"a":{"a":1},"b":{"a":1}}`, ""},
		{"empty", ``, "byte 0: found the end, want a JSON number"},
		{"byte order mark", "\xef\xbb\xbf{}", "byte order mark"},
		{"not UTF-8", "[\"ab\xff\"]", "byte 4 is part of no character"},
		{"too deep", strings.Repeat("[", 1e6), "byte 64: nests deeper than 64"},
		{"too deep in objects", strings.Repeat(`{"a":`, 1e5), "nests deeper than 64"},
		{"key twice", `{"a":1,"a":2}`, `key "a" comes twice`},
		{"key twice, escaped", `{"a":1,"\u0061":2}`, `key "a" comes twice`},
		{"key twice, inside", `[{"x":{"a":1,"a":2}}]`, `key "a" comes twice`},
		{"two values", `{} {}`, `byte 3: found "{" after the end`},
		{"trailing comma", `[1,]`, `found "]", want a JSON number`},
		{"trailing comma in object", `{"a":1,}`, `found "}", want a string`},
		{"no colon", `{"a" 1}`, `want ':' after the key "a"`},
		{"leading zero", `01`, `found "01", want a JSON number`},
		{"plus", `+1`, `found "+1"`},
		{"bare point", `1.`, `found "1."`},
		{"bare exponent", `1e`, `found "1e"`},
		{"NaN", `[NaN]`, `found "NaN", want a JSON number`},
		{"nul", `nul`, `found "nul", want a JSON value`},
		{"open string", `"abc`, "the end inside a string"},
		{"open escape", `"abc\`, "the end inside an escape"},
		{"newline in string", "\"a\nb\"", "control character 0x0a"},
		{"bad escape", `"\x41"`, "no JSON escape"},
		{"bad hex", `"\u12g4"`, "no JSON escape"},
		{"lone surrogate", `"\ud800x"`, "half of a surrogate pair"},
		{"low surrogate first", `"\udc00\ud800"`, "half of a surrogate pair"},
		{"single quotes", `{'a':1}`, "want a string"},
		{"open array", `[1`, "found the end, want ',' or ']'"},
		{"open object", `{"a":1`, "found the end, want ',' or '}'"},
	} {
		err := Check([]byte(tc.doc))
		switch {
		case tc.err == "" && err != nil:
			t.Errorf("%s: %v", tc.name, err)
		case tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)):
			t.Errorf("%s: error %v, want one with %q", tc.name, err, tc.err)
		}
		if tc.err == "" && !json.Valid([]byte(tc.doc)) {
			t.Errorf("%s: accepted what encoding/json refuses", tc.name)
		}
	}
}

func TestInt(t *testing.T) {
	for doc, want := range map[string]int{"0": 0, "7": 7, "9223372036854775807": 1<<63 - 1} {
		s, err := New([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Int(); err != nil || got != want {
			t.Errorf("%s: %d, %v", doc, got, err)
		}
	}
	for _, doc := range []string{"-1", "-0", "1.0", "1e3", "9223372036854775808", "18446744073709551616", "99999999999999999999999", "00", "x", `"1"`, "null", ""} {
		s, err := New([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Int(); err == nil {
			t.Errorf("%q: read as %d", doc, got)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, seed := range []string{`{"a":[1,2.5e-3,"\u00e9\ud83d\ude00"],"b":{"c":null}}`, `[tru]`, `"\ud800"`, "\xef\xbb\xbf{}", `{"a":1,"\u0061":2}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		if Check(doc) == nil && !json.Valid(doc) {
			t.Errorf("accepted %q, which encoding/json refuses", doc)
		}
	})
}
