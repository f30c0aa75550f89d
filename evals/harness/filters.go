package harness

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/gojet/gojet/evals/metrics/python"
	"github.com/gojet/gojet/evals/prompt"
	"github.com/gojet/gojet/evals/suite"
)

// filter changes the answers to one document before they are judged.
type filter func(answers []string, doc map[string]any) ([]string, error)

// chain is a pipeline of filters.
type chain struct {
	name  string
	steps []filter
}

func (c chain) apply(answers []string, doc map[string]any) ([]string, error) {
	var err error
	for _, f := range c.steps {
		if answers, err = f(answers, doc); err != nil {
			return nil, err
		}
	}
	return answers, nil
}

// makers of filters by name, from their options.
var makers = map[string]func(o *options) filter{
	"regex":              regexFilter,
	"multi_choice_regex": multiChoice,
	"map":                mapFilter,
	"template":           templateFilter,
	"take_first_k":       takeK,
	"take_first":         func(*options) filter { return take(1) },
	"majority_vote":      func(*options) filter { return majority },
	"remove_whitespace":  func(*options) filter { return each(python.Strip) },
	"lowercase":          func(*options) filter { return each(python.Lower) },
	"uppercase":          func(*options) filter { return each(strings.ToUpper) },
}

// chains makes the pipelines of a task. Without any it has one called none, which takes the first answer.
func chains(from []suite.Chain) ([]chain, error) {
	if len(from) == 0 {
		return []chain{{"none", []filter{take(1)}}}, nil
	}
	var all []chain
	for i, c := range from {
		at := fmt.Sprintf("filter_list[%d]", i)
		if c.Name == "" {
			return nil, fmt.Errorf("%s: name is missing", at)
		}
		if slices.ContainsFunc(all, func(have chain) bool { return have.name == c.Name }) {
			return nil, fmt.Errorf("%s: the name %s comes twice", at, c.Name)
		}
		made := chain{name: c.Name}
		for j, step := range c.Steps {
			name, _ := step["function"].(string)
			maker, ok := makers[name]
			if !ok {
				return nil, fmt.Errorf("%s: filter[%d]: function is %q, want one of %s", at, j, name, strings.Join(slices.Sorted(maps.Keys(makers)), ", "))
			}
			o := &options{left: maps.Clone(step)}
			delete(o.left, "function")
			f := maker(o)
			if err := o.done(); err != nil {
				return nil, fmt.Errorf("%s: filter[%d]: %s: %w", at, j, name, err)
			}
			made.steps = append(made.steps, f)
		}
		all = append(all, made)
	}
	return all, nil
}

// options are taken one by one; what is left over is an error.
type options struct {
	left map[string]any
	err  error
}

func (o *options) take(key string) (any, bool) {
	v, ok := o.left[key]
	delete(o.left, key)
	return v, ok && v != nil
}

func (o *options) fail(format string, args ...any) {
	o.err = cmp.Or(o.err, fmt.Errorf(format, args...))
}

func option[T any](o *options, key string, otherwise T) T {
	v, ok := o.take(key)
	if !ok {
		return otherwise
	}
	t, ok := v.(T)
	if !ok {
		o.fail("%s is %v", key, v)
		return otherwise
	}
	return t
}

func (o *options) regexp(key, otherwise string) *python.Regexp {
	re, err := python.Compile(option(o, key, otherwise))
	if err != nil {
		o.fail("%s: %w", key, err)
	}
	return re
}

func (o *options) done() error {
	if o.err == nil && len(o.left) > 0 {
		return fmt.Errorf("it has no option %q", slices.Sorted(maps.Keys(o.left))[0])
	}
	return o.err
}

// each is a filter of answers one by one.
func each(f func(string) string) filter {
	return func(answers []string, _ map[string]any) ([]string, error) {
		out := make([]string, len(answers))
		for i, a := range answers {
			out[i] = f(a)
		}
		return out, nil
	}
}

func take(k int) filter {
	return func(answers []string, _ map[string]any) ([]string, error) {
		if len(answers) < k {
			return nil, fmt.Errorf("take_first_k: there are %d answers, want at least %d (repeats)", len(answers), k)
		}
		return answers[:k], nil
	}
}

func takeK(o *options) filter { return take(max(1, option(o, "k", 1))) }

// majority keeps the answer that comes most often, of several such the first.
func majority(answers []string, _ map[string]any) ([]string, error) {
	count, best := map[string]int{}, ""
	for _, a := range answers {
		count[a]++
	}
	for _, a := range answers {
		if count[a] > count[best] {
			best = a
		}
	}
	return []string{best}, nil
}

// mapFilter puts one text for another.
func mapFilter(o *options) filter {
	by := option(o, "mapping_dict", suite.Options{}) // as the decoder makes of a mapping within options
	otherwise, _ := o.take("default_value")
	return each(func(a string) string {
		if to, ok := by[a]; ok {
			return prompt.Spell(to)
		}
		return prompt.Spell(otherwise)
	})
}

// templateFilter fills in a template over the document and the answer, which it calls response.
func templateFilter(o *options) filter {
	t, err := prompt.New("template", option(o, "template", ""))
	if err != nil {
		o.fail("%w", err)
	}
	return func(answers []string, doc map[string]any) ([]string, error) {
		out := make([]string, len(answers))
		for i, a := range answers {
			with := maps.Clone(doc)
			with["response"] = a
			var err error
			if out[i], err = t.Text(with); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
}

const invalid = "[invalid]"

// numberPattern is what regex looks for if it is not told: the answer to a problem of GSM8K.
const numberPattern = `#### (\-?[0-9\.\,]+)`

// regexFilter takes one of the matches, or of a match's groups the first that is not empty.
func regexFilter(o *options) filter {
	re, at, fallback := o.regexp("regex_pattern", numberPattern), option(o, "group_select", 0), option(o, "fallback", invalid)
	return func(answers []string, _ map[string]any) ([]string, error) {
		out := make([]string, len(answers))
		for i, a := range answers {
			found, ok, err := selected(re, a, at)
			if err != nil {
				return nil, err
			}
			if !ok || found == "" && re.Groups() > 1 {
				found = fallback
			}
			out[i] = python.Strip(found)
		}
		return out, nil
	}
}

// selected is match number `at` of all, from the end where it is negative: all of it, or its first group that is not empty.
func selected(re *python.Regexp, text string, at int) (found string, ok bool, err error) {
	all, err := re.FindAll(text)
	if err != nil || len(all) == 0 {
		return "", false, err
	}
	if at < 0 {
		at += len(all)
	}
	if at < 0 || at >= len(all) {
		return "", false, fmt.Errorf("group_select asks for match %d, but there are %d", at, len(all))
	}
	m := all[at]
	if re.Groups() == 0 {
		return m.Text[0], true, nil
	}
	for _, g := range m.Text[1:] {
		if g != "" {
			return g, true, nil
		}
	}
	return "", true, nil
}

// multiChoice finds the letter of a choice: by the pattern, by the text of a choice, or by a letter behind a colon.
func multiChoice(o *options) filter {
	re, at, fallback := o.regexp("regex_pattern", numberPattern), option(o, "group_select", 0), option(o, "fallback", invalid)
	ignoreCase, ignorePunctuation := option(o, "ignore_case", false), option(o, "ignore_punctuation", false)
	var ignored []*python.Regexp
	for _, p := range option(o, "regexes_to_ignore", []any{}) {
		re, err := python.Compile(prompt.Spell(p))
		if err != nil {
			o.fail("regexes_to_ignore: %w", err)
		}
		ignored = append(ignored, re)
	}
	plain := func(s string) (string, error) {
		var err error
		for _, re := range ignored {
			if s, err = re.Remove(s); err != nil {
				return "", err
			}
		}
		if ignoreCase {
			s = python.Lower(s)
		}
		if ignorePunctuation {
			s = strings.Map(func(r rune) rune {
				if unicode.IsPunct(r) {
					return -1
				}
				return r
			}, s)
		}
		return s, nil
	}
	return func(answers []string, doc map[string]any) ([]string, error) {
		letters, behindColon, byText, err := choicePatterns(doc, plain)
		if err != nil {
			return nil, err
		}
		out := make([]string, len(answers))
		for i, a := range answers {
			found, _, err := selected(re, a, at)
			if found = python.Strip(found); err == nil && found == "" {
				var text string
				if text, err = plain(a); err == nil {
					found, _, err = selected(byText, text, at)
					found = python.Strip(found)
				}
				found = cmp.Or(letters[found], found)
			}
			if err == nil && found == "" {
				found, _, err = selected(behindColon, a, at)
				if found != "" {
					found = "(" + found + ")"
				}
			}
			if err != nil {
				return nil, err
			}
			out[i] = cmp.Or(found, fallback)
		}
		return out, nil
	}
}

// choicePatterns are those that find a choice by its text, the longest first, and its letter behind a colon.
func choicePatterns(doc map[string]any, plain func(string) (string, error)) (letters map[string]string, behindColon, byText *python.Regexp, err error) {
	choices, ok := doc["choices"].([]any)
	if !ok || len(choices) == 0 {
		return nil, nil, nil, errors.New("multi_choice_regex: the document has no list choices")
	}
	letters = map[string]string{}
	var texts, names []string
	for i, c := range choices {
		text, err := plain(python.Strip(prompt.Spell(c)))
		if err != nil {
			return nil, nil, nil, err
		}
		name := string(rune('A' + i))
		letters[text] = "(" + name + ")"
		texts, names = append(texts, python.Escape(text)), append(names, name)
	}
	slices.SortStableFunc(texts, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	if byText, err = python.Compile(strings.Join(texts, "|")); err != nil {
		return nil, nil, nil, err
	}
	behindColon, err = python.Compile(`:[\s]*(` + strings.Join(names, "|") + `)`)
	return letters, behindColon, byText, err
}
