package schema

import (
	"strings"
	"testing"
	"time"
)

// TestBounded: no text of the greatest size takes long, whatever is nested or repeated in it.
func TestBounded(t *testing.T) {
	for _, unit := range []string{"[", "{", "- ", "? ", "a: ", "{a: ", "[a, ", "\n", "# x\n", "- #\n", " ", "\t", "'", "\"", "&a ", "*a ", "!a ", "|\n", "a\n", "- a\n", "a: b\n", "a: |\n b\n#c\n",
		"---\n", "...\n", "%a b\n", "{a,", "[],", "\\", "\"\\u0041", "- - - a\n", "x:\n", ",", ": ", "a:\n - b\n# c\n\n", "? a\n: b\n", "\r", "\u2028", "é"} {
		text := strings.Repeat(unit, MaxBytes/len(unit))
		start := time.Now()
		if d, err := Parse("f.yaml", []byte(text)); err == nil {
			var v tree
			_ = d.Decode(&v) // an error or not: it ends
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%q: %v", unit, took)
		}
	}
}

// TestLongLists: lists as long as a document can hold are read in time too.
func TestLongLists(t *testing.T) {
	for head, unit := range map[string]string{"words:\n": "- a\n", "stages:\n": "- {name: a}\n", "free:\n": " - {a: b}\n", "named:\n": " x: {}\n"} {
		start := time.Now()
		_, err := read(t, head+strings.Repeat(unit, (MaxBytes-len(head))/len(unit)))
		if (err != nil) != (head == "free:\n" || head == "named:\n") {
			t.Errorf("%s %v", head, err)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%q: %v", head, took)
		}
	}
}
