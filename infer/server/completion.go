package server

import (
	"net/http"

	"github.com/gojet/gojet/datasets/tokenizer"
	"github.com/gojet/gojet/infer/scheduler"
)

// mostAlternatives is how many tokens beside the chosen one a request may ask the log-probabilities of.
const mostAlternatives = 20

// usualAnswer is the length of a completion that does not say, as OpenAI has it.
const usualAnswer = 16

// completionRequest is the body of /v1/completions.
type completionRequest struct {
	settings
	Prompt   promptField `json:"prompt"`
	Echo     bool        `json:"echo"`
	LogProbs *int        `json:"logprobs"`
	BestOf   *int        `json:"best_of"`
	Suffix   neutral     `json:"suffix"`
}

func (r *completionRequest) check(l Limits) error {
	least := 1
	if r.Echo && r.LogProbs != nil { // the prompt is what is asked about
		least = 0
	}
	if err := r.settings.check(l, r.Prompt.len(), least); err != nil {
		return err
	}
	if err := refuse(refusal{"suffix", r.Suffix, nil, "the models have no notion of filling in, put all into prompt"}); err != nil {
		return err
	}
	switch {
	case r.LogProbs != nil && (*r.LogProbs < 0 || *r.LogProbs > mostAlternatives):
		return invalid("logprobs", "logprobs is %d, want 0 to %d", *r.LogProbs, mostAlternatives)
	case r.BestOf != nil && *r.BestOf != r.N:
		return unsupported("best_of", "best_of is %d and n is %d: this server returns all that it generates, want best_of left out or the same as n", *r.BestOf, r.N)
	}
	return nil
}

// complete answers /v1/completions.
func (s *Server) complete(w http.ResponseWriter, r *http.Request) error {
	q := completionRequest{settings: defaultSettings()}
	var prompts []prompt
	err := s.read(w, r, &q, func() (err error) {
		if err = s.known(q.Model); err == nil {
			err = q.check(s.limits)
		}
		if err == nil {
			prompts, err = s.prompts(&q.Prompt, q.MaxTokens)
		}
		return err
	})
	if err != nil {
		return err
	}
	answers, err := s.completions(&q, prompts)
	if err != nil {
		return err
	}
	x := &completionStyle{s.reply("cmpl-", "text_completion", q.StreamOptions), s.model.Tokens, q.LogProbs != nil}
	return s.answer(w, r, answers, x, &q.settings, x.ID)
}

// completions are the answers to all prompts, n to each.
func (s *Server) completions(q *completionRequest, prompts []prompt) ([]*answer, error) {
	stops, err := q.stops()
	if err != nil {
		return nil, err
	}
	var answers []*answer
	for _, p := range prompts {
		most := min(usualAnswer, s.most(p))
		if q.MaxTokens != nil {
			most = *q.MaxTokens
		}
		for n := range q.N {
			g := q.request(&s.model, p.ids, most, n, nil)
			if q.LogProbs != nil {
				g.LogProbs, g.PromptLogProbs = *q.LogProbs, q.Echo
			}
			a := newAnswer(len(answers), g, s.model.Tokens, stops)
			if q.Echo {
				a.repeat(p.text, s.model.Tokens)
			}
			answers = append(answers, a)
		}
	}
	return answers, nil
}

type completionChoice struct {
	Index    int                 `json:"index"`
	Text     string              `json:"text"`
	LogProbs *completionLogProbs `json:"logprobs"`
	Finish   *scheduler.Finish   `json:"finish_reason"`
}

// completionLogProbs has one element a token in each list. The first token of a prompt has no probability: null.
type completionLogProbs struct {
	Tokens   []string             `json:"tokens"`
	LogProbs []*float32           `json:"token_logprobs"`
	Top      []map[string]float32 `json:"top_logprobs"`
	Offsets  []int                `json:"text_offset"` // characters of the text before the token
}

// completionStyle is how /v1/completions answers.
type completionStyle struct {
	reply
	vocab tokenizer.Vocabulary
	logs  bool
}

func (x *completionStyle) whole(all []collected, u *usage) any {
	choices := make([]completionChoice, len(all))
	for i := range all {
		c := &all[i]
		choices[i] = x.choice(delta{i, c.text.String(), c.tokens, c.finish})
	}
	return x.with(choices, u)
}

func (x *completionStyle) opening(int) any { return nil }

func (x *completionStyle) chunk(d delta) any { return x.with([]completionChoice{x.choice(d)}, nil) }

func (x *completionStyle) closing(u *usage) any { return x.with([]completionChoice{}, u) }

func (x *completionStyle) choice(d delta) completionChoice {
	c := completionChoice{Index: d.index, Text: d.text}
	if d.finish != "" {
		c.Finish = &d.finish
	}
	if !x.logs {
		return c
	}
	c.LogProbs = &completionLogProbs{[]string{}, []*float32{}, []map[string]float32{}, []int{}}
	for i := range d.tokens {
		c.LogProbs.add(x.vocab, &d.tokens[i])
	}
	return c
}

func (l *completionLogProbs) add(v tokenizer.Vocabulary, t *scored) {
	text, _ := spell(v, t.ID)
	l.Tokens, l.Offsets = append(l.Tokens, text), append(l.Offsets, t.characters)
	if !t.sure {
		l.LogProbs, l.Top = append(l.LogProbs, nil), append(l.Top, nil)
		return
	}
	top := make(map[string]float32, len(t.Top)+1)
	for _, other := range t.Top {
		name, _ := spell(v, other.ID)
		if _, twin := top[name]; !twin { // the likelier one of two tokens that are spelled alike
			top[name] = other.LogProb
		}
	}
	if _, there := top[text]; !there {
		top[text] = t.LogProb
	}
	l.LogProbs, l.Top = append(l.LogProbs, &t.LogProb), append(l.Top, top)
}
