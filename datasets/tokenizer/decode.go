package tokenizer

import (
	"slices"
	"unicode/utf8"
)

// decode returns the text of ids: all their bytes together, invalid ones replaced.
func decode(v Vocabulary, ids []int32, with []Option) string {
	d := NewDecoder(v, with...)
	var text []byte
	for _, id := range ids {
		text = d.append(text, id)
	}
	return string(d.flush(text))
}

// A Decoder turns ids into text one by one. A character split between tokens is held back until it is
// complete, so that what all calls of Push and the last of Flush return, put together, is Decode's text.
type Decoder struct {
	vocab       Vocabulary
	skipSpecial bool
	held        []byte // the start of a character: at most three bytes
}

// NewDecoder returns a decoder for the tokens of v.
func NewDecoder(v Vocabulary, with ...Option) *Decoder {
	return &Decoder{vocab: v, skipSpecial: slices.Contains(with, SkipSpecial)}
}

// Push returns the text that id completes.
func (d *Decoder) Push(id int32) string { return string(d.append(nil, id)) }

// Flush ends the text: a character still incomplete becomes U+FFFD. The decoder is then as new.
func (d *Decoder) Flush() string { return string(d.flush(nil)) }

func (d *Decoder) append(text []byte, id int32) []byte {
	piece, special := d.vocab.Piece(id)
	if special && d.skipSpecial {
		return text
	}
	if len(d.held) == 0 && utf8.ValidString(piece) {
		return append(text, piece...)
	}
	text, d.held = appendValid(text, append(d.held, piece...))
	return text
}

func (d *Decoder) flush(text []byte) []byte {
	if len(d.held) > 0 {
		text = utf8.AppendRune(text, utf8.RuneError)
	}
	d.held = d.held[:0]
	return text
}

// appendValid appends raw to text with U+FFFD for every maximal part of an ill-formed character, as the
// Unicode Standard (3.9, "U+FFFD substitution of maximal subparts") and Rust's from_utf8_lossy have it.
// It returns the start of a character at the end of raw that more bytes could complete.
func appendValid(text, raw []byte) (out, held []byte) {
	for len(raw) > 0 {
		if r, n := utf8.DecodeRune(raw); r != utf8.RuneError || n > 1 {
			text, raw = append(text, raw[:n]...), raw[n:]
			continue
		}
		n := maximalPart(raw)
		if n == len(raw) && !utf8.FullRune(raw) {
			return text, raw
		}
		text, raw = utf8.AppendRune(text, utf8.RuneError), raw[n:]
	}
	return text, raw
}

// maximalPart returns the length of the longest start of raw that some valid character starts with, at least
// one byte; raw starts with no valid character.
func maximalPart(raw []byte) int {
	n := 1
	for n < len(raw) && !utf8.FullRune(raw[:n+1]) { // Go counts the ill-formed as full
		n++
	}
	return n
}
