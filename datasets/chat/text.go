package chat

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// Text is a template over the fields of a record, as the prompts of evaluations are written: Jinja without any trimming.
// Any number of goroutines may use it at once.
type Text struct {
	root  *exec.Template
	names []string
	// only is the {{ expression }} that the template is, if it is nothing else: then it has a value, which need not be text.
	only     *nodes.Output
	settings *config.Config
	env      *exec.Environment
}

// Function is one that a template may call.
type Function func(args []any) (any, error)

// TextFilters are filters of texts by name, beside those of Jinja: of the value before the bar and the arguments.
type TextFilters map[string]func(in any, args []any) (any, error)

// NewText parses a template.
func NewText(source string, filters TextFilters) (*Text, error) {
	settings := config.New()
	settings.KeepTrailingNewline = true
	env := environment()
	env.Methods.List = pythonLists()
	number, _ := env.Filters.Get("int")
	must(env.Filters.Replace("int", func(e *exec.Evaluator, in *exec.Value, args *exec.VarArgs) *exec.Value {
		if in.IsBool() && in.Bool() {
			return exec.AsValue(1) // the engine's own makes 0 of it
		}
		return number(e, in, args)
	}))
	for name, f := range filters {
		filter := func(_ *exec.Evaluator, in *exec.Value, args *exec.VarArgs) *exec.Value {
			out, err := f(plain(in), plainArgs(args))
			if err != nil {
				return exec.AsValue(err)
			}
			return exec.AsValue(jinja(out))
		}
		must(replaceOrAdd(env.Filters.Exists(name), env.Filters.Replace, env.Filters.Register, name, exec.FilterFunction(filter)))
	}
	source = keepEscapes(source)
	t := &Text{settings: settings, env: env}
	var err error
	if t.root, t.names, err = parseTemplate(source, settings, env); err != nil {
		return nil, err
	}
	err = rescue(func() error {
		p := parser.NewParser(templateName, tokens.LexAll(source, settings), settings, only(source), env.ControlStructures)
		all, err := p.Parse()
		if err == nil && len(all.Nodes) == 1 {
			t.only, _ = all.Nodes[0].(*nodes.Output)
		}
		return err
	})
	return t, err
}

// keepEscapes doubles the backslashes in strings of expressions that escape nothing, as that of '\[': Python leaves them, while the
// engine refuses them.
func keepEscapes(source string) string {
	var out strings.Builder
	within, quote := false, byte(0)
	for i := 0; i < len(source); i++ {
		c := source[i]
		next := byte(0)
		if i+1 < len(source) {
			next = source[i+1]
		}
		switch {
		case !within:
			within = c == '{' && (next == '{' || next == '%')
		case quote == 0:
			if c == '"' || c == '\'' {
				quote = c
			} else if (c == '}' || c == '%') && next == '}' {
				within = false
			}
		case c == quote:
			quote = 0
		case c == '\\' && strings.IndexByte("abfnrtv\\'\"01234567xuUN\n", next) >= 0:
			out.WriteByte(c)
			i, c = i+1, next
		case c == '\\':
			out.WriteByte(c)
		}
		out.WriteByte(c)
	}
	return out.String()
}

// Value fills the template. The value of a single {{ expression }} is nil, a bool, int, float64, string, []any or
// map[string]any, which is also what fields may be; every other template gives a string. A name that is not there is
// an error where it is written, as in Jinja's strict mode.
func (t *Text) Value(fields map[string]any, functions map[string]Function) (any, error) {
	r := &run{deadline: time.Now().Add(maxSeconds * time.Second)}
	data := make(map[string]any, len(fields)+len(functions)+1)
	for name, v := range fields {
		data[name] = jinja(v)
	}
	for name, f := range functions {
		data[name] = func(_ *exec.Evaluator, args *exec.VarArgs) (any, error) {
			out, err := f(plainArgs(args))
			return jinja(out), err
		}
	}
	data[runKey] = r
	if t.only != nil {
		return t.evaluate(data, r)
	}
	text, err := execute(t.root, t.names, data, r)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "chat: "))
	}
	return text, nil
}

// evaluate returns the value of the one expression.
func (t *Text) evaluate(data map[string]any, r *run) (value any, err error) {
	for _, name := range t.names {
		if _, known := data[name]; !known {
			data[name] = missingNamed(name)
		}
	}
	env := *t.env
	env.Context = t.env.Context.Inherit().Update(exec.NewContext(data))
	e := &exec.Evaluator{Config: t.settings, Environment: &env, Loader: only("")}
	err = rescue(func() error {
		expression := t.only.Expression
		if t.only.Condition != nil {
			condition := e.Eval(t.only.Condition)
			if condition.IsError() {
				return condition
			}
			if !condition.IsTrue() {
				expression = t.only.Alternative
			}
		}
		if expression == nil { // {{ x if condition }} is nothing where the condition is false
			value = ""
			return nil
		}
		v := e.Eval(expression)
		if v.IsError() {
			return v
		}
		if m, ok := v.Interface().(missing); ok {
			return fmt.Errorf("%q is undefined", m.name())
		}
		value = plain(v)
		return nil
	})
	switch {
	case r.raised != nil:
		return nil, r.raised
	case err != nil:
		if name, found := firstMissing(err.Error()); found {
			return nil, fmt.Errorf("%q is undefined", name)
		}
		return nil, fmt.Errorf("template: %s", oneLine(err.Error()))
	}
	return value, nil
}

// record is a dictionary of a record. What it has not is missing.
type record map[string]any

// GetAttribute is record.name.
func (r record) GetAttribute(name string) (*exec.Value, bool) {
	if v, ok := r[name]; ok {
		return exec.ToValue(v), true
	}
	return exec.AsValue(missingNamed(name)), true
}

// GetItem is record['name'].
func (r record) GetItem(key any) (*exec.Value, bool) { return r.GetAttribute(fmt.Sprint(key)) }

// jinja makes a plain value the engine's.
func jinja(v any) any {
	switch v := v.(type) {
	case []any:
		l := make(list, len(v))
		for i := range v {
			l[i] = jinja(v[i])
		}
		return l
	case map[string]any:
		r := make(record, len(v))
		for key := range v {
			r[key] = jinja(v[key])
		}
		return r
	}
	return v
}

// plain makes an engine's value a plain one.
func plain(v *exec.Value) any {
	switch {
	case v.IsNil() || isMissing(v):
		return nil
	case v.IsBool():
		return v.Bool()
	case v.IsInteger():
		return v.Integer()
	case v.IsFloat():
		return v.Float()
	case v.IsString():
		return v.String()
	case v.IsDict():
		m := map[string]any{}
		for _, p := range pairs(v) {
			m[p.Key.String()] = plain(p.Value)
		}
		return m
	case v.IsList():
		l := make([]any, v.Len())
		for i := range l {
			l[i] = plain(v.Index(i))
		}
		return l
	}
	return v.String()
}

func plainArgs(args *exec.VarArgs) []any {
	all := make([]any, len(args.Args))
	for i, a := range args.Args {
		all[i] = plain(a)
	}
	return all
}

// indexOf is Python's str.index, which the engine has not.
func indexOf(self string, _ *exec.Value, args *exec.VarArgs) (any, error) {
	if len(args.Args) != 1 || !args.Args[0].IsString() {
		return nil, errors.New("index takes a string")
	}
	at := strings.Index(self, args.Args[0].String())
	if at < 0 {
		return nil, fmt.Errorf("index: %q is not in %s", args.Args[0].String(), clipText(self))
	}
	return utf8.RuneCountInString(self[:at]), nil
}

// splitWords is Python's str.split, which without a separator splits at any white space.
func splitWords(self string, _ *exec.Value, args *exec.VarArgs) (any, error) {
	sep, most := "", -1
	for i, a := range args.Args {
		switch {
		case i == 0 && a.IsString() && a.String() != "":
			sep = a.String()
		case i == 0 && a.IsNil():
		case i == 1 && a.IsInteger():
			most = a.Integer()
		default:
			return nil, errors.New("split takes a separator and how often to split")
		}
	}
	if a, ok := args.KwArgs["maxsplit"]; ok && a.IsInteger() {
		most = a.Integer()
	}
	if sep != "" {
		if most >= 0 {
			most++
		}
		return toList(strings.SplitN(self, sep, most)), nil
	}
	words := strings.Fields(self)
	if most >= 0 && len(words) > most {
		rest := strings.TrimLeftFunc(self, unicode.IsSpace)
		for i := range most {
			words[i], rest = rest[:len(words[i])], strings.TrimLeftFunc(rest[len(words[i]):], unicode.IsSpace)
		}
		words = append(words[:most], rest)
	}
	return toList(words), nil
}

// stripped is Python's str.strip, lstrip and rstrip: of white space, or of the characters given.
func stripped(left, right bool) exec.Method[string] {
	return func(self string, _ *exec.Value, args *exec.VarArgs) (any, error) {
		cut := func(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }
		if len(args.Args) > 0 && !args.Args[0].IsNil() {
			set := args.Args[0].String()
			cut = func(r rune) bool { return strings.ContainsRune(set, r) }
		}
		if left {
			self = strings.TrimLeftFunc(self, cut)
		}
		if right {
			self = strings.TrimRightFunc(self, cut)
		}
		return self, nil
	}
}

func toList(words []string) list {
	l := make(list, len(words))
	for i, w := range words {
		l[i] = w
	}
	return l
}

// replaceIn is Python's str.replace; the engine's own cannot do without the count.
func replaceIn(self string, _ *exec.Value, args *exec.VarArgs) (any, error) {
	n := -1
	a := args.Args
	if len(a) == 3 && a[2].IsInteger() {
		n = a[2].Integer()
	} else if len(a) != 2 {
		return nil, errors.New("replace takes two strings and perhaps a count")
	}
	if !a[0].IsString() || !a[1].IsString() {
		return nil, errors.New("replace takes two strings and perhaps a count")
	}
	return strings.Replace(self, a[0].String(), a[1].String(), n), nil
}

func clipText(s string) string {
	const most = 60
	if len(s) > most {
		return fmt.Sprintf("%q …", strings.ToValidUTF8(s[:most], ""))
	}
	return fmt.Sprintf("%q", s)
}

// pythonLists are methods of lists that leave the list as it is.
func pythonLists() *exec.MethodSet[[]any] {
	all := map[string]exec.Method[[]any]{
		"index": func(_ []any, self *exec.Value, args *exec.VarArgs) (any, error) {
			if len(args.Args) != 1 {
				return nil, errors.New("index takes one value")
			}
			for i := range self.Len() {
				if self.Index(i).EqualValueTo(args.Args[0]) {
					return i, nil
				}
			}
			return nil, fmt.Errorf("index: %s is not in the list", clipText(args.Args[0].String()))
		},
		"count": func(_ []any, self *exec.Value, args *exec.VarArgs) (any, error) {
			if len(args.Args) != 1 {
				return nil, errors.New("count takes one value")
			}
			n := 0
			for i := range self.Len() {
				if self.Index(i).EqualValueTo(args.Args[0]) {
					n++
				}
			}
			return n, nil
		},
	}
	return exec.NewMethodSet(all)
}
