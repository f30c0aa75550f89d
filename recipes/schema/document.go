package schema

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Limits of a document. A recipe needs a few kilobytes and six levels.
const (
	MaxBytes = 64 << 10
	maxDepth = 32
)

// Document is the text of a YAML file as a tree, perhaps with overrides. The zero Document is empty and has no lines.
type Document struct {
	file string
	root *yaml.Node
	sets []string // the overrides; nodes of the i-th have line -(i+1)
}

// Parse reads a text of one document, a mapping. Aliases, anchors and tags are refused: nothing in a recipe
// needs them, and without them the text means what it says.
func Parse(file string, text []byte) (*Document, error) {
	root, p := parse(text)
	if p == nil && root.Kind != yaml.MappingNode {
		p = &Problem{Line: root.Line, Text: fmt.Sprintf("the document is %s, want keys and values", describe(root))}
	}
	if p != nil {
		p.File = file
		return nil, Problems{*p}
	}
	return &Document{file: file, root: root}, nil
}

// parse returns the root of the only document in text.
func parse(text []byte) (root *yaml.Node, p *Problem) {
	if len(text) > MaxBytes {
		return nil, &Problem{Text: fmt.Sprintf("the document has %d bytes, want at most %d", len(text), MaxBytes)}
	}
	defer func() { // the parser is not ours: whatever it does on odd text is an error of the text
		if r := recover(); r != nil {
			root, p = nil, &Problem{Text: fmt.Sprintf("the document is no YAML: %v", r)}
		}
	}()
	d := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, &Problem{Text: "the document is empty, want keys and values"}
	case err != nil:
		return nil, syntax(text, err)
	}
	switch err := d.Decode(&more); {
	case err == nil:
		return nil, &Problem{Line: more.Line, Text: "a second document begins, want one in a file"}
	case !errors.Is(err, io.EOF):
		return nil, syntax(text, err)
	}
	return doc.Content[0], plain(doc.Content[0], 0)
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)

// syntax turns the parser's error into a problem with its line.
func syntax(text []byte, err error) *Problem {
	p := &Problem{Line: 1, Text: strings.TrimPrefix(err.Error(), "yaml: ")}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		p.Line, _ = strconv.Atoi(m[1])
		p.Text = err.Error()[len(m[0]):]
	}
	for i, line := range bytes.Split(text, []byte("\n")) {
		indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
		if near := i + 1 - p.Line; near >= -1 && near <= 1 && len(indent) < len(line) && bytes.ContainsRune(indent, '\t') {
			return &Problem{Line: i + 1, Text: "a tab in the indentation, want spaces"}
		}
	}
	p.Text = "no YAML: " + p.Text
	if strings.Contains(p.Text, "alphabetic or numeric character") { // what the scanner asks for after * and &
		p.Text += " (a pattern that begins with * stands in quotes)"
	}
	return p
}

// plain refuses what makes a tree more than its text: aliases, tags, merged mappings, and great depth.
func plain(n *yaml.Node, depth int) *Problem {
	switch {
	case depth > maxDepth:
		return &Problem{Line: n.Line, Text: fmt.Sprintf("nested deeper than %d levels", maxDepth)}
	case n.Kind == yaml.AliasNode:
		return &Problem{Line: n.Line, Text: fmt.Sprintf("alias *%s, want the value itself (in quotes if the star belongs to it)", clip(n.Value))}
	case n.Anchor != "":
		return &Problem{Line: n.Line, Text: fmt.Sprintf("anchor &%s, want the value alone (in quotes if the ampersand belongs to it)", clip(n.Anchor))}
	case n.Style&yaml.TaggedStyle != 0:
		return &Problem{Line: n.Line, Text: fmt.Sprintf("tag %s, want the value alone (in quotes if the exclamation mark belongs to it)", clip(n.Tag))}
	case n.Tag == "!!merge":
		return &Problem{Line: n.Line, Text: "merge key <<, want the keys themselves"}
	}
	for _, c := range n.Content {
		if p := plain(c, depth+1); p != nil {
			return p
		}
	}
	return nil
}

// entry returns the value of key in a mapping, nil where it is absent. Keys given twice are a matter of decode.
func entry(n *yaml.Node, key string) *yaml.Node {
	if i := keyIndex(n, key); i >= 0 {
		return n.Content[i+1]
	}
	return nil
}

func keyIndex(n *yaml.Node, key string) int {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return i
		}
	}
	return -1
}

// item finds an element of a list by its index, or by its name where elements have names.
func item(n *yaml.Node, seg string) *yaml.Node {
	for _, e := range n.Content {
		if name(e) == seg {
			return e
		}
	}
	if i, err := strconv.Atoi(seg); err == nil && i >= 0 && i < len(n.Content) && strconv.Itoa(i) == seg {
		return n.Content[i]
	}
	return nil
}

// name is what an element of a list is called, "" if nothing.
func name(n *yaml.Node) string {
	if n.Kind != yaml.MappingNode {
		return ""
	}
	if v := entry(n, "name"); v != nil && v.Kind == yaml.ScalarNode {
		return v.Value
	}
	return ""
}

// segments are how the elements of a list are called in paths: by name, where that is a word that no other has, or index.
func segments(list *yaml.Node) []string {
	times := map[string]int{}
	for _, e := range list.Content {
		times[name(e)]++
	}
	called := make([]string, len(list.Content))
	for i, e := range list.Content {
		called[i] = name(e)
		if own := called[i]; own == "" || times[own] > 1 || strings.ContainsAny(own, ". \t\r\n=") || len(own) > 60 {
			called[i] = strconv.Itoa(i)
		}
	}
	return called
}

// problem is one at a node.
func (d *Document) problem(n *yaml.Node, format string, args ...any) Problem {
	p := Problem{File: d.file, Text: fmt.Sprintf(format, args...)}
	switch {
	case n == nil:
	case n.Line > 0:
		p.Line = n.Line
	case n.Line < 0:
		p.Override = d.sets[-n.Line-1]
	}
	return p
}

// find follows a path as far as it goes: the last node on the way, and the node to name as its place. That is the key, which
// stands on the line one looks for, unless an override put the value there.
func (d *Document) find(path []string) (n, place *yaml.Node, whole bool) {
	n, place = d.root, d.root
	for _, seg := range path {
		if n == nil {
			return n, place, false
		}
		switch n.Kind {
		case yaml.MappingNode:
			i := keyIndex(n, seg)
			if i < 0 {
				return n, place, false
			}
			n, place = n.Content[i+1], n.Content[i]
		case yaml.SequenceNode:
			next := item(n, seg)
			if next == nil {
				return n, place, false
			}
			n, place = next, next
		default:
			return n, place, false
		}
		if n.Line < 0 {
			place = n
		}
	}
	return n, place, true
}
