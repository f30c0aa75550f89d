package suite

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of a task file, which may come from strangers.
const (
	maxBytes    = 4 << 20
	maxIncludes = 8
)

// keys of a file, in the order in which they came, with the file that each is from.
type keys map[string]*yaml.Node

// read returns the keys of a file with those of the files that it includes below them.
func read(files fs.FS, name string, depth int) (keys, error) {
	if depth > maxIncludes {
		return nil, fmt.Errorf("files include each other deeper than %d", maxIncludes)
	}
	data, err := fs.ReadFile(files, name)
	if err != nil {
		return nil, err
	}
	if len(data) > maxBytes {
		return nil, fmt.Errorf("has %d bytes, want at most %d", len(data), maxBytes)
	}
	own, err := parse(data)
	if err != nil {
		return nil, err
	}
	include := own["include"]
	delete(own, "include")
	if include == nil {
		return own, nil
	}
	at := path.Join(path.Dir(name), include.Value)
	if include.Kind != yaml.ScalarNode || !fs.ValidPath(at) {
		return nil, fmt.Errorf("line %d: include is %q, want the name of a file", include.Line, include.Value)
	}
	all, err := read(files, at, depth+1)
	if err != nil {
		return nil, fmt.Errorf("line %d: include %s: %w", include.Line, at, err)
	}
	for key, n := range own {
		all[key] = n
	}
	return all, nil
}

// parse reads a file's mapping.
func parse(data []byte) (keys, error) {
	var doc yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&doc); err != nil {
		return nil, oneLine(err)
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("is no mapping of keys, as a task is")
	}
	return mapping(doc.Content[0])
}

func mapping(n *yaml.Node) (keys, error) {
	if n.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: want a mapping of keys", n.Line)
	}
	all := keys{}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if _, twice := all[key.Value]; twice {
			return nil, fmt.Errorf("line %d: the key %q comes twice", key.Line, key.Value)
		}
		if err := plainYAML(value, 0); err != nil {
			return nil, fmt.Errorf("%s: %w", key.Value, err)
		}
		all[key.Value] = value
	}
	return all, nil
}

// plainYAML refuses what tasks have no use for: calls of Python, and aliases, by which a short file can stand for a huge one.
func plainYAML(n *yaml.Node, depth int) error {
	switch {
	case strings.HasPrefix(n.Tag, "!function"):
		return fmt.Errorf("line %d: !function %s is a function of Python: say what it does by templates", n.Line, n.Value)
	case n.Kind == yaml.AliasNode:
		return fmt.Errorf("line %d: aliases are not supported", n.Line)
	case depth > 32:
		return fmt.Errorf("line %d: nested too deep", n.Line)
	}
	for _, c := range n.Content {
		if err := plainYAML(c, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// decode fills a structure from keys. A key that it does not have is an error.
func decode(all keys, into any) error {
	known := yamlKeys(reflect.TypeOf(into).Elem())
	node := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for key, value := range all {
		if !slices.Contains(known, key) {
			return fmt.Errorf("line %d: %q is no key of a task", value.Line, key)
		}
		node.Content = append(node.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key, Line: value.Line}, value)
	}
	if err := node.Decode(into); err != nil {
		return oneLine(err)
	}
	for key, nested := range map[string]any{"fewshot_config": &Fewshot{}, "process_docs": &Process{}, "generated": &Generated{}} {
		if n := all[key]; n != nil && n.Kind == yaml.MappingNode {
			for i := 0; i < len(n.Content); i += 2 {
				if name := n.Content[i]; !slices.Contains(yamlKeys(reflect.TypeOf(nested).Elem()), name.Value) {
					return fmt.Errorf("line %d: %s has no key %q", name.Line, key, name.Value)
				}
			}
		}
	}
	return nil
}

// yamlKeys lists the keys of a structure.
func yamlKeys(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		name, options, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		switch {
		case options == "inline":
			names = append(names, yamlKeys(t.Field(i).Type)...)
		case name != "-":
			names = append(names, name)
		}
	}
	return names
}

func oneLine(err error) error {
	return errors.New(strings.Join(strings.Fields(strings.TrimPrefix(err.Error(), "yaml: ")), " "))
}
