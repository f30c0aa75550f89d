package chat

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gojet/gojet/internal/fixtures"
)

// golden is a conversation as jinja2 renders it; testdata/goldens.py writes them.
type golden struct {
	Template, Name string
	Messages       []struct {
		Role, Content string
		ToolCalls     json.RawMessage `json:"tool_calls"`
	}
	Generate    bool
	Text, Error string
}

func (g golden) conversation() []Message {
	var all []Message
	for _, m := range g.Messages {
		all = append(all, Message{m.Role, m.Content, m.ToolCalls})
	}
	return all
}

func goldens(t *testing.T) []golden {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "goldens.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []golden
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) < 60 {
		t.Fatalf("%d goldens, want at least 60", len(all))
	}
	return all
}

// load parses a template of testdata.
func load(t *testing.T, name string) *Template {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(source))
}

func parse(t *testing.T, source string) *Template {
	t.Helper()
	x, err := New(source, map[string]string{"bos_token": "<s>", "eos_token": "</s>"})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestGoldens(t *testing.T) {
	templates := map[string]*Template{}
	for _, g := range goldens(t) {
		if templates[g.Template] == nil {
			templates[g.Template] = load(t, g.Template)
		}
		text, err := templates[g.Template].Render(g.conversation(), g.Generate)
		switch {
		case g.Error != "" && err == nil:
			t.Errorf("%s, %s: rendered %q, want the error %s", g.Template, g.Name, text, g.Error)
		case g.Error == "" && err != nil:
			t.Errorf("%s, %s: %v", g.Template, g.Name, err)
		case g.Error == "" && text != g.Text:
			t.Errorf("%s, %s, generate %v:\n%s\nwant\n%s", g.Template, g.Name, g.Generate, text, g.Text)
		}
	}
}

// TestExpected holds one rendering to a text that stands here.
func TestExpected(t *testing.T) {
	x := load(t, "chatml.jinja")
	text, err := x.Render([]Message{{Role: "user", Content: "Hi"}, {Role: "assistant", Content: "Hello"}, {Role: "user", Content: "Bye"}}, true)
	want := "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n" +
		"<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"
	if err != nil || text != want {
		t.Errorf("rendered %q, %v, want %q", text, err, want)
	}
}

// TestQwen renders with the template that comes with Qwen2.5.
func TestQwen(t *testing.T) {
	x, err := Load(filepath.Join(fixtures.Dir(t), "..", "tokenizers", "qwen2.5"))
	if err != nil {
		t.Fatal(err)
	}
	text, spans, err := x.Spans([]Message{{Role: "user", Content: "Hi"}, {Role: "assistant", Content: "Hello"}})
	want := "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n" +
		"<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n"
	if err != nil || text != want {
		t.Fatalf("rendered %q, %v, want %q", text, err, want)
	}
	if len(spans) != 1 || text[spans[0].Start:spans[0].End] != "Hello<|im_end|>\n" {
		t.Errorf("spans %v", spans)
	}
}

func TestRefused(t *testing.T) {
	hi := []Message{{Role: "user", Content: "hi"}}
	for _, tc := range []struct {
		name, source, want string
		messages           []Message
	}{
		{"template_missing", "", "has no chat template", hi},
		{"blank", " \n", "has no chat template", hi},
		{"template_undefined_key", "{{ messages[0].contnet }}", `the template writes "message.contnet", which is undefined`, hi},
		{"undefined item", "{{ messages[0]['x y'] }}", `"message.x y", which is undefined`, hi},
		{"undefined name", "a {{ user_name }}", `"user_name", which is undefined`, hi},
		{"undefined joined", "{{ 'a' + messages[0].b + 'c' }}", `"message.b", which is undefined`, hi},
		{"undefined tilde", "{{ nobody ~ 'c' }}", `"nobody", which is undefined`, hi},
		{"undefined trimmed", "{{ nobody | trim }}", `"nobody", which is undefined`, hi},
		{"undefined of undefined", "{{ messages[0].a.b }}", `"message.a" is undefined, so it has no "b"`, hi},
		{"undefined element", "{{ messages[3].content }}", `"element 3 of a list of 1" is undefined`, hi},
		{"undefined json", "{{ messages[0].a | tojson }}", `"message.a" is undefined`, hi},
		{"template_infinite_loop: macro", "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "does not end: macros call each other deeper", hi},
		{"template_infinite_loop: macros", "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}", "deeper than 64", hi},
		{"template_infinite_loop: caller", "{% macro a() %}{% call a() %}x{% endcall %}{% endmacro %}{{ a() }}", "deeper than 64", hi},
		{"template_infinite_loop: loops", strings.Repeat("{% for a in range(100000) %}", 3) + strings.Repeat("{% endfor %}", 3), "does not end: ", hi},
		{"range", "{% for a in range(10 ** 9) %}{% endfor %}", "whole numbers", hi},
		{"range2", "{% for a in range(1000000000) %}{% endfor %}", "range of more than 100000 numbers", hi},
		{"recursive loop", "{% for a in messages recursive %}{{ loop(messages) }}{% endfor %}", "recursive loops are not supported", hi},
		{"include", "{% include 'chat template' %}", "include", hi},
		{"import", "{% import '/etc/passwd' as p %}", "import", hi},
		{"extends", "{% extends 'chat template' %}", "extends", hi},
		{"block", "{% block a %}{{ self.a() }}{% endblock %}", "block", hi},
		{"syntax", "{% if %}", "", hi},
		{"open", "{{ 'a", "", hi},
		{"unknown filter", "{{ 'a' | nonesuch }}", "nonesuch", hi},
		{"division", "{{ 1 % 0 }}", "divide by zero", hi},
		{"raised", "{{ raise_exception('no\nway') }}", "the template refuses the conversation: no way", hi},
		{"tool calls", "{{ messages[0].tool_calls }}", "message 0: tool_calls: ", []Message{{Role: "assistant", ToolCalls: []byte(`[{"a":`)}}},
		{"tool calls twice", "{{ messages[0].tool_calls }}", "found more after", []Message{{Role: "assistant", ToolCalls: []byte(`[] []`)}}},
		{"long", strings.Repeat("x", maxSource+1), "bytes long, want at most", hi},
		{"strftime", "{{ strftime_now('%Q') }}", "does not know %Q", hi},
		{"brackets", "{{ " + strings.Repeat("(", 60_000) + "1" + strings.Repeat(")", 60_000) + " }}", "", hi},
		{"not", "{{ " + strings.Repeat("not ", 20_000) + "1 }}", "nested deeper", hi},
		{"else", "{{ " + strings.Repeat("1 if 0 else ", 5_000) + "nobody }}", "", hi},
		{"powers", "{{ 1" + strings.Repeat(" ** 1", 20_000) + " }}{{ nobody }}", "", hi},
		{"minus", "{{ " + strings.Repeat("-", 100_000) + "1 }}", "", hi},
		{"ifs", strings.Repeat("{% if 1 %}", 6000) + "x", "", hi},
	} {
		x, err := New(tc.source, nil)
		text := ""
		if err == nil {
			text, err = x.Render(tc.messages, false)
		}
		if err == nil {
			t.Errorf("%s: rendered %.80q, want an error", tc.name, text)
			continue
		}
		if !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %.400v, want %q in it", tc.name, err, tc.want)
		}
		if strings.Contains(err.Error(), "\n") || len(err.Error()) > 1000 {
			t.Errorf("%s: %.300q is no clear line", tc.name, err)
		}
	}
}

// TestMissing holds what a missing value may be used for.
func TestMissing(t *testing.T) {
	x := parse(t, `{% if messages[0].a %}1{% endif %}{% if not nobody %}2{% endif %}{% if nobody is defined %}3{% endif %}`+
		`{% if messages[0].a is undefined %}4{% endif %}{{ nobody or '5' }}{% for a in nobody %}6{% endfor %}{{ nobody | default('7') }}`+
		`{% if messages[0].a == 'x' %}8{% endif %}{% set b = nobody %}{% if b is not none %}9{% endif %}{{ nobody | length }}`)
	text, err := x.Render([]Message{{Role: "user", Content: "hi"}}, false)
	if want := "245790"; err != nil || text != want {
		t.Errorf("rendered %q, %v, want %q", text, err, want)
	}
}

// TestContentIsNoTemplate sees that what a message says is written as it is.
func TestContentIsNoTemplate(t *testing.T) {
	x := load(t, "chatml.jinja")
	for _, content := range []string{"{{ 1 + 1 }}", "{% raw %}", "<b>&amp;", "a\x00b", "\\n", "  x  ", "\ufdd0"} {
		text, err := x.Render([]Message{{Role: "user", Content: content}}, false)
		if err != nil || !strings.Contains(text, "user\n"+content+"<|im_end|>") {
			t.Errorf("%q: rendered %q, %v", content, text, err)
		}
	}
}

func TestStrftime(t *testing.T) {
	x := parse(t, "{{ strftime_now('%d %b %Y %H:%M:%S %A %j%%') }}")
	x.Now = func() time.Time { return time.Date(2024, 7, 6, 5, 4, 3, 0, time.UTC) }
	text, err := x.Render(nil, false)
	if want := "06 Jul 2024 05:04:03 Saturday 188%"; err != nil || text != want {
		t.Errorf("rendered %q, %v, want %q", text, err, want)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir); !errors.Is(err, ErrNoTemplate) || !strings.Contains(err.Error(), dir) {
		t.Errorf("no template: %v, want ErrNoTemplate and %s", err, dir)
	}
	config := `{"bos_token": "<b>", "eos_token": {"content": "</b>"}, "chat_template": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"}`
	if err := os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	x, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := x.Render([]Message{{Content: "x"}}, false); err != nil || text != "<b>x</b>" {
		t.Errorf("rendered %q, %v", text, err)
	}
}

// TestConcurrent renders with one template from several goroutines.
func TestConcurrent(t *testing.T) {
	all := goldens(t)
	x := load(t, "thinking.jinja")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, g := range all {
				if g.Template != "thinking.jinja" {
					continue
				}
				if text, err := x.Render(g.conversation(), g.Generate); err != nil || text != g.Text {
					t.Errorf("%s: %q, %v, want %q", g.Name, text, err, g.Text)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkSpans(b *testing.B) {
	source, err := os.ReadFile(filepath.Join("testdata", "chatml.jinja"))
	if err != nil {
		b.Fatal(err)
	}
	x, err := New(string(source), nil)
	if err != nil {
		b.Fatal(err)
	}
	messages := []Message{{Role: "user", Content: "Hi"}, {Role: "assistant", Content: "Hello"}, {Role: "user", Content: "Bye"}, {Role: "assistant", Content: "Bye"}}
	for b.Loop() {
		if _, _, err := x.Spans(messages); err != nil {
			b.Fatal(err)
		}
	}
}
