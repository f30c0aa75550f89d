package chat

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/nikolalohinski/gonja/v2/builtins"
	controls "github.com/nikolalohinski/gonja/v2/builtins/control_structures"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// environment is the engine's own, made to agree with what Hugging Face gives its templates, and without the
// means to read files or to run on for ever.
func environment() *exec.Environment {
	env := &exec.Environment{
		Context:           exec.EmptyContext().Update(builtins.GlobalFunctions),
		Filters:           exec.NewFilterSet(map[string]exec.FilterFunction{}).Update(builtins.Filters),
		Tests:             exec.NewTestSet(map[string]exec.TestFunction{}).Update(builtins.Tests),
		ControlStructures: controlStructures(),
		Methods:           builtins.Methods,
	}
	for name, f := range map[string]any{"range": pythonRange, "raise_exception": raiseException, "strftime_now": strftimeNow, "none": nil, "None": nil} {
		env.Context.Set(name, f)
	}
	for name, f := range map[string]exec.FilterFunction{"tojson": toJSON, "items": items, "default": defaultTo, "d": defaultTo} {
		must(replaceOrAdd(env.Filters.Exists(name), env.Filters.Replace, env.Filters.Register, name, f))
	}
	for name, f := range map[string]exec.TestFunction{"defined": isDefined, "undefined": isUndefined, "iterable": isIterable, "sequence": isSequence} {
		must(replaceOrAdd(env.Tests.Exists(name), env.Tests.Replace, env.Tests.Register, name, f))
	}
	env.Methods.Dict = exec.NewMethodSet(map[string]exec.Method[map[string]any]{
		"items": dictItems, "keys": dictKeys, "values": dictValues, "get": dictGet,
	})
	env.Methods.Str = pythonStrings()
	return env
}

func replaceOrAdd[F any](exists bool, replace, add func(string, F) error, name string, f F) error {
	if exists {
		return replace(name, f)
	}
	return add(name, f)
}

// must is for what can only fail if this package names something wrongly.
func must(err error) {
	if err != nil {
		panic("chat: " + err.Error())
	}
}

// controlStructures are those of the engine that stay within the template, with a step in every loop and macro.
func controlStructures() *exec.ControlStructureSet {
	all := map[string]parser.ControlStructureParser{"generation": parseGeneration}
	for _, name := range []string{"if", "set", "with", "do", "raw", "filter", "call", "break", "continue", "for", "macro"} {
		parse, ok := controls.All.Get(name)
		if !ok {
			panic("chat: the engine has no " + name)
		}
		all[name] = parse
	}
	loop, macro := all["for"], all["macro"]
	all["for"] = func(p, args *parser.Parser) (nodes.ControlStructure, error) {
		parsed, err := loop(p, args)
		if err != nil {
			return nil, err
		}
		f, ok := parsed.(*controls.ForControlStructure)
		if !ok || f.Recursive {
			return nil, errors.New("recursive loops are not supported, want a macro")
		}
		f.BodyWrapper.Nodes = slices.Insert(f.BodyWrapper.Nodes, 0, stepNode(f.Position(), 0))
		return f, nil
	}
	all["macro"] = func(p, args *parser.Parser) (nodes.ControlStructure, error) {
		parsed, err := macro(p, args)
		if err != nil {
			return nil, err
		}
		m := parsed.(*controls.MacroControlStructure)
		m.Wrapper.Nodes = append(slices.Insert(m.Wrapper.Nodes, 0, stepNode(m.Position(), 1)), stepNode(m.Position(), -1))
		return m, nil
	}
	return exec.NewControlStructureSet(all)
}

// step is a node that counts, and keeps the depth of macros.
type step struct {
	at     *tokens.Token
	deeper int
}

func stepNode(at *tokens.Token, deeper int) nodes.Node {
	return &nodes.ControlStructureBlock{Location: at, Name: "step", ControlStructure: &step{at, deeper}}
}

func (s *step) Position() *tokens.Token { return s.at }
func (s *step) String() string          { return "step" }

func (s *step) Execute(r *exec.Renderer, _ *nodes.ControlStructureBlock) error {
	run := runOf(r.Environment.Context)
	if run.depth += s.deeper; run.depth > maxDepth {
		run.raised = fmt.Errorf("the template does not end: macros call each other deeper than %d", maxDepth)
		return run.raised
	}
	return run.step()
}

// generation is the mark {% generation %}…{% endgeneration %} around an answer; it writes what is within.
type generation struct {
	at   *tokens.Token
	body *nodes.Wrapper
}

func parseGeneration(p, args *parser.Parser) (nodes.ControlStructure, error) {
	g := &generation{at: p.Current()}
	var err error
	g.body, _, err = p.WrapUntil("endgeneration")
	return g, err
}

func (g *generation) Position() *tokens.Token { return g.at }
func (g *generation) String() string          { return "generation" }

func (g *generation) Execute(r *exec.Renderer, _ *nodes.ControlStructureBlock) error {
	return r.ExecuteWrapper(g.body)
}

// pythonRange is range() as a list; the engine's own hands its numbers out by a goroutine that may wait for ever.
func pythonRange(_ *exec.Evaluator, args *exec.VarArgs) (any, error) {
	bounds := []int{0, 0, 1}
	for i, a := range args.Args {
		if !a.IsInteger() || len(args.Args) > 3 {
			return nil, errors.New("range takes one to three whole numbers")
		}
		bounds[i] = a.Integer()
	}
	if len(args.Args) == 1 {
		bounds[0], bounds[1] = 0, bounds[0]
	}
	from, to, by := bounds[0], bounds[1], bounds[2]
	if len(args.Args) == 0 || by == 0 {
		return nil, errors.New("range takes one to three whole numbers, the third not 0")
	}
	l := list{}
	for i := from; by > 0 && i < to || by < 0 && i > to; i += by {
		if len(l) == maxRange {
			return nil, fmt.Errorf("range of more than %d numbers", maxRange)
		}
		l = append(l, i)
	}
	return l, nil
}

func raiseException(e *exec.Evaluator, args *exec.VarArgs) (any, error) {
	text := "an error without a text"
	if len(args.Args) > 0 {
		text = args.Args[0].String()
	}
	run := runOf(e.Environment.Context)
	run.raised = fmt.Errorf("the template refuses the conversation: %s", oneLine(text))
	return nil, run.raised
}

func strftimeNow(e *exec.Evaluator, args *exec.VarArgs) (any, error) {
	if len(args.Args) != 1 {
		return nil, errors.New("strftime_now takes a format")
	}
	now := time.Now
	if run := runOf(e.Environment.Context); run.now != nil {
		now = run.now
	}
	return strftime(now(), args.Args[0].String())
}

// strftime formats a time as C does, in English.
func strftime(t time.Time, format string) (string, error) {
	layouts := map[byte]string{'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'e': "_2", 'b': "Jan", 'B': "January", 'a': "Mon", 'A': "Monday",
		'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM", 'j': "002", 'Z': "MST", 'z': "-0700", 'F': "2006-01-02", 'T': "15:04:05", 'D': "01/02/06"}
	var out strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			out.WriteByte(format[i])
			continue
		}
		i++
		layout, ok := layouts[format[i]]
		switch {
		case format[i] == '%':
			out.WriteByte('%')
		case !ok:
			return "", fmt.Errorf("strftime_now does not know %%%c", format[i])
		default:
			out.WriteString(t.Format(layout))
		}
	}
	return out.String(), nil
}

// toJSON is the filter as Hugging Face overrides it: json.dumps with ensure_ascii=False.
func toJSON(_ *exec.Evaluator, in *exec.Value, args *exec.VarArgs) *exec.Value {
	w := &writer{indent: -1}
	if i, ok := args.KwArgs["indent"]; ok && i.IsInteger() {
		w.indent = max(0, min(i.Integer(), 16))
	}
	if s, ok := args.KwArgs["sort_keys"]; ok {
		w.sorted = s.IsTrue()
	}
	if err := w.dumps(in, 0); err != nil {
		return exec.AsValue(fmt.Errorf("tojson: %w", err))
	}
	return exec.AsSafeValue(w.String())
}

func sortPairs(all []exec.Pair) {
	slices.SortStableFunc(all, func(a, b exec.Pair) int { return strings.Compare(a.Key.String(), b.Key.String()) })
}

// items is the filter that lists the pairs of a dictionary.
func items(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value {
	if isMissing(in) {
		return exec.AsValue(list{})
	}
	if !in.IsDict() {
		return exec.AsValue(errors.New("items: want a dictionary"))
	}
	return exec.AsValue(itemList(in))
}

func itemList(v *exec.Value) list {
	l := list{}
	for _, p := range pairs(v) {
		l = append(l, list{p.Key, p.Value})
	}
	return l
}

func dictItems(_ map[string]any, self *exec.Value, _ *exec.VarArgs) (any, error) {
	return itemList(self), nil
}

func dictKeys(_ map[string]any, self *exec.Value, _ *exec.VarArgs) (any, error) {
	l := list{}
	for _, p := range pairs(self) {
		l = append(l, p.Key)
	}
	return l, nil
}

func dictValues(_ map[string]any, self *exec.Value, _ *exec.VarArgs) (any, error) {
	l := list{}
	for _, p := range pairs(self) {
		l = append(l, p.Value)
	}
	return l, nil
}

func dictGet(_ map[string]any, self *exec.Value, args *exec.VarArgs) (any, error) {
	if len(args.Args) < 1 || len(args.Args) > 2 {
		return nil, errors.New("get takes a key and perhaps a default")
	}
	for _, p := range pairs(self) {
		if p.Key.EqualValueTo(args.Args[0]) {
			return p.Value.Interface(), nil
		}
	}
	if len(args.Args) == 2 {
		return args.Args[1].Interface(), nil
	}
	return nil, nil
}

// pythonStrings are the engine's methods of strings; those that split give Python's lists.
func pythonStrings() *exec.MethodSet[string] {
	all := map[string]exec.Method[string]{}
	for _, name := range []string{"capitalize", "casefold", "center", "count", "endswith", "expandtabs", "find", "format", "isalnum", "isalpha",
		"isascii", "isdecimal", "isdigit", "islower", "isnumeric", "isprintable", "isspace", "istitle", "isupper", "join", "ljust", "lower", "lstrip",
		"partition", "removeprefix", "removesuffix", "replace", "rfind", "rjust", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith",
		"strip", "swapcase", "title", "upper", "zfill"} {
		method, ok := builtins.Methods.Str.Get(name)
		if !ok {
			panic("chat: the engine has no string method " + name)
		}
		all[name] = func(self string, value *exec.Value, args *exec.VarArgs) (any, error) {
			result, err := method(self, value, args)
			if v := reflect.ValueOf(result); err == nil && (v.Kind() == reflect.Slice || v.Kind() == reflect.Array) {
				l := make(list, v.Len())
				for i := range l {
					l[i] = v.Index(i).Interface()
				}
				return l, nil
			}
			return result, err
		}
	}
	// The engine's own lack these, want arguments that Python leaves out, or take white space for blanks alone.
	all["index"], all["split"], all["replace"] = indexOf, splitWords, replaceIn
	all["strip"], all["lstrip"], all["rstrip"] = stripped(true, true), stripped(true, false), stripped(false, true)
	return exec.NewMethodSet(all)
}

// isMissing tells whether there is no such value. The engine has one nothing for None and for keys that a dictionary
// within a message has not; it counts as missing here.
func isMissing(v *exec.Value) bool {
	_, ok := v.Interface().(missing)
	return ok || v.IsNil()
}

// defaultTo is the filter that replaces what is missing, and with a second true argument what is false.
func defaultTo(_ *exec.Evaluator, in *exec.Value, args *exec.VarArgs) *exec.Value {
	other, boolean := exec.AsValue(""), false
	for i, a := range args.Args {
		if i == 0 {
			other = a
		} else {
			boolean = a.IsTrue()
		}
	}
	if a, ok := args.KwArgs["default_value"]; ok {
		other = a
	}
	if a, ok := args.KwArgs["boolean"]; ok {
		boolean = a.IsTrue()
	}
	if isMissing(in) || boolean && !in.IsTrue() {
		return other
	}
	return in
}

func isDefined(_ *exec.Context, in *exec.Value, _ *exec.VarArgs) (bool, error) {
	return !in.IsError() && !isMissing(in), nil
}

func isUndefined(_ *exec.Context, in *exec.Value, _ *exec.VarArgs) (bool, error) {
	return in.IsError() || isMissing(in), nil
}

func isIterable(_ *exec.Context, in *exec.Value, _ *exec.VarArgs) (bool, error) {
	return in.IsIterable(), nil
}

// isSequence is true for strings and dictionaries, too, as in Jinja: what has a length and elements.
func isSequence(_ *exec.Context, in *exec.Value, _ *exec.VarArgs) (bool, error) {
	return in.IsIterable(), nil
}
