package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/gojet/gojet/datasets/tokenizer"
	"github.com/gojet/gojet/evals"
	"github.com/gojet/gojet/infer"
	"github.com/gojet/gojet/infer/sampling"
	"github.com/gojet/gojet/infer/scheduler"
)

// evalModel answers the requests of evaluations with an engine of its own. The engine is as large as the longest request so far
// needs, rounded up, so that a model that could read very long texts costs no more than what it is asked.
type evalModel struct {
	*model
	*evalEncoder
	end    []int32
	rows   int // sequences at a time
	chunk  int
	engine *infer.Engine
}

// evalEncoder is evals.Encoder.
type evalEncoder struct {
	tokens    tokenizer.Tokenizer
	prefix    int32
	maxLength int
}

// newEvalEncoder takes the token that stands before a text from the settings of the tokenizer in dir: that of the beginning
// of a text, or of its end, or otherwise the first one of `others`.
func newEvalEncoder(t tokenizer.Tokenizer, dir string, maxLength int, others ...int) (*evalEncoder, error) {
	e := &evalEncoder{tokens: t, maxLength: maxLength}
	c, err := tokenizer.LoadConfig(dir)
	if err != nil {
		return nil, err
	}
	if id, ok := t.ID(cmp.Or(c.BOS, c.EOS)); ok {
		e.prefix = id
		return e, nil
	}
	for _, id := range others {
		if id >= 0 {
			e.prefix = int32(id)
			return e, nil
		}
	}
	return nil, fmt.Errorf("%s: the tokenizer has no token for the beginning or the end of a text", dir)
}

func (e *evalEncoder) Encode(text string) []int32 { return e.tokens.Encode(text) }
func (e *evalEncoder) Prefix() int32              { return e.prefix }
func (e *evalEncoder) MaxLength() int             { return e.maxLength }

// evalCache bounds the prefixes that generation keeps for later prompts, in bytes.
const evalCache = 256 << 20

// newEvalModel makes it of a model and its tokenizer, whose settings are in dir.
func newEvalModel(m *model, t tokenizer.Tokenizer, dir string, maxLength, rows, chunk int) (*evalModel, error) {
	if maxLength > m.Config.MaxPositions {
		return nil, fmt.Errorf("--max-length is %d, but the model has %d positions (max_position_embeddings)", maxLength, m.Config.MaxPositions)
	}
	enc, err := newEvalEncoder(t, dir, cmp.Or(maxLength, m.Config.MaxPositions), append([]int{m.Config.BOS}, m.Config.EOS...)...)
	if err != nil {
		return nil, err
	}
	e := &evalModel{model: m, evalEncoder: enc, rows: rows, chunk: chunk}
	for _, id := range m.Config.EOS {
		e.end = append(e.end, int32(id))
	}
	c, err := tokenizer.LoadConfig(dir)
	if err != nil {
		return nil, err
	}
	if id, ok := t.ID(c.EOS); ok && !slices.Contains(e.end, id) {
		e.end = append(e.end, id)
	}
	return e, nil
}

// Close gives the engine's memory back, and the model's.
func (e *evalModel) Close() error {
	var err error
	if e.engine != nil {
		err = e.engine.Close()
	}
	return errors.Join(err, e.model.Close())
}

// reach makes the engine large enough for sequences of n tokens.
func (e *evalModel) reach(n int) error {
	if e.engine != nil && e.engine.Capacity() >= n {
		return nil
	}
	capacity := 256
	for capacity < n {
		capacity *= 2
	}
	if e.engine != nil {
		if err := e.engine.Close(); err != nil {
			return err
		}
		e.engine = nil
	}
	engine, err := infer.New(e.Decoder, e.weights, e.machine, infer.Config{Rows: e.rows, Capacity: min(capacity, max(n, e.Config.MaxPositions)), Chunk: e.chunk})
	e.engine = engine
	return err
}

// LogLikelihoods is evals.Model.
func (e *evalModel) LogLikelihoods(ctx context.Context, rs []evals.Scored) ([]evals.Likelihood, error) {
	asked, longest := make([]infer.Scored, len(rs)), 0
	for i, r := range rs {
		asked[i] = infer.Scored{Context: r.ContextTokens, Ending: r.ContinuationTokens}
		longest = max(longest, len(r.ContextTokens)+len(r.ContinuationTokens)-1)
	}
	if err := e.reach(longest); err != nil {
		return nil, err
	}
	got, err := e.engine.Score(ctx, asked)
	if err != nil {
		return nil, err
	}
	out := make([]evals.Likelihood, len(got))
	for i, l := range got {
		out[i] = evals.Likelihood{LogProb: l.LogProb, Greedy: l.Greedy}
	}
	return out, nil
}

// Generate is evals.Model.
func (e *evalModel) Generate(ctx context.Context, rs []evals.Prompted) ([]string, error) {
	longest := 0
	for _, r := range rs {
		longest = max(longest, len(r.Tokens)+r.MaxTokens)
	}
	if err := e.reach(longest); err != nil {
		return nil, err
	}
	s, err := scheduler.New(e.engine, scheduler.Config{Queue: len(rs), CacheBytes: evalCache})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers, errs := make([]string, len(rs)), make([]error, len(rs))
	var wg sync.WaitGroup
	for i, r := range rs {
		wg.Go(func() {
			if answers[i], errs[i] = e.generate(ctx, s, r); errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	var first error // one that was not ended by another, if there is one
	for _, err := range errs {
		if err != nil && (first == nil || errors.Is(first, context.Canceled)) {
			first = err
		}
	}
	return answers, errors.Join(first, s.Close(context.WithoutCancel(ctx)))
}

// generate answers one request.
func (e *evalModel) generate(ctx context.Context, s *scheduler.Scheduler, r evals.Prompted) (string, error) {
	stops, err := sampling.NewStops(slices.DeleteFunc(slices.Clone(r.Until), func(u string) bool { return u == "" }))
	if err != nil {
		return "", err
	}
	settings := sampling.Default()
	settings.Temperature, settings.TopK, settings.Seed = r.Temperature, r.TopK, r.Seed
	if r.TopP > 0 {
		settings.TopP = r.TopP
	}
	var text []byte
	var stopped bool
	stream, decoder := stops.Stream(), tokenizer.NewDecoder(e.tokens, tokenizer.SkipSpecial)
	_, _, err = s.Generate(ctx, scheduler.Request{Prompt: r.Tokens, MaxTokens: r.MaxTokens, End: e.end, Sampling: settings, LogProbs: -1}, func(t scheduler.Token) bool {
		text, stopped = stream.Push(text, decoder.Push(t.ID))
		return !stopped
	})
	if err == nil && !stopped {
		if text, stopped = stream.Push(text, decoder.Flush()); !stopped {
			text = stream.Flush(text)
		}
	}
	return string(text), err
}

// fingerprint tells a model from others by its files: their names, sizes and times of change, and what small ones say.
func fingerprint(dir string, more ...string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	parts := slices.Clone(more)
	for _, entry := range entries {
		name := entry.Name()
		switch filepath.Ext(name) {
		case ".safetensors":
			info, err := os.Stat(filepath.Join(dir, name)) // files of the hub's cache are links
			if err != nil {
				return "", err
			}
			parts = append(parts, fmt.Sprint(name, " ", info.Size(), " ", info.ModTime().UnixNano()))
		case ".json", ".txt", ".jinja":
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				return "", err
			}
			parts = append(parts, name, string(data))
		}
	}
	return strings.Join(parts, "\x00"), nil
}
