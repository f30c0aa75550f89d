package prompt

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/gojet/gojet/datasets/chat"
)

func template(t *testing.T, source any) *Template {
	t.Helper()
	tp, err := New("key", source)
	if err != nil {
		t.Fatal(err)
	}
	return tp
}

func TestParts(t *testing.T) {
	doc := map[string]any{"q": "Why?", "a": "Because", "n": 1, "c": []any{"x", "y"}, "digits": "1", "many": []any{"u", "v"}}
	plain := Shape{Text: template(t, "q"), Target: template(t, "a"), TargetDelimiter: " ", Delimiter: "\n\n"}
	with := func(change func(*Shape)) Shape { s := plain; change(&s); return s }
	for _, tc := range []struct {
		name         string
		shape        Shape
		example, ask string
	}{
		{"plain", plain, "Why? Because\n\n", "Why?"},
		{"choice by number", with(func(s *Shape) { s.Target, s.Choice = template(t, "{{n}}"), template(t, "c") }), "Why? y\n\n", "Why?"},
		{"choice by digits", with(func(s *Shape) { s.Target, s.Choice = template(t, "{{digits}}{{''}}"), template(t, "c") }), "Why? y\n\n", "Why?"},
		{"choice by text", with(func(s *Shape) { s.Target, s.Choice = template(t, "x"), template(t, "c") }), "Why? x\n\n", "Why?"},
		{"several targets", with(func(s *Shape) { s.Target = template(t, "many") }), "Why? u\n\n", "Why?"},
		{"prefix", with(func(s *Shape) { s.GenPrefix = template(t, "So:") }), "Why? So: Because\n\n", "Why? So:"},
		{"prefix with a blank", with(func(s *Shape) { s.GenPrefix = template(t, " So: ") }), "Why? So: Because\n\n", "Why? So: "},
		{"no target", with(func(s *Shape) { s.Target = template(t, "") }), "Why?", "Why?"},
		{"contexts", with(func(s *Shape) { s.Text, s.Choice = template(t, "{{n}}"), template(t, "c") }), "y Because\n\n", "x"},
	} {
		example, err := tc.shape.Example(doc)
		if got := Plain(example); err != nil || got != tc.example {
			t.Errorf("%s: example %q, %v, want %q", tc.name, got, err, tc.example)
		}
		q, err := tc.shape.Fill(doc)
		if got := Plain(tc.shape.Ask(q, 0)); err != nil || got != tc.ask {
			t.Errorf("%s: question %q, %v, want %q", tc.name, got, err, tc.ask)
		}
	}
	field := with(func(s *Shape) { s.Target, s.Choice = template(t, "digits"), template(t, []any{"0", "1", "2"}) })
	if q, err := field.Fill(doc); err != nil || q.Gold[0] != 1 || q.Targets[0] != "1" {
		t.Errorf("the text 1 of a field among choices: %+v, %v", q, err)
	}
	none := with(func(s *Shape) { s.Target, s.Choice = template(t, 7), template(t, "c") })
	if q, err := none.Fill(doc); err != nil || q.Gold[0] != -1 {
		t.Errorf("choice 7 of 2: %+v, %v", q, err)
	}
	if _, err := none.Example(doc); err == nil {
		t.Error("an example without a right choice is no error")
	}
	for want, shape := range map[string]Shape{
		"want a list":                with(func(s *Shape) { s.Choice = template(t, "q") }),
		"is an empty list":           with(func(s *Shape) { s.Choice = template(t, []any{}) }),
		"number of one of 2 choices": with(func(s *Shape) { s.Text, s.Choice = template(t, "{{n + 1}}"), template(t, "c") }),
		`"nothing" is undefined`:     with(func(s *Shape) { s.Text = template(t, "{{nothing}}") }),
	} {
		if _, err := shape.Fill(doc); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestMessages(t *testing.T) {
	parts := []Part{{Text: "s", Delimiter: "!", System: true}, {Text: "q1", Delimiter: " "}, {Text: "a1", Delimiter: "\n\n", Answer: true}, {Text: "q2", Delimiter: " "}}
	for _, tc := range []struct {
		parts     []Part
		multiturn bool
		want      []chat.Message
	}{
		{parts, true, []chat.Message{{Role: "system", Content: "s"}, {Role: "user", Content: "q1"}, {Role: "assistant", Content: "a1"}, {Role: "user", Content: "q2"}}},
		{parts, false, []chat.Message{{Role: "system", Content: "s"}, {Role: "user", Content: "q1 a1\n\nq2"}}},
		{append(parts[1:4:4], Part{Text: "So", Answer: true}), false, []chat.Message{{Role: "user", Content: "q1 a1\n\nq2"}, {Role: "assistant", Content: "So"}}},
	} {
		if got := Messages(tc.parts, tc.multiturn); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("multiturn %v: %+v, want %+v", tc.multiturn, got, tc.want)
		}
	}
	for _, tc := range [][3]string{{"", "b", "b"}, {"a", "", "a"}, {"a", "b", "a|b"}, {"a ", "b", "a b"}, {"a", "\nb", "a\nb"}} {
		if got := Head(tc[0], tc[1], "|"); got != tc[2] {
			t.Errorf("%q and %q: %q, want %q", tc[0], tc[1], got, tc[2])
		}
	}
}

func docs(n int) []map[string]any {
	var all []map[string]any
	for i := range n {
		all = append(all, map[string]any{"i": i})
	}
	return all
}

// What random.Random(1234).sample gives, three times 4 of 30.
func TestDrawn(t *testing.T) {
	s := NewDrawn(docs(30), 1234)
	for _, want := range []string{"24 14 3 0", "2 29 25 18", "1 21 22 2"} {
		got, err := s.Sample(4, nil)
		var words []string
		for _, d := range got {
			words = append(words, fmt.Sprint(d["i"]))
		}
		if err != nil || strings.Join(words, " ") != want {
			t.Errorf("%v, %v, want %s", words, err, want)
		}
	}
	// One more is drawn where a document is to be left out: of 24 14 3 0, all but 14.
	s = NewDrawn(docs(30), 1234)
	got, err := s.Sample(3, map[string]any{"i": 14})
	if err != nil || !reflect.DeepEqual(got, []map[string]any{{"i": 24}, {"i": 3}, {"i": 0}}) {
		t.Errorf("%v, %v", got, err)
	}
	twice := []map[string]any{{"i": 1}, {"i": 1}, {"i": 2}, {"i": 3}}
	for seed := range int64(20) {
		got, err := NewDrawn(twice, seed).Sample(2, map[string]any{"i": 1})
		if err != nil || len(got) != 2 || got[0]["i"] == 1 || got[1]["i"] == 1 {
			t.Errorf("seed %d: %v, %v", seed, got, err)
		}
	}
	for _, s := range []Sampler{NewDrawn(twice, 1), First(twice)} {
		if _, err := s.Sample(4, map[string]any{"i": 1}); err == nil {
			t.Errorf("%T: 4 of 4 beside one of them is no error", s)
		}
	}
	if got, err := First(twice).Sample(2, map[string]any{"i": 1}); err != nil || got[0]["i"] != 2 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestSpell(t *testing.T) {
	for want, v := range map[string]any{"None": nil, "True": true, "3": 3, "2.0": 2.0, "1e+20": 1e20, "['a', \"b'c\", 1]": []any{"a", "b'c", 1}} {
		if got := Spell(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
	if _, err := New("k", map[string]any{}); err == nil {
		t.Error("a mapping is no error")
	}
}
