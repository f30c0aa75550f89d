package datasets

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/gojet/gojet/checkpoints/safetensors"
	"github.com/gojet/gojet/datasets/source"
	"github.com/gojet/gojet/datasets/tokenizer"
	"github.com/gojet/gojet/internal/fixtures"
)

func TestStats(t *testing.T) {
	dir := tree(t, map[string]string{"a.txt": "12345678", "b.txt": "123", "c.txt": "", "d.txt": "1234567"})
	d, _, err := open(t, config(func(c *Config) {
		c.Cache, c.Tokenizer, c.HeldOut = t.TempDir(), "bytes", 1
		c.Sources = []Source{
			{Spec: source.Spec{Path: filepath.Join(dir, "[abc].txt")}},
			{Spec: source.Spec{Path: filepath.Join(dir, "d.txt")}},
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	all, each := d.Stats()
	first := Stats{Name: filepath.Join(dir, "[abc].txt"), Documents: 2, Empty: 1, Bytes: 11, Tokens: 11, Shortest: 3, Longest: 8, Lengths: []int{0, 1, 0, 1}, MaxToken: '8'}
	second := Stats{Name: filepath.Join(dir, "d.txt"), Documents: 1, Bytes: 7, Tokens: 7, Shortest: 7, Longest: 7, Lengths: []int{0, 0, 1}, MaxToken: '7'}
	if want := []Stats{first, second}; !reflect.DeepEqual(each, want) {
		t.Errorf("sources %+v, want %+v", each, want)
	}
	if want := (Stats{Documents: 3, Empty: 1, Bytes: 18, Tokens: 18, Shortest: 3, Longest: 8, Lengths: []int{0, 1, 1, 1}, MaxToken: '8'}); !reflect.DeepEqual(all, want) {
		t.Errorf("all %+v, want %+v", all, want)
	}
	if training, held := d.Split(); training.Documents != 2 || held.Documents != 1 || training.Tokens+held.Tokens != 18 {
		t.Errorf("%+v for training, %+v held out, want 2 and 1 documents of 18 tokens", training, held)
	}
}

// TestSourcesTogether: without weights the documents of all sources are shuffled together, with them each on its own.
func TestSourcesTogether(t *testing.T) {
	dir := tree(t, map[string]string{"a.jsonl": texts(40), "b.jsonl": texts(20)})
	for _, weight := range []float64{0, 1} {
		d, _, err := open(t, config(func(c *Config) {
			c.Cache, c.Tokenizer, c.HeldOut = t.TempDir(), "bytes", 0.25
			for _, name := range []string{"a.jsonl", "b.jsonl"} {
				c.Sources = append(c.Sources, Source{Spec: source.Spec{Path: filepath.Join(dir, name)}, Weight: weight})
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		training, held := d.Split()
		if training.Documents != 45 || held.Documents != 15 {
			t.Errorf("weight %v: %+v for training, %+v held out, want 45 and 15 documents", weight, training, held)
		}
		l, err := d.HeldOut(Shape{Rows: 2, Length: 128})
		if err != nil {
			t.Fatal(err)
		}
		docs := 0
		for step := range l.Steps() {
			b := batch(t, l, step)
			docs += b.Tokens - b.Learned // one token of each document has no label
		}
		if docs != 15 {
			t.Errorf("weight %v: held-out batches have %d documents, want 15", weight, docs)
		}
	}
}

// TestTokens: rows that were packed beforehand come as they are, from the first again after the last.
func TestTokens(t *testing.T) {
	path := filepath.Join(fixtures.Dir(t), "distill", "expected.safetensors")
	c := config(func(c *Config) { c.Tokens, c.Cache = &Tokens{Path: path, Tensor: "batches"}, t.TempDir() })
	d, _, err := open(t, c)
	if err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tensor, _ := f.Tensor("batches")
	ids, err := tensor.Int32s()
	if err != nil {
		t.Fatal(err)
	}
	l := train(t, d, Shape{Rows: 4, Length: 48})
	if l.Steps() != 30 {
		t.Fatalf("%d steps, want 30", l.Steps())
	}
	for step := range 61 {
		b := batch(t, l, step)
		at := step % 30 * 4 * 48
		if want := ids[at : at+4*48]; !reflect.DeepEqual(b.IDs, want) {
			t.Fatalf("step %d: ids %v, want %v", step, b.IDs, want)
		}
		if want := []int32{0, 48, 96, 144, 192}; !reflect.DeepEqual(b.Cu, want) {
			t.Fatalf("step %d: borders %v, want %v", step, b.Cu, want)
		}
		for i, label := range b.Labels {
			want := int32(Ignored)
			if i%48 != 47 {
				want = b.IDs[i+1]
			}
			if label != want {
				t.Fatalf("step %d: label %d is %d, want %d", step, i, label, want)
			}
		}
	}
	if _, err := d.Train(Shape{Rows: 4, Length: 64}); err == nil || !strings.Contains(err.Error(), "rows of 48 tokens, the stage wants rows of 64") {
		t.Errorf("rows of another length: %v", err)
	}
	if d.Tokenizer() != nil {
		t.Error("there is a tokenizer, want none")
	}
}

// TestTokenColumn: documents that come as ids are taken as they are.
func TestTokenColumn(t *testing.T) {
	dir := tree(t, map[string]string{"a.jsonl": "{\"ids\": [5, 6, 300]}\n{\"ids\": []}\n{\"ids\": [7]}\n"})
	d, _, err := open(t, config(func(c *Config) {
		c.Cache, c.Tokenizer = t.TempDir(), "bytes"
		c.Sources = []Source{{Spec: source.Spec{Path: dir, Tokens: "ids"}}}
	}))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := d.caches[0].tokens, []int32{5, 6, 300, 7}; !reflect.DeepEqual(got, want) {
		t.Errorf("tokens %v, want %v", got, want)
	}
	if all, _ := d.Stats(); all.MaxToken != 300 || all.Documents != 2 || all.Empty != 1 {
		t.Errorf("%+v, want the greatest token 300, 2 documents and an empty one", all)
	}
}

// tokenizerDir is a byte-level tokenizer without merges and two special tokens, 256 and 257. Byte b that is printable
// ASCII has the id b-33.
func tokenizerDir(t *testing.T, config string) string {
	t.Helper()
	bytes, err := tokenizer.NewBytes()
	if err != nil {
		t.Fatal(err)
	}
	vocab := map[string]int32{}
	for id := range int32(256) {
		token, _ := bytes.Token(id)
		vocab[token] = (id + 256 - 33) % 256
	}
	file := map[string]any{
		"version":       "1.0",
		"model":         map[string]any{"type": "BPE", "vocab": vocab, "merges": []string{}},
		"pre_tokenizer": map[string]any{"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
		"decoder":       map[string]any{"type": "ByteLevel"},
		"added_tokens": []any{
			map[string]any{"id": 256, "content": "<end>", "special": true},
			map[string]any{"id": 257, "content": "<turn>", "special": true},
		},
	}
	text, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return tree(t, map[string]string{"tokenizer.json": string(text), "tokenizer_config.json": config})
}

func TestEndOfDocument(t *testing.T) {
	path := tree(t, map[string]string{"a.txt": "ab"})
	own := tokenizerDir(t, `{"eos_token": "<end>"}`)
	other := tokenizerDir(t, `{}`)
	for _, tc := range []struct {
		tokenizer, end string
		want           []int32
	}{
		{own, "", []int32{64, 65, 256}},
		{own, "none", []int32{64, 65}},
		{own, "<turn>", []int32{64, 65, 257}},
		{other, "", []int32{64, 65}},
		{filepath.Join(own, "tokenizer.json"), "", []int32{64, 65, 256}},
	} {
		d, _, err := open(t, config(func(c *Config) {
			c.Path, c.Cache, c.Tokenizer, c.EndOfDocument = path, t.TempDir(), tc.tokenizer, tc.end
		}))
		if err != nil {
			t.Fatal(err)
		}
		if got := d.caches[0].tokens; !reflect.DeepEqual(got, tc.want) {
			t.Errorf("end %q: %v, want %v", tc.end, got, tc.want)
		}
	}
}

// TestChat: only what the assistant says has labels, the token that ends it included, and special tokens that
// somebody spells out are text.
func TestChat(t *testing.T) {
	const template = "{% for m in messages %}<turn>{{ m.role }}:{{ m.content }}<end>{% endfor %}{% if add_generation_prompt %}<turn>assistant:{% endif %}"
	settings, err := json.Marshal(map[string]string{"eos_token": "<end>", "chat_template": template})
	if err != nil {
		t.Fatal(err)
	}
	dir := tree(t, map[string]string{"a.jsonl": `{"messages": [{"role": "user", "content": "say <end>"}, {"role": "assistant", "content": "<end>!"}, {"role": "user", "content": "again"}, {"role": "assistant", "content": "no"}]}`})
	c := config(func(c *Config) {
		c.Path, c.Tokenizer, c.Cache = dir, tokenizerDir(t, string(settings)), t.TempDir()
	})
	for _, masked := range []bool{true, false} {
		c.MaskPrompt = masked
		d, _, err := open(t, c)
		if err != nil {
			t.Fatal(err)
		}
		const end, turn = 256, 257
		b := batch(t, train(t, d, Shape{Rows: 1, Length: 100}), 0)
		text := "<turn>user:say <end><end><turn>assistant:<end>!<end><turn>user:again<end><turn>assistant:no<end>"
		if got := d.Tokenizer().Decode(b.IDs[:b.Tokens]); got != text {
			t.Errorf("tokens read %q, want %q", got, text)
		}
		ends, turns := 0, 0
		for _, id := range b.IDs[:b.Tokens] {
			switch id {
			case end:
				ends++
			case turn:
				turns++
			}
		}
		if ends != 4 || turns != 4 {
			t.Errorf("%d tokens <end> and %d <turn>, want 4 of each", ends, turns)
		}
		var learned []int32
		for _, label := range b.Labels {
			if label != Ignored {
				learned = append(learned, label)
			}
		}
		want := "<end>!<end>no<end>"
		if !masked {
			want = strings.TrimPrefix(text, "<turn>")
		}
		if got := d.Tokenizer().Decode(learned); got != want {
			t.Errorf("masked %v: learned %q, want %q", masked, got, want)
		}
	}
}

// TestErrors: each is one clear line that says where and what.
func TestErrors(t *testing.T) {
	dir := tree(t, map[string]string{
		"ten.jsonl": texts(10), "one.txt": "alone", "empty/a.txt": "", "empty/b.txt": "",
		"differs/a.jsonl": texts(3), "differs/b.jsonl": "{\"content\": \"no text\"}\n",
		"chats.jsonl":           `{"messages": [{"role": "user", "content": "hi"}]}`,
		"broken/tokenizer.json": "{",
	})
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, tc := range []struct {
		name   string
		change func(*Config)
		parts  []string
	}{
		{"no such path", func(c *Config) { c.Path = at("nowhere") }, []string{"data.path", at("nowhere")}},
		{"empty corpus", func(c *Config) { c.Path = at("empty") }, []string{"data.path", at("empty"), "is empty: 2 documents in 2 files, none with text"}},
		{"schema differs", func(c *Config) { c.Path = at("differs") }, []string{"data.path", at("differs/b.jsonl"), "text"}},
		{"no tokenizer", func(c *Config) { c.Tokenizer = at("missing") }, []string{"data.tokenizer", at("missing")}},
		{"broken tokenizer", func(c *Config) { c.Tokenizer = at("broken") }, []string{"data.tokenizer", at("broken")}},
		{"unknown end", func(c *Config) { c.EndOfDocument = "<eos>" }, []string{"data.end_of_document", `no token "<eos>"`}},
		{"nothing held out", func(c *Config) { c.HeldOut = 0.01 }, []string{"data.held_out is 0.01", "0 of the 10 documents"}},
		{"all held out", func(c *Config) { c.HeldOut = 10 }, []string{"data.held_out is 10 of 10 documents"}},
		{"almost all held out", func(c *Config) { c.HeldOut = 0.99 }, []string{"data.held_out is 0.99", "10 of the 10 documents"}},
		{"one document", func(c *Config) { c.Path, c.HeldOut = at("one.txt"), 0.5 }, []string{"data.held_out is 0.5", "of the 1 documents"}},
		{"too few held out", func(c *Config) {
			c.Sources = []Source{{source.Spec{Path: at("ten.jsonl")}, 1}, {source.Spec{Path: at("one.txt")}, 1}}
			c.Path, c.HeldOut = "", 1
		}, []string{"data.held_out is 1", "2 sources"}},
		{"long document", func(c *Config) { c.MaxDocumentTokens, c.LongDocuments = 20, Refuse }, []string{at("ten.jsonl"), "document 2", "has 21 tokens", "at most the 20"}},
		{"chat without template", func(c *Config) { c.Path = at("chats.jsonl") }, []string{"data.path", at("chats.jsonl"), "document 0", "has no chat template"}},
		{"no cache directory", func(c *Config) { c.Cache = at("one.txt") }, []string{"data.cache", at("one.txt")}},
		{"no tensor", func(c *Config) {
			c.Path, c.Tokens = "", &Tokens{Path: at("one.txt"), Tensor: "x"}
		}, []string{"data.tokens", at("one.txt")}},
	} {
		c := config(func(c *Config) {
			c.Path, c.Cache, c.Tokenizer = at("ten.jsonl"), t.TempDir(), "bytes"
			tc.change(c)
		})
		_, _, err := open(t, c)
		text := fmt.Sprint(err)
		for _, part := range append(tc.parts, " ") {
			if err == nil || !strings.Contains(text, part) || strings.Contains(text, "\n") {
				t.Errorf("%s: error %q, want one line with %q", tc.name, text, part)
			}
		}
	}
}
