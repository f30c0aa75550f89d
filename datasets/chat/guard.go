package chat

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gojet/gojet/datasets/tokenizer"
)

// mark stands around the number of a special token that somebody spelled out. It is no character: Unicode keeps it
// for such uses, and texts do not have it.
const mark = "\uFDD0"

// Guard keeps special tokens that people spell out in what they say from steering the model: those that the template
// writes are found, the others are text. Any number of goroutines may use one at once.
type Guard struct {
	tokens   tokenizer.Tokenizer
	specials []string // longer ones before those that they begin with
	replacer *strings.Replacer
}

// NewGuard returns a guard for the special tokens of t.
func NewGuard(t tokenizer.Tokenizer) *Guard {
	g := &Guard{tokens: t}
	for _, s := range t.Specials() {
		g.specials = append(g.specials, s.Content)
	}
	slices.SortFunc(g.specials, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for i, s := range g.specials {
		pairs = append(pairs, s, mark+strconv.Itoa(i)+mark)
	}
	g.replacer = strings.NewReplacer(pairs...)
	return g
}

// Messages returns the conversation with special tokens in it replaced by their numbers between marks, to be rendered.
func (g *Guard) Messages(messages []Message) ([]Message, error) {
	said := slices.Clone(messages)
	for i, m := range messages {
		if strings.Contains(m.Content, mark) || strings.Contains(string(m.ToolCalls), mark) {
			return nil, fmt.Errorf("message %d has U+FDD0, which is no character", i)
		}
		said[i].Content = g.replacer.Replace(m.Content)
		if len(m.ToolCalls) > 0 {
			said[i].ToolCalls = []byte(g.replacer.Replace(string(m.ToolCalls)))
		}
	}
	return said, nil
}

// AppendEncode appends the tokens of text to dst: what a template wrote of guarded messages, or a part of it that cuts no
// marked number.
func (g *Guard) AppendEncode(dst []int32, text string) []int32 {
	for i, part := range strings.Split(text, mark) {
		if i%2 == 0 {
			dst = g.tokens.AppendEncode(dst, part)
			continue
		}
		if n, err := strconv.Atoi(part); err == nil && n < len(g.specials) {
			part = g.specials[n]
		}
		dst = append(dst, g.tokens.EncodeOrdinary(part)...)
	}
	return dst
}
