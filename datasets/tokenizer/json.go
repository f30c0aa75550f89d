package tokenizer

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds the nesting of arrays and objects in a tokenizer file; real ones stay below ten.
const maxDepth = 64

// jsonText reads one JSON document (RFC 8259) from front to back. Unlike encoding/json it refuses duplicate
// keys, lone surrogates and invalid UTF-8, and it hands out a vocabulary of 150,000 entries without boxing them.
type jsonText struct {
	text  string
	at    int
	depth int
}

func (j *jsonText) fail(format string, args ...any) error {
	return fmt.Errorf("byte %d: %s", j.at, fmt.Sprintf(format, args...))
}

// next skips white space and returns the byte after it, zero at the end of the text.
func (j *jsonText) next() byte {
	for ; j.at < len(j.text); j.at++ {
		if c := j.text[j.at]; c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
	}
	return 0
}

// found describes the next character for an error.
func (j *jsonText) found() string {
	if j.next() == 0 && j.at == len(j.text) {
		return "the end of the file"
	}
	r, _ := utf8.DecodeRuneInString(j.text[j.at:])
	return strconv.QuoteRune(r)
}

func (j *jsonText) expect(c byte) error {
	if j.next() != c {
		return j.fail("found %s, want %q", j.found(), c)
	}
	j.at++
	return nil
}

// end reports anything but white space after the document.
func (j *jsonText) end() error {
	if j.next(); j.at != len(j.text) {
		return j.fail("found %s after the end of the document", j.found())
	}
	return nil
}

// list walks an array or object: item reads one element, the commas and brackets are read here.
func (j *jsonText) list(open, closing byte, item func() error) error {
	if err := j.expect(open); err != nil {
		return err
	}
	if j.depth++; j.depth > maxDepth {
		return j.fail("nested deeper than %d", maxDepth)
	}
	defer func() { j.depth-- }()
	if j.next() == closing {
		j.at++
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		switch j.next() {
		case ',':
			j.at++
		case closing:
			j.at++
			return nil
		default:
			return j.fail("found %s, want ',' or %q", j.found(), closing)
		}
	}
}

// array calls item with the index of every element; item reads the element.
func (j *jsonText) array(item func(i int) error) error {
	i := -1
	return j.list('[', ']', func() error {
		i++
		return item(i)
	})
}

// members calls member with every key; member reads the value. Duplicate keys are left to member.
func (j *jsonText) members(member func(key string) error) error {
	return j.list('{', '}', func() error {
		key, err := j.str()
		if err != nil {
			return err
		}
		if err := j.expect(':'); err != nil {
			return err
		}
		return member(key)
	})
}

// record is members for an object with few keys, none of them twice; errors get the key in front.
func (j *jsonText) record(member func(key string) error) error {
	seen := map[string]bool{}
	return j.members(func(key string) error {
		if seen[key] {
			return j.fail("duplicate key %q", key)
		}
		seen[key] = true
		if err := member(key); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
}

// value reads anything: map[string]any, []any, string, float64, bool or nil.
func (j *jsonText) value() (any, error) {
	switch c := j.next(); {
	case c == '{':
		m := map[string]any{}
		return m, j.record(func(key string) (err error) {
			m[key], err = j.value()
			return err
		})
	case c == '[':
		var a []any
		return a, j.array(func(int) error {
			v, err := j.value()
			a = append(a, v)
			return err
		})
	case c == '"':
		return j.str()
	case c == '-' || '0' <= c && c <= '9':
		return j.number()
	}
	for word, v := range map[string]any{"true": true, "false": false, "null": nil} {
		if strings.HasPrefix(j.text[j.at:], word) {
			j.at += len(word)
			return v, nil
		}
	}
	return nil, j.fail("found %s, want a value", j.found())
}

// number reads a number as a float64.
func (j *jsonText) number() (float64, error) {
	rest := j.text[j.at:]
	n := 0
	for n < len(rest) && strings.IndexByte("+-.eE0123456789", rest[n]) >= 0 {
		n++
	}
	digits := strings.TrimPrefix(rest[:n], "-")
	leadingZero := len(digits) > 1 && digits[0] == '0' && '0' <= digits[1] && digits[1] <= '9'
	dot := strings.IndexByte(digits, '.')
	bareDot := dot == 0 || dot >= 0 && (dot+1 == len(digits) || digits[dot+1] < '0' || digits[dot+1] > '9')
	v, err := strconv.ParseFloat(rest[:n], 64)
	if err != nil || leadingZero || bareDot {
		return 0, j.fail("%q is no number", clip(rest[:n]))
	}
	j.at += n
	return v, nil
}

// id reads a token's id: a whole number that fits an int32 and is not negative.
func (j *jsonText) id() (int32, error) {
	c := j.next()
	if c != '-' && (c < '0' || c > '9') {
		return 0, j.fail("found %s, want a token id", j.found())
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

// str reads a string. Without escapes the result shares the memory of the document.
func (j *jsonText) str() (string, error) {
	if j.next() != '"' {
		return "", j.fail("found %s, want a string", j.found())
	}
	start := j.at + 1
	for i := start; i < len(j.text); i++ {
		switch c := j.text[i]; {
		case c == '"':
			j.at = i + 1
			return j.text[start:i], nil
		case c == '\\':
			j.at = i
			return j.escaped(j.text[start:i])
		case c < 0x20:
			j.at = i
			return "", j.fail("control character %q in a string, want an escape", c)
		}
	}
	return "", j.fail("string without an end")
}

// escaped reads the rest of a string from its first backslash on; head is what came before.
func (j *jsonText) escaped(head string) (string, error) {
	out := []byte(head)
	for j.at < len(j.text) {
		c := j.text[j.at]
		switch {
		case c == '"':
			j.at++
			return string(out), nil
		case c < 0x20:
			return "", j.fail("control character %q in a string, want an escape", c)
		case c != '\\':
			out = append(out, c)
			j.at++
			continue
		}
		r, err := j.escape()
		if err != nil {
			return "", err
		}
		out = utf8.AppendRune(out, r)
	}
	return "", j.fail("string without an end")
}

// escape reads one escape sequence, a surrogate pair counting as one.
func (j *jsonText) escape() (rune, error) {
	rest := j.text[j.at:]
	if len(rest) < 2 {
		return 0, j.fail("string without an end")
	}
	if i := strings.IndexByte(`"\/bfnrt`, rest[1]); i >= 0 {
		j.at += 2
		return rune("\"\\/\b\f\n\r\t"[i]), nil
	}
	high, ok := hexEscape(rest)
	if !ok {
		return 0, j.fail("%q is no escape", clip(rest[:min(len(rest), 6)]))
	}
	j.at += 6
	if high < 0xD800 || high > 0xDFFF {
		return high, nil
	}
	low, ok := hexEscape(rest[6:])
	if !ok || high >= 0xDC00 || low < 0xDC00 || low > 0xDFFF {
		return 0, j.fail("lone surrogate %q", rest[:6])
	}
	j.at += 6
	return 0x10000 + (high-0xD800)<<10 + (low - 0xDC00), nil
}

// hexEscape reads the \uXXXX that s starts with.
func hexEscape(s string) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	v, err := strconv.ParseUint(s[2:6], 16, 16)
	return rune(v), err == nil
}

// clip shortens what an error quotes.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
