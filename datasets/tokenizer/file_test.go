package tokenizer

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// set changes one setting of the object that keys lead to.
func set(value any, keys ...string) edit {
	return func(file map[string]any) { at(file, keys[:len(keys)-1]...)[keys[len(keys)-1]] = value }
}

// addToken appends an added token.
func addToken(token map[string]any) edit {
	return func(file map[string]any) { file["added_tokens"] = append(file["added_tokens"].([]any), token) }
}

// step changes one setting of a step of the pre-tokenizer.
func step(i int, key string, value any) edit {
	return func(file map[string]any) {
		file["pre_tokenizer"].(map[string]any)["pretokenizers"].([]any)[i].(map[string]any)[key] = value
	}
}

func addMerge(merge any) edit {
	return func(file map[string]any) {
		at(file, "model")["merges"] = append(at(file, "model")["merges"].([]any), merge)
	}
}

func TestBadFiles(t *testing.T) {
	next := float64(len(tiny(t).names))
	rows := []struct {
		name string
		edit edit
		want string
	}{
		{"duplicate_id in the vocabulary", set(5.0, "model", "vocab", "a"), `duplicate id 5`},
		{"duplicate_id of an added token", addToken(map[string]any{"id": 7.0, "content": "<x>"}), `duplicate id 7`},
		{"duplicate_id twice added", addToken(map[string]any{"id": 340.0, "content": "<x>"}), `duplicate id 340: "<|endoftext|>" and "<x>"`},
		{"duplicate token added", addToken(map[string]any{"id": next, "content": "<tool>"}), `duplicate token "<tool>"`},
		{"another id than in the vocabulary", addToken(map[string]any{"id": next, "content": "a"}), `duplicate token "a"`},
		{"id_gap in the vocabulary", set(next+5, "model", "vocab", "Ġis"), `id gap`},
		{"id_gap before an added token", addToken(map[string]any{"id": next + 1, "content": "<x>"}), `id gap: no token has id 352`},
		{"id 2^31", set(2147483648.0, "model", "vocab", "a"), `is no token id`},
		{"id -1", set(-1.0, "model", "vocab", "a"), `is no token id`},
		{"id 1.5", set(1.5, "model", "vocab", "a"), `is no token id`},
		{"id as text", set("1", "model", "vocab", "a"), `want a token id`},
		{"merge_unknown_token left", addMerge("qq a"), `needs token "qq"`},
		{"merge_unknown_token right", addMerge([]any{"a", "qq"}), `needs token "qq"`},
		{"merge_unknown_token made", addMerge("q q"), `makes token "qq"`},
		{"merge of one token", addMerge("qq"), `want two tokens`},
		{"merge of three tokens", addMerge("a b c"), `want two tokens`},
		{"merge of three, as an array", addMerge([]any{"a", "b", "c"}), `more than two tokens`},
		{"merge of one, as an array", addMerge([]any{"a"}), `has 1 tokens, want two`},
		{"merge of a number", addMerge(1.0), `want '['`},
		{"merge twice", addMerge([]any{"Ġt", "h"}), `repeats the pair`},
		{"missing_byte_tokens", func(file map[string]any) { delete(at(file, "model", "vocab"), "Ċ") }, `byte 0x0a ('Ċ') has no token; 1 of 256`},
		{"no tokens", set(map[string]any{}, "model", "vocab"), `256 of 256 have none`},
		{"an added token for a byte", func(file map[string]any) {
			delete(at(file, "model", "vocab"), "Ċ")
			addToken(map[string]any{"id": 198.0, "content": "Ċ"})(file)
		}, `byte 0x0a`},
		{"unsupported_pretokenizer", set(map[string]any{"type": "Whitespace"}, "pre_tokenizer"), `unsupported pre-tokenizer: type "Whitespace"`},
		{"no pre-tokenizer", set(nil, "pre_tokenizer"), `unsupported pre-tokenizer: 0 steps`},
		{"another regular expression", step(0, "pattern", map[string]any{"Regex": `\p{N}{1,3}`}), `unsupported pre-tokenizer: regular expression "\\p{N}{1,3}"`},
		{"a string to split at", step(0, "pattern", map[string]any{"String": " "}), `unsupported pre-tokenizer`},
		{"behaviour", step(0, "behavior", "Removed"), `unsupported pre-tokenizer: behavior "Removed"`},
		{"inverted", step(0, "invert", true), `unsupported pre-tokenizer: invert`},
		{"split twice", step(1, "use_regex", true), `unsupported pre-tokenizer: use_regex`},
		{"prefix space", step(1, "add_prefix_space", true), `unsupported pre-tokenizer: add_prefix_space`},
		{"setting of the pre-tokenizer", step(1, "mode", "x"), `unknown setting "mode"`},
		{"normaliser", set(map[string]any{"type": "NFKC"}, "normalizer"), `unsupported normalizer: type "NFKC"`},
		{"decoder", set(map[string]any{"type": "Metaspace"}, "decoder"), `unsupported type "Metaspace"`},
		{"no decoder", set(nil, "decoder"), `unsupported decoder`},
		{"post-processor", set(map[string]any{"type": "TemplateProcessing"}, "post_processor"), `post_processor: unsupported type "TemplateProcessing"`},
		{"truncation", set(map[string]any{"max_length": 8.0}, "truncation"), `unsupported truncation`},
		{"padding", set(map[string]any{}, "padding"), `unsupported padding`},
		{"version", set("2.0", "version"), `version is "2.0"`},
		{"setting of the file", set(1.0, "colour"), `unknown setting "colour"`},
		{"model", set("WordPiece", "model", "type"), `unsupported type "WordPiece"`},
		{"no model", func(file map[string]any) { delete(file, "model") }, `model is missing`},
		{"model of another kind", set([]any{}, "model"), `want '{'`},
		{"dropout", set(0.1, "model", "dropout"), `unsupported dropout 0.1`},
		{"prefix", set("##", "model", "continuing_subword_prefix"), `unsupported continuing_subword_prefix "##"`},
		{"suffix", set("</w>", "model", "end_of_word_suffix"), `unsupported end_of_word_suffix "</w>"`},
		{"byte fallback", set(true, "model", "byte_fallback"), `unsupported byte_fallback`},
		{"setting of the model", set(1.0, "model", "scores"), `unknown setting "scores"`},
		{"flag of another kind", set("yes", "model", "ignore_merges"), `want true or false`},
		{"empty added token", addToken(map[string]any{"id": next, "content": ""}), `content is empty`},
		{"added token without an id", addToken(map[string]any{"content": "<x>"}), `id is nothing`},
		{"setting of an added token", addToken(map[string]any{"id": next, "content": "<x>", "fuzzy": true}), `unknown setting "fuzzy"`},
		{"added tokens alike when normalised", addToken(map[string]any{"id": next, "content": "Café", "normalized": true}), `the same when normalised`},
		{"added tokens as an object", set(map[string]any{}, "added_tokens"), `want an array`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			_, err := parse(tinyFile(t, row.edit))
			if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want one line with %q", err, row.want)
			}
		})
	}
}

func TestAcceptedFiles(t *testing.T) {
	want := tiny(t).Encode("this is größer, 这是一个词元")
	joined := func(file map[string]any) {
		for i, pair := range at(file, "model")["merges"].([]any) {
			two := pair.([]any)
			at(file, "model")["merges"].([]any)[i] = two[0].(string) + " " + two[1].(string)
		}
	}
	rows := map[string]edit{
		"merges_as_strings":        joined,
		"normaliser in a sequence": set(map[string]any{"type": "Sequence", "normalizers": []any{map[string]any{"type": "NFC"}}}, "normalizer"),
		"post-processor":           set(map[string]any{"type": "ByteLevel", "trim_offsets": false}, "post_processor"),
		"empty prefix":             set("", "model", "continuing_subword_prefix"),
		"unknown token":            set("<|endoftext|>", "model", "unk_token"),
		"added token of the vocabulary": func(file map[string]any) {
			addToken(map[string]any{"id": at(file, "model", "vocab")["Ġis"], "content": "Ġis"})(file)
		},
	}
	for name, e := range rows {
		if got := tiny(t, e).Encode("this is größer, 这是一个词元"); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestBadJSON(t *testing.T) {
	whole := tinyFile(t)
	rows := map[string]struct{ text, want string }{
		"empty":          {"", "found the end of the file"},
		"array":          {"[]", "want '{'"},
		"truncated":      {whole[:len(whole)/2], "byte "},
		"trailing":       {whole + "{}", "after the end"},
		"BOM":            {"\ufeff" + whole, "want '{'"},
		"NUL":            {"\x00", `found '\x00'`},
		"not UTF-8":      {"{\"version\":\"\xff\"}", "not UTF-8"},
		"deep":           {`{"version":` + strings.Repeat("[", 1<<16), "nested deeper"},
		"duplicate key":  {`{"version":"1.0","version":"1.0"}`, `duplicate key "version"`},
		"escaped twin":   {strings.Replace(whole, `"vocab":{`, `"vocab":{"\u0061":64,`, 1), `duplicate token "a"`},
		"lone surrogate": {`{"version":"\ud800"}`, "lone surrogate"},
		"low surrogate":  {`{"version":"\udc00\ud800"}`, "lone surrogate"},
		"bad escape":     {`{"version":"\x41"}`, "no escape"},
		"short escape":   {`{"version":"\u12`, "no escape"},
		"line break":     {"{\"version\":\"a\nb\"}", "control character"},
		"no end":         {`{"version":"a`, "without an end"},
		"no colon":       {`{"version" "a"}`, "want ':'"},
		"no comma":       {`{"version":"1.0" "model":{}}`, "want ',' or '}'"},
		"comma at end":   {`{"version":"1.0",}`, "want a string"},
		"word":           {`{"version":nul}`, "want a value"},
		"leading zero":   {`{"version":01}`, "is no number"},
		"bare point":     {`{"version":1.}`, "is no number"},
		"huge number":    {`{"version":1e999}`, "is no number"},
	}
	for name, row := range rows {
		_, err := parse(row.text)
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, row.want)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tokenizer.json")
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("no file: error %v, want its path", err)
	}
	if err := os.WriteFile(path, []byte(tinyFile(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{dir, path} {
		if b, err := Load(p); err != nil || b.VocabSize() != 352 {
			t.Errorf("Load(%s): %v", p, err)
		}
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("bad file: error %v, want its path", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a folder: error %v", err)
	}
}

func TestCheckVocab(t *testing.T) {
	b := tiny(t)
	for _, rows := range []int{352, 400} {
		if err := b.CheckVocab(rows); err != nil {
			t.Error(err)
		}
	}
	want := "tokenizer: token \"n\u0303\" has id 351, but the embedding has 351 rows (the tokenizer needs 352)"
	if err := b.CheckVocab(351); err == nil || err.Error() != want {
		t.Errorf("id_out_of_embedding_range: %v, want %s", err, want)
	}
	if err := b.CheckVocab(0); err == nil {
		t.Error("no rows: no error")
	}
}
