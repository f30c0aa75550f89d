package jsonscan

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

var words = Words{End: "the end", OpenString: "an open string", NUL: "NUL", Object: "an object", Array: "an array"}

// read reads one document as encoding/json would, into map[string]any, []any, string, float64, bool or nil.
func read[T string | []byte](text T) (any, error) {
	s := New(text, words)
	v, err := value(s)
	if err == nil && !s.Ended() {
		err = s.Fail("found %s, want nothing", s.Found())
	}
	return v, err
}

func value[T string | []byte](s *Scanner[T]) (any, error) {
	switch c := s.Next(); {
	case c == '{':
		m := map[string]any{}
		err := s.Members(func(key string, at int) (err error) {
			if quoted := s.Since(at); quoted[0] != '"' {
				return fmt.Errorf("the key %q is said to begin with %q", key, string(quoted))
			}
			m[key], err = value(s)
			return err
		})
		return m, err
	case c == '[':
		a := []any{}
		err := s.Array(func(i int) error {
			if i != len(a) {
				return fmt.Errorf("element %d has the index %d", len(a), i)
			}
			v, err := value(s)
			a = append(a, v)
			return err
		})
		return a, err
	case c == '"':
		return s.Text()
	case s.Word("true"):
		return true, nil
	case s.Word("false"):
		return false, nil
	case s.Word("null"):
		return nil, nil
	}
	n, err := s.Number()
	if err != nil {
		return nil, err
	}
	return strconv.ParseFloat(string(n), 64)
}

func TestScanner(t *testing.T) {
	for _, text := range []string{
		` {"a" : [1, -0, 0.5, 1e9, 2E-3, -1.25e+2] , "b":{"c":null}, "":true,"d":false, "e": [ ], "f": { } } `,
		`"a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude42 z"`, `"größer 词元 😀 \u0000"`, `""`, "\t0\r\n", `[[], {}, "\n", "\n\n"]`, `"\u00E9\uD83D\uDE42"`,
		strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth), "[" + strings.Repeat("[[]],", 100) + "1]",
	} {
		var want any
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		if got, err := read(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, %v, want %v", text, got, err, want)
		}
		if got, err := read([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s as bytes: %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, row := range []struct {
		text string
		at   int
		want string
	}{
		{"", 0, "found the end, want a number"},
		{" ", 1, "found the end, want a number"},
		{"\x00", 0, "found NUL, want a number"},
		{"é", 0, "found 'é', want a number"},
		{"nul", 0, "found 'n', want a number"},
		{"{} []", 3, "found an array, want nothing"},
		{"1 {}", 2, "found an object, want nothing"},
		{"truefalse", 4, "found false, want nothing"},
		{"[1 2]", 3, "found a number, want ',' or ']'"},
		{"[1,]", 3, "found ']', want a number"},
		{"[1", 2, "found the end, want ',' or ']'"},
		{"[1}", 2, "found '}', want ',' or ']'"},
		{`{"a":1,}`, 7, "found '}', want a string"},
		{`{"a" 1}`, 5, "found a number, want ':'"},
		{`{"a":1 "b"}`, 7, "found a string, want ',' or '}'"},
		{`{null:1}`, 1, "found null, want a string"},
		{`{"a"`, 4, "found the end, want ':'"},
		{"01", 0, `found "01", which is no number`},
		{"[-]", 1, `found "-", which is no number`},
		{"-01", 0, `found "-01", which is no number`},
		{"1.", 0, `found "1.", which is no number`},
		{"1.e5", 0, `found "1.e5", which is no number`},
		{"1e", 0, `found "1e", which is no number`},
		{"1e+", 0, `found "1e+", which is no number`},
		{"+1", 0, "found '+', want a number"},
		{strings.Repeat("0", 100), 0, `found "` + strings.Repeat("0", 40) + `…", which is no number`},
		{`"abc`, 4, "an open string"},
		{`"a\nbc`, 6, "an open string"},
		{`"abc\`, 4, "an open string"},
		{"\"a\nb\"", 2, "control character 0x0a in a string, want an escape"},
		{"\"\\n\x1f\"", 3, "control character 0x1f in a string, want an escape"},
		{"\"a\x00\"", 2, "a NUL byte in a string"},
		{`"\x41"`, 1, `"\\x" is no escape`},
		{`"\u12g4"`, 1, `"\\u" is no escape`},
		{`"\u12`, 1, `"\\u" is no escape`},
		{`"a\ud800x"`, 2, `lone surrogate \ud800, want a pair`},
		{`"\udc00\ud800"`, 1, `lone surrogate \udc00, want a pair`},
		{`"\ud800\ud800"`, 1, `lone surrogate \ud800, want a pair`},
		{strings.Repeat("[", 1e6), MaxDepth + 1, "nested deeper than 64"},
		{strings.Repeat(`{"":`, 1e5), MaxDepth*4 + 1, "nested deeper than 64"},
	} {
		_, err := read(row.text)
		var found Error
		if !errors.As(err, &found) || found != (Error{row.at, row.want}) {
			t.Errorf("%.40q: %v, want byte %d: %s", row.text, err, row.at, row.want)
		}
		if _, bytes := read([]byte(row.text)); bytes != err {
			t.Errorf("%.40q: as bytes %v, as a string %v", row.text, bytes, err)
		}
	}
}

// What a reader wants of the first value is its own to say.
func TestWords(t *testing.T) {
	nothing := func(string, int) error { return nil }
	if err := New("[]", words).Members(nothing); err == nil || err.Error() != "byte 0: found an array, want an object" {
		t.Error(err)
	}
	if err := New(" 3", words).Array(func(int) error { return nil }); err == nil || err.Error() != "byte 1: found a number, want an array" {
		t.Error(err)
	}
}

// Strings without escapes share a document that is a string; of one in bytes, which may be used again, they are copies.
func TestMemory(t *testing.T) {
	if n := testing.AllocsPerRun(10, func() {
		s := Scanner[string]{data: `"a long enough string to be worth sharing"`}
		if _, err := s.Text(); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("reading a string allocates %v times", n)
	}
	data := []byte(`"abc"`)
	got, err := New(data, words).Text()
	if copy(data, `"xyz"`); got != "abc" || err != nil {
		t.Errorf("%q, %v after the bytes changed, want \"abc\"", got, err)
	}
}

func TestClip(t *testing.T) {
	for s, want := range map[string]string{"": "", "abcd": "abcd", "abcde": "abcd…", "abcéf": "abc…", "éééé": "éé…", "😀😀": "😀…"} {
		if got := Clip(s, 4); got != want {
			t.Errorf("Clip(%q, 4) = %q, want %q", s, got, want)
		}
	}
}

// Whatever is read encoding/json reads the same, from strings and from bytes; what is refused of that which it
// reads has a lone surrogate or nests too deep.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{`{"a":[1,2.5e-3,"\u00e9\ud83d\ude00"],"b":{"c":null}}`, `[tru]`, `"\ud800"`, `{"a":1,"\u0061":2}`, "[-0.1E+7 , \"\\\\\"]", `1e999`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !utf8.Valid(text) {
			return
		}
		got, err := read(text)
		other, otherErr := read(string(text))
		if (err == nil) != (otherErr == nil) || err != nil && err.Error() != otherErr.Error() {
			t.Fatalf("%q: as bytes %v, as a string %v", text, err, otherErr)
		}
		var want any
		wantErr := json.Unmarshal(text, &want)
		stricter := err != nil && (strings.Contains(err.Error(), "lone surrogate") || strings.Contains(err.Error(), "nested deeper"))
		if (err == nil) != (wantErr == nil) && !stricter {
			t.Fatalf("%q: %v, want %v as encoding/json says", text, err, wantErr)
		}
		if err != nil {
			return
		}
		if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(other, want) {
			t.Errorf("%q: %v as bytes, %v as a string, want %v", text, got, other, want)
		}
	})
}
