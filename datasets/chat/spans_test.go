package chat

import (
	"slices"
	"strings"
	"testing"
)

func TestSpans(t *testing.T) {
	const call = `[{"function": {"name": "f", "arguments": {}}}]`
	u := func(s string) Message { return Message{Role: "user", Content: s} }
	a := func(s string) Message { return Message{Role: "assistant", Content: s} }
	for _, tc := range []struct {
		name, template string
		messages       []Message
		want           []string
	}{
		{"none", "chatml.jinja", []Message{u("Hi")}, nil},
		{"one", "chatml.jinja", []Message{u("Hi"), a("Yo")}, []string{"Yo<|im_end|>\n"}},
		{"two", "chatml.jinja", []Message{{Role: "system", Content: "S"}, u("Hi"), a("Yo"), u("Yo"), a("Hi")}, []string{"Yo<|im_end|>\n", "Hi<|im_end|>\n"}},
		{"same text", "chatml.jinja", []Message{u("Yo<|im_end|>\n"), a("Yo"), u("Yo"), a("Yo")}, []string{"Yo<|im_end|>\n", "Yo<|im_end|>\n"}},
		{"empty", "chatml.jinja", []Message{u("Hi"), a("")}, []string{"<|im_end|>\n"}},
		{"first", "chatml.jinja", []Message{a("Yo"), u("Hi")}, []string{"Yo<|im_end|>\n"}},
		{"tool call", "chatml.jinja", []Message{u("Hi"), {Role: "assistant", ToolCalls: []byte(call)}, {Role: "tool", Content: "r"}, a("Yo")},
			[]string{"<call>\n{\"name\": \"f\", \"arguments\": {}}\n</call><|im_end|>\n", "Yo<|im_end|>\n"}},
		{"mark in text", "thinking.jinja", []Message{u("answer answer-"), a("answer"), u("Hi"), a("answer--")},
			[]string{"answer<|im_end|>\n", "<think>\n\n</think>\n\nanswer--<|im_end|>\n"}},
		{"thoughts dropped", "thinking.jinja", []Message{u("Hi"), a("<think>\nhm\n</think>\n\nYo"), u("Yo"), a("<think>\nso\n</think>\n\nHi")},
			[]string{"Yo<|im_end|>\n", "<think>\nso\n</think>\n\nHi<|im_end|>\n"}},
		{"brackets", "brackets.jinja", []Message{u("Hi"), a(" Yo "), u("Yo"), a("Hi")}, []string{" Yo </s>", " Hi </s>"}},
	} {
		text, spans, err := load(t, tc.template).Spans(tc.messages)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		var found []string
		for _, s := range spans {
			found = append(found, text[s.Start:s.End])
			if tc.messages[s.Message].Role != "assistant" {
				t.Errorf("%s: span of message %d, a %s's", tc.name, s.Message, tc.messages[s.Message].Role)
			}
		}
		if !slices.Equal(found, tc.want) {
			t.Errorf("%s: found %q, want %q in %q", tc.name, found, tc.want, text)
		}
	}
}

// TestSpansRefused has a template that writes no answer as it is.
func TestSpansRefused(t *testing.T) {
	x := parse(t, "{% for m in messages %}{{ m.role }}: {{ m.content | length }}{{ '!' if not loop.last }}\n{% endfor %}")
	_, _, err := x.Spans([]Message{{Role: "user", Content: "Hi"}, {Role: "assistant", Content: "Yo"}, {Role: "user", Content: "Hi"}})
	if err == nil || !strings.Contains(err.Error(), "message 1: the template writes the answer in a way that cannot be found") {
		t.Errorf("found answers: %v", err)
	}
}
