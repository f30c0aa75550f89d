package source

import (
	"fmt"
	"slices"

	"github.com/gojet/gojet/datasets/internal/jsonscan"
)

// misread says what is wrong at which byte of a line.
type misread jsonscan.Error

func (e misread) Error() string { return fmt.Sprintf("column %d: %s", e.At+1, e.What) }

// scanner walks the JSON object on a line. No object may have a key twice, and what is skipped is checked as
// strictly as what is read.
type scanner struct {
	*jsonscan.Scanner[[]byte]
}

func newScanner(line []byte) scanner {
	return scanner{jsonscan.New(line, jsonscan.Words{
		End: "the end of the line", OpenString: "the line ends inside a string", NUL: "a NUL byte",
		Object: "an object", Array: "an array",
	})}
}

// end reports anything after the object.
func (s scanner) end() error {
	if !s.Ended() {
		return s.Fail("found %s after the object, want one object on a line", s.Found())
	}
	return nil
}

// object calls member with each key at its value, which it must read.
func (s scanner) object(member func(key string) error) error {
	var few []string
	var many map[string]struct{} // once there are more keys than a search should compare
	return s.Members(func(key string, at int) error {
		_, twice := many[key]
		if twice || slices.Contains(few, key) {
			return jsonscan.Error{At: at, What: fmt.Sprintf("the key %q comes twice", clip(key))}
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
		return member(key)
	})
}

// skip steps over any value.
func (s scanner) skip() error {
	switch c := s.Next(); {
	case c == '{':
		return s.object(func(string) error { return s.skip() })
	case c == '[':
		return s.Array(func(int) error { return s.skip() })
	case c == '"':
		_, err := s.Text()
		return err
	case c == '-' || '0' <= c && c <= '9':
		_, err := s.Number()
		return err
	}
	if s.Word("null") || s.Word("true") || s.Word("false") {
		return nil
	}
	return s.Fail("found %s, want a value", s.Found())
}

// raw steps over any value and returns its bytes.
func (s scanner) raw() ([]byte, error) {
	s.Next()
	start := s.At()
	err := s.skip()
	return s.Since(start), err
}

// clip shortens what an error quotes.
func clip(s string) string { return jsonscan.Clip(s, 40) }
