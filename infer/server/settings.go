package server

import (
	"crypto/rand"
	"encoding/binary"
	"slices"

	"github.com/gojet/gojet/infer/sampling"
	"github.com/gojet/gojet/infer/scheduler"
)

// settings are the fields that both kinds of requests have. What a request leaves out keeps its default.
type settings struct {
	Model             string         `json:"model"`
	MaxTokens         *int           `json:"max_tokens"`
	Temperature       float64        `json:"temperature"`
	TopP              float64        `json:"top_p"`
	TopK              int            `json:"top_k"`
	MinP              float64        `json:"min_p"`
	RepetitionPenalty float64        `json:"repetition_penalty"`
	Seed              *int64         `json:"seed"`
	Stop              stopField      `json:"stop"`
	N                 int            `json:"n"`
	Stream            bool           `json:"stream"`
	StreamOptions     *streamOptions `json:"stream_options"`
	IgnoreEOS         bool           `json:"ignore_eos"`

	// Asking for one of these is an error.
	PresencePenalty  neutral `json:"presence_penalty"`
	FrequencyPenalty neutral `json:"frequency_penalty"`
	LogitBias        neutral `json:"logit_bias"`
	// These say who asks and why; no answer depends on them.
	User     neutral `json:"user"`
	Metadata neutral `json:"metadata"`
}

type streamOptions struct {
	IncludeUsage       bool    `json:"include_usage"`
	IncludeObfuscation neutral `json:"include_obfuscation"`
}

// defaultSettings are OpenAI's.
func defaultSettings() settings {
	return settings{Temperature: 1, TopP: 1, RepetitionPenalty: 1, N: 1}
}

// refusal is a field that asks for what is not done, and what to do about it.
type refusal struct {
	name  string
	field neutral
	but   []string // values that ask for nothing
	hint  string
}

func refuse(list ...refusal) error {
	for _, r := range list {
		if r.field.asks(r.but...) {
			return unsupported(r.name, "this server does not support %s: %s", r.name, r.hint)
		}
	}
	return nil
}

// check reports settings out of their range or the server's limits: for that many prompts, and answers of at least so many tokens.
func (r *settings) check(l Limits, prompts, least int) error {
	const leave = "leave it out, or see repetition_penalty"
	err := refuse(refusal{"presence_penalty", r.PresencePenalty, nil, leave}, refusal{"frequency_penalty", r.FrequencyPenalty, nil, leave},
		refusal{"logit_bias", r.LogitBias, nil, "leave it out"})
	switch {
	case err != nil:
		return err
	case r.StreamOptions != nil && !r.Stream:
		return invalid("stream_options", "stream_options is for answers with stream set to true")
	case r.MaxTokens != nil && *r.MaxTokens < least:
		return invalid("max_tokens", "max_tokens is %d, want %d or more", *r.MaxTokens, least)
	case r.MaxTokens != nil && l.AnswerTokens > 0 && *r.MaxTokens > l.AnswerTokens:
		return invalid("max_tokens", "max_tokens is %d, this server allows %d", *r.MaxTokens, l.AnswerTokens)
	case r.N < 1:
		return invalid("n", "n is %d, want 1 or more", r.N)
	case r.N > l.Choices/max(prompts, 1):
		return invalid("n", "n is %d and there are %d prompts; this server gives at most %d answers to a request", r.N, prompts, l.Choices)
	case len(r.Stop) > l.Stops:
		return invalid("stop", "stop has %d strings, this server allows %d", len(r.Stop), l.Stops)
	}
	return r.checkSampling()
}

func (r *settings) checkSampling() error {
	switch {
	case r.Temperature < 0:
		return invalid("temperature", "temperature is %v, want 0 or more", r.Temperature)
	case !(r.TopP > 0 && r.TopP <= 1):
		return invalid("top_p", "top_p is %v, want above 0 and at most 1", r.TopP)
	case r.TopK < -1:
		return invalid("top_k", "top_k is %d, want 1 or more, or -1 or 0 for all tokens", r.TopK)
	case !(r.MinP >= 0 && r.MinP <= 1):
		return invalid("min_p", "min_p is %v, want 0 to 1", r.MinP)
	case r.RepetitionPenalty <= 0:
		return invalid("repetition_penalty", "repetition_penalty is %v, want above 0", r.RepetitionPenalty)
	}
	return nil
}

// sampling is how the n-th answer to a prompt is drawn: with the request's seed plus n, so that an answer can be had again alone.
func (r *settings) sampling(n int) sampling.Config {
	c := sampling.Config{Temperature: r.Temperature, TopK: max(r.TopK, 0), TopP: r.TopP, MinP: r.MinP, RepetitionPenalty: r.RepetitionPenalty}
	if r.Seed == nil {
		var b [8]byte
		_, _ = rand.Read(b[:]) // it never fails
		drawn := int64(binary.LittleEndian.Uint64(b[:]))
		r.Seed = &drawn
	}
	c.Seed = uint64(*r.Seed) + uint64(n)
	return c
}

// stops are the automaton of the stop strings, which all answers share.
func (r *settings) stops() (*sampling.Stops, error) {
	stops, err := sampling.NewStops(r.Stop)
	if err != nil {
		return nil, invalid("stop", "stop: %v", err)
	}
	return stops, nil
}

// request is the n-th answer to a prompt as the generator knows it, without log-probabilities.
func (r *settings) request(m *Model, prompt []int32, answer, n int, end []int32) scheduler.Request {
	q := scheduler.Request{Prompt: prompt, MaxTokens: answer, Sampling: r.sampling(n), LogProbs: -1}
	if !r.IgnoreEOS {
		q.End = slices.Concat(m.End, end)
	}
	return q
}
