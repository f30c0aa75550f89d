// Package prompt makes texts of documents: a task's templates filled in, the examples chosen, and both put together
// as lm-evaluation-harness does it.
package prompt

import (
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/gojet/gojet/datasets/chat"
)

// Template is a value of a task file that depends on the document: the name of a field, a Jinja template, a constant, or
// a list of texts.
type Template struct {
	key      string // of the task file, for errors
	source   any
	template *chat.Text // where the source is a text
}

// New parses a value; nil gives nil.
func New(key string, source any) (*Template, error) {
	t := &Template{key: key, source: source}
	switch s := source.(type) {
	case nil:
		return nil, nil
	case string:
		var err error
		if t.template, err = chat.NewText(s, filters()); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	case int, float64, bool, []any:
	case map[string]any:
		return nil, fmt.Errorf("%s is a mapping, want a text, a number or a list", key)
	default:
		return nil, fmt.Errorf("%s is %v, want a text, a number or a list", key, source)
	}
	return t, nil
}

// Value fills the template for a document.
func (t *Template) Value(doc map[string]any) (any, error) { return t.Call(doc, nil) }

// Call is Value with functions that the template may call.
func (t *Template) Call(doc map[string]any, functions map[string]chat.Function) (any, error) {
	if t.template == nil {
		return t.source, nil
	}
	if v, ok := doc[t.source.(string)]; ok {
		return v, nil
	}
	if _, taken := doc["doc"]; !taken { // names that are no identifiers are reached by doc['a name']
		doc = maps.Clone(doc)
		doc["doc"] = maps.Clone(doc)
	}
	v, err := t.template.Value(doc, functions)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.key, err)
	}
	return v, nil
}

// isField tells whether the value is simply that of a field.
func (t *Template) isField(doc map[string]any) bool {
	name, ok := t.source.(string)
	if ok {
		_, ok = doc[name]
	}
	return ok
}

// Text is the value as text.
func (t *Template) Text(doc map[string]any) (string, error) {
	v, err := t.Value(doc)
	if err != nil {
		return "", err
	}
	return Spell(v), nil
}

// Texts is the value as a list of texts.
func (t *Template) Texts(doc map[string]any) ([]string, error) {
	v, err := t.Value(doc)
	if err != nil {
		return nil, err
	}
	l, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("%s is %.60q, want a list", t.key, Spell(v))
	}
	texts := make([]string, len(l))
	for i, e := range l {
		texts[i] = Spell(e)
	}
	return texts, nil
}

// Spell writes a value as Python's str does.
func Spell(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case int:
		return strconv.Itoa(v)
	case float64:
		s := strconv.FormatFloat(v, 'g', -1, 64)
		if !strings.ContainsAny(s, ".en") {
			s += ".0"
		}
		return s
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = Spell(e)
			if s, ok := e.(string); ok {
				parts[i] = quote(s)
			}
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprint(v)
}

// quote is Python's repr of a text of printable characters.
func quote(s string) string {
	q := "'"
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		q = `"`
	}
	return q + strings.NewReplacer(`\`, `\\`, q, `\`+q, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + q
}
