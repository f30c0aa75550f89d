package infer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gojet/gojet/infer/sampling"
	"github.com/gojet/gojet/kernels/embedding"
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

// Generate continues the engine's sequence with the prompt and then with an answer, which it returns. The repetition
// penalty sees this prompt and this answer. When ctx ends, or anything else fails, the answer so far comes with the error.
func Generate(ctx context.Context, e *Engine, r Request) ([]int32, error) {
	if err := r.fits(e); err != nil {
		return nil, err
	}
	if err := e.Sample(0, r.Sampling, r.Prompt); err != nil {
		return nil, err
	}
	id, err := prefill(ctx, e, r.Prompt)
	if err != nil {
		return nil, err
	}
	answer, row := make([]int32, 0, r.MaxTokens), []int{0}
	for !slices.Contains(r.End, id) {
		answer = append(answer, id)
		if r.Token != nil && !r.Token(id) || len(answer) == r.MaxTokens {
			break
		}
		if err := ctx.Err(); err != nil {
			return answer, err
		}
		next, err := e.Next(row)
		if err != nil {
			return answer, err
		}
		id = next[0]
	}
	return answer, nil
}

// fits reports a request that the engine cannot serve whole.
func (r Request) fits(e *Engine) error {
	switch room := e.config.Capacity - e.Len(); {
	case r.MaxTokens < 1:
		return fmt.Errorf("infer: max tokens is %d, want 1 or more", r.MaxTokens)
	case len(r.Prompt) == 0:
		return errors.New("infer: the prompt has no tokens, want at least one")
	case len(r.Prompt) >= room || r.MaxTokens > room-len(r.Prompt):
		return fmt.Errorf("infer: a prompt of %d tokens and an answer of up to %d exceed the %d that are left of a capacity of %d",
			len(r.Prompt), r.MaxTokens, room, e.config.Capacity)
	}
	return embedding.Check(r.Prompt, e.Vocab())
}

// prefill feeds the prompt piece by piece, so that the context can end it in between, and chooses the first token.
func prefill(ctx context.Context, e *Engine, prompt []int32) (int32, error) {
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n := e.Piece(0, len(prompt))
		if n == len(prompt) {
			return e.First(0, prompt)
		}
		if err := e.Skip(0, prompt[:n]); err != nil {
			return 0, err
		}
		prompt = prompt[n:]
	}
}
