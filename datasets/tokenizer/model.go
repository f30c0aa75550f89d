package tokenizer

import (
	"fmt"
	"slices"
	"strings"
)

// model is the "model" of a tokenizer file as it was read.
type model struct {
	vocab  []entry
	pairs  [][2]string
	fields map[string]any // the settings besides
	whole  bool           // ignore_merges
	there  bool
}

type entry struct {
	name string
	id   int32
}

func (m *model) read(j jsonText) error {
	m.there, m.fields = true, map[string]any{}
	return j.record(func(key string) (err error) {
		switch key {
		case "vocab":
			return j.Members(func(name string, _ int) error {
				id, err := j.id()
				m.vocab = append(m.vocab, entry{name, id})
				return err
			})
		case "merges":
			return j.Array(func(int) error { return m.readMerge(j) })
		}
		m.fields[key], err = j.value()
		return err
	})
}

// readMerge reads one merge: "a b", or ["a","b"] as tokenizers writes it from 0.20 on.
func (m *model) readMerge(j jsonText) error {
	if j.Next() == '"' {
		text, err := j.Text()
		if err != nil {
			return err
		}
		left, right, ok := strings.Cut(text, " ")
		if !ok || left == "" || right == "" || strings.Contains(right, " ") {
			return j.Fail("merge %d is %q, want two tokens with a space between", len(m.pairs), clip(text))
		}
		m.pairs = append(m.pairs, [2]string{left, right})
		return nil
	}
	var pair [2]string
	n := 0
	err := j.Array(func(i int) (err error) {
		n = i + 1
		if n > 2 {
			return j.Fail("merge %d has more than two tokens", len(m.pairs))
		}
		pair[i], err = j.Text()
		return err
	})
	if err == nil && n != 2 {
		err = j.Fail("merge %d has %d tokens, want two", len(m.pairs), n)
	}
	m.pairs = append(m.pairs, pair)
	return err
}

// settings checks the settings of the model. What only concerns characters without a token (unk_token,
// fuse_unk) has no effect, since all 256 bytes have one.
func (m *model) settings() error {
	if !m.there {
		return fmt.Errorf("model is missing")
	}
	s := newSection("model", m.fields)
	if t := s.text("type"); t != "BPE" {
		s.fail("unsupported type %q, want BPE", clip(t))
	}
	if p, _ := s.take("dropout"); p != nil && p != 0.0 {
		s.fail("unsupported dropout %s: encoding would be random", kind(p))
	}
	for _, key := range []string{"continuing_subword_prefix", "end_of_word_suffix"} {
		if t := s.text(key); t != "" {
			s.fail("unsupported %s %q, want none", key, clip(t))
		}
	}
	if s.flag("byte_fallback", false) {
		s.fail("unsupported byte_fallback: want byte-level tokens")
	}
	m.whole = s.flag("ignore_merges", false)
	s.text("unk_token")
	s.flag("fuse_unk", false)
	return s.done()
}

// merges resolves the merges' tokens.
func (m *model) merges(ids map[string]int32) (*merges, error) {
	out := newMerges(len(m.pairs))
	var joined []byte
	for i, pair := range m.pairs {
		joined = append(append(joined[:0], pair[0]...), pair[1]...)
		left, okLeft := ids[pair[0]]
		right, okRight := ids[pair[1]]
		made, okMade := ids[string(joined)]
		switch {
		case !okLeft:
			return nil, fmt.Errorf("model: merge %d needs token %q, which the vocabulary lacks", i, clip(pair[0]))
		case !okRight:
			return nil, fmt.Errorf("model: merge %d needs token %q, which the vocabulary lacks", i, clip(pair[1]))
		case !okMade:
			return nil, fmt.Errorf("model: merge %d makes token %q, which the vocabulary lacks", i, clip(string(joined)))
		}
		if !out.add(left, right, made) {
			return nil, fmt.Errorf("model: merge %d repeats the pair %q %q", i, clip(pair[0]), clip(pair[1]))
		}
	}
	return out, nil
}

// vocabulary fills in the tokens of the model and the added ones: every id from 0 on once, every byte.
func (b *BPE) vocabulary(m *model) (err error) {
	b.ids = make(map[string]int32, len(m.vocab)+len(b.added))
	for _, e := range m.vocab {
		if twin, ok := b.ids[e.name]; ok {
			return fmt.Errorf("model: duplicate token %q in the vocabulary: ids %d and %d", clip(e.name), twin, e.id)
		}
		b.ids[e.name] = e.id
	}
	letters := newAlphabet()
	if b.bytes, err = byteTokens(letters, b.ids); err != nil {
		return err
	}
	if b.merges, err = m.merges(b.ids); err != nil {
		return err
	}
	if m.whole {
		b.whole = make(map[string]int32, len(m.vocab))
		for _, e := range m.vocab {
			if raw, level := letters.raw(e.name); level {
				b.whole[raw] = e.id
			}
		}
	}
	return b.number(m.vocab, letters)
}

// byteTokens returns the token of every byte.
func byteTokens(letters *alphabet, ids map[string]int32) (tokens [256]int32, err error) {
	var missing []int
	for c, char := range letters.char {
		id, ok := ids[string(char)]
		if !ok {
			missing = append(missing, c)
		}
		tokens[c] = id
	}
	if len(missing) > 0 {
		err = fmt.Errorf("model: byte 0x%02x (%q) has no token; %d of 256 have none",
			missing[0], letters.char[missing[0]], len(missing))
	}
	return tokens, err
}

// number adds the added tokens to the vocabulary, puts all in order of their ids and spells them in bytes.
func (b *BPE) number(all []entry, letters *alphabet) error {
	for _, t := range b.added {
		id, ok := b.ids[t.Content]
		if ok && id != t.ID {
			return fmt.Errorf("added_tokens: duplicate token %q: id %d, but %d in the vocabulary", clip(t.Content), t.ID, id)
		}
		if !ok {
			b.ids[t.Content] = t.ID
			all = append(all, entry{t.Content, t.ID})
		}
	}
	b.names, b.pieces = make([]string, len(all)), make([]string, len(all))
	taken := make([]bool, len(all))
	for _, e := range all {
		if int(e.id) >= len(all) {
			continue // too high for so many tokens: some lower id is missing or taken twice
		}
		if taken[e.id] {
			return fmt.Errorf("duplicate id %d: tokens %q and %q", e.id, clip(b.names[e.id]), clip(e.name))
		}
		taken[e.id], b.names[e.id] = true, e.name
		b.pieces[e.id], _ = letters.raw(e.name)
	}
	if id := slices.Index(taken, false); id >= 0 {
		return fmt.Errorf("id gap: no token has id %d, want 0 to %d for %d tokens", id, len(all)-1, len(all))
	}
	for _, t := range b.added {
		if b.nfc && t.Normalized { // decoded as it is found
			b.pieces[t.ID], _ = letters.raw(nfc(t.Content))
		}
	}
	return nil
}
