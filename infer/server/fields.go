package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
)

// parse reads the one JSON object of a body into a struct. Fields that it does not have are errors.
func parse(body []byte, into any) error {
	if !utf8.Valid(body) {
		at := 0
		for r, n := utf8.DecodeRune(body); r != utf8.RuneError || n > 1; r, n = utf8.DecodeRune(body[at:]) {
			at += n
		}
		return invalidJSON("byte %d of the body is not UTF-8", at)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return explain(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return invalidJSON("the body goes on after its JSON object, at byte %d", d.InputOffset())
	}
	return nil
}

func invalidJSON(format string, args ...any) *apiError {
	return newError(400, typeInvalid, "invalid_json", format, args...)
}

// explain says in the words of this API what the decoder found.
func explain(err error) error {
	var (
		known  *apiError
		syntax *json.SyntaxError
		wrong  *json.UnmarshalTypeError
	)
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &syntax):
		return invalidJSON("the body is not JSON: at byte %d: %v", syntax.Offset, err)
	case errors.Is(err, io.EOF):
		return invalidJSON("the body is empty, want a JSON object")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return invalidJSON("the body ends within its JSON object")
	case errors.As(err, &wrong) && wrong.Field == "":
		return invalidJSON("the body is a JSON %s, want an object", wrong.Value)
	case errors.As(err, &wrong):
		field := strings.TrimPrefix(wrong.Field, embedded)
		return invalid(field, "%s is a %s, want %s", field, wrong.Value, kindOf(wrong.Type))
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		name = strings.Trim(name, `"`)
		e := invalid(name, "this server knows no field %q", name)
		*e.Code = "unknown_parameter"
		return e
	}
	return invalidJSON("the body cannot be read: %v", err)
}

// embedded is how the decoder names the struct of common settings within a request.
const embedded = "settings."

// kindOf says what values a Go type takes.
func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int, reflect.Int64:
		return "a whole number below 2^63"
	case reflect.Int32:
		return "token ids"
	case reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "a list"
	}
	return "an object"
}

// first returns the first byte of a JSON value behind the opening of a list, if it is one.
func first(data []byte) (list bool, b byte) {
	data = bytes.TrimSpace(data)
	if len(data) > 0 && data[0] == '[' {
		list, data = true, bytes.TrimSpace(data[1:])
	}
	if len(data) > 0 {
		b = data[0]
	}
	return list, b
}

func isNull(data []byte) bool { return string(data) == "null" }

// promptField is one prompt or several, as text or as token ids; one of the two is empty.
type promptField struct {
	texts []string
	ids   [][]int32
}

func (p *promptField) len() int { return len(p.texts) + len(p.ids) }

func (p *promptField) UnmarshalJSON(data []byte) error {
	if isNull(data) {
		return nil
	}
	list, b := first(data)
	var err error
	switch {
	case !list && b == '"':
		p.texts = make([]string, 1)
		err = json.Unmarshal(data, &p.texts[0])
	case list && b == '"':
		var texts []*string
		err = json.Unmarshal(data, &texts)
		for i, t := range texts {
			if t == nil {
				return invalid("prompt", "prompt[%d] is null, want a string", i)
			}
			p.texts = append(p.texts, *t)
		}
	case list && b == '[':
		err = json.Unmarshal(data, &p.ids)
	case list && b != ']':
		p.ids = make([][]int32, 1)
		err = json.Unmarshal(data, &p.ids[0])
	default:
		err = errors.New("neither")
	}
	if err != nil || len(p.ids) > 0 && bytes.Contains(data, []byte("null")) { // which the decoder takes for 0
		return invalid("prompt", "prompt must be a string, a list of strings, a list of token ids, or a list of such lists")
	}
	return nil
}

// stopField is one stop string or several.
type stopField []string

func (s *stopField) UnmarshalJSON(data []byte) error {
	var many []*string
	switch list, b := first(data); {
	case isNull(data):
		return nil
	case !list && b == '"':
		many = make([]*string, 1)
		if err := json.Unmarshal(data, &many[0]); err != nil {
			return err
		}
	case !list || json.Unmarshal(data, &many) != nil || slices.Contains(many, nil):
		return invalid("stop", "stop must be a string or a list of strings")
	}
	for _, t := range many {
		*s = append(*s, *t)
	}
	return nil
}

// contentField is what a message says: a text, or parts that are texts.
type contentField struct {
	text  string
	given bool
}

func (c *contentField) UnmarshalJSON(data []byte) error {
	list, b := first(data)
	switch {
	case isNull(data):
		return nil
	case !list && b == '"':
		c.given = true
		return json.Unmarshal(data, &c.text)
	case !list:
		return invalid("messages", "the content of a message must be a string or a list of text parts")
	}
	var parts []struct {
		Type string  `json:"type"`
		Text *string `json:"text"`
	}
	if json.Unmarshal(data, &parts) != nil {
		return invalid("messages", "the content of a message must be a string or a list of text parts")
	}
	var texts []string
	for _, p := range parts {
		if p.Type != "text" || p.Text == nil {
			return unsupported("messages", "a message has a part of type %q; this server takes text alone", p.Type)
		}
		texts = append(texts, *p.Text)
	}
	c.text, c.given = strings.Join(texts, "\n"), len(texts) > 0
	return nil
}

// neutral is a field that may be there as long as it asks for nothing.
type neutral struct{ raw json.RawMessage }

func (n *neutral) UnmarshalJSON(data []byte) error {
	n.raw = bytes.Clone(data)
	return nil
}

// asks tells whether the value is other than null, nothing, zero, and those given.
func (n neutral) asks(but ...string) bool {
	var small bytes.Buffer
	if len(n.raw) == 0 || json.Compact(&small, n.raw) != nil {
		return false
	}
	nothing := []string{"null", "false", "0", "0.0", `""`, "[]", "{}"}
	return !slices.Contains(nothing, small.String()) && !slices.Contains(but, small.String())
}
