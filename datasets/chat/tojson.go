package chat

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/nikolalohinski/gonja/v2/exec"
)

// writer writes values as Python's json.dumps does with ensure_ascii=False: keys in their order, nothing escaped
// that need not be.
type writer struct {
	strings.Builder
	indent int // spaces a level, -1 for one line
	sorted bool
}

// dumps writes a value at a depth of nesting.
func (w *writer) dumps(v *exec.Value, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	if m, ok := v.Interface().(missing); ok {
		return fmt.Errorf("%q is undefined", m.name())
	}
	if n, ok := v.Interface().(number); ok {
		w.WriteString(string(n))
		return nil
	}
	switch {
	case v.IsError():
		return errors.New(v.Error())
	case v.IsNil():
		w.WriteString("null")
	case v.IsBool():
		w.WriteString(strconv.FormatBool(v.Bool()))
	case v.IsInteger():
		w.WriteString(strconv.Itoa(v.Integer()))
	case v.IsFloat():
		w.WriteString(floatText(v.Float()))
	case v.IsString():
		w.quote(v.String())
	case v.IsList():
		return w.items('[', ']', v.Len(), depth, func(i int) error { return w.dumps(v.Index(i), depth+1) })
	case v.IsDict():
		all := pairs(v)
		if w.sorted {
			sortPairs(all)
		}
		return w.items('{', '}', len(all), depth, func(i int) error {
			w.quote(all[i].Key.String())
			w.WriteString(": ")
			return w.dumps(all[i].Value, depth+1)
		})
	default:
		return fmt.Errorf("%T is no JSON", v.Interface())
	}
	return nil
}

// items writes n items between brackets, on lines of their own if there is an indent.
func (w *writer) items(open, closing byte, n, depth int, item func(i int) error) error {
	w.WriteByte(open)
	for i := range n {
		if i > 0 {
			w.WriteByte(',')
		}
		if w.indent >= 0 {
			w.newline(depth + 1)
		} else if i > 0 {
			w.WriteByte(' ')
		}
		if err := item(i); err != nil {
			return err
		}
	}
	if n > 0 && w.indent >= 0 {
		w.newline(depth)
	}
	w.WriteByte(closing)
	return nil
}

func (w *writer) newline(depth int) {
	w.WriteByte('\n')
	w.WriteString(strings.Repeat(" ", depth*w.indent))
}

func (w *writer) quote(s string) {
	w.WriteByte('"')
	for _, c := range s {
		switch i := strings.IndexRune("\"\\\b\f\n\r\t", c); {
		case i >= 0 && c != utf8.RuneError:
			w.WriteByte('\\')
			w.WriteByte(`"\bfnrt`[i])
		case c < 0x20:
			fmt.Fprintf(w, `\u%04x`, c)
		default:
			w.WriteRune(c)
		}
	}
	w.WriteByte('"')
}

// floatText is Python's repr: the shortest digits, with an exponent below 1e-4 and from 1e16 on.
func floatText(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
