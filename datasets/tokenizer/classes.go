package tokenizer

import (
	"slices"
	"unicode"
)

// class says how the pre-tokenizers' regular expressions see a character.
type class uint8

const (
	other   class = iota // anything else, invalid UTF-8 too
	letter               // \p{L}
	number               // \p{N}
	space                // \s but not \r or \n: White_Space, which is what Oniguruma means by \s
	newline              // [\r\n]
)

// What Unicode 15.1 and 16.0 added to the tables of Go's unicode package (15.0): the tokenizers library
// classifies by 16.0. All the numbers are decimal digits.
var (
	lettersSince15 = [][2]rune{
		{0x1C89, 0x1C8A}, {0xA7CB, 0xA7CD}, {0xA7DA, 0xA7DC}, {0x105C0, 0x105F3}, {0x10D4A, 0x10D65},
		{0x10D6F, 0x10D85}, {0x10EC2, 0x10EC4}, {0x11380, 0x11389}, {0x1138B, 0x1138B}, {0x1138E, 0x1138E},
		{0x11390, 0x113B5}, {0x113B7, 0x113B7}, {0x113D1, 0x113D1}, {0x113D3, 0x113D3}, {0x11BC0, 0x11BE0},
		{0x13460, 0x143FA}, {0x16100, 0x1611D}, {0x16D40, 0x16D6C}, {0x18CFF, 0x18CFF}, {0x1E5D0, 0x1E5ED},
		{0x1E5F0, 0x1E5F0}, {0x2EBF0, 0x2EE5D},
	}
	numbersSince15 = [][2]rune{
		{0x10D40, 0x10D49}, {0x116D0, 0x116E3}, {0x11BF0, 0x11BF9}, {0x16130, 0x16139}, {0x16D70, 0x16D79},
		{0x1CCF0, 0x1CCF9}, {0x1E5F1, 0x1E5FA},
	}
	marksSince15 = [][2]rune{
		{0x0897, 0x0897}, {0x10D69, 0x10D6D}, {0x10EFC, 0x10EFC}, {0x113B8, 0x113C0}, {0x113C2, 0x113C2},
		{0x113C5, 0x113C5}, {0x113C7, 0x113CA}, {0x113CC, 0x113D0}, {0x113D2, 0x113D2}, {0x113E1, 0x113E2},
		{0x11F5A, 0x11F5A}, {0x1611E, 0x1612F}, {0x1E5EE, 0x1E5EF},
	}
)

// classes holds the class of every code point, one byte each: looking a character up costs one load, where
// unicode.IsLetter searches. Most of its pages stay untouched.
type classes [unicode.MaxRune + 1]class

func newClasses() *classes {
	c := new(classes)
	c.fill(unicode.L, letter)
	c.fill(unicode.N, number)
	c.fill(unicode.White_Space, space)
	for _, r := range lettersSince15 {
		c.span(r[0], r[1], 1, letter)
	}
	for _, r := range numbersSince15 {
		c.span(r[0], r[1], 1, number)
	}
	c['\r'], c['\n'] = newline, newline
	return c
}

func (c *classes) fill(t *unicode.RangeTable, k class) {
	for _, r := range t.R16 {
		c.span(rune(r.Lo), rune(r.Hi), rune(r.Stride), k)
	}
	for _, r := range t.R32 {
		c.span(rune(r.Lo), rune(r.Hi), rune(r.Stride), k)
	}
}

func (c *classes) span(lo, hi, stride rune, k class) {
	for r := lo; r <= hi; r += stride {
		c[r] = k
	}
}

// isWord reports whether a regular expression's \w matches r: Alphabetic, marks, decimal digits, connector
// punctuation and the joiners (https://www.unicode.org/reports/tr18/#word).
func (c *classes) isWord(r rune) bool {
	return c[r] == letter || within(numbersSince15, r) || within(marksSince15, r) ||
		unicode.In(r, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic, unicode.Join_Control)
}

// within reports whether r lies in one of the spans, which are in order.
func within(spans [][2]rune, r rune) bool {
	_, ok := slices.BinarySearchFunc(spans, r, func(s [2]rune, r rune) int {
		switch {
		case s[1] < r:
			return -1
		case r < s[0]:
			return 1
		}
		return 0
	})
	return ok
}

func (c *classes) isSpace(r rune) bool { return c[r] == space || c[r] == newline }
