package python

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestCompileErrors(t *testing.T) {
	for pattern, want := range map[string]string{
		"(a":                      "missing )",
		"a)":                      "unbalanced parenthesis",
		"*a":                      "nothing to repeat",
		"^*":                      "nothing to repeat",
		"a**":                     "multiple repeat",
		"a{3,2}":                  "increasing bounds",
		"a{99999999999}":          "increasing bounds",
		"[a":                      "unterminated character set",
		"[b-a]":                   "bad character range",
		`[\d-z]`:                  "",
		`\q`:                      `bad escape \q`,
		`\`:                       "bad escape",
		`\x1`:                     "escape \\x",
		`(a)\2`:                   "invalid group reference 2",
		`(?<=a*)b`:                "fixed-width",
		`(?P<n>a)(?P<n>b)`:        "redefinition",
		`(?P=n)`:                  "unknown group name",
		`(?(1)a|b)`:               "unknown extension",
		`a(?i)`:                   "global flags not at the start",
		strings.Repeat("(", 1000): "nested",
	} {
		_, err := Compile(pattern)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("Compile(%.20q): %v, want %q", pattern, err, want)
		}
	}
}

func TestHardSearch(t *testing.T) {
	begun := time.Now()
	re := MustCompile(`(?:a|a)*(?:a|a)*(?:a|a)*(?:a|a)*(?:a|a)*b`)
	if _, err := re.Search(strings.Repeat("a", 40)); !errors.Is(err, ErrTooHard) {
		t.Errorf("a search without end: %v, want ErrTooHard", err)
	}
	if _, err := MustCompile(`(a|b)*c`).Search(strings.Repeat("ab", 1<<18)); !errors.Is(err, ErrTooHard) {
		t.Errorf("nested half a million deep: %v, want ErrTooHard", err)
	}
	if d := time.Since(begun); d > 30*time.Second {
		t.Errorf("giving up took %v", d)
	}
}

func TestEscape(t *testing.T) {
	const s = "a.b*c[d](e)^$\\ {f}|\n#"
	m, err := MustCompile("x" + Escape(s) + "y").Search("..x" + s + "y")
	if err != nil || m == nil || m.Start != 2 {
		t.Errorf("escaped: %v, %v", m, err)
	}
}

func FuzzRegexp(f *testing.F) {
	f.Add(`(a|b)*?[^c\d]+(?=x)\1{2,3}`, "abcx")
	f.Add(`(?i)(?P<n>.)(?<!a)(?P=n)$`, "Aa\n")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 30 || len(text) > 30 {
			t.Skip()
		}
		re, err := Compile(pattern)
		if err != nil {
			return
		}
		all, err := re.FindAll(text)
		for _, m := range all {
			if len(m.Text) != re.Groups()+1 || m.Start > m.End || m.End > len([]rune(text)) {
				t.Errorf("%q in %q: %+v", pattern, text, m)
			}
		}
		if err != nil && !errors.Is(err, ErrTooHard) {
			t.Error(err)
		}
	})
}
