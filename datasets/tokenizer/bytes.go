package tokenizer

import (
	"fmt"
	"slices"
)

// Bytes is the plain byte tokenizer: ids 0 to 255 are the bytes, the special tokens follow.
type Bytes struct {
	alphabet *alphabet
	specials *matcher
}

var _ Tokenizer = (*Bytes)(nil)

// NewBytes returns a byte tokenizer with special tokens ("<eos>", say) of the ids 256, 257, …
func NewBytes(specials ...string) (*Bytes, error) {
	var tokens []AddedToken
	for i, s := range specials {
		if s == "" || slices.Contains(specials[:i], s) {
			return nil, fmt.Errorf("tokenizer: special token %d is %q, want a new one that is not empty", i, clip(s))
		}
		tokens = append(tokens, AddedToken{ID: int32(256 + i), Content: s, Special: true})
	}
	return &Bytes{newAlphabet(), newMatcher(newClasses(), tokens)}, nil
}

// Encode returns the bytes of text; special tokens spelled out in it are found.
func (b *Bytes) Encode(text string) []int32 { return b.AppendEncode(nil, text) }

// AppendEncode appends Encode(text) to dst.
func (b *Bytes) AppendEncode(dst []int32, text string) []int32 {
	dst = slices.Grow(dst, len(text))
	plain := func(text string) { dst = appendBytes(dst, text) }
	b.specials.split(text, false, plain, func(t *AddedToken) { dst = append(dst, t.ID) })
	return dst
}

// EncodeOrdinary returns the bytes of text, whatever it spells out.
func (b *Bytes) EncodeOrdinary(text string) []int32 {
	return appendBytes(make([]int32, 0, len(text)), text)
}

func appendBytes(dst []int32, text string) []int32 {
	for i := range len(text) {
		dst = append(dst, int32(text[i]))
	}
	return dst
}

// Decode returns the text of ids, as BPE.Decode does.
func (b *Bytes) Decode(ids []int32, with ...Option) string { return decode(b, ids, with) }

// Piece returns the byte or special token of id, "" for an unknown id.
func (b *Bytes) Piece(id int32) (bytes string, special bool) {
	switch {
	case id < 0 || int(id) >= b.VocabSize():
		return "", false
	case id < 256:
		return string([]byte{byte(id)}), false
	}
	return b.specials.tokens[id-256].Content, true
}

// Token spells bytes in the byte-level alphabet, as BPE.Token does.
func (b *Bytes) Token(id int32) (token string, ok bool) {
	piece, special := b.Piece(id)
	if special || piece == "" {
		return piece, special
	}
	return b.alphabet.name(piece), true
}

// ID returns the id of a byte or special token spelled as Token does.
func (b *Bytes) ID(token string) (id int32, ok bool) {
	for _, t := range b.specials.tokens {
		if t.Content == token {
			return t.ID, true
		}
	}
	if raw, level := b.alphabet.raw(token); level && len(raw) == 1 {
		return int32(raw[0]), true
	}
	return 0, false
}

// VocabSize is 256 plus the number of special tokens.
func (b *Bytes) VocabSize() int { return 256 + len(b.specials.tokens) }

// Specials returns the special tokens by id.
func (b *Bytes) Specials() []AddedToken { return slices.Clone(b.specials.tokens) }
