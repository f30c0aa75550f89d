package source

import "strings"

// kind is what a column or field holds.
type kind int

const (
	isText kind = iota
	isMessages
	isTokens
)

func (k kind) String() string {
	return [...]string{"a string", "a list of {role, content}", "a list of token ids"}[k]
}

// field is a column or JSON field that can be the document.
type field struct {
	name string
	kind kind
}

// fields lists what may be the document, the best first.
func (s Spec) fields() []field {
	switch {
	case s.Text != "":
		return []field{{s.Text, isText}}
	case s.Messages != "":
		return []field{{s.Messages, isMessages}}
	case s.Tokens != "":
		return []field{{s.Tokens, isTokens}}
	}
	return []field{{"text", isText}, {"messages", isMessages}}
}

// fieldNames lists them for an error: "text" or "messages".
func fieldNames(fields []field) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = `"` + f.name + `"`
	}
	return strings.Join(names, " or ")
}
