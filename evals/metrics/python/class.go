package python

import (
	"strconv"
	"strings"
	"unicode"
)

// kinds are the classes that an escape stands for.
func kind(c rune, f flags) (is func(rune) bool, ok bool) {
	switch unicode.ToLower(c) {
	case 'd':
		is = IsDigit
	case 's':
		is = IsSpace
	case 'w':
		is = IsWord
	default:
		return nil, false
	}
	if f.ascii {
		whole := is
		is = func(r rune) bool { return r < 0x80 && whole(r) && !(r >= 0x1c && r <= 0x1f) }
	}
	if unicode.IsUpper(c) {
		positive := is
		is = func(r rune) bool { return !positive(r) }
	}
	return is, true
}

// escape reads what follows a backslash outside of a class.
func (p *parser) escape(f flags) (node, error) {
	c := p.peek()
	if c < 0 {
		return nil, p.wrong("bad escape at the end of the pattern")
	}
	if is, ok := kind(c, f); ok {
		p.at++
		return single{is: is}, nil
	}
	word := func(r rune) bool { return IsWord(r) && (!f.ascii || r < 0x80) }
	border := func(t []rune, at int) bool {
		before, after := at > 0 && word(t[at-1]), at < len(t) && word(t[at])
		return before != after
	}
	switch c {
	case 'b':
		p.at++
		return assertion{border}, nil
	case 'B':
		p.at++
		// On an empty text neither matched until Python 3.14.
		return assertion{func(t []rune, at int) bool { return len(t) > 0 && !border(t, at) }}, nil
	case 'A':
		p.at++
		return assertion{func(_ []rune, at int) bool { return at == 0 }}, nil
	case 'Z':
		p.at++
		return assertion{func(t []rune, at int) bool { return at == len(t) }}, nil
	}
	if c >= '1' && c <= '9' {
		return p.reference(f)
	}
	r, err := p.character()
	if err != nil {
		return nil, err
	}
	return literal(r, f), nil
}

// reference reads the number of a group.
func (p *parser) reference(f flags) (node, error) {
	end := p.at + 1
	if end < len(p.source) && p.source[end] >= '0' && p.source[end] <= '9' {
		end++
		if end < len(p.source) && isOctal(p.source[p.at]) && isOctal(p.source[end-1]) && isOctal(p.source[end]) {
			r, err := p.character()
			return literal(r, f), err
		}
	}
	g, err := strconv.Atoi(string(p.source[p.at:end]))
	if err != nil {
		return nil, p.wrong("bad reference")
	}
	if g > p.groups {
		return nil, p.wrong("invalid group reference %d", g)
	}
	p.at = end
	p.farthest = max(p.farthest, g)
	return back{g, f.fold}, nil
}

func isOctal(r rune) bool { return r >= '0' && r <= '7' }

// character reads the escape of one character after its backslash.
func (p *parser) character() (rune, error) {
	c := p.source[p.at]
	if at := strings.IndexRune("abfnrtv", c); at >= 0 {
		p.at++
		return rune("\a\b\f\n\r\t\v"[at]), nil
	}
	if n := map[rune]int{'x': 2, 'u': 4, 'U': 8}[c]; n > 0 {
		if p.at+1+n > len(p.source) {
			return 0, p.wrong("incomplete escape \\%c", c)
		}
		x, err := strconv.ParseUint(string(p.source[p.at+1:p.at+1+n]), 16, 32)
		if err != nil || x > unicode.MaxRune {
			return 0, p.wrong("bad escape \\%c", c)
		}
		p.at += 1 + n
		return rune(x), nil
	}
	if isOctal(c) {
		end := p.at
		for end < len(p.source) && end < p.at+3 && isOctal(p.source[end]) {
			end++
		}
		x, err := strconv.ParseUint(string(p.source[p.at:end]), 8, 32)
		if err != nil || x > 0o377 {
			return 0, p.wrong("octal escape value outside of 0-0o377")
		}
		p.at = end
		return rune(x), nil
	}
	if c < 0x80 && (unicode.IsLetter(c) || unicode.IsDigit(c)) {
		return 0, p.wrong("bad escape \\%c", c)
	}
	p.at++
	return c, nil
}

// class reads from behind an opening bracket to behind its closing one.
func (p *parser) class(f flags) (node, error) {
	not := p.accept("^")
	var parts []func(rune) bool
	for first := true; ; first = false {
		c := p.peek()
		if c < 0 {
			return nil, p.wrong("unterminated character set")
		}
		if c == ']' && !first {
			p.at++
			break
		}
		low, is, err := p.member(f)
		if err != nil {
			return nil, err
		}
		if is != nil {
			parts = append(parts, is)
			continue
		}
		high := low
		if p.peek() == '-' && p.at+1 < len(p.source) && p.source[p.at+1] != ']' {
			p.at++
			if high, is, err = p.member(f); err != nil {
				return nil, err
			}
			if is != nil || high < low {
				return nil, p.wrong("bad character range")
			}
		}
		parts = append(parts, between(low, high, f.fold))
	}
	return single{is: func(r rune) bool {
		for _, is := range parts {
			if is(r) {
				return !not
			}
		}
		return not
	}}, nil
}

// member reads one character of a class, or an escape that stands for several.
func (p *parser) member(f flags) (rune, func(rune) bool, error) {
	c := p.peek()
	if c < 0 {
		return 0, nil, p.wrong("unterminated character set")
	}
	p.at++
	if c != '\\' {
		return c, nil, nil
	}
	c = p.peek()
	if c < 0 {
		return 0, nil, p.wrong("bad escape at the end of the pattern")
	}
	if is, ok := kind(c, f); ok {
		p.at++
		return 0, is, nil
	}
	if c >= '8' && c <= '9' {
		return 0, nil, p.wrong("bad escape \\%c", c)
	}
	r, err := p.character()
	return r, nil, err
}

func between(low, high rune, fold bool) func(rune) bool {
	plain := func(r rune) bool { return low <= r && r <= high }
	if !fold {
		return plain
	}
	return func(r rune) bool {
		if plain(r) || plain(plainI(r)) {
			return true
		}
		for s := unicode.SimpleFold(r); s != r; s = unicode.SimpleFold(s) {
			if plain(s) {
				return true
			}
		}
		return false
	}
}
