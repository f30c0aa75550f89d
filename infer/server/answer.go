package server

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/gojet/gojet/datasets/tokenizer"
	"github.com/gojet/gojet/infer/sampling"
	"github.com/gojet/gojet/infer/scheduler"
)

// scored is a token of the text with its log-probability.
type scored struct {
	scheduler.Token
	sure  bool // the first token of all has no probability
	place      // of its first byte
}

// delta is what one step adds to an answer.
type delta struct {
	index  int // of the answer among those to the request
	text   string
	tokens []scored // those whose text begins within text; none unless log-probabilities are asked for
	finish scheduler.Finish
}

// answer turns the tokens of one answer into text: whole characters, up to a stop string.
type answer struct {
	index   int
	request scheduler.Request
	text    *tokenizer.Decoder
	stops   *sampling.StopStream

	echo  *tokenizer.Decoder // of the prompt, if it is part of the text
	head  string             // the prompt, until it was handed out
	place                    // behind what was decoded
	shown int                // bytes of it that were handed out

	waiting []scored
	stopped bool
	buffer  []byte
	usage   scheduler.Usage
}

// place in a text.
type place struct{ bytes, characters int }

func (p *place) advance(text string) {
	p.bytes += len(text)
	p.characters += utf8.RuneCountInString(text)
}

func newAnswer(index int, q scheduler.Request, v tokenizer.Vocabulary, stops *sampling.Stops) *answer {
	return &answer{index: index, request: q, text: tokenizer.NewDecoder(v, tokenizer.SkipSpecial), stops: stops.Stream()}
}

// repeat has the answer begin with its prompt.
func (a *answer) repeat(text string, v tokenizer.Vocabulary) {
	a.head, a.echo = text, tokenizer.NewDecoder(v)
}

// token takes the next one. The answer goes on unless a stop string has come.
func (a *answer) token(t scheduler.Token) (d delta, more bool) {
	if t.Prompt {
		if len(a.waiting) == 0 { // the first one has no probability, so that it is not told of
			first := a.request.Prompt[0]
			a.waiting = append(a.waiting, scored{Token: scheduler.Token{ID: first}})
			a.advance(a.echo.Push(first))
		}
		a.waiting = append(a.waiting, scored{t, true, a.place})
		a.advance(a.echo.Push(t.ID))
		return delta{index: a.index}, true
	}
	a.begin()
	if a.request.LogProbs >= 0 {
		a.waiting = append(a.waiting, scored{t, true, a.place})
	}
	a.push(a.text.Push(t.ID))
	return a.take(), !a.stopped
}

// begin empties the buffer, and puts the prompt there if it is still to be handed out.
func (a *answer) begin() {
	a.buffer = append(a.buffer[:0], a.head...)
	if a.head != "" {
		a.place = place{}
		a.advance(a.head)
		a.head = ""
	}
}

// end takes the reason for which the generator ended, and returns what was held back.
func (a *answer) end(why scheduler.Finish) delta {
	a.begin()
	if !a.stopped {
		a.push(a.text.Flush())
		a.buffer = a.stops.Flush(a.buffer)
	}
	d := a.take()
	if !a.stopped { // what has no text belongs to the end
		d.tokens = append(d.tokens, a.waiting...)
	}
	d.finish = why
	if a.stopped {
		d.finish = scheduler.Stop
	}
	return d
}

func (a *answer) push(piece string) {
	a.advance(piece)
	a.buffer, a.stopped = a.stops.Push(a.buffer, piece)
}

// take hands out the buffer with the tokens that begin in it.
func (a *answer) take() delta {
	a.shown += len(a.buffer)
	d, n := delta{index: a.index, text: string(a.buffer)}, 0
	for n < len(a.waiting) && a.waiting[n].bytes < a.shown {
		n++
	}
	if n > 0 {
		d.tokens, a.waiting = a.waiting[:n:n], a.waiting[n:]
	}
	return d
}

// spell writes a token as OpenAI does: its text, or its bytes where these are no whole characters.
func spell(v tokenizer.Vocabulary, id int32) (text, bytes string) {
	bytes, _ = v.Piece(id)
	if utf8.ValidString(bytes) {
		return bytes, bytes
	}
	var b strings.Builder
	b.WriteString("bytes:")
	for i := range len(bytes) {
		fmt.Fprintf(&b, `\x%02x`, bytes[i])
	}
	return b.String(), bytes
}
