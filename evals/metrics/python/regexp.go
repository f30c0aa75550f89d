package python

import (
	"errors"
	"fmt"
	"strings"
)

// maxSteps bounds the work on one text, as some patterns would search for years.
const maxSteps = 50_000_000

// ErrTooHard is wrapped by the error about a search that was given up.
var ErrTooHard = errors.New("the search takes too many steps")

// Regexp is a compiled regular expression of Python's re for texts: backtracking, the first alternative that matches,
// look-around, backreferences, Unicode classes. What it lacks is refused by Compile: conditionals, and flags L and x.
type Regexp struct {
	source string
	root   node
	groups int
	names  map[string]int
}

// String is the pattern.
func (re *Regexp) String() string { return re.source }

// Groups is the number of capturing groups.
func (re *Regexp) Groups() int { return re.groups }

// Match is what a search found: Text[0] is all of it and Text[g] its group g, "" where the group took no part.
type Match struct {
	Text       []string
	Start, End int // in characters
}

// FindAll returns all matches from left to right, as re.finditer.
func (re *Regexp) FindAll(text string) ([]Match, error) {
	var found []Match
	err := re.each([]rune(text), func(m Match) bool { found = append(found, m); return true })
	return found, err
}

// Search returns the first match, nil if there is none, as re.search.
func (re *Regexp) Search(text string) (*Match, error) {
	var found *Match
	err := re.each([]rune(text), func(m Match) bool { found = &m; return false })
	return found, err
}

// Sub replaces each match by what with makes of it, as re.sub with a function.
func (re *Regexp) Sub(text string, with func(Match) string) (string, error) {
	var b strings.Builder
	runes, at := []rune(text), 0
	err := re.each(runes, func(m Match) bool {
		b.WriteString(string(runes[at:m.Start]))
		b.WriteString(with(m))
		at = m.End
		return true
	})
	if err != nil {
		return "", err
	}
	b.WriteString(string(runes[at:]))
	return b.String(), nil
}

// Remove drops every match: re.sub(pattern, "", text).
func (re *Regexp) Remove(text string) (string, error) {
	return re.Sub(text, func(Match) string { return "" })
}

// each calls with for matches until it says no. After an empty match the next one at that place has to have a length.
func (re *Regexp) each(text []rune, with func(Match) bool) error {
	m := &machine{text: text, marks: make([]int, 2*(re.groups+1))}
	from, advance := 0, false
	for from <= len(text) {
		ok := false
		for start := from; start <= len(text) && !ok; start = re.next(text, start, advance && start == from) {
			for i := range m.marks {
				m.marks[i] = -1
			}
			ok = re.root.match(m, start, func(end int) bool {
				if advance && start == from && end == start {
					return false
				}
				m.marks[0], m.marks[1] = start, end
				return true
			})
			if m.steps > maxSteps {
				return fmt.Errorf("python: pattern %q on %d characters: %w", re.source, len(text), ErrTooHard)
			}
		}
		if !ok {
			return nil
		}
		if !with(m.found()) {
			return nil
		}
		advance = m.marks[0] == m.marks[1]
		from = m.marks[1]
	}
	return nil
}

// next is where to try after start, where there was no match. What begins with .* has been to the end of the line from
// there, unless a match was turned down because it was empty.
func (re *Regexp) next(text []rune, start int, turnedDown bool) int {
	first := re.root
	if s, ok := first.(sequence); ok && len(s) > 0 {
		first = s[0]
	}
	if r, ok := first.(repeat); ok && !turnedDown && r.least == 0 && r.most == unlimited {
		if one, ok := r.inner.(single); ok && one.dot {
			for start < len(text) && one.is(text[start]) {
				start++
			}
		}
	}
	return start + 1
}

// machine is the state of a search.
type machine struct {
	text  []rune
	marks []int // start and end of each group, -1 where it took no part
	steps int
}

func (m *machine) found() Match {
	f := Match{Start: m.marks[0], End: m.marks[1]}
	for g := 0; g < len(m.marks); g += 2 {
		if m.marks[g] < 0 || m.marks[g+1] < 0 {
			f.Text = append(f.Text, "")
			continue
		}
		f.Text = append(f.Text, string(m.text[m.marks[g]:m.marks[g+1]]))
	}
	return f
}

// step counts, and tells whether the search may go on.
func (m *machine) step() bool {
	m.steps++
	return m.steps <= maxSteps
}
