package tokenizer

import (
	"fmt"
	"slices"
	"sync"
)

// BPE is a byte-level byte-pair encoding. Any number of goroutines may use it at once. A text may have up to
// 2 GiB; beside the result, encoding takes some 40 bytes of memory for every byte of the longest word.
type BPE struct {
	names  []string         // the tokens as the file writes them, by id
	pieces []string         // the bytes they stand for
	ids    map[string]int32 // the other way round
	raw    *matcher         // added tokens looked for in the text as it came
	normal *matcher         // and in the normalised text
	added  []AddedToken     // all of them, by id

	nfc         bool
	words       scanner
	merges      *merges
	bytes       [256]int32
	whole       map[string]int32 // by bytes: words that are tokens stay whole (ignore_merges); else nil
	special     map[int32]bool
	encoderPool sync.Pool
}

var _ Tokenizer = (*BPE)(nil)

// encoder is what one goroutine needs to encode.
type encoder struct {
	*BPE
	merger merger
	cache  *cache
}

func (b *BPE) encoder() *encoder {
	if e, ok := b.encoderPool.Get().(*encoder); ok {
		return e
	}
	return &encoder{BPE: b, merger: merger{merges: b.merges, bytes: &b.bytes}, cache: newCache()}
}

// Encode returns the tokens of text, added and special ones included where it spells them out. Nothing is put
// before or after. Invalid UTF-8 is encoded byte by byte.
func (b *BPE) Encode(text string) []int32 { return b.AppendEncode(nil, text) }

// AppendEncode appends the tokens of text to dst.
func (b *BPE) AppendEncode(dst []int32, text string) []int32 { return b.append(dst, text, false) }

// EncodeOrdinary is Encode for text that must not steer the model, such as a user's message: special tokens
// spelled out in it become the tokens of their characters. Added tokens that are not special are still found.
func (b *BPE) EncodeOrdinary(text string) []int32 { return b.append(nil, text, true) }

func (b *BPE) append(dst []int32, text string, ordinary bool) []int32 {
	e := b.encoder()
	token := func(t *AddedToken) { dst = append(dst, t.ID) }
	words := func(text string) { dst = e.appendWords(dst, text) }
	b.raw.split(text, ordinary, func(text string) {
		if b.nfc {
			text = nfc(text)
		}
		b.normal.split(text, ordinary, words, token)
	}, token)
	e.merger.trim()
	b.encoderPool.Put(e)
	return dst
}

// appendWords cuts text into words and appends their tokens.
func (e *encoder) appendWords(dst []int32, text string) []int32 {
	for len(text) > 0 {
		n := e.words.word(text)
		dst = e.appendWord(dst, text[:n])
		text = text[n:]
	}
	return dst
}

func (e *encoder) appendWord(dst []int32, word string) []int32 {
	if len(word) == 1 {
		return append(dst, e.bytes[word[0]])
	}
	slot := e.cache.slot(word)
	if slot != nil && slot.holds(word) {
		return append(dst, slot.ids[:slot.tokens]...)
	}
	start := len(dst)
	if id, ok := e.whole[word]; ok {
		dst = append(dst, id)
	} else {
		dst = e.merger.appendWord(dst, word)
	}
	if slot != nil {
		slot.keep(word, dst[start:])
	}
	return dst
}

// Decode returns the text of ids. Bytes that are no UTF-8 become U+FFFD, one for each maximal part of a
// character; ids without a token become nothing.
func (b *BPE) Decode(ids []int32, with ...Option) string { return decode(b, ids, with) }

// Piece returns the bytes that token id stands for, and whether it is special. It is "" for an unknown id.
func (b *BPE) Piece(id int32) (bytes string, special bool) {
	if id < 0 || int(id) >= len(b.pieces) {
		return "", false
	}
	return b.pieces[id], b.special[id]
}

// Token returns the token as the file writes it: bytes in the byte-level alphabet ("Ġthe").
func (b *BPE) Token(id int32) (token string, ok bool) {
	if id < 0 || int(id) >= len(b.names) {
		return "", false
	}
	return b.names[id], true
}

// ID returns the id of a token spelled as the file writes it.
func (b *BPE) ID(token string) (id int32, ok bool) {
	id, ok = b.ids[token]
	return id, ok
}

// VocabSize is the highest id plus one.
func (b *BPE) VocabSize() int { return len(b.names) }

// Added returns the added tokens, special ones included, by id.
func (b *BPE) Added() []AddedToken { return slices.Clone(b.added) }

// Specials returns the special tokens by id.
func (b *BPE) Specials() []AddedToken {
	return slices.DeleteFunc(b.Added(), func(t AddedToken) bool { return !t.Special })
}

// CheckVocab returns an error unless every token has a row in an embedding of that many rows. An embedding may
// have more rows than there are tokens: checkpoints pad it.
func (b *BPE) CheckVocab(embeddingRows int) error {
	if b.VocabSize() <= embeddingRows {
		return nil
	}
	first := max(embeddingRows, 0)
	return fmt.Errorf("tokenizer: token %q has id %d, but the embedding has %d rows (the tokenizer needs %d)",
		b.names[first], first, embeddingRows, b.VocabSize())
}
