package tokenizer

import (
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"
)

func TestNFC(t *testing.T) {
	marks := strings.Repeat("\u0301\u0323", 40) // below sorts before above, and the first of either composes
	rows := map[string]string{
		"plain":                  "plain",
		"e\u0301":                "é",
		"\u212b":                 "Å",
		"\u1100\u1161\u11a8":     "각",
		"a" + marks:              "\u1ea1" + strings.Repeat("\u0323", 39) + strings.Repeat("\u0301", 40),
		"\u1100\u1161" + marks:   "가" + strings.Repeat("\u0323", 40) + strings.Repeat("\u0301", 40),
		"a\u034f\u0301" + marks:  "a\u034f" + strings.Repeat("\u0323", 40) + strings.Repeat("\u0301", 41),
		"a\xff" + marks + "\xc3": "a\xff" + strings.Repeat("\u0323", 40) + strings.Repeat("\u0301", 40) + "\xc3",
		// U+08D2 (Unicode 14) stands still, and the acute behind it belongs to no letter.
		"a\u08d2\u0301":       "a\u08d2\u0301",
		"e\u0301\u08d2\u0334": "é\u08d2\u0334",
	}
	for text, want := range rows {
		if got := nfc(text); got != want {
			t.Errorf("nfc(%+q) = %+q, want %+q", text, got, want)
		}
	}
}

// Where the two ways to normalise both apply they agree.
func TestComposeAgreesWithNorm(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	letters := []rune("aeoAsdqﬁÅΩ한각ᄀ가ᅡᆨか゛क\u0958\ufb1d\u0344")
	marks := []rune("\u0300\u0301\u0302\u0307\u0308\u0323\u0327\u0328\u0345\u093c\u3099\u1161\u11a8\u0334")
	for range 6000 {
		var s []rune
		for range rng.IntN(6) {
			s = append(s, letters[rng.IntN(len(letters))])
			for range rng.IntN(5) {
				s = append(s, marks[rng.IntN(len(marks))])
			}
		}
		text := string(s)
		want := norm.NFC.String(text)
		if got := compose(decompose(text)); got != want {
			t.Fatalf("%+q became %+q, want %+q", text, got, want)
		}
		if got := nfc(text); got != want {
			t.Fatalf("nfc(%+q) = %+q, want %+q", text, got, want)
		}
	}
}
