package tokenizer

import (
	"fmt"
	"math"
	"strconv"

	"github.com/gojet/gojet/datasets/internal/jsonscan"
)

// jsonText is a file of the tokenizer. Unlike encoding/json it refuses duplicate keys, and it hands out a
// vocabulary of 150,000 entries without boxing them.
type jsonText struct {
	*jsonscan.Scanner[string]
}

func newJSONText(text string) jsonText {
	return jsonText{jsonscan.New(text, jsonscan.Words{
		End: "the end of the file", OpenString: "string without an end", NUL: `'\x00'`, Object: "'{'", Array: "'['",
	})}
}

// end reports anything but white space after the document.
func (j jsonText) end() error {
	if !j.Ended() {
		return j.Fail("found %s after the end of the document", j.Found())
	}
	return nil
}

// record reads an object with few keys, none of them twice; errors get the key in front.
func (j jsonText) record(member func(key string) error) error {
	seen := map[string]bool{}
	return j.Members(func(key string, at int) error {
		if seen[key] {
			return jsonscan.Error{At: at, What: fmt.Sprintf("duplicate key %q", clip(key))}
		}
		seen[key] = true
		if err := member(key); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
}

// value reads anything: map[string]any, []any, string, float64, bool or nil.
func (j jsonText) value() (any, error) {
	switch c := j.Next(); {
	case c == '{':
		m := map[string]any{}
		return m, j.record(func(key string) (err error) {
			m[key], err = j.value()
			return err
		})
	case c == '[':
		var a []any
		err := j.Array(func(int) error {
			v, err := j.value()
			a = append(a, v)
			return err
		})
		return a, err
	case c == '"':
		return j.Text()
	case c == '-' || '0' <= c && c <= '9':
		return j.number()
	case j.Word("true"):
		return true, nil
	case j.Word("false"):
		return false, nil
	case j.Word("null"):
		return nil, nil
	}
	return nil, j.Fail("found %s, want a value", j.Found())
}

// number reads a number as a float64.
func (j jsonText) number() (float64, error) {
	j.Next()
	at := j.At()
	text, err := j.Number()
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, jsonscan.Error{At: at, What: fmt.Sprintf("%q is no number", clip(text))}
	}
	return v, nil
}

// id reads a token's id: a whole number that fits an int32 and is not negative.
func (j jsonText) id() (int32, error) {
	c := j.Next()
	if c != '-' && (c < '0' || c > '9') {
		return 0, j.Fail("found %s, want a token id", j.Found())
	}
	v, err := j.number()
	if err != nil {
		return 0, err
	}
	return wholeID(v)
}

func wholeID(v float64) (int32, error) {
	if v != math.Trunc(v) || v < 0 || v > math.MaxInt32 {
		return 0, fmt.Errorf("%v is no token id, want a whole number from 0 to %d", v, math.MaxInt32)
	}
	return int32(v), nil
}

// clip shortens what an error quotes.
func clip(s string) string { return jsonscan.Clip(s, 60) }
