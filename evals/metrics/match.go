package metrics

import (
	"strings"
	"unicode/utf8"

	"github.com/gojet/gojet/evals/metrics/python"
)

// Match compares two texts after what does not count is taken out of both: exact_match of the evaluate package.
type Match struct {
	Ignore            []*python.Regexp
	IgnoreCase        bool
	IgnorePunctuation bool // ASCII's
	IgnoreNumbers     bool // ASCII's digits
}

// Score is 1 if the texts are equal, and else 0.
func (m Match) Score(answer, target string) (float64, error) {
	a, err := m.clean(answer)
	if err != nil {
		return 0, err
	}
	t, err := m.clean(target)
	if err != nil || a != t {
		return 0, err
	}
	return 1, nil
}

func (m Match) clean(s string) (string, error) {
	for _, re := range m.Ignore {
		var err error
		if s, err = re.Remove(s); err != nil {
			return "", err
		}
	}
	if m.IgnoreCase {
		// NumPy's arrays of texts, in which the original compares, do not grow: "İ" would become two characters.
		if lower := []rune(python.Lower(s)); len(lower) > utf8.RuneCountInString(s) {
			s = string(lower[:utf8.RuneCountInString(s)])
		} else {
			s = string(lower)
		}
	}
	if m.IgnorePunctuation {
		s = python.Without(s, python.Punctuation)
	}
	if m.IgnoreNumbers {
		s = python.Without(s, python.Digits)
	}
	// And they forget NULs at the end.
	return strings.TrimRight(s, "\x00"), nil
}

// Contains tells whether the target stands in the answer, in whatever case: the score of FDA, SWDE and SQuAD completion.
func Contains(answer, target string) bool {
	a, t := []rune(answer), []rune(target)
	for from := 0; from+len(t) <= len(a); from++ {
		if equalFolded(a[from:from+len(t)], t) {
			return true
		}
	}
	return false
}

func equalFolded(a, b []rune) bool {
	for i := range b {
		if a[i] != b[i] && !python.SameFolded(a[i], b[i]) {
			return false
		}
	}
	return true
}

// StringMatchAll is RULER's score of tasks with several answers: the share of targets that stand in the answer, in
// whatever case.
func StringMatchAll(answer string, targets []string) float64 {
	return float64(present(answer, targets)) / float64(len(targets))
}

// StringMatchPart is RULER's score of questions that may be answered in several ways: 1 if any target stands in the
// answer.
func StringMatchPart(answer string, targets []string) float64 {
	return float64(min(1, present(answer, targets)))
}

func present(answer string, targets []string) int {
	lower, n := python.Lower(answer), 0
	for _, t := range targets {
		if strings.Contains(lower, python.Lower(t)) {
			n++
		}
	}
	return n
}
