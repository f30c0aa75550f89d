package metrics

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/gojet/gojet/evals/metrics/python"
)

// reader takes a metric's options by name and keeps the first error.
type reader struct {
	options map[string]any
	err     error
}

func (o *reader) fail(err error) {
	if o.err == nil {
		o.err = err
	}
}

func (o *reader) take(key string) (any, bool) {
	v, ok := o.options[key]
	delete(o.options, key)
	return v, ok && v != nil
}

func (o *reader) truth(key string) bool {
	v, ok := o.take(key)
	if !ok {
		return false
	}
	b, ok := v.(bool)
	if !ok {
		o.fail(fmt.Errorf("%s is %v, want true or false", key, v))
	}
	return b
}

func (o *reader) regexps(key string) []*python.Regexp {
	v, ok := o.take(key)
	if !ok {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		o.fail(fmt.Errorf("%s is %v, want a list of patterns", key, v))
	}
	var res []*python.Regexp
	for i, p := range list {
		s, ok := p.(string)
		if !ok {
			o.fail(fmt.Errorf("%s[%d] is %v, want a pattern", key, i, p))
			continue
		}
		re, err := python.Compile(s)
		if err != nil {
			o.fail(fmt.Errorf("%s[%d]: %w", key, i, err))
		}
		res = append(res, re)
	}
	return res
}

// numbers reads one number or a list of them, each at least 1.
func (o *reader) numbers(key string) []int {
	v, ok := o.take(key)
	if !ok {
		return []int{1}
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var ns []int
	for _, x := range list {
		n, ok := x.(int)
		if !ok || n < 1 {
			o.fail(fmt.Errorf("%s is %v, want numbers from 1 on", key, v))
		}
		ns = append(ns, n)
	}
	if len(ns) == 0 {
		o.fail(fmt.Errorf("%s is empty, want a number", key))
	}
	return ns
}

// rest is the first error, or one about what was not taken.
func (o *reader) rest() error {
	if o.err != nil {
		return o.err
	}
	if left := slices.Sorted(maps.Keys(o.options)); len(left) > 0 {
		return fmt.Errorf("it has no option %q", left[0])
	}
	return nil
}

// ErrNoExecution says that a metric runs what the model wrote, and that this was not allowed.
var ErrNoExecution = errors.New("it runs what the model wrote, which has to be allowed")
