package schema

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Decode writes the document into the struct that into points to; keys that are absent leave their fields as they are.
// The elements of lists and maps begin as those of elements that have their type, or zero. An empty list or map
// becomes nil. The error is of type Problems.
func (d *Document) Decode(into any, elements ...any) error {
	v := reflect.ValueOf(into).Elem()
	dec := decoder{Document: d, top: v.Type(), elements: map[reflect.Type]reflect.Value{}}
	for _, e := range elements {
		dec.elements[reflect.TypeOf(e)] = reflect.ValueOf(e)
	}
	if d.root != nil {
		dec.value(d.root, v, nil)
	}
	return dec.problems.Err()
}

type decoder struct {
	*Document
	top      reflect.Type
	elements map[reflect.Type]reflect.Value
	problems Problems
}

func (d *decoder) report(n *yaml.Node, format string, args ...any) {
	if len(d.problems) < mostProblems {
		d.problems = append(d.problems, d.problem(n, format, args...))
	}
}

// wrong reports a node that is not what it should be.
func (d *decoder) wrong(n *yaml.Node, path []string, want string) {
	d.report(n, "%s is %s, want %s", join(path...), describe(n), want)
}

// value decodes a node by the type of v.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path []string) {
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		if e, ok := d.elements[v.Type().Elem()]; ok {
			p.Elem().Set(e)
		}
		d.value(n, p.Elem(), path)
		v.Set(p)
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Map:
		d.mapping(n, v, path)
	case reflect.Slice:
		d.list(n, v, path)
	case reflect.Interface:
		if a := d.any(n, path); a != nil {
			v.Set(reflect.ValueOf(a))
		}
	default:
		d.scalar(n, v, path)
	}
}

// entries visits the keys of a mapping, each once.
func (d *decoder) entries(n *yaml.Node, path []string, want string, visit func(key, value *yaml.Node, path []string)) {
	if n.Kind != yaml.MappingNode {
		d.wrong(n, path, want)
		return
	}
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		here := append(path[:len(path):len(path)], clip(k.Value))
		first := seen[k.Value]
		switch {
		case k.Kind != yaml.ScalarNode || k.Tag == "!!null":
			d.report(k, "a key of %s is %s, want a word", orDocument(path), describe(k))
		case first != nil:
			d.report(k, "%s is given twice, first on line %d", join(here...), first.Line)
		default:
			seen[k.Value] = k
			visit(k, v, here)
		}
	}
}

func orDocument(path []string) string {
	if len(path) == 0 {
		return "the document"
	}
	return join(path...)
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value, path []string) {
	want := "keys and values (" + strings.Join(keys(v.Type()), ", ") + ")"
	d.entries(n, path, want, func(key, value *yaml.Node, here []string) {
		f, ok := findField(v.Type(), key.Value)
		if !ok {
			d.report(key, "%s", unknown(d.top, v.Type(), path, key.Value))
			return
		}
		d.value(value, v.FieldByIndex(f.index), here)
	})
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path []string) {
	v.SetZero()
	d.entries(n, path, "names and values", func(key, value *yaml.Node, here []string) {
		e := d.element(v.Type().Elem())
		d.value(value, e, here)
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		v.SetMapIndex(reflect.ValueOf(key.Value).Convert(v.Type().Key()), e)
	})
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path []string) {
	if n.Kind != yaml.SequenceNode {
		d.wrong(n, path, "a list")
		return
	}
	v.SetZero()
	called := segments(n)
	for i, c := range n.Content {
		e := d.element(v.Type().Elem())
		d.value(c, e, append(path[:len(path):len(path)], called[i]))
		v.Set(reflect.Append(v, e))
	}
}

func (d *decoder) element(t reflect.Type) reflect.Value {
	e := reflect.New(t).Elem()
	if begin, ok := d.elements[t]; ok {
		e.Set(begin)
	}
	return e
}

var (
	wholeNumber = regexp.MustCompile(`^[-+]?(0|[1-9][0-9_]*)$`)
	anyNumber   = regexp.MustCompile(`^[-+]?((0|[1-9][0-9_]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$`)
	// boolWords are booleans for older readers of YAML and words for newer ones.
	boolWords = regexp.MustCompile(`^(?i:y|yes|n|no|on|off)$`)
)

func quoted(n *yaml.Node) bool {
	return n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path []string) {
	switch v.Kind() {
	case reflect.String:
		if text, ok := d.text(n, path); ok {
			v.SetString(text)
		}
	case reflect.Bool:
		switch {
		case n.Kind == yaml.ScalarNode && !quoted(n) && boolWords.MatchString(n.Value):
			d.wrong(n, path, "true or false (yes, no, on and off are words here)")
		case n.Kind != yaml.ScalarNode || n.Tag != "!!bool":
			d.wrong(n, path, "true or false")
		default:
			v.SetBool(strings.EqualFold(n.Value, "true"))
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if digits, ok := d.digits(n, path); ok {
			x, err := strconv.ParseInt(digits, 10, v.Type().Bits())
			if err != nil {
				d.wrong(n, path, fmt.Sprintf("a whole number of %d bits", v.Type().Bits()))
			}
			v.SetInt(x)
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if digits, ok := d.digits(n, path); ok {
			x, err := strconv.ParseUint(digits, 10, v.Type().Bits())
			if err != nil {
				d.wrong(n, path, fmt.Sprintf("a whole number from 0 to %d", uint64(math.MaxUint64)>>(64-v.Type().Bits())))
			}
			v.SetUint(x)
		}
	case reflect.Float32, reflect.Float64:
		if x, ok := number(n); ok {
			v.SetFloat(x)
		} else {
			d.wrong(n, path, "a finite number")
		}
	default:
		panic(fmt.Sprintf("schema: %s is of type %s, which YAML has no form for", join(path...), v.Type()))
	}
}

// text reads a string. What a reader of YAML might take for something else has to stand in quotes.
func (d *decoder) text(n *yaml.Node, path []string) (string, bool) {
	switch {
	case n.Kind != yaml.ScalarNode:
		d.wrong(n, path, "a string")
	case quoted(n):
		return n.Value, true
	case n.Tag == "!!null":
		d.wrong(n, path, `a string ("" for none)`)
	case n.Tag == "!!bool" || n.Tag == "!!int" || n.Tag == "!!float" || boolWords.MatchString(n.Value):
		d.wrong(n, path, fmt.Sprintf("a string: in quotes, %q, if it is meant", clip(n.Value)))
	default:
		return n.Value, true
	}
	return "", false
}

func (d *decoder) digits(n *yaml.Node, path []string) (string, bool) {
	if n.Kind != yaml.ScalarNode || quoted(n) || !wholeNumber.MatchString(n.Value) {
		d.wrong(n, path, "a whole number")
		return "", false
	}
	return strings.ReplaceAll(n.Value, "_", ""), true
}

func number(n *yaml.Node) (float64, bool) {
	if n.Kind != yaml.ScalarNode || quoted(n) || !anyNumber.MatchString(n.Value) {
		return 0, false
	}
	x, err := strconv.ParseFloat(strings.ReplaceAll(n.Value, "_", ""), 64)
	return x, err == nil
}

// any decodes by what the node is: nil, bool, int, float64, string, []any or map[string]any.
func (d *decoder) any(n *yaml.Node, path []string) any {
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		d.entries(n, path, "", func(key, value *yaml.Node, here []string) { m[key.Value] = d.any(value, here) })
		return m
	case yaml.SequenceNode:
		list := []any{}
		for i, c := range n.Content {
			list = append(list, d.any(c, append(path[:len(path):len(path)], strconv.Itoa(i))))
		}
		return list
	}
	switch x, isNumber := number(n); {
	case quoted(n):
		return n.Value
	case n.Tag == "!!null":
		return nil
	case n.Tag == "!!bool":
		return strings.EqualFold(n.Value, "true")
	case wholeNumber.MatchString(n.Value):
		whole, err := strconv.Atoi(strings.ReplaceAll(n.Value, "_", ""))
		if err != nil {
			d.wrong(n, path, "a whole number of 64 bits")
		}
		return whole
	case isNumber:
		return x
	case n.Tag == "!!int" || n.Tag == "!!float":
		d.wrong(n, path, "a finite number in decimal digits")
	case boolWords.MatchString(n.Value):
		d.wrong(n, path, fmt.Sprintf("true or false, or in quotes, %q, the word", n.Value))
	}
	return n.Value
}

// describe says in a few words what a node is.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case quoted(n):
		return strconv.Quote(clip(n.Value))
	case n.Tag == "!!null":
		return "empty"
	}
	return clip(n.Value)
}
