package server

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/gojet/gojet/datasets/chat"
	"github.com/gojet/gojet/datasets/tokenizer"
)

// prompt is what an answer goes on from.
type prompt struct {
	ids  []int32
	text string // as it came; of ids, what they stand for
}

// room is how many tokens a prompt may have and an answer must have room for.
type room struct {
	param  string // the field of the prompt
	prompt int    // most tokens of the prompt
	answer int    // tokens that the request asks for; 1 where it does not say
	length int    // of both together
}

func (s *Server) room(param string, asked *int) room {
	r := room{param: param, answer: 1, length: s.model.Length}
	if asked != nil {
		r.answer = *asked
	}
	r.prompt = r.length - min(r.answer, r.length)
	if most := s.limits.PromptTokens; most > 0 {
		r.prompt = min(r.prompt, most)
	}
	return r
}

// refuse is the error of a prompt of that many tokens.
func (r room) refuse(count string) error {
	return tooLong(r.param, "the prompt has %s tokens; this server takes prompts of up to %d when the answer may have %d, of the model's %d for both",
		count, r.prompt, r.answer, r.length)
}

// margin is how many bytes before the place where a text was cut its tokens may be others than those of the whole.
const margin = 256

// encode returns the tokens of a text if there is room for them. A text that is far too long is not read to its end.
func (s *Server) encode(text string, r room, tokens func(dst []int32, text string) []int32) ([]int32, error) {
	if least := (len(text) + s.longest - 1) / s.longest; least > r.prompt {
		return nil, r.refuse(fmt.Sprintf("at least %d", least))
	}
	if part := 8*r.prompt + 16*margin; part < len(text)/2 {
		for !utf8.RuneStart(text[part]) {
			part--
		}
		count, left := 0, part-margin
		for _, id := range tokens(nil, text[:part]) {
			piece, _ := s.model.Tokens.Piece(id)
			if left -= len(piece); left < 0 {
				break
			}
			count++
		}
		if count > r.prompt {
			return nil, r.refuse(fmt.Sprintf("at least %d", count))
		}
	}
	ids := tokens(nil, text)
	return ids, r.check(len(ids))
}

func (r room) check(count int) error {
	switch {
	case count == 0:
		return invalid(r.param, "the prompt is empty, want at least one token")
	case count > r.prompt:
		return r.refuse(fmt.Sprint(count))
	}
	return nil
}

// prompts encodes the prompts of a completion.
func (s *Server) prompts(f *promptField, asked *int) ([]prompt, error) {
	if f.len() == 0 {
		return nil, invalid("prompt", "prompt is missing")
	}
	r, all := s.room("prompt", asked), make([]prompt, 0, f.len())
	for _, text := range f.texts {
		ids, err := s.encode(text, r, s.model.Tokens.AppendEncode)
		if err != nil {
			return nil, err
		}
		all = append(all, prompt{ids, text})
	}
	for _, ids := range f.ids {
		if err := r.check(len(ids)); err != nil {
			return nil, err
		}
		for i, id := range ids {
			if id < 0 || int(id) >= s.model.Vocab {
				return nil, invalid("prompt", "token %d of the prompt has id %d, want 0 to %d", i, id, s.model.Vocab-1)
			}
		}
		all = append(all, prompt{ids, s.model.Tokens.Decode(ids)})
	}
	return all, nil
}

// conversation encodes messages as the model's template writes them.
func (s *Server) conversation(messages []chat.Message, asked *int) (prompt, error) {
	guarded, err := s.guard.Messages(messages)
	if err != nil {
		return prompt{}, invalid("messages", "messages: %v", err)
	}
	text, err := s.model.Chat.Render(guarded, true)
	if err != nil {
		return prompt{}, invalid("messages", "messages do not fit the model's chat template: %v", err)
	}
	ids, err := s.encode(text, s.room("messages", asked), s.guard.AppendEncode)
	return prompt{ids, text}, err
}

// turnEnd returns the special token that the template writes behind an answer, none if it writes no such token.
func turnEnd(m *Model) []int32 {
	if m.Chat == nil {
		return nil
	}
	const said = "an answer"
	text, err := m.Chat.Render([]chat.Message{{Role: "user", Content: "a question"}, {Role: "assistant", Content: said}}, false)
	if err != nil {
		return nil // some templates want other turns; the model's own end remains
	}
	_, after, _ := strings.Cut(text, said)
	ids := m.Tokens.Encode(after)
	if len(ids) == 0 {
		return nil
	}
	if _, special := m.Tokens.Piece(ids[0]); !special {
		return nil
	}
	return ids[:1]
}

// longest returns the most bytes of a token.
func longest(v tokenizer.Vocabulary) int {
	most := 1
	for id := range v.VocabSize() {
		piece, _ := v.Piece(int32(id))
		most = max(most, len(piece))
	}
	return most
}
