package jsonscan

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Text reads a string.
func (s *Scanner[T]) Text() (string, error) {
	if err := s.step('"', "a string"); err != nil {
		return "", err
	}
	start := s.at
	s.plain()
	if s.at < len(s.data) && s.data[s.at] == '"' {
		s.at++
		return string(s.data[start : s.at-1]), nil
	}
	return s.escaped(start)
}

// plain steps over characters that stand for themselves.
func (s *Scanner[T]) plain() {
	data, i := s.data, s.at
	for i < len(data) && data[i] != '"' && data[i] != '\\' && data[i] >= 0x20 {
		i++
	}
	s.at = i
}

// escaped reads on in a string that began at start and is plain up to here.
func (s *Scanner[T]) escaped(start int) (string, error) {
	out := make([]byte, 0, 64) // not on the heap, as most names are short
	for {
		out = append(out, s.data[start:s.at]...)
		if s.at == len(s.data) {
			return "", s.Fail("%s", s.words.OpenString)
		}
		switch c := s.data[s.at]; {
		case c == '"':
			s.at++
			return string(out), nil
		case c == 0:
			return "", s.Fail("a NUL byte in a string")
		case c < 0x20:
			return "", s.Fail("control character 0x%02x in a string, want an escape", c)
		}
		r, err := s.escape()
		if err != nil {
			return "", err
		}
		out = utf8.AppendRune(out, r)
		start = s.at
		s.plain()
	}
}

// escape reads one escape, the two halves of a surrogate pair as one.
func (s *Scanner[T]) escape() (rune, error) {
	rest := s.data[s.at:]
	if len(rest) < 2 {
		return 0, s.Fail("%s", s.words.OpenString)
	}
	if i := strings.IndexByte(`"\/bfnrt`, rest[1]); i >= 0 {
		s.at += 2
		return rune("\"\\/\b\f\n\r\t"[i]), nil
	}
	r, ok := hexEscape(rest)
	if !ok {
		return 0, s.Fail("%q is no escape", rest[:2])
	}
	if !utf16.IsSurrogate(r) {
		s.at += 6
		return r, nil
	}
	low, _ := hexEscape(rest[6:])
	pair := utf16.DecodeRune(r, low)
	if pair == utf8.RuneError {
		return 0, s.Fail("lone surrogate %s, want a pair", rest[:6])
	}
	s.at += 12
	return pair, nil
}

// hexEscape reads the \uXXXX that b begins with.
func hexEscape[T string | []byte](b T) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	v, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return rune(v), err == nil
}
