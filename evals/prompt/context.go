package prompt

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gojet/gojet/datasets/chat"
)

// Shape is how documents of a task, or its examples, are written.
type Shape struct {
	Text, Target, Choice *Template // Choice is nil where there are no choices
	GenPrefix            *Template
	TargetDelimiter      string
	Delimiter            string
}

// Question is a document filled in.
type Question struct {
	// Text is what is asked. Where Choices are contexts it is "", and Gold says which is right.
	Text     string
	Contexts bool
	Choices  []string
	// Gold are the right choices: mostly one. −1 stands for a target that is none of the choices.
	Gold []int
	// Targets are the right texts: of choices those that Gold names, but with Contexts what follows each context.
	Targets []string
	Several bool // the target is a list
	Prefix  string
}

// Fill fills in a document.
func (s *Shape) Fill(doc map[string]any) (Question, error) {
	var q Question
	var err error
	if s.Choice != nil {
		if q.Choices, err = s.Choice.Texts(doc); err != nil {
			return q, err
		}
		if len(q.Choices) == 0 {
			return q, fmt.Errorf("%s is an empty list", s.Choice.key)
		}
	}
	if s.GenPrefix != nil {
		if q.Prefix, err = s.GenPrefix.Text(doc); err != nil {
			return q, err
		}
	}
	var target any
	if s.Target != nil {
		if target, err = s.Target.Value(doc); err != nil {
			return q, err
		}
	}
	if s.Text != nil {
		text, err := s.Text.Value(doc)
		if err != nil {
			return q, err
		}
		if at, ok := number(text, s.Text.isField(doc)); ok && s.Choice != nil {
			if at < 0 || at >= len(q.Choices) {
				return q, fmt.Errorf("%s is %d, want the number of one of %d choices from 0", s.Text.key, at, len(q.Choices))
			}
			q.Contexts, q.Gold, q.Targets = true, []int{at}, []string{Spell(target)}
			return q, nil
		}
		q.Text = Spell(text)
	}
	q.aim(target, s.Target != nil && s.Target.isField(doc))
	return q, nil
}

// aim sets what is right.
func (q *Question) aim(target any, isField bool) {
	all, several := target.([]any)
	q.Several = several
	if !several {
		all = []any{target}
	}
	for _, t := range all {
		if q.Choices == nil {
			q.Targets = append(q.Targets, Spell(t))
			continue
		}
		at, ok := number(t, isField || several)
		if !ok {
			at = -1
			for i, c := range q.Choices {
				if c == Spell(t) {
					at = i
					break
				}
			}
		}
		if at >= len(q.Choices) || at < 0 {
			q.Gold = append(q.Gold, -1)
			continue
		}
		q.Gold, q.Targets = append(q.Gold, at), append(q.Targets, q.Choices[at])
	}
}

// number is a whole number. What a template made may also be the digits of one; the text of a field is a text.
func number(v any, isField bool) (int, bool) {
	switch v := v.(type) {
	case int:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case string:
		if isField || strings.Trim(v, "0123456789") != "" {
			return 0, false
		}
		n, err := strconv.Atoi(v)
		return n, err == nil
	}
	return 0, false
}

// Part is a piece of a prompt: of the text that is asked or, with Answer, of an answer. After it comes Delimiter in plain text; with a
// chat template, where every part is a message, it does not.
type Part struct {
	Text, Delimiter string
	Answer          bool
	System          bool // it stands before all questions
}

// Example writes a document with its answer.
func (s *Shape) Example(doc map[string]any) ([]Part, error) {
	q, err := s.Fill(doc)
	if err != nil {
		return nil, err
	}
	if q.Contexts {
		q.Text = q.Choices[q.Gold[0]]
	}
	if len(q.Targets) == 0 {
		return nil, fmt.Errorf("the target of an example is none of its choices %.200q", q.Choices)
	}
	return s.parts(q, q.Targets[0]), nil
}

// parts are the question and the answer, and where there is no answer the beginning of it that the model is given.
func (s *Shape) parts(q Question, answer string) []Part {
	ask := Part{Text: q.Text}
	switch {
	case q.Prefix == "" && answer != "", q.Prefix != "" && q.Text != "" && apart(q.Text, q.Prefix):
		ask.Delimiter = s.TargetDelimiter
	}
	switch {
	case answer != "":
		return []Part{ask, {Text: join(q.Prefix, answer, " "), Delimiter: s.Delimiter, Answer: true}}
	case q.Prefix != "":
		return []Part{ask, {Text: q.Prefix, Answer: true}}
	}
	return []Part{ask}
}

// Ask writes a question without its answer. With Contexts the text is the choice of that number.
func (s *Shape) Ask(q Question, choice int) []Part {
	if q.Contexts {
		q.Text = q.Choices[choice]
	}
	return s.parts(q, "")
}

// Plain is the parts one after the other.
func Plain(parts []Part) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.Text)
		b.WriteString(p.Delimiter)
	}
	return b.String()
}

// Messages makes a conversation of the parts: one message each, or with the examples and the question in one message of the
// user.
func Messages(parts []Part, multiturn bool) []chat.Message {
	var all []chat.Message
	if len(parts) > 0 && parts[0].System {
		all, parts = append(all, chat.Message{Role: "system", Content: parts[0].Text}), parts[1:]
	}
	if multiturn {
		for _, p := range parts {
			all = append(all, chat.Message{Role: role(p), Content: p.Text})
		}
		return all
	}
	n := len(parts)
	if n > 0 && parts[n-1].Answer {
		n--
	}
	all = append(all, chat.Message{Role: "user", Content: strings.TrimSuffix(Plain(parts[:n]), parts[n-1].Delimiter)})
	if n < len(parts) {
		all = append(all, chat.Message{Role: "assistant", Content: parts[n].Text})
	}
	return all
}

func role(p Part) string {
	if p.Answer {
		return "assistant"
	}
	return "user"
}

// join puts a delimiter between two texts, unless one is empty or there is white space where they meet.
func join(a, b, delimiter string) string {
	if a != "" && b != "" && apart(a, b) {
		return a + delimiter + b
	}
	return a + b
}

// Head joins what stands before all examples: an instruction to the model and the task's description.
func Head(instruction, description, delimiter string) string {
	return join(instruction, description, delimiter)
}

// apart tells whether there is no white space where two texts meet.
func apart(a, b string) bool {
	last, _ := utf8.DecodeLastRuneInString(a)
	first, _ := utf8.DecodeRuneInString(b)
	return !unicode.IsSpace(last) && !unicode.IsSpace(first)
}
