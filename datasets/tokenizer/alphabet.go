package tokenizer

import "unicode/utf8"

// The byte-level alphabet of GPT-2 (https://github.com/openai/gpt-2/blob/master/src/encoder.py,
// bytes_to_unicode) writes every byte as a printable character: the printable ones of Latin-1 stand for
// themselves, the other 68 follow from U+0100 on in order of the byte ("Ġ", U+0120, is the space).

// printable reports whether b stands for itself.
func printable(b byte) bool {
	return '!' <= b && b <= '~' || 0xA1 <= b && b <= 0xAC || 0xAE <= b
}

// alphabet maps bytes to characters and back.
type alphabet struct {
	char [256]rune
	byte [0x100 + 68]int16 // -1 where the character stands for no byte
}

func newAlphabet() *alphabet {
	a := new(alphabet)
	for i := range a.byte {
		a.byte[i] = -1
	}
	above := rune(0x100)
	for b := range 256 {
		a.char[b] = rune(b)
		if !printable(byte(b)) {
			a.char[b] = above
			above++
		}
		a.byte[a.char[b]] = int16(b)
	}
	return a
}

// name writes raw bytes in the alphabet.
func (a *alphabet) name(raw string) string {
	out := make([]byte, 0, 2*len(raw))
	for i := range len(raw) {
		out = utf8.AppendRune(out, a.char[raw[i]])
	}
	return string(out)
}

// raw returns the bytes a token's name stands for. A name with a character outside the alphabet stands for
// itself (level false), as added tokens do; it can never come out of a merge.
func (a *alphabet) raw(name string) (raw string, level bool) {
	plain := true
	for _, r := range name {
		if int(r) >= len(a.byte) || a.byte[r] < 0 {
			return name, false
		}
		plain = plain && r < utf8.RuneSelf
	}
	if plain {
		return name, true
	}
	out := make([]byte, 0, len(name))
	for _, r := range name {
		out = append(out, byte(a.byte[r]))
	}
	return string(out), true
}
