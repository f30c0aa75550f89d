// Package strictjson reads JSON (RFC 8259) that others wrote, and takes nothing on trust: valid UTF-8,
// no byte order mark, no key twice in an object however it is escaped, bounded nesting, nothing after
// the value. It never allocates more than a small multiple of what it reads.
package strictjson

import (
	"bytes"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth is how deep arrays and objects may nest in a skipped or checked value.
const MaxDepth = 64

// Scanner walks one document from front to back.
type Scanner struct {
	data []byte
	pos  int
}

// New returns a Scanner at the first byte of data that is not white space.
func New(data []byte) (*Scanner, error) {
	if bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) {
		return nil, fmt.Errorf("begins with a byte order mark, want plain JSON")
	}
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("is not UTF-8: byte %d is part of no character", firstInvalid(data))
	}
	s := &Scanner{data: data}
	s.space()
	return s, nil
}

// Check reports what is wrong with data as one JSON document.
func Check(data []byte) error {
	s, err := New(data)
	if err != nil {
		return err
	}
	if err := s.Skip(); err != nil {
		return err
	}
	return s.End()
}

func firstInvalid(data []byte) int {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(data)
}

// Errorf is an error that says where it is.
func (s *Scanner) Errorf(format string, args ...any) error {
	return fmt.Errorf("byte %d: %s", s.pos, fmt.Sprintf(format, args...))
}

// found describes what stands at the current position.
func (s *Scanner) found() string {
	if s.pos >= len(s.data) {
		return "the end"
	}
	rest := s.data[s.pos:min(len(s.data), s.pos+24)]
	for i, c := range rest {
		if i > 0 && (isSpace(c) || bytes.IndexByte([]byte(`,:[]{}"`), c) >= 0) {
			rest = rest[:i]
			break
		}
	}
	for len(rest) > 0 && !utf8.Valid(rest) { // cut inside a character
		rest = rest[:len(rest)-1]
	}
	return fmt.Sprintf("%q", rest)
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

func (s *Scanner) space() {
	for s.pos < len(s.data) && isSpace(s.data[s.pos]) {
		s.pos++
	}
}

func (s *Scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

// take steps over c and the white space after it, if c stands here.
func (s *Scanner) take(c byte) bool {
	if s.pos >= len(s.data) || s.data[s.pos] != c {
		return false
	}
	s.pos++
	s.space()
	return true
}

// End reports anything after the value.
func (s *Scanner) End() error {
	if s.pos < len(s.data) {
		return s.Errorf("found %s after the end of the JSON value", s.found())
	}
	return nil
}

// Object reads an object; member is called at the value of each key, which it must read. The key is
// valid during the call only. Keys that come twice are the caller's to refuse.
func (s *Scanner) Object(member func(key []byte) error) error {
	if !s.take('{') {
		return s.Errorf("found %s, want an object", s.found())
	}
	if s.take('}') {
		return nil
	}
	var buf []byte
	for {
		var err error
		if buf, err = s.String(buf[:0]); err != nil {
			return fmt.Errorf("key of an object: %w", err)
		}
		if !s.take(':') {
			return s.Errorf("found %s, want ':' after the key %q", s.found(), buf)
		}
		if err := member(buf); err != nil {
			return err
		}
		if s.take('}') {
			return nil
		}
		if !s.take(',') {
			return s.Errorf("found %s, want ',' or '}'", s.found())
		}
	}
}

// Array reads an array; element is called at each element, which it must read.
func (s *Scanner) Array(element func() error) error {
	if !s.take('[') {
		return s.Errorf("found %s, want an array", s.found())
	}
	if s.take(']') {
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if s.take(']') {
			return nil
		}
		if !s.take(',') {
			return s.Errorf("found %s, want ',' or ']'", s.found())
		}
	}
}

// String reads a string and appends what it means to buf.
func (s *Scanner) String(buf []byte) ([]byte, error) {
	if s.peek() != '"' {
		return buf, s.Errorf("found %s, want a string", s.found())
	}
	s.pos++
	for {
		start := s.pos
		for s.pos < len(s.data) && s.data[s.pos] != '"' && s.data[s.pos] != '\\' && s.data[s.pos] >= ' ' {
			s.pos++
		}
		buf = append(buf, s.data[start:s.pos]...)
		switch {
		case s.pos >= len(s.data):
			return buf, s.Errorf("found the end inside a string")
		case s.data[s.pos] == '"':
			s.pos++
			s.space()
			return buf, nil
		case s.data[s.pos] == '\\':
			var err error
			if buf, err = s.escape(buf); err != nil {
				return buf, err
			}
		default:
			return buf, s.Errorf("found control character %#02x inside a string", s.data[s.pos])
		}
	}
}

var simpleEscapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func (s *Scanner) escape(buf []byte) ([]byte, error) {
	if s.pos+1 >= len(s.data) {
		return buf, s.Errorf("found the end inside an escape")
	}
	if c := simpleEscapes[s.data[s.pos+1]]; c != 0 {
		s.pos += 2
		return append(buf, c), nil
	}
	r, ok := s.hex(s.pos)
	if !ok {
		return buf, s.Errorf("found %q, which is no JSON escape", s.data[s.pos:min(len(s.data), s.pos+6)])
	}
	if !utf16.IsSurrogate(r) {
		s.pos += 6
		return utf8.AppendRune(buf, r), nil
	}
	low, _ := s.hex(s.pos + 6)
	pair := utf16.DecodeRune(r, low)
	if pair == utf8.RuneError {
		return buf, s.Errorf("found half of a surrogate pair, %q", s.data[s.pos:s.pos+6])
	}
	s.pos += 12
	return utf8.AppendRune(buf, pair), nil
}

// hex reads \uXXXX at position i.
func (s *Scanner) hex(i int) (rune, bool) {
	if i+6 > len(s.data) || s.data[i] != '\\' || s.data[i+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range s.data[i+2 : i+6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
