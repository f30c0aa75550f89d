package infer

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gojet/gojet/infer/sampling"
)

func generate(t *testing.T, e *Engine, r Request) []int32 {
	t.Helper()
	e.Reset()
	answer, err := Generate(t.Context(), e, r)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// TestGreedyChunks: how the prompt is cut does not change the answer, which is the most likely token of the model
// without state, one after the other.
func TestGreedyChunks(t *testing.T) {
	d, w := everyMixer(t)
	prompt := someIDs(33)
	r := Request{Prompt: prompt, MaxTokens: 12, Sampling: sampling.Default()}
	var want []int32
	for range r.MaxTokens {
		logits := whole(t, d, w, slices.Concat(prompt, want))
		last := logits[len(logits)-vocab:]
		want = append(want, int32(slices.Index(last, slices.Max(last))))
	}
	for _, cfg := range []Config{{Chunk: 1}, {Chunk: 7}, {Chunk: 32}, {Chunk: 33}, {Chunk: 64}, {Chunk: 7, AllLogits: true}} {
		cfg.Capacity = 45
		if got := generate(t, engine(t, d, w, cfg), r); !slices.Equal(got, want) {
			t.Errorf("%+v: %v, want %v", cfg, got, want)
		}
	}
}

func TestSeedDecides(t *testing.T) {
	d, w := everyMixer(t)
	e := engine(t, d, w, Config{Capacity: 64, Chunk: 16})
	r := Request{Prompt: someIDs(5), MaxTokens: 20, Sampling: sampling.Config{Temperature: 1, TopP: 1, RepetitionPenalty: 1, Seed: 1}}
	first := generate(t, e, r)
	if again := generate(t, e, r); !slices.Equal(again, first) {
		t.Errorf("the same seed: %v, then %v", first, again)
	}
	r.Sampling.Seed = 2
	if other := generate(t, e, r); slices.Equal(other, first) {
		t.Errorf("seeds 1 and 2: both %v", first)
	}
}

// TestPenaltySeesHistory: with a penalty too great for any token to return, prompt and answer have no token twice.
func TestPenaltySeesHistory(t *testing.T) {
	d, w := everyMixer(t)
	prompt := []int32{1, 2, 3}
	answer := generate(t, engine(t, d, w, Config{Capacity: 64, Chunk: 16}), Request{
		Prompt: prompt, MaxTokens: 20, Sampling: sampling.Config{TopP: 1, RepetitionPenalty: 1e30},
	})
	all := slices.Concat(prompt, answer)
	slices.Sort(all)
	if len(answer) != 20 || len(slices.Compact(all)) != 23 {
		t.Errorf("prompt %v, answer %v: a token comes twice", prompt, answer)
	}
}

func TestAnswerEnds(t *testing.T) {
	d, w := everyMixer(t)
	e := engine(t, d, w, Config{Capacity: 64, Chunk: 16})
	r := Request{Prompt: someIDs(5), MaxTokens: 12, Sampling: sampling.Default()}
	full := generate(t, e, r)
	end := full[len(full)-1]
	at := slices.Index(full, end)
	var seen []int32
	r.End = []int32{vocab - 1, end}
	if slices.Contains(full[:at], vocab-1) {
		t.Fatalf("the answer %v is of no use here", full)
	}
	r.Token = func(id int32) bool { seen = append(seen, id); return true }
	if got := generate(t, e, r); !slices.Equal(got, full[:at]) || !slices.Equal(seen, got) {
		t.Errorf("ended by %d: %v, seen %v, want %v", end, got, seen, full[:at])
	}
	r.End, r.Token = nil, func(id int32) bool { return id != full[2] }
	if got, want := generate(t, e, r), full[:slices.Index(full, full[2])+1]; !slices.Equal(got, want) {
		t.Errorf("ended by the caller: %v, want %v", got, want)
	}
}

func TestGenerateContinues(t *testing.T) {
	d, w := everyMixer(t)
	e := engine(t, d, w, Config{Capacity: 64, Chunk: 16})
	prompt := someIDs(20)
	want := generate(t, e, Request{Prompt: prompt, MaxTokens: 8, Sampling: sampling.Default()})
	e.Reset()
	feed(t, e, prompt[:13]...)
	got, err := Generate(t.Context(), e, Request{Prompt: prompt[13:], MaxTokens: 8, Sampling: sampling.Default()})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}

func TestCancel(t *testing.T) {
	d, w := everyMixer(t)
	e := engine(t, d, w, Config{Capacity: 64, Chunk: 4})
	ctx, cancel := context.WithCancel(t.Context())
	r := Request{Prompt: someIDs(20), MaxTokens: 30, Sampling: sampling.Default()}
	r.Token = func(int32) bool {
		if e.Len() == 22 {
			cancel()
		}
		return true
	}
	answer, err := Generate(ctx, e, r)
	if !errors.Is(err, context.Canceled) || len(answer) != 3 {
		t.Errorf("%v, %v, want three tokens and %v", answer, err, context.Canceled)
	}
	e.Reset()
	if answer, err := Generate(ctx, e, r); !errors.Is(err, context.Canceled) || len(answer) != 0 || e.Len() != 0 {
		t.Errorf("ended before: %v, %v, %d tokens consumed", answer, err, e.Len())
	}
}

// TestCancelPrefill ends a long prompt between two of its chunks.
func TestCancelPrefill(t *testing.T) {
	d, w := everyMixer(t)
	e := engine(t, d, w, Config{Capacity: 64, Chunk: 4})
	ctx := &countdown{Context: t.Context(), left: 3}
	_, err := Generate(ctx, e, Request{Prompt: someIDs(40), MaxTokens: 2, Sampling: sampling.Default()})
	if !errors.Is(err, context.Canceled) || e.Len() != 12 {
		t.Errorf("%v after %d tokens, want %v after 12", err, e.Len(), context.Canceled)
	}
}

// countdown is a context that ends after it was asked so many times.
type countdown struct {
	context.Context
	left int
}

func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestRequestsRefused(t *testing.T) {
	d, w := everyMixer(t)
	for want, r := range map[string]Request{
		"max tokens is 0":                 {Prompt: []int32{1}},
		"max tokens is -1":                {Prompt: []int32{1}, MaxTokens: -1},
		"the prompt has no tokens":        {MaxTokens: 1},
		"token 9 has id 50, want 0 to 49": {Prompt: append(make([]int32, 9), 50), MaxTokens: 1},
		"a prompt of 10 tokens and an answer of up to 7 exceed the 16 that are left of a capacity of 16": {Prompt: make([]int32, 10), MaxTokens: 7},
		"a prompt of 1 tokens and an answer of up to 9223372036854775807 exceed":                         {Prompt: []int32{1}, MaxTokens: math.MaxInt},
		"a prompt of 17 tokens": {Prompt: make([]int32, 17), MaxTokens: 1},
		"temperature is -1":     {Prompt: []int32{1}, MaxTokens: 1, Sampling: sampling.Config{Temperature: -1, TopP: 1, RepetitionPenalty: 1}},
	} {
		if r.Sampling == (sampling.Config{}) {
			r.Sampling = sampling.Default()
		}
		e := engine(t, d, w, Config{Capacity: 16, Chunk: 4})
		if _, err := Generate(t.Context(), e, r); err == nil || !strings.Contains(err.Error(), want) || e.Len() != 0 {
			t.Errorf("error %v after %d tokens, want %q and none consumed", err, e.Len(), want)
		}
	}
}

// TestBrokenModel: logits that are no numbers end the answer with an error.
func TestBrokenModel(t *testing.T) {
	d, w := everyMixer(t)
	w["model.norm.weight"].F32[0] = float32(math.NaN())
	_, err := Generate(t.Context(), engine(t, d, w, Config{Capacity: 16, Chunk: 4}), Request{Prompt: []int32{1}, MaxTokens: 1, Sampling: sampling.Default()})
	if err == nil || !strings.Contains(err.Error(), "NaN") {
		t.Errorf("error %v, want one about NaN", err)
	}
}
