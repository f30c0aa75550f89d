package schema

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

type inner struct {
	Steps int      `yaml:"steps"`
	Names []string `yaml:"names"`
}

type stage struct {
	Name  string  `yaml:"name"`
	LR    float64 `yaml:"lr"`
	Inner inner   `yaml:"inner"`
}

type base struct {
	Path string `yaml:"path"`
}

type tree struct {
	Title  string                    `yaml:"title"`
	Flag   bool                      `yaml:"flag"`
	Seed   uint64                    `yaml:"seed"`
	Small  int8                      `yaml:"small"`
	Words  []string                  `yaml:"words"`
	Stages []stage                   `yaml:"stages"`
	Named  map[string]stage          `yaml:"named"`
	Free   map[string]any            `yaml:"free"`
	Blocks map[string]map[string]any `yaml:"blocks"`
	Maybe  *inner                    `yaml:"maybe"`
	Base   base                      `yaml:",inline"`
	Plain  int
	Hidden int `yaml:"-"`
}

func read(t *testing.T, text string, overrides ...string) (tree, error) {
	t.Helper()
	d, err := Parse("f.yaml", []byte(text))
	if err != nil {
		return tree{}, err
	}
	for _, o := range overrides {
		if err := d.Set(o, tree{}); err != nil {
			return tree{}, err
		}
	}
	var v tree
	err = d.Decode(&v, stage{LR: 0.5, Inner: inner{Steps: 7}})
	return v, err
}

func TestDecode(t *testing.T) {
	got, err := read(t, "\ufefftitle: a b # comment\nflag: true\nseed: 18446744073709551615\nsmall: -1_0\nwords: [\"no\", 'x', \"*.y\"]\r\n"+
		"stages:\n- name: one\n- {name: two, lr: 1e-3, inner: {steps: 3}}\nnamed: {z: {lr: 2}}\n"+
		"free: {a: 1, b: [1.5, true, null, x], c: {}}\nblocks: {jet: {k: \"1e-5\"}}\nmaybe: {names: []}\npath: p\nplain: 4\n")
	want := tree{
		Title: "a b", Flag: true, Seed: 1<<64 - 1, Small: -10, Words: []string{"no", "x", "*.y"},
		Stages: []stage{{Name: "one", LR: 0.5, Inner: inner{Steps: 7}}, {Name: "two", LR: 1e-3, Inner: inner{Steps: 3}}},
		Named:  map[string]stage{"z": {LR: 2, Inner: inner{Steps: 7}}},
		Free:   map[string]any{"a": 1, "b": []any{1.5, true, nil, "x"}, "c": map[string]any{}},
		Blocks: map[string]map[string]any{"jet": {"k": "1e-5"}},
		Maybe:  &inner{}, Base: base{"p"}, Plain: 4,
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestOverrides(t *testing.T) {
	const text = "stages: [{name: one}, {name: two, inner: {names: [a, b]}}]\nfree: {list: [1, {x: 2}]}\nnamed:\n"
	for _, tc := range []struct {
		override string
		get      func(tree) any
		want     any
	}{
		{"title=no", func(v tree) any { return v.Title }, "no"},
		{"title=", func(v tree) any { return v.Title }, ""},
		{"title=a: b # c=d", func(v tree) any { return v.Title }, "a: b # c=d"},
		{"flag=true", func(v tree) any { return v.Flag }, true},
		{"words=[jet, *.q,'x']", func(v tree) any { return v.Words }, []string{"jet", "*.q", "x"}},
		{"words=a,b", func(v tree) any { return v.Words }, []string{"a", "b"}},
		{"words=[]", func(v tree) any { return v.Words }, []string(nil)},
		{"stages.0.lr=3e-4", func(v tree) any { return v.Stages[0].LR }, 3e-4},
		{"stages.two.inner.steps=9", func(v tree) any { return v.Stages[1].Inner.Steps }, 9},
		{"stages.two.inner.names.1=z", func(v tree) any { return v.Stages[1].Inner.Names }, []string{"a", "z"}},
		{"stages=[{name: new}]", func(v tree) any { return v.Stages[0].Name }, "new"},
		{"named.x.inner.steps=3", func(v tree) any { return v.Named["x"] }, stage{LR: 0.5, Inner: inner{Steps: 3}}},
		{"free.list.1.x=true", func(v tree) any { return v.Free["list"].([]any)[1] }, map[string]any{"x": true}},
		{"free.new.sub=1.5", func(v tree) any { return v.Free["new"] }, map[string]any{"sub": 1.5}},
		{"blocks.jet.k=[1, 2]", func(v tree) any { return v.Blocks["jet"]["k"] }, []any{1, 2}},
		{"maybe.steps=2", func(v tree) any { return v.Maybe.Steps }, 2},
		{"path=q", func(v tree) any { return v.Base.Path }, "q"},
	} {
		v, err := read(t, strings.Replace(text, "named:\n", "", 1), tc.override)
		if err != nil {
			t.Errorf("%s: %v", tc.override, err)
		} else if got := tc.get(v); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: got %#v, want %#v", tc.override, got, tc.want)
		}
	}
}

func TestRefused(t *testing.T) {
	laughs := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for i := 'b'; i < 'z'; i++ {
		laughs += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c]\n", i, i, i-1, i-1, i-1, i-1, i-1, i-1)
	}
	for _, tc := range []struct{ name, text, override, want string }{
		{name: "empty", text: "", want: "f.yaml: the document is empty"},
		{name: "comment", text: "# x\n", want: "f.yaml: the document is empty"},
		{name: "list", text: "- a\n", want: "f.yaml:1: the document is a list, want keys and values"},
		{name: "unknown_field", text: "stages:\n- nmae: x\n", want: "f.yaml:2: stages.0.nmae is unknown, did you mean name? Allowed: name, lr, inner"},
		{name: "unknown far", text: "zzz: 1\n", want: "f.yaml:1: zzz is unknown Allowed: title, flag"},
		{name: "unknown elsewhere", text: "steps: 1\n", want: "steps is unknown, did you mean stages.NAME.inner.steps or named.NAME.inner.steps or maybe.steps?"},
		{name: "duplicate_key", text: "title: a\nflag: true\ntitle: b\n", want: "f.yaml:3: title is given twice, first on line 1"},
		{name: "duplicate deep", text: "free:\n  a: {b: 1, b: 2}\n", want: "f.yaml:2: free.a.b is given twice, first on line 2"},
		{name: "wrong_type", text: "stages:\n- name: one\n  lr: fast\n", want: "f.yaml:3: stages.one.lr is fast, want a finite number"},
		{name: "number as string", text: "title: 12\n", want: `title is 12, want a string: in quotes, "12", if it is meant`},
		{name: "string as number", text: "plain: \"3\"\n", want: `plain is "3", want a whole number`},
		{name: "fraction", text: "plain: 3.5\n", want: "plain is 3.5, want a whole number"},
		{name: "octal", text: "plain: 017\n", want: "plain is 017, want a whole number"},
		{name: "hexadecimal", text: "free: {a: 0x10}\n", want: "free.a is 0x10, want a finite number in decimal digits"},
		{name: "steps_overflow", text: "plain: 99999999999999999999\n", want: "plain is 99999999999999999999, want a whole number of 64 bits"},
		{name: "small overflow", text: "small: 200\n", want: "small is 200, want a whole number of 8 bits"},
		{name: "negative seed", text: "seed: -1\n", want: "seed is -1, want a whole number from 0 to 18446744073709551615"},
		{name: "free overflow", text: "free: {a: 99999999999999999999}\n", want: "free.a is 99999999999999999999, want a whole number of 64 bits"},
		{name: "null", text: "title:\n", want: `title is empty, want a string ("" for none)`},
		{name: "null struct", text: "maybe:\n", want: "maybe is empty, want keys and values (steps, names)"},
		{name: "mapping", text: "title: {a: b}\n", want: "title is a mapping, want a string"},
		{name: "no list", text: "words: a\n", want: "words is a, want a list"},
		{name: "no_as_bool", text: "flag: no\n", want: "flag is no, want true or false (yes, no, on and off are words here)"},
		{name: "no as string", text: "title: no\n", want: `title is no, want a string: in quotes, "no", if it is meant`},
		{name: "no in free", text: "free: {tie: no}\n", want: `free.tie is no, want true or false, or in quotes, "no", the word`},
		{name: "nan", text: "stages: [{lr: .nan}]\n", want: "stages.0.lr is .nan, want a finite number"},
		{name: "inf", text: "stages: [{lr: -.inf}]\n", want: "stages.0.lr is -.inf, want a finite number"},
		{name: "huge", text: "stages: [{lr: 1e999}]\n", want: "stages.0.lr is 1e999, want a finite number"},
		{name: "multi_document", text: "title: a\n---\ntitle: b\n", want: "f.yaml:2: a second document begins, want one in a file"},
		{name: "tab_indent", text: "stages:\n  - name: a\n\tlr: 1\n", want: "f.yaml:3: a tab in the indentation, want spaces"},
		{name: "tab first", text: "maybe:\n\tsteps: 1\n", want: "f.yaml:2: a tab in the indentation, want spaces"},
		{name: "no YAML", text: "title: a\nwords: [a\n", want: "no YAML: "},
		{name: "20k_depth", text: "free: " + strings.Repeat("[", 20000) + strings.Repeat("]", 20000), want: "depth"},
		{name: "20k blocks", text: "free:\n" + strings.Repeat("- ", 20000), want: "depth"},
		{name: "depth 100", text: "free: {a: " + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "}", want: "nested deeper than 32 levels"},
		{name: "alias_bomb", text: laughs, want: "f.yaml:1: anchor &a, want the value alone"},
		{name: "alias", text: "words: [*x]\n", want: "unknown anchor 'x'"},
		{name: "pattern", text: "words: [*.self_attn.*]\n", want: "f.yaml:1: no YAML: did not find expected alphabetic or numeric character (a pattern that begins with * stands in quotes)"},
		{name: "anchor", text: "title: &a b\n", want: "anchor &a"},
		{name: "tag", text: "title: !!str 1\n", want: "tag !!str"},
		{name: "merge", text: "maybe: {<<: {steps: 1}}\n", want: "merge key <<"},
		{name: "key list", text: "[a]: b\n", want: "a key of the document is a list, want a word"},
		{name: "too long", text: strings.Repeat("#", MaxBytes+1), want: "the document has 65537 bytes, want at most 65536"},
		{name: "not UTF-8", text: "title: \"\xff\"\n", want: "no YAML"},
		{name: "NUL", text: "title: a\x00\n", want: "no YAML"},

		{name: "override form", text: "title: a\n", override: "title", want: "override title: want key=value"},
		{name: "override unknown", text: "title: a\n", override: "tilte=b", want: "override tilte=b: tilte is unknown, did you mean title?"},
		{name: "override deep unknown", text: "stages: [{name: a}]\n", override: "stages.a.rl=1", want: "stages.a.rl is unknown, did you mean lr? Allowed: lr, name, inner"},
		{name: "override type", text: "title: a\n", override: "plain=x", want: "override plain=x: plain is x, want a whole number"},
		{name: "override element", text: "stages: [{name: a}, {lr: 1}]\n", override: "stages.b.lr=1", want: "stages has no element b, want a, 1 or 0 to 1"},
		{name: "override no list", text: "title: a\n", override: "stages.0.lr=1", want: "stages has no elements, want all of it, stages=[…]"},
		{name: "override scalar part", text: "title: a\n", override: "title.x=1", want: "title is one value and has no part x"},
		{name: "override wrong tree", text: "maybe: [1]\n", override: "maybe.steps=1", want: "maybe is a list, want a mapping to set steps in"},
		{name: "override empty", text: "title: a\n", override: "plain=", want: "plain is empty, want a whole number"},
		{name: "override YAML", text: "title: a\n", override: "maybe={", want: "override maybe={: no YAML"},
		{name: "override part", text: "title: a\n", override: "free..x=1", want: "the key has an empty part"},
		{name: "override bytes", text: "title: a\n", override: "title=\xff", want: "want valid UTF-8"},
		{name: "override depth", text: "title: a\n", override: strings.Repeat("free.", 40) + "x=1", want: "more than 32 parts"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var overrides []string
			if tc.override != "" {
				overrides = []string{tc.override}
			}
			start := time.Now()
			_, err := read(t, tc.text, overrides...)
			var ps Problems
			if err == nil || !errors.As(err, &ps) || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 700 {
				t.Errorf("got %v, want one line with %q", err, tc.want)
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// TestSeveral: all problems are told, in the order of lines, up to a limit.
func TestSeveral(t *testing.T) {
	_, err := read(t, "title: 1\nflag: 2\nplain: x\n", "small=x")
	want := "override small=x: small is x, want a whole number; f.yaml:1: title is 1, want a string: in quotes, \"1\", if it is meant; " +
		"f.yaml:2: flag is 2, want true or false; f.yaml:3: plain is x, want a whole number"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	var text strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&text, "k%d: 1\n", i)
	}
	_, err = read(t, text.String())
	var ps Problems
	if !errors.As(err, &ps) || len(ps) != mostProblems {
		t.Errorf("%d problems, want %d", len(ps), mostProblems)
	}
}

func TestExplain(t *testing.T) {
	d, err := Parse("f.yaml", []byte("title: a\nstages:\n- name: one\n  lr: 1\n  inner:\n    steps: 2\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Set("stages.one.lr=3", tree{}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		path          []string
		message, want string
	}{
		{[]string{"stages", "one"}, "inner.steps is 2, want 3", "f.yaml:6: stages.one.inner.steps is 2, want 3"},
		{[]string{"stages", "one"}, "lr is 3", "override stages.one.lr=3: stages.one.lr is 3"},
		{[]string{"stages", "one"}, "inner.names is empty", "f.yaml:5: stages.one.inner.names is empty"},
		{[]string{"stages", "one"}, "something else", "f.yaml:3: stages.one: something else"},
		{nil, "stages[0]: odd", "f.yaml:3: stages.0: odd"},
		{nil, "no key", "f.yaml: no key"},
	} {
		if got := d.Explain(tree{}, tc.path, tc.message).Error(); got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
	}
	if got := new(Document).Explain(tree{}, []string{"stages", "0"}, "lr is 3").Error(); got != "stages.0.lr is 3" {
		t.Errorf("without a file: %q", got)
	}
}

// roundTrip encodes, decodes and encodes again.
func roundTrip(t *testing.T, v tree) []byte {
	t.Helper()
	text, err := Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	again, err := read(t, string(text))
	if err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	twice, err := Encode(again)
	if err != nil || !bytes.Equal(text, twice) {
		t.Fatalf("%v: encoded again\n%s\nwant\n%s", err, twice, text)
	}
	return text
}

func TestEncode(t *testing.T) {
	v := tree{
		Title: "no", Words: []string{"*.a", "12", "", "true", "a: b", "null", "two\nlines", "tab\tx", "é\u0085\u2028\x01", " lead"}, Hidden: 5,
		Stages: []stage{{Name: "s", LR: 1e-8}}, Free: map[string]any{"z": 1e6, "a": []any{1, "1"}, "no": nil, "m": map[string]any{"y": false}},
	}
	text := roundTrip(t, v)
	again, err := read(t, string(text))
	v.Hidden = 0
	if err != nil || !reflect.DeepEqual(again.Words, v.Words) || !reflect.DeepEqual(again.Free, v.Free) || !reflect.DeepEqual(again.Stages, v.Stages) {
		t.Errorf("%v: got %+v, want %+v", err, again, v)
	}
	for _, part := range []string{"title: \"no\"\n", "seed: 0\n", "lr: 1e-08\n", "words: ['*.a', \"12\", \"\",", "named: {}\n"} {
		if !strings.Contains(string(text), part) {
			t.Errorf("lacks %q:\n%s", part, text)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("title: a\nstages: [{name: x, lr: 1}]\n", "stages.x.lr=2")
	f.Add("free: {a: [1, {b: c}]}\n", "free.a.1.b=[d]")
	f.Add("a: &a [*a]\n", "maybe={steps: 1}")
	f.Add("\tx: |\n y\n", "named.no.inner.names=[a,b]")
	f.Fuzz(func(t *testing.T, text, override string) {
		d, err := Parse("f.yaml", []byte(text))
		if err == nil && override != "" {
			err = d.Set(override, tree{})
		}
		var v tree
		if err == nil {
			err = d.Decode(&v)
		}
		if err == nil {
			roundTrip(t, v)
		} else if err.Error() == "" {
			t.Error("an error that says nothing")
		}
	})
}
