package strictjson

import (
	"bytes"
	"math"
)

// Int reads a number that counts something: digits only, without sign, fraction or exponent, and at
// most the largest int.
func (s *Scanner) Int() (int, error) {
	start := s.pos
	n, err := s.number()
	if err != nil {
		return 0, err
	}
	digits := s.data[start : start+n]
	var v uint64
	for _, c := range digits {
		if c < '0' || c > '9' {
			s.pos = start
			return 0, s.Errorf("found %s, want a whole number of at least 0, written in digits", s.found())
		}
		if v > (math.MaxInt-uint64(c-'0'))/10 {
			s.pos = start
			return 0, s.Errorf("found %s, want at most %d", s.found(), math.MaxInt)
		}
		v = v*10 + uint64(c-'0')
	}
	return int(v), nil
}

// number steps over a number and returns how many bytes it has.
func (s *Scanner) number() (int, error) {
	start := s.pos
	digits := func() int {
		n := 0
		for '0' <= s.peek() && s.peek() <= '9' {
			s.pos++
			n++
		}
		return n
	}
	bad := func() (int, error) {
		s.pos = start
		return 0, s.Errorf("found %s, want a JSON number", s.found())
	}
	if s.peek() == '-' {
		s.pos++
	}
	if s.peek() == '0' {
		s.pos++
		if '0' <= s.peek() && s.peek() <= '9' {
			return bad()
		}
	} else if digits() == 0 {
		return bad()
	}
	if s.peek() == '.' {
		s.pos++
		if digits() == 0 {
			return bad()
		}
	}
	if s.peek() == 'e' || s.peek() == 'E' {
		s.pos++
		if s.peek() == '+' || s.peek() == '-' {
			s.pos++
		}
		if digits() == 0 {
			return bad()
		}
	}
	n := s.pos - start
	s.space()
	return n, nil
}

// Skip steps over any value, checked throughout.
func (s *Scanner) Skip() error { return s.skip(0) }

func (s *Scanner) skip(depth int) error {
	switch c := s.peek(); c {
	case '{', '[':
		if depth == MaxDepth {
			return s.Errorf("nests deeper than %d", MaxDepth)
		}
		if c == '[' {
			return s.Array(func() error { return s.skip(depth + 1) })
		}
		seen := Keys{}
		return s.Object(func(key []byte) error {
			if err := seen.Add(s, key); err != nil {
				return err
			}
			return s.skip(depth + 1)
		})
	case '"':
		_, err := s.String(nil)
		return err
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	_, err := s.number()
	return err
}

func (s *Scanner) word(w string) error {
	if len(s.data)-s.pos < len(w) || string(s.data[s.pos:s.pos+len(w)]) != w {
		return s.Errorf("found %s, want a JSON value", s.found())
	}
	s.pos += len(w)
	s.space()
	return nil
}

// Keys are the keys that an object has had so far.
type Keys map[string]struct{}

// Add refuses a key that came before.
func (k Keys) Add(s *Scanner, key []byte) error {
	if _, twice := k[string(key)]; twice {
		return s.Errorf("key %q comes twice in one object", key)
	}
	k[string(key)] = struct{}{}
	return nil
}

// Raw steps over any value and returns its text.
func (s *Scanner) Raw() ([]byte, error) {
	start := s.pos
	if err := s.Skip(); err != nil {
		return nil, err
	}
	return bytes.TrimRight(s.data[start:s.pos], " \t\r\n"), nil
}
