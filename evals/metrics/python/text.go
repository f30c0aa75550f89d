// Package python does what Python's standard library does wherever the result of an evaluation depends on it to the
// last character: strings (lower, split, strip), regular expressions (re), pseudo-random numbers (random) and the
// similarity of sequences (difflib). Published scores come from programs that use these.
//
// Texts are Unicode strings. A byte that is not UTF-8 counts as U+FFFD.
package python

import (
	"strings"
	"unicode"
)

// Punctuation is string.punctuation.
const Punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

// Digits is string.digits.
const Digits = "0123456789"

// IsSpace is str.isspace of one character: Unicode's white space, and the four separators U+001C to U+001F.
func IsSpace(r rune) bool { return r >= 0x1c && r <= 0x1f || unicode.IsSpace(r) }

// IsWord tells whether re's \w matches: str.isalnum, or the underscore.
func IsWord(r rune) bool {
	return r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r)
}

// IsDigit tells whether re's \d matches: a decimal digit of any script.
func IsDigit(r rune) bool { return unicode.Is(unicode.Nd, r) }

// SameFolded tells whether two characters differ by case alone, as re.IGNORECASE has it: I with a dot and i without are
// the letter i too.
func SameFolded(a, b rune) bool {
	a, b = plainI(a), plainI(b)
	if a == b {
		return true
	}
	for r := unicode.SimpleFold(a); r != a; r = unicode.SimpleFold(r) {
		if r == b {
			return true
		}
	}
	return false
}

func plainI(r rune) rune {
	if r == 'İ' || r == 'ı' {
		return 'i'
	}
	return r
}

// Lower is str.lower: Unicode's full mapping, final sigma included.
func Lower(s string) string {
	if !strings.ContainsAny(s, "İΣ") {
		return strings.ToLower(s)
	}
	runes := []rune(s)
	var b strings.Builder
	for i, r := range runes {
		switch {
		case r == 'İ':
			b.WriteString("i\u0307")
		case r == 'Σ' && endsWord(runes, i):
			b.WriteRune('ς')
		default:
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

// endsWord tells whether a letter that has case stands before place i and none after it, whatever marks are between.
func endsWord(s []rune, i int) bool {
	before, after := i-1, i+1
	for before >= 0 && caseIgnorable(s[before]) {
		before--
	}
	for after < len(s) && caseIgnorable(s[after]) {
		after++
	}
	return before >= 0 && cased(s[before]) && (after == len(s) || !cased(s[after]))
}

func cased(r rune) bool {
	return unicode.In(r, unicode.Lu, unicode.Ll, unicode.Lt, unicode.Other_Lowercase, unicode.Other_Uppercase)
}

func caseIgnorable(r rune) bool {
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk) || strings.ContainsRune("'.:·\u0387\u055f\u05f4‘’․‧︓﹒﹕＇．：", r)
}

// Split is str.split without arguments.
func Split(s string) []string { return strings.FieldsFunc(s, IsSpace) }

// Strip is str.strip without arguments.
func Strip(s string) string { return strings.TrimFunc(s, IsSpace) }

// Without drops every character of s that is in set: str.translate with a table of deletions.
func Without(s, set string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(set, r) {
			return -1
		}
		return r
	}, s)
}
