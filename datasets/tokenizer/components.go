package tokenizer

import (
	"fmt"
	"slices"
)

// sequence returns the components that the setting key of s describes: none for null, the parts of a
// "Sequence" (listed under parts), else the one there is.
func sequence(s *section, key, parts string) ([]*section, error) {
	v, _ := s.take(key)
	if v == nil {
		return nil, nil
	}
	one := newSection(key, v)
	if one.fields["type"] != "Sequence" {
		return []*section{one}, one.err
	}
	one.take("type")
	var all []*section
	for i, v := range one.list(parts) {
		part := newSection(fmt.Sprintf("%s %d", key, i), v)
		if part.err != nil {
			return nil, part.err
		}
		all = append(all, part)
	}
	return all, one.done()
}

// preTokenizer takes the pre-tokenizer and reports whether it is GPT-2's; else it is Qwen2's.
func preTokenizer(top *section) (gpt2 bool, err error) {
	all, err := sequence(top, "pre_tokenizer", "pretokenizers")
	if err != nil {
		return false, err
	}
	if n := len(all); n < 1 || n > 2 {
		return false, fmt.Errorf("unsupported pre-tokenizer: %d steps, want Split and ByteLevel, or ByteLevel alone", n)
	}
	if len(all) == 2 {
		if err := split(all[0]); err != nil {
			return false, err
		}
	}
	last := all[len(all)-1]
	if t := last.text("type"); t != "ByteLevel" {
		last.fail("unsupported pre-tokenizer: type %q, want ByteLevel", clip(t))
	}
	gpt2 = last.flag("use_regex", true)
	if gpt2 != (len(all) == 1) {
		last.fail("unsupported pre-tokenizer: use_regex is %t behind %d Split steps", gpt2, len(all)-1)
	}
	if last.flag("add_prefix_space", true) {
		last.fail("unsupported pre-tokenizer: add_prefix_space is true")
	}
	last.take("trim_offsets") // offsets are not computed
	return gpt2, last.done()
}

// split takes a Split pre-tokenizer, which must be Qwen2's.
func split(s *section) error {
	if t := s.text("type"); t != "Split" {
		s.fail("unsupported pre-tokenizer: type %q before ByteLevel, want Split", clip(t))
	}
	v, _ := s.take("pattern")
	pattern := newSection(s.name+": pattern", v)
	if regex := pattern.text("Regex"); regex != qwen2Pattern {
		s.fail("unsupported pre-tokenizer: regular expression %q, want Qwen2's", regex)
	}
	if err := pattern.done(); err != nil {
		s.fail("%v", err)
	}
	if how := s.text("behavior"); how != "Isolated" {
		s.fail("unsupported pre-tokenizer: behavior %q, want Isolated", clip(how))
	}
	if s.flag("invert", false) {
		s.fail("unsupported pre-tokenizer: invert is true")
	}
	return s.done()
}

// normalizer takes the normaliser and reports whether there is one, which must be NFC.
func normalizer(top *section) (nfc bool, err error) {
	all, err := sequence(top, "normalizer", "normalizers")
	if err != nil {
		return false, err
	}
	for _, s := range all {
		if t := s.text("type"); t != "NFC" {
			s.fail("unsupported normalizer: type %q, want NFC", clip(t))
		}
		if err := s.done(); err != nil {
			return false, err
		}
	}
	return len(all) > 0, nil
}

// around takes what happens before and after the model: it must change no ids, and decoding must be byte-level.
func around(top *section) error {
	for _, key := range []string{"truncation", "padding"} {
		if v, _ := top.take(key); v != nil {
			return fmt.Errorf("unsupported %s: found %s, want null", key, kind(v))
		}
	}
	if v := top.text("version"); v != "1.0" {
		top.fail("version is %q, want \"1.0\"", clip(v))
	}
	post, err := sequence(top, "post_processor", "processors")
	if err != nil {
		return err
	}
	decoders, err := sequence(top, "decoder", "decoders")
	if err != nil {
		return err
	}
	if len(decoders) != 1 {
		return fmt.Errorf("unsupported decoder: %d steps, want one ByteLevel", len(decoders))
	}
	for _, s := range append(post, decoders...) {
		if t := s.text("type"); t != "ByteLevel" {
			s.fail("unsupported type %q, want ByteLevel", clip(t))
		}
		for _, key := range []string{"add_prefix_space", "trim_offsets", "use_regex"} {
			s.take(key) // they concern the pre-tokenizer and offsets only
		}
		if err := s.done(); err != nil {
			return err
		}
	}
	return top.err
}

// addedTokens reads the added tokens and sorts them by id.
func addedTokens(list []any) ([]AddedToken, error) {
	var tokens []AddedToken
	ids, contents := map[int32]string{}, map[string]int32{}
	for i, v := range list {
		s := newSection(fmt.Sprintf("added_tokens %d", i), v)
		t := AddedToken{
			Content:    s.text("content"),
			Special:    s.flag("special", false),
			LStrip:     s.flag("lstrip", false),
			RStrip:     s.flag("rstrip", false),
			SingleWord: s.flag("single_word", false),
		}
		t.Normalized = s.flag("normalized", !t.Special)
		t.ID = s.id("id")
		if t.Content == "" {
			s.fail("content is empty")
		}
		if twin, ok := ids[t.ID]; ok {
			s.fail("duplicate id %d: %q and %q", t.ID, clip(twin), clip(t.Content))
		}
		if twin, ok := contents[t.Content]; ok {
			s.fail("duplicate token %q: ids %d and %d", clip(t.Content), twin, t.ID)
		}
		if err := s.done(); err != nil {
			return nil, err
		}
		ids[t.ID], contents[t.Content] = t.Content, t.ID
		tokens = append(tokens, t)
	}
	slices.SortFunc(tokens, byID)
	return tokens, nil
}
