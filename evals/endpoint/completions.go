package endpoint

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gojet/gojet/evals"
)

// mostStops is how many stop strings OpenAI's API takes. Answers are cut here by all of them.
const mostStops = 4

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// asked is the body of a request to either path.
type asked struct {
	Model       string    `json:"model"`
	Prompt      any       `json:"prompt,omitempty"`
	Messages    []message `json:"messages,omitempty"`
	MaxTokens   int       `json:"max_tokens"`
	Temperature float64   `json:"temperature"`
	TopP        float64   `json:"top_p,omitempty"`
	TopK        int       `json:"top_k,omitempty"`
	Stop        []string  `json:"stop,omitempty"`
	Seed        uint64    `json:"seed,omitempty"`
	Echo        bool      `json:"echo,omitempty"`
	LogProbs    *int      `json:"logprobs,omitempty"`
}

// answered is the body of the answer.
type answered struct {
	Choices []struct {
		Text    string `json:"text"`
		Message *struct {
			Content string `json:"content"`
		} `json:"message"`
		LogProbs *logProbs `json:"logprobs"`
	} `json:"choices"`
}

// logProbs has an entry for each token of prompt and answer. That of the first token of all is null.
type logProbs struct {
	Token  []*float64           `json:"token_logprobs"`
	Top    []map[string]float64 `json:"top_logprobs"`
	Offset []int                `json:"text_offset"` // characters of the text before the token
}

// prompt is what the server is given: ids, or else text.
func prompt(ids []int32, text string) any {
	if len(ids) > 0 {
		return ids
	}
	return text
}

func (m *Model) generate(ctx context.Context, p evals.Prompted) (string, error) {
	a := asked{
		Model: m.cfg.Model, MaxTokens: p.MaxTokens, Temperature: p.Temperature, TopP: p.TopP, TopK: p.TopK,
		Seed: p.Seed & math.MaxInt64,
	}
	for _, s := range p.Until {
		if s != "" && len(a.Stop) < mostStops && !slices.Contains(a.Stop, s) {
			a.Stop = append(a.Stop, s)
		}
	}
	path := "/completions"
	if m.cfg.Chat {
		path = "/chat/completions"
		a.Messages = []message{{"user", p.Prompt}}
	} else {
		a.Prompt = prompt(p.Tokens, p.Prompt)
	}
	var got answered
	if err := m.call(ctx, http.MethodPost, path, a, &got); err != nil {
		return "", err
	}
	if len(got.Choices) != 1 || m.cfg.Chat != (got.Choices[0].Message != nil) {
		return "", fmt.Errorf("endpoint: %s%s: the answer has %d choices, want one with a text", m.base, path, len(got.Choices))
	}
	text := got.Choices[0].Text
	if m.cfg.Chat {
		text = got.Choices[0].Message.Content
	}
	return until(text, p.Until), nil
}

// until cuts before the first stop string.
func until(text string, stops []string) string {
	end := len(text)
	for _, s := range stops {
		if at := strings.Index(text[:end], s); s != "" && at >= 0 {
			end = at
		}
	}
	return text[:end]
}

func (m *Model) score(ctx context.Context, s evals.Scored) (evals.Likelihood, error) {
	one := 1
	a := asked{Model: m.cfg.Model, MaxTokens: 1, Echo: true, LogProbs: &one}
	ids := slices.Concat(s.ContextTokens, s.ContinuationTokens)
	a.Prompt = prompt(ids, s.Context+s.Continuation)
	var got answered
	if err := m.call(ctx, http.MethodPost, "/completions", a, &got); err != nil {
		return evals.Likelihood{}, err
	}
	likelihood, err := likelihood(got, s, len(ids))
	if err != nil {
		return likelihood, fmt.Errorf("endpoint: %s/completions: %w", m.base, err)
	}
	return likelihood, nil
}

// likelihood adds up what the server says of the continuation's tokens.
func likelihood(got answered, s evals.Scored, ids int) (evals.Likelihood, error) {
	if len(got.Choices) != 1 || got.Choices[0].LogProbs == nil {
		return evals.Likelihood{}, errors.New("the answer has no log-probabilities: does the server know logprobs?")
	}
	l := got.Choices[0].LogProbs
	from, to := len(s.ContextTokens), ids
	if ids == 0 {
		var err error
		if from, to, err = l.span(s); err != nil {
			return evals.Likelihood{}, err
		}
	}
	if len(l.Token) < to || len(l.Top) < to || from >= to {
		return evals.Likelihood{}, fmt.Errorf("the answer has log-probabilities of %d tokens and alternatives of %d, want %d with the prompt's: does the server know echo?",
			len(l.Token), len(l.Top), to)
	}
	sum := evals.Likelihood{Greedy: true}
	for i := from; i < to; i++ {
		if l.Token[i] == nil {
			return evals.Likelihood{}, fmt.Errorf("token %d of the continuation has no log-probability: without a context it needs the model's tokenizer", i-from)
		}
		sum.LogProb += *l.Token[i]
		for _, other := range l.Top[i] {
			sum.Greedy = sum.Greedy && other <= *l.Token[i]
		}
	}
	return sum, nil
}

// span finds the continuation's tokens by the characters before each: from the one with the first character of the
// continuation on, to the one that the server added after the prompt.
func (l *logProbs) span(s evals.Scored) (from, to int, err error) {
	if len(l.Offset) == 0 || len(l.Offset) != len(l.Token) {
		return 0, 0, fmt.Errorf("the answer has %d text offsets of %d tokens: texts cannot be told apart, give the model's tokenizer", len(l.Offset), len(l.Token))
	}
	context := utf8.RuneCountInString(s.Context)
	end := context + utf8.RuneCountInString(s.Continuation)
	for to < len(l.Offset) && l.Offset[to] < end {
		to++
	}
	if to == len(l.Offset) {
		return 0, 0, fmt.Errorf("the answer has no token after the prompt's, of %d in all: does the server know echo?", to)
	}
	for from = range to {
		if l.Offset[from] >= context {
			if l.Offset[from] > context && from > 0 {
				from-- // which begins in the context
			}
			break
		}
	}
	return from, to, nil
}
