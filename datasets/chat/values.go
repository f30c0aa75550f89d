package chat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/nikolalohinski/gonja/v2/exec"
)

// missing is a value that is not there, as Jinja's Undefined: false, empty, and not to be written. It is a
// slice of no elements so that the engine takes it so; its name lies beyond the length.
type missing []string

func missingNamed(name string) missing { return missing([]string{name})[:0] }

func (m missing) name() string { return m[:1][0] }

// What stands for a missing value in a rendered text: characters that Unicode will never assign around its name.
const (
	missingBegin = "\ufdd0undefined "
	missingEnd   = "\ufdd1"
)

// String is how the engine writes the value.
func (m missing) String() string { return missingBegin + m.name() + missingEnd }

// firstMissing finds a missing value that was written.
func firstMissing(text string) (name string, found bool) {
	_, rest, found := strings.Cut(text, "\ufdd0")
	if !found {
		return "", false
	}
	name, _, found = strings.Cut(rest, missingEnd)
	_, name, _ = strings.Cut(name, " ")
	return name, found
}

func (m missing) none(key any) (*exec.Value, bool) {
	return exec.AsValue(fmt.Errorf("%q is undefined, so it has no %q", m.name(), fmt.Sprint(key))), false
}

// GetAttribute and GetItem say that nothing has nothing.
func (m missing) GetAttribute(name string) (*exec.Value, bool) { return m.none(name) }
func (m missing) GetItem(key any) (*exec.Value, bool)          { return m.none(key) }

// turn is a message. What it has not is missing.
type turn map[string]any

// turnKeys is the order of a message's keys.
var turnKeys = []string{"role", "content", "tool_calls"}

func newTurn(m Message) (turn, error) {
	t := turn{"role": m.Role, "content": m.Content}
	if len(m.ToolCalls) > 0 {
		calls, err := parseJSON(m.ToolCalls)
		if err != nil {
			return nil, fmt.Errorf("tool_calls: %w", err)
		}
		t["tool_calls"] = calls
	}
	return t, nil
}

// GetAttribute is message.name.
func (t turn) GetAttribute(name string) (*exec.Value, bool) {
	if v, ok := t[name]; ok {
		return exec.ToValue(v), true
	}
	return exec.AsValue(missingNamed("message." + name)), true
}

// GetItem is message['name'].
func (t turn) GetItem(key any) (*exec.Value, bool) { return t.GetAttribute(fmt.Sprint(key)) }

// list is a Python list: it counts from its end, too.
type list []any

// GetItem is list[i].
func (l list) GetItem(key any) (*exec.Value, bool) {
	i, ok := key.(int)
	if !ok {
		return exec.AsValue(fmt.Errorf("a list has no %q", fmt.Sprint(key))), false
	}
	if i < 0 {
		i += len(l)
	}
	if i < 0 || i >= len(l) {
		return exec.AsValue(missingNamed(fmt.Sprintf("element %d of a list of %d", key, len(l)))), true
	}
	return exec.ToValue(l[i]), true
}

// number is a number of JSON that no int or float64 holds as it is written.
type number string

// parseJSON reads one document; objects keep the order of their keys.
func parseJSON(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := parseValue(d)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("found more after the JSON value")
	}
	return v, nil
}

func parseValue(d *json.Decoder) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Number:
		return parseNumber(string(t)), nil
	case json.Delim:
		if t == '[' {
			return parseList(d)
		}
		return parseObject(d)
	}
	return t, nil
}

// parseNumber makes an int of a whole number and a float of any other, as Python does.
func parseNumber(s string) any {
	if i, err := strconv.Atoi(s); err == nil {
		return i
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && strings.ContainsAny(s, ".eE") {
		return f
	}
	return number(s)
}

func parseList(d *json.Decoder) (any, error) {
	l := list{}
	for d.More() {
		v, err := parseValue(d)
		if err != nil {
			return nil, err
		}
		l = append(l, v)
	}
	_, err := d.Token()
	return l, err
}

func parseObject(d *json.Decoder) (any, error) {
	o := exec.NewDict()
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		v, err := parseValue(d)
		if err != nil {
			return nil, err
		}
		o.Pairs = append(o.Pairs, &exec.Pair{Key: exec.AsValue(key), Value: exec.ToValue(v)})
	}
	_, err := d.Token()
	return o, err
}

// pairs are the keys and values of a dictionary in their order.
func pairs(v *exec.Value) []exec.Pair {
	var all []exec.Pair
	switch d := v.Interface().(type) {
	case *exec.Dict:
		for _, p := range d.Pairs {
			all = append(all, *p)
		}
	case turn:
		for _, key := range turnKeys {
			if value, ok := d[key]; ok {
				all = append(all, exec.Pair{Key: exec.AsValue(key), Value: exec.ToValue(value)})
			}
		}
	default:
		for _, key := range v.Keys() {
			value, _ := v.GetItem(key.Interface())
			all = append(all, exec.Pair{Key: key, Value: value})
		}
	}
	return all
}
