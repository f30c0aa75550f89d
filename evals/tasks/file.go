package tasks

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"github.com/gojet/gojet/datasets/tokenizer"
)

// Limits of an evaluation file.
const (
	longestLine = 16 << 20
	mostChoices = 64
)

// line is one question of a file: the answer is the index of a choice, or its text.
type line struct {
	Context *string         `json:"context"`
	Choices []string        `json:"choices"`
	Answer  json.RawMessage `json:"answer"`
}

// Read reads an evaluation file: on each line an object with "context", "choices", and "answer", which is the index of
// the right choice from 0, or its text. Without choices the answer is a text that the model has to give itself. Blank
// lines are passed over.
func Read(path string, tok tokenizer.Tokenizer) ([]Item, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("tasks: %w", err)
	}
	defer f.Close()
	items, err := read(f, tok)
	if err != nil {
		return nil, fmt.Errorf("tasks: %s: %w", path, err)
	}
	return items, nil
}

func read(f io.Reader, tok tokenizer.Tokenizer) ([]Item, error) {
	in := bufio.NewScanner(f)
	in.Buffer(nil, longestLine)
	var items []Item
	n := 0
	for in.Scan() {
		n++
		text := in.Bytes()
		if n == 1 {
			text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
		}
		if text = bytes.TrimSpace(text); len(text) == 0 {
			continue
		}
		t, err := parse(text, tok)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		items = append(items, Item{[]Turn{t}})
	}
	if err := in.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("line %d is longer than %d bytes", n+1, longestLine)
	} else if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return nil, errors.New("is empty, want a question on each line")
	}
	return items, nil
}

func parse(text []byte, tok tokenizer.Tokenizer) (Turn, error) {
	var l line
	if !utf8.Valid(text) {
		return Turn{}, errors.New("is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&l); err != nil {
		return Turn{}, fmt.Errorf("want an object with context, choices and answer: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return Turn{}, errors.New("has more than one object")
	}
	if l.Context == nil || *l.Context == "" {
		return Turn{}, errors.New("context is missing")
	}
	if len(l.Choices) > mostChoices {
		return Turn{}, fmt.Errorf("has %d choices, want at most %d", len(l.Choices), mostChoices)
	}
	at, err := l.answer()
	if err != nil {
		return Turn{}, err
	}
	t := Turn{Context: tok.EncodeOrdinary(*l.Context), Answer: at}
	for i, c := range l.Choices {
		ids := tok.EncodeOrdinary(c)
		if len(ids) == 0 {
			return Turn{}, fmt.Errorf("choice %d is empty", i)
		}
		t.Choices = append(t.Choices, ids)
	}
	return t, nil
}

// answer is the index of the right choice.
func (l *line) answer() (int, error) {
	var text string
	if json.Unmarshal(l.Answer, &text) == nil && text != "" {
		if len(l.Choices) == 0 {
			l.Choices = []string{text}
		}
		for i, c := range l.Choices {
			if c == text {
				return i, nil
			}
		}
		return 0, fmt.Errorf("answer is %q, which is none of the %d choices", text, len(l.Choices))
	}
	var at int
	if l.Answer == nil || json.Unmarshal(l.Answer, &at) != nil || at < 0 || at >= len(l.Choices) {
		return 0, fmt.Errorf("answer is %.40s, want the index or the text of one of %d choices", l.Answer, len(l.Choices))
	}
	return at, nil
}
