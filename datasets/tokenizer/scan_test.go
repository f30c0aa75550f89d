package tokenizer

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"
)

// A pattern is a regular expression as a function: the places where its matches at place i of s end, in the
// order in which a backtracking matcher tries them.
type pattern func(s []rune, i int) []int

func one(ok func(rune) bool) pattern {
	return func(s []rune, i int) []int {
		if i < len(s) && ok(s[i]) {
			return []int{i + 1}
		}
		return nil
	}
}

func seq(parts ...pattern) pattern {
	return func(s []rune, i int) []int {
		ends := []int{i}
		for _, p := range parts {
			var next []int
			for _, e := range ends {
				next = append(next, p(s, e)...)
			}
			ends = next
		}
		return ends
	}
}

func alt(parts ...pattern) pattern {
	return func(s []rune, i int) (ends []int) {
		for _, p := range parts {
			ends = append(ends, p(s, i)...)
		}
		return ends
	}
}

func opt(p pattern) pattern { return alt(p, seq()) }

// many is p* for a p that matches one character.
func many(p pattern) pattern {
	return func(s []rune, i int) []int {
		ends := []int{i}
		for {
			next := p(s, ends[0])
			if len(next) == 0 {
				return ends
			}
			ends = append(next, ends...)
		}
	}
}

func plus(p pattern) pattern { return seq(p, many(p)) }

// notAhead is (?!p).
func notAhead(p pattern) pattern {
	return func(s []rune, i int) []int {
		if len(p(s, i)) > 0 {
			return nil
		}
		return []int{i}
	}
}

// word matches text, by simple folding where fold is set.
func word(text string, fold bool) pattern {
	var parts []pattern
	for _, want := range text {
		parts = append(parts, one(func(r rune) bool {
			return r == want || fold && strings.EqualFold(string(r), string(want))
		}))
	}
	return seq(parts...)
}

func not(ok ...func(rune) bool) pattern {
	return one(func(r rune) bool {
		for _, f := range ok {
			if f(r) {
				return false
			}
		}
		return true
	})
}

// reference returns the pattern of the scanner, alternative by alternative.
func reference(gpt2 bool) pattern {
	isLetter := func(r rune) bool { return unicode.IsLetter(r) || within(lettersSince15, r) }
	isNumber := func(r rune) bool { return unicode.IsNumber(r) || within(numbersSince15, r) }
	isBreak := func(r rune) bool { return r == '\r' || r == '\n' }
	isSpace := func(r rune) bool { return unicode.Is(unicode.White_Space, r) }
	L, N, S := one(isLetter), one(isNumber), one(isSpace)
	ending := func(fold bool) pattern {
		return alt(word("'s", fold), word("'t", fold), word("'re", fold), word("'ve", fold), word("'m", fold),
			word("'ll", fold), word("'d", fold))
	}
	blank, rest := opt(word(" ", false)), plus(not(isSpace, isLetter, isNumber))
	spaces := alt(seq(plus(S), notAhead(not(isSpace))), plus(S))
	if gpt2 {
		return alt(ending(false), seq(blank, plus(L)), seq(blank, plus(N)), seq(blank, rest), spaces)
	}
	return alt(ending(true), seq(opt(not(isBreak, isLetter, isNumber)), plus(L)), N, seq(blank, rest, many(one(isBreak))),
		seq(many(S), plus(one(isBreak))), spaces)
}

// runes are the characters that matter to the patterns, and some of every kind.
const runes = "''''sStTrReEvVmMlLdDſ\n\n\r\n\t    \u00a0\u2003\u2028\u0085\u000b\u001c\u200b\ufeff" +
	"azÄßéΩж中文ー한العहि\u0301\u093c059٣½Ⅷ㊿_-.!<>{}()€🙂\u200d\u0000\ufffd\U00010d4a\U0002ebf0\U00016130\U0010ffff"

func randomText(rng *rand.Rand, most int) string {
	all := []rune(runes)
	var s strings.Builder
	for range rng.IntN(most + 1) {
		r := all[rng.IntN(len(all))]
		for range 1 + max(0, rng.IntN(12)-8) {
			s.WriteRune(r)
		}
	}
	return s.String()
}

func TestScannerMatchesRegularExpression(t *testing.T) {
	classes := newClasses()
	for _, gpt2 := range []bool{false, true} {
		want, words := reference(gpt2), scanner{classes, gpt2}
		rng := rand.New(rand.NewPCG(1, 2))
		for range 6000 {
			text := randomText(rng, 12)
			s := []rune(text)
			for i, rest := 0, text; rest != ""; {
				ends := want(s, i)
				n := words.word(rest)
				if len(ends) == 0 || rest[:n] != string(s[i:ends[0]]) {
					t.Fatalf("gpt2 %t: in %q at character %d: word %q, want the first of ends %v", gpt2, text, i, rest[:n], ends)
				}
				i, rest = ends[0], rest[n:]
			}
		}
	}
}

func TestClassesAgreeWithUnicode(t *testing.T) {
	c := newClasses()
	for r := rune(0); r <= unicode.MaxRune; r++ {
		want := other
		switch {
		case r == '\r' || r == '\n':
			want = newline
		case unicode.IsLetter(r) || within(lettersSince15, r):
			want = letter
		case unicode.IsNumber(r) || within(numbersSince15, r):
			want = number
		case unicode.IsSpace(r):
			want = space
		}
		if c[r] != want {
			t.Fatalf("class of %U is %d, want %d", r, c[r], want)
		}
	}
}

func TestScannerTakesInvalidBytes(t *testing.T) {
	words := scanner{classes: newClasses()}
	for text, want := range map[string]int{"\xff\xfe a": 2, "\xe4\xb8": 2, " \x80.": 3, "\xc3abc": 4} {
		if got := words.word(text); got != want {
			t.Errorf("first word of %q has %d bytes, want %d", text, got, want)
		}
	}
}
