package schema

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Encode writes a struct with all its fields in their order, and maps sorted by key: equal structs give equal text, and
// Decode reads it back.
func Encode(v any) ([]byte, error) {
	n, err := encode(reflect.ValueOf(v))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(n); err != nil {
		return nil, err
	}
	return b.Bytes(), e.Close()
}

func encode(v reflect.Value) (*yaml.Node, error) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}, nil
		}
		return encode(v.Elem())
	case reflect.Struct:
		return encodeStruct(v)
	case reflect.Map:
		return encodeMap(v)
	case reflect.Slice:
		return encodeList(v)
	case reflect.Float32, reflect.Float64, reflect.String, reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n := &yaml.Node{}
		return n, n.Encode(v.Interface())
	}
	return nil, fmt.Errorf("schema: no YAML for type %s", v.Type())
}

func encodeStruct(v reflect.Value) (*yaml.Node, error) {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fields(v.Type()) {
		if x := v.FieldByIndex(f.index); x.Kind() != reflect.Pointer || !x.IsNil() {
			if err := add(n, reflect.ValueOf(f.key), x); err != nil {
				return nil, err
			}
		}
	}
	return n, nil
}

func encodeMap(v reflect.Value) (*yaml.Node, error) {
	n := &yaml.Node{Kind: yaml.MappingNode}
	sorted := v.MapKeys()
	slices.SortFunc(sorted, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	for _, k := range sorted {
		if err := add(n, k, v.MapIndex(k)); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func add(n *yaml.Node, key, value reflect.Value) error {
	for _, x := range []reflect.Value{key, value} {
		c, err := encode(x)
		if err != nil {
			return err
		}
		n.Content = append(n.Content, c)
	}
	return nil
}

func encodeList(v reflect.Value) (*yaml.Node, error) {
	n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for i := range v.Len() {
		c, err := encode(v.Index(i))
		if err != nil {
			return nil, err
		}
		if c.Kind != yaml.ScalarNode {
			n.Style = 0
		}
		n.Content = append(n.Content, c)
	}
	return n, nil
}
