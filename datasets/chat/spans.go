package chat

import (
	"fmt"
	"slices"
	"strings"
)

// Span is a part of a rendered text that is an answer of the assistant.
type Span struct {
	Start, End int // bytes; the answer is text[Start:End]
	Message    int // which message it is
}

// Spans renders a conversation and finds the assistant's answers in it: what the model is to learn to write. An answer
// begins where the generation prompt ends and ends where the next message begins, so it contains the marker that
// ends the turn, by which the model learns to stop.
//
// Templates do not say which part of their text is whose, so the places are found by rendering parts of the conversation.
// The first way takes an answer for what the template adds to the messages before it and the generation prompt, if
// the texts do begin alike. Templates that write the last answer otherwise than earlier ones (they drop what it thought)
// break that; then the answer's content is replaced by a mark, and the answer is where the mark was, with what follows
// the mark at the end of a conversation. Where neither holds Spans is an error rather than a guess.
func (t *Template) Spans(messages []Message) (text string, spans []Span, err error) {
	if text, err = t.Render(messages, false); err != nil {
		return "", nil, err
	}
	end := 0
	for i, m := range messages {
		if m.Role != "assistant" {
			continue
		}
		s, ok := t.added(messages, i, text)
		if !ok {
			s, ok = t.marked(messages, i, text)
		}
		if !ok || s.Start < end {
			return "", nil, fmt.Errorf("chat: message %d: the template writes the answer in a way that cannot be found in its text", i)
		}
		spans = append(spans, s)
		end = s.End
	}
	return text, spans, nil
}

// added finds the answer as what comes after the messages before it.
func (t *Template) added(messages []Message, i int, text string) (Span, bool) {
	before, err := t.Render(messages[:i], true)
	if err != nil {
		return Span{}, false // a template may need a first message
	}
	upTo, err := t.Render(messages[:i+1], false)
	if err != nil || !strings.HasPrefix(upTo, before) || !strings.HasPrefix(text, upTo) {
		return Span{}, false
	}
	return Span{len(before), len(upTo), i}, true
}

// marked finds the answer by a mark in its place.
func (t *Template) marked(messages []Message, i int, text string) (Span, bool) {
	mark := "answer"
	for strings.Contains(text, mark) {
		mark += "-"
	}
	changed := slices.Clone(messages)
	changed[i].Content = mark
	head, tail, ok := t.around(changed, mark)
	if !ok || len(head)+len(tail) > len(text) || !strings.HasPrefix(text, head) || !strings.HasSuffix(text, tail) {
		return Span{}, false
	}
	s := Span{len(head), len(text) - len(tail), i}
	if before, err := t.Render(messages[:i], true); err == nil && len(before) <= s.Start && strings.HasPrefix(text, before) {
		s.Start = len(before)
	}
	if _, closing, ok := t.around(changed[:i+1], mark); ok {
		s.End += commonPrefix(tail, closing)
	}
	return s, true
}

// around renders messages in which the mark must appear once, and returns what is before and after it.
func (t *Template) around(messages []Message, mark string) (head, tail string, ok bool) {
	text, err := t.Render(messages, false)
	if err != nil || strings.Count(text, mark) != 1 {
		return "", "", false
	}
	return strings.Cut(text, mark)
}

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
