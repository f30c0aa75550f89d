package datasets

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gojet/gojet/datasets/chat"
	"github.com/gojet/gojet/datasets/source"
	"github.com/gojet/gojet/datasets/tokenizer"
)

// plainBytes as a tokenizer's path is the byte tokenizer.
const plainBytes = "bytes"

// encoder turns documents into tokens. Any number of goroutines may use it at once.
type encoder struct {
	tok tokenizer.Tokenizer
	// end is put after each text, nothing after chats and ready-made tokens.
	end []int32
	// template is the tokenizer's for chats; nil if it has none, or one that cannot be used, as bad says.
	template *chat.Template
	bad      error
	guard    *chat.Guard
	path     string
	key      string // of all that has a say in the tokens
}

// today is the date for templates that write it, so that the tokens are the same on every day.
var today = time.Date(2025, time.January, 1, 12, 0, 0, 0, time.UTC)

func newEncoder(c *Config) (*encoder, error) {
	e := &encoder{path: c.Tokenizer}
	settings := &tokenizer.Config{}
	h := sha256.New()
	if c.Tokenizer == plainBytes {
		b, err := tokenizer.NewBytes()
		if err != nil {
			return nil, err
		}
		e.tok = b
		fmt.Fprintln(h, plainBytes)
	} else {
		b, err := tokenizer.Load(c.Tokenizer)
		if err != nil {
			return nil, fmt.Errorf("data.tokenizer: %w", err)
		}
		e.tok = b
		file, dir := c.Tokenizer, filepath.Dir(c.Tokenizer)
		if info, err := os.Stat(file); err == nil && info.IsDir() {
			file, dir = filepath.Join(file, "tokenizer.json"), file
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("data.tokenizer: %w", err)
		}
		fmt.Fprintf(h, "%x\n", sha256.Sum256(text))
		if settings, err = tokenizer.LoadConfig(dir); err != nil {
			return nil, fmt.Errorf("data.tokenizer: %w", err)
		}
		if e.template, e.bad = chat.Load(dir); e.bad == nil {
			e.template.Now = func() time.Time { return today }
		}
	}
	e.guard = chat.NewGuard(e.tok)
	if err := e.setEnd(c.EndOfDocument, settings.EOS); err != nil {
		return nil, err
	}
	fmt.Fprintf(h, "%v\n%q\n", e.end, settings.ChatTemplate)
	e.key = hex.EncodeToString(h.Sum(nil))
	return e, nil
}

// setEnd finds the token that is put after a text: the one asked for, or the tokenizer's own if it has one.
func (e *encoder) setEnd(asked, own string) error {
	if asked == none || asked == "" && own == "" {
		return nil
	}
	token := asked
	if asked == "" {
		token = own
	}
	id, ok := e.tok.ID(token)
	if !ok {
		return fmt.Errorf("data.end_of_document: tokenizer %s has no token %q, want one of its tokens, or %q", e.path, token, none)
	}
	e.end = []int32{id}
	return nil
}

// encode returns the tokens of a document, none of an empty one.
func (e *encoder) encode(d source.Document) (encoded, error) {
	switch {
	case len(d.Tokens) > 0:
		return encoded{tokens: d.Tokens}, nil
	case len(d.Messages) > 0:
		return e.encodeChat(d.Messages)
	case d.Text == "":
		return encoded{}, nil
	}
	// A text that spells out <|im_end|> is about it and does not mean it.
	return encoded{tokens: append(e.tok.EncodeOrdinary(d.Text), e.end...)}, nil
}

// encodeChat encodes what the assistant says apart from the rest, as it is when the model answers.
func (e *encoder) encodeChat(messages []chat.Message) (x encoded, err error) {
	if e.bad != nil {
		return x, fmt.Errorf("is a chat: %w", e.bad)
	}
	if e.template == nil {
		return x, fmt.Errorf("is a chat, but the tokenizer %s has no chat template", e.path)
	}
	said, err := e.guard.Messages(messages)
	if err != nil {
		return x, err
	}
	text, own, err := e.template.Spans(said)
	if err != nil {
		return x, err
	}
	at := 0
	for _, s := range own {
		e.add(&x, text[at:s.Start], true)
		e.add(&x, text[s.Start:s.End], false)
		at = s.End
	}
	e.add(&x, text[at:], true)
	return x, nil
}

// add appends the tokens of a text that the template wrote.
func (e *encoder) add(x *encoded, text string, hide bool) {
	from := len(x.tokens)
	x.tokens = e.guard.AppendEncode(x.tokens, text)
	if hide && len(x.tokens) > from {
		x.hidden = append(x.hidden, from, len(x.tokens))
	}
}
