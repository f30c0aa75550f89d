package tokenizer

import (
	"fmt"
	"slices"
	"strings"
)

// A section is an object of the tokenizer file whose settings are taken one by one. The first wrong one and
// those that nobody took become the error of done: no setting is ignored silently.
type section struct {
	name   string
	fields map[string]any
	err    error
}

// newSection wraps v, which must be an object.
func newSection(name string, v any) *section {
	fields, ok := v.(map[string]any)
	s := &section{name: name, fields: fields}
	if !ok {
		s.fail("found %s, want an object", kind(v))
	}
	return s
}

func (s *section) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("%s: %s", s.name, fmt.Sprintf(format, args...))
	}
}

func (s *section) take(key string) (v any, there bool) {
	v, there = s.fields[key]
	delete(s.fields, key)
	return v, there
}

// text takes a string; absent or null is "".
func (s *section) text(key string) string {
	v, _ := s.take(key)
	t, ok := v.(string)
	if !ok && v != nil {
		s.fail("%s is %s, want a string", key, kind(v))
	}
	return t
}

// flag takes a boolean, absent when it is not there.
func (s *section) flag(key string, absent bool) bool {
	v, there := s.take(key)
	if !there {
		return absent
	}
	b, ok := v.(bool)
	if !ok {
		s.fail("%s is %s, want true or false", key, kind(v))
	}
	return b
}

// list takes an array; absent or null is empty.
func (s *section) list(key string) []any {
	v, _ := s.take(key)
	a, ok := v.([]any)
	if !ok && v != nil {
		s.fail("%s is %s, want an array", key, kind(v))
	}
	return a
}

// done returns the first error, or one for the settings not taken.
func (s *section) done() error {
	if s.err != nil || len(s.fields) == 0 {
		return s.err
	}
	var left []string
	for key := range s.fields {
		left = append(left, fmt.Sprintf("%q", clip(key)))
	}
	slices.Sort(left)
	return fmt.Errorf("%s: unknown setting %s", s.name, strings.Join(left, ", "))
}

// kind names the JSON type of v for an error.
func kind(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case string:
		return fmt.Sprintf("%q", clip(v))
	case map[string]any:
		return "an object"
	case []any:
		return "an array"
	default:
		return fmt.Sprint(v)
	}
}

// id takes a token's id.
func (s *section) id(key string) int32 {
	v, _ := s.take(key)
	f, ok := v.(float64)
	if !ok {
		s.fail("%s is %s, want a number", key, kind(v))
		return 0
	}
	id, err := wholeID(f)
	if err != nil {
		s.fail("%s: %v", key, err)
	}
	return id
}
