// Package jsonscan reads JSON (RFC 8259) that others wrote, front to back and without boxing values. It is
// strict: no lone surrogates, no bare control characters, bounded nesting. Two things are its callers': that the
// text is valid UTF-8, and which objects may have a key twice.
package jsonscan

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxDepth is how deep arrays and objects may nest.
const MaxDepth = 64

// Error says what is wrong at which byte, from 0.
type Error struct {
	At   int
	What string
}

func (e Error) Error() string { return fmt.Sprintf("byte %d: %s", e.At, e.What) }

// Words are what errors call things that readers of different files see differently.
type Words struct {
	End           string // what comes after the last byte: "the end of the file"
	OpenString    string // a string that goes on up to there
	NUL           string // a zero byte where a value should be
	Object, Array string // what is missing where another value stands
}

// Scanner walks one document. Over a string, the strings that it returns share the document's memory unless
// they have escapes; over bytes, they are copies.
type Scanner[T string | []byte] struct {
	data  T
	at    int
	depth int
	words Words
}

// New returns a Scanner at the beginning of data, which must be valid UTF-8.
func New[T string | []byte](data T, words Words) *Scanner[T] {
	return &Scanner[T]{data: data, words: words}
}

// At returns the position in bytes.
func (s *Scanner[T]) At() int { return s.at }

// Since returns what was read from position at on.
func (s *Scanner[T]) Since(at int) T { return s.data[at:s.at] }

// Fail returns an Error at the current position.
func (s *Scanner[T]) Fail(format string, args ...any) error {
	return Error{s.at, fmt.Sprintf(format, args...)}
}

// Next steps over white space and returns the byte that stands there, 0 at the end.
func (s *Scanner[T]) Next() byte {
	for ; s.at < len(s.data); s.at++ {
		switch c := s.data[s.at]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// Ended tells whether nothing but white space is left.
func (s *Scanner[T]) Ended() bool {
	s.Next()
	return s.at == len(s.data)
}

// Found names what stands at the position, for errors.
func (s *Scanner[T]) Found() string {
	switch c := s.Next(); {
	case s.at == len(s.data):
		return s.words.End
	case c == 0:
		return s.words.NUL
	case c == '"':
		return "a string"
	case c == '{':
		return "an object"
	case c == '[':
		return "an array"
	case c == '-' || isDigit(c):
		return "a number"
	}
	rest := string(s.data[s.at:min(len(s.data), s.at+8)])
	for _, word := range []string{"null", "true", "false"} {
		if strings.HasPrefix(rest, word) {
			return word
		}
	}
	r, _ := utf8.DecodeRuneInString(rest)
	return strconv.QuoteRune(r)
}

// step goes over c, which must stand here.
func (s *Scanner[T]) step(c byte, want string) error {
	if s.Next() != c {
		return s.Fail("found %s, want %s", s.Found(), want)
	}
	s.at++
	return nil
}

// Word steps over a literal if it stands here.
func (s *Scanner[T]) Word(word string) bool {
	s.Next()
	end := s.at + len(word)
	if end > len(s.data) || string(s.data[s.at:end]) != word {
		return false
	}
	s.at = end
	return true
}

// list reads the items between two brackets.
func (s *Scanner[T]) list(open, closing byte, want string, item func() error) error {
	if err := s.step(open, want); err != nil {
		return err
	}
	if s.depth++; s.depth > MaxDepth {
		return s.Fail("nested deeper than %d", MaxDepth)
	}
	defer func() { s.depth-- }()
	if s.Next() == closing {
		s.at++
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		switch s.Next() {
		case ',':
			s.at++
		case closing:
			s.at++
			return nil
		default:
			return s.Fail("found %s, want ',' or '%c'", s.Found(), closing)
		}
	}
}

// Array calls item for each element, which it must read.
func (s *Scanner[T]) Array(item func(i int) error) error {
	i := -1
	return s.list('[', ']', s.words.Array, func() error {
		i++
		return item(i)
	})
}

// Members reads an object: it calls member with each key and where that begins, to read the value. Keys that
// come twice are member's to refuse.
func (s *Scanner[T]) Members(member func(key string, at int) error) error {
	return s.list('{', '}', s.words.Object, func() error {
		s.Next()
		at := s.at
		key, err := s.Text()
		if err != nil {
			return err
		}
		if err := s.step(':', "':'"); err != nil {
			return err
		}
		s.Next()
		return member(key, at)
	})
}

// Number reads a number and returns how it was written.
func (s *Scanner[T]) Number() (T, error) {
	var none T
	if c := s.Next(); c != '-' && !isDigit(c) {
		return none, s.Fail("found %s, want a number", s.Found())
	}
	start := s.at
	end, ok := s.numberEnd()
	if !ok {
		end = start
		for end < len(s.data) && strings.IndexByte("+-.eE0123456789", s.data[end]) >= 0 {
			end++
		}
		return none, s.Fail("found %q, which is no number", Clip(string(s.data[start:end]), 40))
	}
	s.at = end
	return s.data[start:end], nil
}

// numberEnd returns where the number that begins here ends, if it is well formed.
func (s *Scanner[T]) numberEnd() (end int, ok bool) {
	i := s.at
	if s.data[i] == '-' {
		i++
	}
	whole := i
	if i = s.digits(i); i == whole || i > whole+1 && s.data[whole] == '0' {
		return i, false
	}
	if i < len(s.data) && s.data[i] == '.' {
		fraction := i + 1
		if i = s.digits(fraction); i == fraction {
			return i, false
		}
	}
	if i < len(s.data) && (s.data[i] == 'e' || s.data[i] == 'E') {
		i++
		if i < len(s.data) && (s.data[i] == '+' || s.data[i] == '-') {
			i++
		}
		power := i
		if i = s.digits(power); i == power {
			return i, false
		}
	}
	return i, true
}

// digits returns where the digits from i on end.
func (s *Scanner[T]) digits(i int) int {
	for i < len(s.data) && isDigit(s.data[i]) {
		i++
	}
	return i
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// Clip shortens what an error quotes to some most bytes.
func Clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}
