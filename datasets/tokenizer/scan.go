package tokenizer

import "unicode/utf8"

// The pre-tokenizers' regular expressions, as tokenizer.json writes them.
const (
	qwen2Pattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	gpt2Pattern  = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
)

// A scanner cuts a text into the words within which bytes are merged, as the matches of the regular
// expression of its pattern do: Qwen2's or GPT-2's. Both patterns match at every position, so the words
// cover the text. Invalid bytes count as characters that are no letter, number or space.
type scanner struct {
	*classes
	gpt2 bool
}

// word returns the length of the word that text, which is not empty, starts with.
func (s scanner) word(text string) int {
	if text[0] == '\'' {
		if n := s.contraction(text); n > 0 {
			return n
		}
	}
	c, size := s.at(text, 0)
	if s.gpt2 {
		return s.gpt2Word(text, c, size)
	}
	switch c {
	case letter:
		return s.run(text, size, letter)
	case number:
		return size
	case newline:
		return s.blank(text)
	}
	next, _ := s.at(text, size)
	if next == letter && size < len(text) { // [^\r\n\p{L}\p{N}]?\p{L}+
		return s.run(text, size, letter)
	}
	if c == space {
		if text[0] != ' ' || next != other || size == len(text) {
			return s.blank(text)
		}
	}
	n := s.run(text, size, other) //  ?[^\s\p{L}\p{N}]+[\r\n]*
	return s.run(text, n, newline)
}

// gpt2Word is word for GPT-2's pattern; c and size describe the first character.
func (s scanner) gpt2Word(text string, c class, size int) int {
	if c != space && c != newline {
		return s.run(text, size, c)
	}
	if text[0] == ' ' && len(text) > 1 {
		if next, _ := s.at(text, 1); next != space && next != newline {
			return s.run(text, 1, next)
		}
	}
	return s.blank(text)
}

// at classifies the character at byte i and returns its size; behind the end it is other, of size 0.
func (s scanner) at(text string, i int) (class, int) {
	if i < len(text) && text[i] < utf8.RuneSelf {
		return s.classes[text[i]], 1
	}
	return s.wide(text, i)
}

// wide is at beyond ASCII.
func (s scanner) wide(text string, i int) (class, int) {
	if i >= len(text) {
		return other, 0
	}
	r, size := utf8.DecodeRuneInString(text[i:])
	return s.classes[r], size
}

// run returns where the characters of class c that start at byte i end.
func (s scanner) run(text string, i int, c class) int {
	for {
		for i < len(text) && text[i] < utf8.RuneSelf {
			if s.classes[text[i]] != c {
				return i
			}
			i++
		}
		k, size := s.wide(text, i)
		if k != c || size == 0 {
			return i
		}
		i += size
	}
}

// blank returns the length of the word at the start of text, whose first character is white space that joins
// nothing behind it:
//
//	\s*[\r\n]+   up to the last line break of the white space (Qwen2 only), else
//	\s+(?!\S)    all of it at the end of the text, all but the last character before something else, else
//	\s+          the one character there is.
func (s scanner) blank(text string) int {
	end, last, breakEnd := 0, 0, 0
	for end < len(text) {
		c, size := s.at(text, end)
		if c != space && c != newline {
			break
		}
		last = end
		end += size
		if c == newline {
			breakEnd = end
		}
	}
	switch {
	case breakEnd > 0 && !s.gpt2:
		return breakEnd
	case end == len(text) || last == 0:
		return end
	default:
		return last
	}
}

// contraction returns the length of the English ending 's 't 're 've 'm 'll 'd that text starts with, or 0.
// Qwen2 ignores case, and by Unicode's simple folding the long s (U+017F) is an s too.
func (s scanner) contraction(text string) int {
	if len(text) < 2 {
		return 0
	}
	b := s.fold(text[1])
	switch b {
	case 's', 't', 'm', 'd':
		return 2
	}
	if len(text) < 3 {
		return 0
	}
	switch c := s.fold(text[2]); {
	case b == 'r' && c == 'e', b == 'v' && c == 'e', b == 'l' && c == 'l':
		return 3
	case !s.gpt2 && text[1:3] == "ſ":
		return 3
	}
	return 0
}

// fold lowers an ASCII capital where case is ignored.
func (s scanner) fold(b byte) byte {
	if !s.gpt2 && 'A' <= b && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}
