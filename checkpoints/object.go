package checkpoints

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/gojet/gojet/checkpoints/internal/strictjson"
)

// object reads the members of a JSON object by key and remembers the first thing that is wrong.
type object struct {
	name    string // of the object in errors, "" for the document
	members map[string]json.RawMessage
	err     error
}

// parseObject reads a document that must be one object.
func parseObject(data []byte) (*object, error) {
	if err := strictjson.Check(data); err != nil {
		return nil, err
	}
	o := &object{}
	return o, o.fill(data)
}

func (o *object) fill(data []byte) error {
	if err := json.Unmarshal(data, &o.members); err != nil || o.members == nil {
		return o.wrong("", "an object", data)
	}
	return nil
}

// wrong says what stands at key and what should.
func (o *object) wrong(key, want string, found json.RawMessage) error {
	const most = 60
	text := strings.Join(strings.Fields(string(found)), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return fmt.Errorf("%sis %s, want %s", o.path(key), text, want)
}

// path is the full name of a key, followed by a space.
func (o *object) path(key string) string {
	switch {
	case o.name == "" && key == "":
		return ""
	case o.name == "":
		return key + " "
	case key == "":
		return o.name + " "
	}
	return o.name + "." + key + " "
}

func (o *object) fail(err error) {
	if o.err == nil {
		o.err = err
	}
}

// has tells whether key is there and not null.
func (o *object) has(key string) bool {
	raw, ok := o.members[key]
	return ok && string(raw) != "null"
}

// present tells whether key is there, if only as null.
func (o *object) present(key string) bool {
	_, ok := o.members[key]
	return ok
}

// need fails unless all keys are there.
func (o *object) need(keys ...string) {
	for _, key := range keys {
		if !o.has(key) {
			o.fail(fmt.Errorf("%sis missing", o.path(key)))
		}
	}
}

// only fails if there is another key.
func (o *object) only(keys ...string) {
	for key := range o.members {
		if !slices.Contains(keys, key) {
			o.fail(fmt.Errorf("%sis unknown, want only %s", o.path(key), strings.Join(keys, ", ")))
		}
	}
}

// value reads key, or returns otherwise where it is absent or null.
func value[T any](o *object, key, want string, otherwise T) T {
	if !o.has(key) {
		return otherwise
	}
	var v T
	if err := json.Unmarshal(o.members[key], &v); err != nil {
		o.fail(o.wrong(key, want, o.members[key]))
		return otherwise
	}
	return v
}

func (o *object) int(key string, otherwise int) int {
	return value(o, key, "a whole number", otherwise)
}

func (o *object) float(key string, otherwise float64) float64 {
	return value(o, key, "a finite number", otherwise)
}

func (o *object) bool(key string, otherwise bool) bool {
	return value(o, key, "true or false", otherwise)
}

func (o *object) string(key, otherwise string) string {
	return value(o, key, "a string", otherwise)
}

// floatOrText reads a number that may be written as a string.
func (o *object) floatOrText(key string, otherwise float64) float64 {
	var text string
	if !o.has(key) || json.Unmarshal(o.members[key], &text) != nil {
		return o.float(key, otherwise)
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		o.fail(o.wrong(key, "a finite number", o.members[key]))
	}
	return v
}

// ints reads a number or a list of numbers.
func (o *object) ints(key string) []int {
	var one int
	if o.has(key) && json.Unmarshal(o.members[key], &one) == nil {
		return []int{one}
	}
	const want = "a whole number or a list of them"
	var list []int
	for _, v := range value[[]*int](o, key, want, nil) {
		if v == nil {
			o.fail(o.wrong(key, want, o.members[key]))
			return nil
		}
		list = append(list, *v)
	}
	return list
}

// object reads a member that is an object itself, nil where it is absent or null.
func (o *object) object(key string) *object {
	if !o.has(key) {
		return nil
	}
	inner := &object{name: strings.TrimSpace(o.path(key))}
	if err := inner.fill(o.members[key]); err != nil {
		o.fail(err)
		return nil
	}
	return inner
}
