package python

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Limits of a pattern.
const (
	maxRepeat = 1 << 16
	maxDepth  = 200
	maxSource = 1 << 16
)

// Compile parses a pattern.
func Compile(pattern string) (*Regexp, error) {
	p := &parser{source: []rune(pattern), names: map[string]int{}}
	if len(p.source) > maxSource {
		return nil, fmt.Errorf("python: a pattern of %d characters, want at most %d", len(p.source), maxSource)
	}
	root, err := p.alternatives(flags{}, 0)
	if err == nil && p.at < len(p.source) {
		err = p.wrong("unbalanced parenthesis")
	}
	if err == nil && p.farthest > p.groups {
		err = p.wrong("reference to group %d, of %d", p.farthest, p.groups)
	}
	if err != nil {
		return nil, fmt.Errorf("python: pattern %q: %w", pattern, err)
	}
	return &Regexp{source: pattern, root: root, groups: p.groups, names: p.names}, nil
}

// MustCompile is for patterns in the source.
func MustCompile(pattern string) *Regexp {
	re, err := Compile(pattern)
	if err != nil {
		panic(err)
	}
	return re
}

// Escape is re.escape: a pattern that matches s.
func Escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune("()[]{}?*+-|^$\\.&~# \t\n\r\v\f", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// flags are i, m, s and a.
type flags struct{ fold, lines, all, ascii bool }

type parser struct {
	source   []rune
	at       int
	groups   int
	names    map[string]int
	farthest int // group that is referred to
}

func (p *parser) wrong(format string, args ...any) error {
	return fmt.Errorf("%s at character %d", fmt.Sprintf(format, args...), p.at)
}

func (p *parser) peek() rune {
	if p.at < len(p.source) {
		return p.source[p.at]
	}
	return -1
}

func (p *parser) accept(s string) bool {
	if strings.HasPrefix(string(p.source[p.at:min(len(p.source), p.at+len(s))]), s) {
		p.at += len([]rune(s))
		return true
	}
	return false
}

func (p *parser) alternatives(f flags, depth int) (node, error) {
	if depth > maxDepth {
		return nil, p.wrong("groups nested more than %d deep", maxDepth)
	}
	if depth == 0 {
		p.global(&f)
	}
	var all choice
	for {
		n, err := p.branch(f, depth)
		if err != nil {
			return nil, err
		}
		all = append(all, n)
		if !p.accept("|") {
			break
		}
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return all, nil
}

// global reads flags for the whole pattern, which stand at its start.
func (p *parser) global(f *flags) {
	for {
		before, set := p.at, *f
		if !p.accept("(?") {
			return
		}
		on, off, err := p.letters(&set)
		if err != nil || on == 0 || off || !p.accept(")") {
			p.at = before // another kind of group, or an error that is found there
			return
		}
		*f = set
	}
}

// letters reads flags to set and, after a hyphen, to clear.
func (p *parser) letters(f *flags) (on int, off bool, err error) {
	for {
		var flag *bool
		switch c := p.peek(); c {
		case 'i':
			flag = &f.fold
		case 'm':
			flag = &f.lines
		case 's':
			flag = &f.all
		case 'a':
			flag = &f.ascii
		case 'u':
		case '-':
			if off {
				return on, off, p.wrong("a second hyphen among flags")
			}
			off = true
			p.at++
			continue
		default:
			return on, off, nil
		}
		if flag != nil {
			*flag = !off
		} else {
			f.ascii = false
		}
		p.at++
		on++
	}
}

func (p *parser) branch(f flags, depth int) (node, error) {
	var all sequence
	for {
		c := p.peek()
		if c < 0 || c == '|' || c == ')' {
			return all, nil
		}
		n, err := p.atom(f, depth)
		if err != nil {
			return nil, err
		}
		if n == nil { // a comment
			continue
		}
		if n, err = p.quantified(n); err != nil {
			return nil, err
		}
		all = append(all, n)
	}
}

// quantified reads what follows an atom.
func (p *parser) quantified(n node) (node, error) {
	least, most, ok, err := p.bounds()
	if err != nil || !ok {
		return n, err
	}
	if _, place := n.(assertion); place {
		return nil, p.wrong("nothing to repeat")
	}
	r := repeat{inner: n, least: least, most: most}
	var out node = r
	switch {
	case p.accept("?"):
		r.lazy = true
		out = r
	case p.accept("+"):
		out = atomic{r}
	}
	if _, _, more, err := p.bounds(); err != nil || more {
		return nil, p.wrong("multiple repeat")
	}
	return out, nil
}

// bounds reads *, +, ? or braces, and where braces are no bounds leaves them as text.
func (p *parser) bounds() (least, most int, ok bool, err error) {
	switch p.peek() {
	case '*':
		p.at++
		return 0, unlimited, true, nil
	case '+':
		p.at++
		return 1, unlimited, true, nil
	case '?':
		p.at++
		return 0, 1, true, nil
	case '{':
	default:
		return 0, 0, false, nil
	}
	closing := slices.Index(p.source[p.at:], '}')
	if closing < 0 {
		return 0, 0, false, nil
	}
	low, high, comma := strings.Cut(string(p.source[p.at+1:p.at+closing]), ",")
	number := func(s string, empty int) (int, bool) {
		if s == "" {
			return empty, comma
		}
		for _, c := range s {
			if c < '0' || c > '9' {
				return 0, false
			}
		}
		n, err := strconv.Atoi(s)
		if err != nil {
			n = unlimited
		}
		return n, true
	}
	least, lowOK := number(low, 0)
	most = least
	highOK := true
	if comma {
		most, highOK = number(high, unlimited)
	}
	if !lowOK || !highOK {
		return 0, 0, false, nil
	}
	if least > maxRepeat || most != unlimited && most > maxRepeat || most < least {
		return 0, 0, false, p.wrong("repetition {%d,%d}, want increasing bounds to %d", least, most, maxRepeat)
	}
	p.at += closing + 1
	return least, most, true, nil
}

func (p *parser) atom(f flags, depth int) (node, error) {
	c := p.source[p.at]
	switch c {
	case '(':
		return p.group(f, depth)
	case '[':
		p.at++
		return p.class(f)
	case '\\':
		p.at++
		return p.escape(f)
	case '*', '+', '?':
		return nil, p.wrong("nothing to repeat")
	}
	p.at++
	switch c {
	case '.':
		if f.all {
			return single{func(rune) bool { return true }, true}, nil
		}
		return single{func(r rune) bool { return r != '\n' }, true}, nil
	case '^':
		if f.lines {
			return assertion{func(t []rune, at int) bool { return at == 0 || t[at-1] == '\n' }}, nil
		}
		return assertion{func(_ []rune, at int) bool { return at == 0 }}, nil
	case '$':
		if f.lines {
			return assertion{func(t []rune, at int) bool { return at == len(t) || t[at] == '\n' }}, nil
		}
		return assertion{func(t []rune, at int) bool {
			return at == len(t) || at == len(t)-1 && t[at] == '\n'
		}}, nil
	}
	return literal(c, f), nil
}

func literal(c rune, f flags) node {
	if f.fold {
		return single{is: func(r rune) bool { return SameFolded(r, c) }}
	}
	return single{is: func(r rune) bool { return r == c }}
}

// group reads from an opening parenthesis to its closing one.
func (p *parser) group(f flags, depth int) (node, error) {
	p.at++
	inner := func(f flags) (node, error) {
		n, err := p.alternatives(f, depth+1)
		if err == nil && !p.accept(")") {
			err = p.wrong("missing ), unterminated group")
		}
		return n, err
	}
	switch {
	case p.accept("?:"):
		return inner(f)
	case p.accept("?>"):
		n, err := inner(f)
		return atomic{n}, err
	case p.accept("?#"):
		end := slices.Index(p.source[p.at:], ')')
		if end < 0 {
			return nil, p.wrong("missing ), unterminated comment")
		}
		p.at += end + 1
		return nil, nil
	case p.accept("?="), p.accept("?!"):
		not := p.source[p.at-1] == '!'
		n, err := inner(f)
		return look{n, -1, not}, err
	case p.accept("?<="), p.accept("?<!"):
		not := p.source[p.at-1] == '!'
		n, err := inner(f)
		if err != nil {
			return nil, err
		}
		w, ok := n.width()
		if !ok {
			return nil, p.wrong("look-behind requires fixed-width pattern")
		}
		return look{n, w, not}, nil
	case p.accept("?P="):
		name, err := p.name(')')
		if err != nil {
			return nil, err
		}
		g, ok := p.names[name]
		if !ok {
			return nil, p.wrong("unknown group name %q", name)
		}
		return back{g, f.fold}, nil
	case p.accept("?P<"):
		name, err := p.name('>')
		if err != nil {
			return nil, err
		}
		if _, twice := p.names[name]; twice {
			return nil, p.wrong("redefinition of group name %q", name)
		}
		p.names[name] = p.groups + 1
	case p.accept("?"):
		if on, _, err := p.letters(&f); err != nil || on == 0 {
			return nil, p.wrong("unknown extension ?%c", p.peek())
		}
		if !p.accept(":") {
			return nil, p.wrong("global flags not at the start of the expression, or a missing :")
		}
		return inner(f)
	}
	p.groups++
	index := p.groups
	n, err := inner(f)
	return group{n, index}, err
}

func (p *parser) name(closing rune) (string, error) {
	end := slices.Index(p.source[p.at:], closing)
	if end < 1 {
		return "", p.wrong("missing group name")
	}
	name := string(p.source[p.at : p.at+end])
	for i, r := range name {
		if !IsWord(r) || i == 0 && unicode.IsNumber(r) {
			return "", p.wrong("bad character in group name %q", name)
		}
	}
	p.at += end + 1
	return name, nil
}
