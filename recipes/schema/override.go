package schema

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Set applies an override, key.sub=value, to the document of a struct like the one given. Elements of lists go by their
// index or name. Strings are taken as they are; a list of words may be written [a,b] or a,b; everything else is
// YAML.
func (d *Document) Set(override string, like any) error {
	d.sets = append(d.sets, override)
	s := setter{Document: d, top: reflect.TypeOf(like), mark: &yaml.Node{Line: -len(d.sets)}}
	key, value, ok := strings.Cut(override, "=")
	switch {
	case !ok || key == "":
		s.fail("want key=value")
	case !utf8.ValidString(override) || len(override) > MaxBytes:
		s.fail("want valid UTF-8 of at most %d bytes", MaxBytes)
	case strings.Count(key, ".") >= maxDepth:
		s.fail("the key has more than %d parts", maxDepth)
	default:
		s.walk(strings.Split(key, "."), value)
	}
	return s.problems.Err()
}

// Remove takes a key of a mapping out of the document, if it is there.
func (d *Document) Remove(path ...string) {
	last := len(path) - 1
	n, _, whole := d.find(path[:last])
	if !whole || n.Kind != yaml.MappingNode {
		return
	}
	if i := keyIndex(n, path[last]); i >= 0 {
		n.Content = slices.Delete(n.Content, i, i+2)
	}
}

type setter struct {
	*Document
	top      reflect.Type
	mark     *yaml.Node // has the line of the override
	problems Problems
}

func (s *setter) fail(format string, args ...any) {
	s.problems = append(s.problems, s.problem(s.mark, format, args...))
}

// walk goes down to the node at path, making mappings where there are none, and puts value there.
func (s *setter) walk(path []string, value string) {
	n, t := s.root, s.top
	for i, seg := range path {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		parent := path[:i]
		var next *yaml.Node
		switch {
		case t.Kind() == reflect.Struct:
			f, ok := findField(t, seg)
			if !ok {
				s.fail("%s", unknown(s.top, t, parent, seg))
				return
			}
			next, t = s.child(n, parent, seg), f.typ
		case t.Kind() == reflect.Slice || t.Kind() == reflect.Interface && n.Kind == yaml.SequenceNode:
			next = s.element(n, parent, seg)
			if t.Kind() == reflect.Slice {
				t = t.Elem()
			}
		case t.Kind() == reflect.Map:
			next, t = s.child(n, parent, seg), t.Elem()
		case t.Kind() == reflect.Interface:
			next = s.child(n, parent, seg)
		default:
			s.fail("%s is one value and has no part %s", join(parent...), clip(seg))
			return
		}
		if next == nil {
			return
		}
		n = next
	}
	s.put(n, t, value)
}

// child finds a key of a mapping, or adds it.
func (s *setter) child(n *yaml.Node, path []string, key string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		if n.Kind != 0 && n.Tag != "!!null" {
			s.fail("%s is %s, want a mapping to set %s in", join(path...), describe(n), clip(key))
			return nil
		}
		*n = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: s.mark.Line}
	}
	if found := entry(n, key); found != nil {
		return found
	}
	if key == "" {
		s.fail("the key has an empty part")
		return nil
	}
	k := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: key, Line: s.mark.Line}
	v := &yaml.Node{Line: s.mark.Line}
	n.Content = append(n.Content, k, v)
	return v
}

// element finds an element of a list.
func (s *setter) element(n *yaml.Node, path []string, seg string) *yaml.Node {
	if n.Kind == yaml.SequenceNode {
		if found := item(n, seg); found != nil {
			return found
		}
	}
	var names []string
	if n.Kind == yaml.SequenceNode {
		names = segments(n)
		names = names[:min(len(names), mostProblems)]
	}
	if len(names) == 0 {
		s.fail("%s has no elements, want all of it, %s=[…]", join(path...), join(path...))
		return nil
	}
	s.fail("%s has no element %s, want %s or 0 to %d", join(path...), clip(seg), strings.Join(names, ", "), len(n.Content)-1)
	return nil
}

// put replaces a node by what the value is for its type.
func (s *setter) put(n *yaml.Node, t reflect.Type, value string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.String:
		*n = *s.word(value)
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String:
		*n = *s.words(value)
	default:
		if strings.TrimSpace(value) == "" {
			*n = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Line: s.mark.Line}
			return
		}
		parsed, p := parse([]byte(value))
		if p != nil {
			s.fail("%s", p.Text)
			return
		}
		s.place(parsed)
		*n = *parsed
	}
}

func (s *setter) word(value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: value, Line: s.mark.Line}
}

// words splits a list of words.
func (s *setter) words(value string) *yaml.Node {
	list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: s.mark.Line}
	value = strings.TrimSpace(value)
	if strings.HasPrefix(value, "[") && strings.HasSuffix(value, "]") {
		value = value[1 : len(value)-1]
	}
	if strings.TrimSpace(value) == "" {
		return list
	}
	for word := range strings.SplitSeq(value, ",") {
		word = strings.TrimSpace(word)
		for _, q := range []string{`"`, `'`} {
			if len(word) > 1 && strings.HasPrefix(word, q) && strings.HasSuffix(word, q) {
				word = word[1 : len(word)-1]
			}
		}
		list.Content = append(list.Content, s.word(word))
	}
	return list
}

// place gives a tree the line of the override.
func (s *setter) place(n *yaml.Node) {
	n.Line = s.mark.Line
	for _, c := range n.Content {
		s.place(c)
	}
}

// Explain places an error about the part at path of a struct like the one given. Where the message begins with a key of
// that part, such as "optimizer.lr is …" or "layer_types[3] is …", the place is that key's, and the key is spelled in full.
func (d *Document) Explain(like any, path []string, message string) Problem {
	key, rest, _ := strings.Cut(message, " ")
	word, isColon := strings.CutSuffix(key, ":")
	if isColon {
		rest = ": " + rest
	} else {
		rest = " " + rest
	}
	// name[3] and name.3 are the same key.
	below := strings.Split(strings.ReplaceAll(strings.ReplaceAll(word, "]", ""), "[", "."), ".")
	if t, ok := typeAt(reflect.TypeOf(like), path); ok {
		if _, ok := typeAt(t, below); ok && t.Kind() != reflect.Interface && key != "" {
			full := append(slices.Clone(path), below...)
			_, place, _ := d.find(full)
			return d.problem(place, "%s%s", join(full...), rest)
		}
	}
	if len(path) == 0 {
		return d.problem(nil, "%s", message)
	}
	_, place, _ := d.find(path)
	return d.problem(place, "%s: %s", join(path...), message)
}

// Name is how element i of the list at path is called in paths: its name, or its index.
func (d *Document) Name(i int, path ...string) string {
	if n, _, whole := d.find(path); whole && n != nil && n.Kind == yaml.SequenceNode && i < len(n.Content) {
		return segments(n)[i]
	}
	return strconv.Itoa(i)
}
