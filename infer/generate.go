package infer

import (
	"context"
	"fmt"

	"github.com/gojet/gojet/infer/sampling"
)

// Request is one generation.
type Request struct {
	Prompt    []int32
	MaxTokens int
	// End lists the tokens that end the answer; they are not part of it.
	End      []int32
	Sampling sampling.Config
	// Token is called with each token of the answer as it comes; returning false ends the answer.
	Token func(id int32) bool
}

// Generate continues the engine's sequence with the prompt and then with an answer, which it returns.
func Generate(ctx context.Context, e *Engine, r Request) ([]int32, error) {
	if r.MaxTokens < 1 {
		return nil, fmt.Errorf("infer: max tokens is %d, want 1 or more", r.MaxTokens)
	}
	s, err := sampling.New(r.Sampling, nil)
	if err != nil {
		return nil, err
	}
	history := append([]int32(nil), r.Prompt...)
	logits, err := e.Feed(r.Prompt)
	for n := 0; err == nil; n++ {
		if e.config.AllLogits {
			logits = logits[len(logits)-e.Vocab():]
		}
		if err := ctx.Err(); err != nil {
			return history[len(r.Prompt):], err
		}
		id, err := s.Next(logits, history)
		if err != nil {
			return history[len(r.Prompt):], err
		}
		if ends(r.End, id) {
			break
		}
		history = append(history, id)
		if r.Token != nil && !r.Token(id) || n+1 == r.MaxTokens {
			break
		}
		if logits, err = e.Feed([]int32{id}); err != nil {
			return history[len(r.Prompt):], err
		}
	}
	return history[len(r.Prompt):], err
}

func ends(end []int32, id int32) bool {
	for _, e := range end {
		if e == id {
			return true
		}
	}
	return false
}
