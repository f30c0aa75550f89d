package tokenizer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gojet/gojet/internal/fixtures"
)

// folder writes files, given as name and content in turn, into a new folder.
func folder(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, files[i]), []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestLoadConfig(t *testing.T) {
	const name, tokens, jinja = "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"
	rows := []struct {
		files []string
		want  Config
	}{
		{nil, Config{}},
		{[]string{name, `{"bos_token":null,"eos_token":"<|im_end|>","unknown":[1],"model_max_length":131072}`},
			Config{EOS: "<|im_end|>", ModelMaxLength: 131072}},
		{[]string{name, `{"pad_token":{"content":"<pad>","lstrip":false},"model_max_length":1000000000000000019884624838656}`},
			Config{PAD: "<pad>"}},
		{[]string{name, `{"chat_template":"{{ x }}"}`, jinja, "other"}, Config{ChatTemplate: "{{ x }}"}},
		{[]string{name, `{"chat_template":[{"name":"rag","template":"a"},{"name":"default","template":"b"}]}`},
			Config{ChatTemplate: "b"}},
		{[]string{name, `{"eos_token":"a"}`, tokens, `{"eos_token":"b","bos_token":{"content":"c"}}`, jinja, "{{ y }}\n"},
			Config{EOS: "a", BOS: "c", ChatTemplate: "{{ y }}\n"}},
	}
	for _, row := range rows {
		got, err := LoadConfig(folder(t, row.files...))
		if err != nil || *got != row.want {
			t.Errorf("%q: %+v, %v, want %+v", row.files, got, err, row.want)
		}
	}
}

func TestLoadConfigRefuses(t *testing.T) {
	for _, text := range []string{
		``, `[]`, `{"eos_token":5}`, `{"eos_token":{"text":"x"}}`, `{"chat_template":7}`, `{"chat_template":[]}`,
		`{"chat_template":[7]}`, `{"model_max_length":-1}`, `{"model_max_length":1.5}`, `{"model_max_length":"x"}`,
	} {
		dir := folder(t, "tokenizer_config.json", text)
		if c, err := LoadConfig(dir); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %+v, error %v, want one with the path", text, c, err)
		}
	}
	if _, err := LoadConfig(folder(t, "special_tokens_map.json", `{"eos_token":5}`)); err == nil {
		t.Error("bad special_tokens_map.json: no error")
	}
}

func TestLoadConfigOfQwen(t *testing.T) {
	b := qwen(t)
	c, err := LoadConfig(filepath.Join(fixtures.Dir(t), "..", "tokenizers", "qwen2.5"))
	if err != nil {
		t.Fatal(err)
	}
	eos, ok := b.ID(c.EOS)
	if !ok || eos != 151645 || c.PAD != "<|endoftext|>" || c.BOS != "" || c.ModelMaxLength != 131072 {
		t.Errorf("eos %d, %+v", eos, c)
	}
	if !strings.Contains(c.ChatTemplate, "<|im_start|>") {
		t.Errorf("chat template %q", c.ChatTemplate)
	}
	if b.VocabSize() != 151665 || b.CheckVocab(151936) != nil || b.CheckVocab(151664) == nil {
		t.Errorf("%d tokens", b.VocabSize())
	}
}
