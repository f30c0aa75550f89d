package tokenizer

import (
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// graphemeJoiner is what golang.org/x/text inserts after 30 combining marks in a row (the Stream-Safe Text
// Format of Unicode's Annex 15), which plain NFC does not.
const graphemeJoiner = "\u034F"

// The combining marks that came after Unicode 9.0. The tokenizers library normalises by that version: to it
// these have class 0, and no other mark moves past them.
var marksSince9 = [][2]rune{
	{0x07FD, 0x07FD}, {0x0898, 0x089F}, {0x08CA, 0x08D3}, {0x09FE, 0x09FE}, {0x0C3C, 0x0C3C}, {0x0D3B, 0x0D3C},
	{0x0EBA, 0x0EBA}, {0x1715, 0x1715}, {0x1ABF, 0x1ACE}, {0x1DF6, 0x1DFA}, {0xA82C, 0xA82C}, {0x10D24, 0x10D27},
	{0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50}, {0x10F82, 0x10F85}, {0x11070, 0x11070},
	{0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A}, {0x1193D, 0x1193E}, {0x11943, 0x11943},
	{0x119E0, 0x119E0}, {0x11A34, 0x11A34}, {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42},
	{0x11D44, 0x11D45}, {0x11D97, 0x11D97}, {0x11F41, 0x11F42}, {0x16FF0, 0x16FF1}, {0x1E08F, 0x1E08F},
	{0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF},
}

// nfc normalises text to Unicode's Form C. Already normal text is returned as it is.
func nfc(text string) string {
	if norm.NFC.IsNormalString(text) {
		return text
	}
	if !strings.ContainsFunc(text, func(r rune) bool { return r >= marksSince9[0][0] && within(marksSince9, r) }) {
		out := norm.NFC.String(text)
		if strings.Count(out, graphemeJoiner) == strings.Count(text, graphemeJoiner) {
			return out
		}
	}
	return compose(decompose(text))
}

// mark is a character with its canonical combining class. An invalid byte b is kept as the rune -1-b.
type mark struct {
	r     rune
	class uint8
}

// decompose returns the characters of text decomposed canonically, runs of combining marks in order of class.
func decompose(text string) []mark {
	out := make([]mark, 0, len(text))
	sorted := 0 // out[:sorted] is in order
	for len(text) > 0 {
		p := norm.NFD.PropertiesString(text)
		piece := p.Decomposition()
		if piece == nil {
			piece = []byte(text[:p.Size()])
		}
		for len(piece) > 0 {
			r, n := utf8.DecodeRune(piece)
			m := mark{r, norm.NFD.Properties(piece[:n]).CCC()}
			if r == utf8.RuneError && n == 1 {
				m.r = -1 - rune(piece[0])
			}
			if within(marksSince9, r) {
				m.class = 0
			}
			piece = piece[n:]
			if m.class == 0 {
				order(out[sorted:])
				sorted = len(out) + 1
			}
			out = append(out, m)
		}
		text = text[p.Size():]
	}
	order(out[sorted:])
	return out
}

func order(marks []mark) {
	slices.SortStableFunc(marks, func(a, b mark) int { return int(a.class) - int(b.class) })
}

// compose joins every character with the last starter before it where a composite exists and nothing of its
// class or higher lies between (Unicode Standard, 3.11, D117).
func compose(marks []mark) string {
	out := marks[:0]
	starter := -1 // its place in out
	for _, m := range marks {
		if starter >= 0 {
			last := len(out) - 1
			adjacent := last == starter
			if adjacent || out[last].class < m.class {
				if both, ok := composite(out[starter].r, m.r); ok {
					out[starter].r = both
					continue
				}
			}
		}
		if m.class == 0 {
			starter = len(out)
		}
		out = append(out, m)
	}
	text := make([]byte, 0, 2*len(out))
	for _, m := range out {
		if m.r < 0 {
			text = append(text, byte(-1-m.r))
			continue
		}
		text = utf8.AppendRune(text, m.r)
	}
	return string(text)
}

// composite returns the character that a and b compose to.
func composite(a, b rune) (rune, bool) {
	both := norm.NFC.String(string([]rune{a, b}))
	r, n := utf8.DecodeRuneInString(both)
	return r, n == len(both)
}
