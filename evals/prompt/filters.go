package prompt

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/gojet/gojet/datasets/chat"
	"github.com/gojet/gojet/evals/metrics/python"
)

// filters are those of templates beside Jinja's.
func filters() chat.TextFilters {
	p := &patterns{by: map[string]*python.Regexp{}}
	return chat.TextFilters{"regex_replace": p.replace, "regex_findall": p.findAll, "regex_split": p.split, "strip": strip}
}

// strip is str.strip as a filter, for use with map.
func strip(in any, args []any) (any, error) {
	s, err := operand("strip", in, args, 0)
	return python.Strip(s), err
}

func operand(name string, in any, args []any, texts int) (string, error) {
	s, ok := in.(string)
	if !ok {
		return "", fmt.Errorf("%s of %v, want a text", name, in)
	}
	if len(args) < texts {
		return "", fmt.Errorf("%s takes %d texts, found %d", name, texts, len(args))
	}
	for _, a := range args[:texts] {
		if _, ok := a.(string); !ok {
			return "", fmt.Errorf("%s takes texts, found %v", name, a)
		}
	}
	return s, nil
}

// replace is re.sub(pattern, by, text).
func (p *patterns) replace(in any, args []any) (any, error) {
	s, err := operand("regex_replace", in, args, 2)
	if err != nil {
		return nil, err
	}
	re, err := p.compile(args[0].(string))
	if err != nil {
		return nil, err
	}
	by := args[1].(string)
	if _, err := expand(by, python.Match{Text: make([]string, re.Groups()+1)}); err != nil {
		return nil, fmt.Errorf("regex_replace: %w", err)
	}
	return re.Sub(s, func(m python.Match) string {
		text, _ := expand(by, m) // it was checked on a match of the same groups
		return text
	})
}

// expand puts a match's groups in the place of \1, \g<1> and the like.
func expand(by string, m python.Match) (string, error) {
	var out strings.Builder
	for i := 0; i < len(by); i++ {
		if by[i] != '\\' || i+1 == len(by) {
			out.WriteByte(by[i])
			continue
		}
		i++
		number := ""
		switch c := by[i]; {
		case c >= '0' && c <= '9':
			number = by[i : i+1]
		case c == 'g' && strings.HasPrefix(by[i:], "g<") && strings.Contains(by[i:], ">"):
			end := strings.Index(by[i:], ">")
			number = by[i+2 : i+end]
			i += end
		case c == 'n':
			out.WriteByte('\n')
			continue
		case c == '\\':
			out.WriteByte('\\')
			continue
		default:
			return "", fmt.Errorf("%q: unknown escape \\%c", by, c)
		}
		n, err := strconv.Atoi(number)
		if err != nil || n >= len(m.Text) {
			return "", fmt.Errorf("%q: the pattern has no group %s", by, number)
		}
		out.WriteString(m.Text[n])
	}
	return out.String(), nil
}

// findAll is re.findall(pattern, text): the whole matches, or the group of each if there is one, or a list of groups.
func (p *patterns) findAll(in any, args []any) (any, error) {
	s, err := operand("regex_findall", in, args, 1)
	if err != nil {
		return nil, err
	}
	re, err := p.compile(args[0].(string))
	if err != nil {
		return nil, err
	}
	found, err := re.FindAll(s)
	if err != nil {
		return nil, err
	}
	all := []any{}
	for _, m := range found {
		switch re.Groups() {
		case 0, 1:
			all = append(all, m.Text[re.Groups()])
		default:
			groups := make([]any, re.Groups())
			for g := range groups {
				groups[g] = m.Text[g+1]
			}
			all = append(all, groups)
		}
	}
	return all, nil
}

// split is re.split(pattern, text) for patterns without groups.
func (p *patterns) split(in any, args []any) (any, error) {
	s, err := operand("regex_split", in, args, 1)
	if err != nil {
		return nil, err
	}
	re, err := p.compile(args[0].(string))
	if err != nil {
		return nil, err
	}
	if re.Groups() > 0 {
		return nil, errors.New("regex_split takes a pattern without groups")
	}
	found, err := re.FindAll(s)
	if err != nil {
		return nil, err
	}
	all, runes, at := []any{}, []rune(s), 0
	for _, m := range found {
		all = append(all, string(runes[at:m.Start]))
		at = m.End
	}
	return append(all, string(runes[at:])), nil
}

// patterns keeps compiled patterns, as a template asks for the same few with every document.
type patterns struct {
	sync.Mutex
	by map[string]*python.Regexp
}

func (p *patterns) compile(pattern string) (*python.Regexp, error) {
	p.Lock()
	defer p.Unlock()
	if re, ok := p.by[pattern]; ok {
		return re, nil
	}
	re, err := python.Compile(pattern)
	if err != nil {
		return nil, err
	}
	if len(p.by) > 100 { // patterns may be made from documents
		clear(p.by)
	}
	p.by[pattern] = re
	return re, nil
}
