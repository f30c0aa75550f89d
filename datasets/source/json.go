package source

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep arrays and objects may nest in a line.
const maxDepth = 64

// misread says what is wrong at which byte of a line, from 0.
type misread struct {
	at   int
	what string
}

func (e misread) Error() string { return fmt.Sprintf("column %d: %s", e.at+1, e.what) }

// scanner walks one JSON document (RFC 8259) from front to back. It refuses keys that come twice, lone
// surrogates, and anything after the document; what it skips it checks as strictly as what it reads. The document must
// be valid UTF-8.
type scanner struct {
	data  []byte
	at    int
	depth int
}

func (s *scanner) fail(format string, args ...any) error {
	return misread{s.at, fmt.Sprintf(format, args...)}
}

// next steps over white space and returns the byte that stands there, 0 at the end.
func (s *scanner) next() byte {
	for ; s.at < len(s.data); s.at++ {
		switch c := s.data[s.at]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// found names what stands at the position, for errors.
func (s *scanner) found() string {
	switch c := s.next(); {
	case s.at == len(s.data):
		return "the end of the line"
	case c == 0:
		return "a NUL byte"
	case c == '"':
		return "a string"
	case c == '{':
		return "an object"
	case c == '[':
		return "an array"
	case c == '-' || '0' <= c && c <= '9':
		return "a number"
	}
	for _, word := range []string{"null", "true", "false"} {
		if bytes.HasPrefix(s.data[s.at:], []byte(word)) {
			return word
		}
	}
	r, _ := utf8.DecodeRune(s.data[s.at:])
	return strconv.QuoteRune(r)
}

func (s *scanner) want(c byte, what string) error {
	if s.next() != c || s.at == len(s.data) {
		return s.fail("found %s, want %s", s.found(), what)
	}
	s.at++
	return nil
}

// end reports anything after the document.
func (s *scanner) end() error {
	if s.next(); s.at < len(s.data) {
		return s.fail("found %s after the object, want one object on a line", s.found())
	}
	return nil
}

// list reads the items between two brackets.
func (s *scanner) list(open, closing byte, what string, item func() error) error {
	if err := s.want(open, what); err != nil {
		return err
	}
	if s.depth++; s.depth > maxDepth {
		return s.fail("nested deeper than %d", maxDepth)
	}
	defer func() { s.depth-- }()
	if s.next() == closing {
		s.at++
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		switch s.next() {
		case ',':
			s.at++
		case closing:
			s.at++
			return nil
		default:
			return s.fail("found %s, want ',' or '%c'", s.found(), closing)
		}
	}
}

// array calls item for each element, which it must read.
func (s *scanner) array(item func(i int) error) error {
	i := -1
	return s.list('[', ']', "an array", func() error {
		i++
		return item(i)
	})
}

// object calls member with each key at its value, which it must read.
func (s *scanner) object(member func(key string) error) error {
	var few []string
	var many map[string]struct{} // once there are more keys than a search should compare
	return s.list('{', '}', "an object", func() error {
		s.next()
		at := s.at
		key, err := s.text()
		if err != nil {
			return err
		}
		_, twice := many[key]
		if twice || slices.Contains(few, key) {
			s.at = at
			return s.fail("the key %q comes twice", clip(key))
		}
		if few = append(few, key); len(few) == 16 {
			if many == nil {
				many = map[string]struct{}{}
			}
			for _, k := range few {
				many[k] = struct{}{}
			}
			few = few[:0]
		}
		if err := s.want(':', "':'"); err != nil {
			return err
		}
		s.next()
		return member(key)
	})
}

// skip steps over any value.
func (s *scanner) skip() error {
	switch c := s.next(); {
	case c == '{':
		return s.object(func(string) error { return s.skip() })
	case c == '[':
		return s.array(func(int) error { return s.skip() })
	case c == '"':
		_, err := s.text()
		return err
	case c == '-' || '0' <= c && c <= '9':
		_, err := s.number()
		return err
	}
	for _, word := range []string{"null", "true", "false"} {
		if s.word(word) {
			return nil
		}
	}
	return s.fail("found %s, want a value", s.found())
}

// raw steps over any value and returns its bytes.
func (s *scanner) raw() ([]byte, error) {
	s.next()
	start := s.at
	err := s.skip()
	return s.data[start:s.at], err
}

// word steps over a literal if it stands here.
func (s *scanner) word(word string) bool {
	if s.next(); !bytes.HasPrefix(s.data[s.at:], []byte(word)) {
		return false
	}
	s.at += len(word)
	return true
}

// number reads a number and returns how it was written.
func (s *scanner) number() (string, error) {
	c := s.next()
	start, i := s.at, s.at
	digits := func() int {
		from := i
		for i < len(s.data) && '0' <= s.data[i] && s.data[i] <= '9' {
			i++
		}
		return i - from
	}
	has := func(set string) bool {
		if i < len(s.data) && bytes.IndexByte([]byte(set), s.data[i]) >= 0 {
			i++
			return true
		}
		return false
	}
	if c != '-' && (c < '0' || c > '9') {
		return "", s.fail("found %s, want a number", s.found())
	}
	has("-")
	whole := i
	n := digits()
	ok := n == 1 || n > 1 && s.data[whole] != '0'
	if ok && has(".") {
		ok = digits() > 0
	}
	if ok && has("eE") {
		has("+-")
		ok = digits() > 0
	}
	if !ok {
		return "", s.fail("found %q, want a number", clip(string(s.data[start:min(i+1, len(s.data))])))
	}
	s.at = i
	return string(s.data[start:i]), nil
}

// text reads a string.
func (s *scanner) text() (string, error) {
	if err := s.want('"', "a string"); err != nil {
		return "", err
	}
	start := s.at
	for ; s.at < len(s.data); s.at++ {
		switch c := s.data[s.at]; {
		case c == '"':
			s.at++
			return string(s.data[start : s.at-1]), nil
		case c == '\\':
			return s.escaped(start)
		case c < 0x20:
			return "", s.control()
		}
	}
	return "", s.fail("the line ends inside a string")
}

func (s *scanner) control() error {
	if s.data[s.at] == 0 {
		return s.fail("a NUL byte in a string")
	}
	return s.fail("control character 0x%02x in a string, want an escape", s.data[s.at])
}

// escaped reads the rest of a string that began at start, from its first backslash on.
func (s *scanner) escaped(start int) (string, error) {
	out := append(make([]byte, 0, len(s.data[start:s.at])+64), s.data[start:s.at]...)
	for s.at < len(s.data) {
		switch c := s.data[s.at]; {
		case c == '"':
			s.at++
			return string(out), nil
		case c < 0x20:
			return "", s.control()
		case c != '\\':
			out = append(out, c)
			s.at++
			continue
		}
		r, err := s.escape()
		if err != nil {
			return "", err
		}
		out = utf8.AppendRune(out, r)
	}
	return "", s.fail("the line ends inside a string")
}

// escape reads one escape, the two halves of a surrogate pair as one.
func (s *scanner) escape() (rune, error) {
	rest := s.data[s.at:]
	if len(rest) < 2 {
		return 0, s.fail("the line ends inside a string")
	}
	if i := bytes.IndexByte([]byte(`"\/bfnrt`), rest[1]); i >= 0 {
		s.at += 2
		return rune("\"\\/\b\f\n\r\t"[i]), nil
	}
	r, ok := hexEscape(rest)
	if !ok {
		return 0, s.fail("%q is no escape", rest[:2])
	}
	size := 6
	if utf16.IsSurrogate(r) {
		low, _ := hexEscape(rest[6:])
		pair := utf16.DecodeRune(r, low)
		if pair == utf8.RuneError {
			return 0, s.fail("lone surrogate %s, want a pair", rest[:6])
		}
		r, size = pair, 12
	}
	s.at += size
	return r, nil
}

// hexEscape reads the \uXXXX at the beginning of b.
func hexEscape(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	v, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return rune(v), err == nil
}

// clip shortens what an error quotes.
func clip(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
