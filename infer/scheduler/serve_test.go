package scheduler

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/infer"
	"github.com/gojet/gojet/infer/infertest"
	"github.com/gojet/gojet/infer/sampling"
)

var greedy = sampling.Default()

// until waits for something that the scheduler brings about.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 5000 {
		if is() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("waited for %s", what)
}

// long is a request that runs until it is cancelled.
func long() Request {
	return Request{Prompt: []int32{1, 2, 3}, MaxTokens: 100000, Sampling: greedy, LogProbs: -1}
}

// running starts a request in the background and returns when it has its first token.
func running(t *testing.T, s *Scheduler, r Request) (cancel func() answer) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	first, done := make(chan struct{}), make(chan answer, 1)
	go func() {
		var a answer
		var once sync.Once
		a.finish, a.usage, a.err = s.Generate(ctx, r, func(tok Token) bool {
			a.tokens = append(a.tokens, tok)
			once.Do(func() { close(first) })
			return true
		})
		done <- a
	}()
	select {
	case <-first:
	case a := <-done:
		t.Fatalf("ended at once: %+v", a)
	}
	return func() answer { stop(); return <-done }
}

func TestRefused(t *testing.T) {
	s := serving(t, []string{"attn"}, infer.Config{Capacity: 20, Chunk: 8}, Config{})
	for want, r := range map[string]Request{
		"the prompt has no tokens":                      {MaxTokens: 1},
		"max tokens is 0":                               {Prompt: []int32{1}},
		"max tokens is -1":                              {Prompt: []int32{1}, MaxTokens: -1, PromptLogProbs: true},
		"exceed the limit of 20":                        {Prompt: make([]int32, 15), MaxTokens: 6},
		"an answer of up to 9223372036854775807":        {Prompt: []int32{1}, MaxTokens: math.MaxInt},
		"a prompt of 21 tokens":                         {Prompt: make([]int32, 21), MaxTokens: 1},
		"of the 21 likeliest tokens, want −1 (none) to": {Prompt: []int32{1}, MaxTokens: 1, LogProbs: 21},
		"of the -2 likeliest":                           {Prompt: []int32{1}, MaxTokens: 1, LogProbs: -2},
		"token 1 has id 50":                             {Prompt: []int32{1, vocab}, MaxTokens: 1},
		"temperature is -1":                             {Prompt: []int32{1}, MaxTokens: 1, Sampling: sampling.Config{Temperature: -1, TopP: 1, RepetitionPenalty: 1}},
	} {
		if r.Sampling == (sampling.Config{}) {
			r.Sampling = greedy
		}
		a := ask(t.Context(), s, r)
		if a.err == nil || !strings.Contains(a.err.Error(), want) || len(a.tokens) > 0 {
			t.Errorf("%+v, want an error about %q", a, want)
		}
		var tooLong *TooLongError
		if errors.As(a.err, &tooLong) != strings.Contains(a.err.Error(), "exceed") || tooLong != nil && (tooLong.Prompt != len(r.Prompt) || tooLong.Limit != 20) {
			t.Errorf("%v: %+v", a.err, tooLong)
		}
	}
	if a := ask(t.Context(), s, Request{Prompt: make([]int32, 15), MaxTokens: 5, Sampling: greedy, LogProbs: -1}); a.err != nil || len(a.tokens) != 5 || a.finish != Length {
		t.Errorf("a request that just fits: %+v", a)
	}
	for _, c := range []Config{{Queue: -1}, {CacheBytes: -1}} {
		if _, err := New(nil, c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}

// TestQueue: requests beyond the rows wait, in order, and those beyond the queue are refused. What runs is not interrupted.
func TestQueue(t *testing.T) {
	s := serving(t, []string{"attn"}, infer.Config{Rows: 1, Capacity: 200000, Chunk: 8}, Config{Queue: 2})
	cancel := running(t, s, long())
	order := make(chan int, 2)
	for i := range 2 {
		go func() {
			// the second takes long enough that the first is back before it
			ask(t.Context(), s, Request{Prompt: []int32{4}, MaxTokens: 2 + 2000*i, Sampling: greedy, LogProbs: -1})
			order <- i
		}()
		until(t, "a place in the queue", func() bool { return s.Stats().Queued == i+1 })
	}
	if a := ask(t.Context(), s, long()); a.err != ErrQueueFull {
		t.Errorf("a full queue: %+v", a)
	}
	select {
	case i := <-order:
		t.Errorf("request %d was answered while another had the only row", i)
	case <-time.After(20 * time.Millisecond):
	}
	if a := cancel(); !errors.Is(a.err, context.Canceled) || a.usage.Answer != len(a.tokens) {
		t.Errorf("cancelled: %v after %d tokens, %+v", a.err, len(a.tokens), a.usage)
	}
	if first, second := <-order, <-order; first != 0 || second != 1 {
		t.Errorf("answered %d before %d", first, second)
	}
	settled(t, s)
	if st := s.Stats(); st.Refused != 1 || st.Cancelled != 1 || st.Finished != 2 || st.Accepted != 3 {
		t.Errorf("%+v", st)
	}
}

// TestLeave: callers that leave in the queue, in the prompt and in the answer, by their context or by what token returns.
func TestLeave(t *testing.T) {
	s := serving(t, []string{"attn", "jet"}, infer.Config{Rows: 1, Capacity: 200000, Chunk: 8}, Config{Queue: 5})
	cancel := running(t, s, long())
	ctx, stop := context.WithCancel(t.Context())
	queued := make(chan answer)
	go func() { queued <- ask(ctx, s, long()) }()
	until(t, "a place in the queue", func() bool { return s.Stats().Queued == 1 })
	stop()
	if a := <-queued; !errors.Is(a.err, context.Canceled) || s.Stats().Queued != 0 {
		t.Errorf("left the queue: %+v, %+v", a, s.Stats())
	}
	cancel()
	settled(t, s)

	prompt := Request{Prompt: make([]int32, 190000), MaxTokens: 1, Sampling: greedy, LogProbs: -1}
	ctx, stop = context.WithCancel(t.Context())
	go func() { queued <- ask(ctx, s, prompt) }()
	until(t, "a prompt under way", func() bool { return s.Stats().PromptTokens > 3+20 })
	stop()
	<-queued
	steps := s.Stats().Steps
	settled(t, s)
	if more := s.Stats().Steps - steps; more > 2 {
		t.Errorf("%d steps after the caller has left", more)
	}

	n := 0
	finish, usage, err := s.Generate(t.Context(), long(), func(Token) bool { n++; return n < 3 })
	if finish != Stop || err != nil || n != 3 || usage.Answer != 3 {
		t.Errorf("%s, %+v, %v after %d tokens", finish, usage, err, n)
	}
	settled(t, s)
	ctx, stop = context.WithCancel(t.Context())
	stop()
	if a := ask(ctx, s, long()); !errors.Is(a.err, context.Canceled) {
		t.Errorf("ended before it began: %+v", a)
	}
	settled(t, s)
}

// TestSlowCaller: one that does not come back from token holds nobody up, and gets all of its tokens.
func TestSlowCaller(t *testing.T) {
	s := serving(t, []string{"attn"}, infer.Config{Rows: 2, Capacity: 100, Chunk: 8}, Config{})
	r := Request{Prompt: []int32{1}, MaxTokens: 50, Sampling: greedy, LogProbs: -1}
	quick := make(chan answer)
	n := 0
	finish, _, err := s.Generate(t.Context(), r, func(Token) bool {
		if n++; n == 1 {
			go func() { quick <- ask(t.Context(), s, r) }()
			if a := <-quick; len(a.tokens) != 50 || a.err != nil {
				t.Errorf("beside a slow caller: %+v", a)
			}
			until(t, "the slow one's row", func() bool { return s.Stats().Running == 0 })
		}
		return true
	})
	if n != 50 || finish != Length || err != nil {
		t.Errorf("%d tokens, %s, %v", n, finish, err)
	}
}

// TestEnd: a token that ends the answer is no part of it.
func TestEnd(t *testing.T) {
	s := serving(t, []string{"attn", "jet"}, infer.Config{Rows: 2, Capacity: 100, Chunk: 8}, Config{CacheBytes: 1 << 20})
	r := Request{Prompt: []int32{1, 2, 3}, MaxTokens: 40, Sampling: sampling.Config{Temperature: 1, TopP: 1, RepetitionPenalty: 1, Seed: 4}, LogProbs: -1}
	all := ids(ask(t.Context(), s, r).tokens)
	for _, at := range []int{0, 1, 7} {
		r.End = []int32{all[at], vocab + 5}
		want := 0
		for all[want] != all[at] {
			want++
		}
		a := ask(t.Context(), s, r)
		if a.finish != Stop || a.err != nil || len(a.tokens) != want || a.usage.Cached != 3 || a.usage.Prompt != 3 {
			t.Errorf("ended by token %d: %+v, want %d tokens", at, a, want)
		}
	}
}

// TestLongPrompt: while a prompt of many chunks is taken, an answer goes on by a token a chunk.
func TestLongPrompt(t *testing.T) {
	s := serving(t, []string{"attn", "jet"}, infer.Config{Rows: 3, Capacity: 10000, Chunk: 8}, Config{})
	var mu sync.Mutex
	count := 0
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error)
	go func() {
		_, _, err := s.Generate(ctx, Request{Prompt: []int32{1}, MaxTokens: 5000, Sampling: greedy, LogProbs: -1}, func(Token) bool {
			mu.Lock()
			defer mu.Unlock()
			count++
			return true
		})
		done <- err
	}()
	until(t, "the first answer", func() bool { mu.Lock(); defer mu.Unlock(); return count > 0 })
	before := s.Stats()
	var steps int64
	_, _, err := s.Generate(t.Context(), Request{Prompt: make([]int32, 400), MaxTokens: 1, Sampling: greedy, LogProbs: -1}, func(Token) bool {
		steps = s.Stats().Steps - before.Steps
		return true
	})
	if err != nil || steps < 49 {
		t.Errorf("50 chunks of a prompt took %d steps (%v)", steps, err)
	}
	if after := s.Stats(); after.AnswerTokens-before.AnswerTokens < 49 {
		t.Errorf("%d tokens were chosen while 50 chunks of a prompt were taken", after.AnswerTokens-before.AnswerTokens)
	}
	stop()
	<-done
}

// TestClose: what was accepted is answered, nothing else is taken, and a second Close has nothing to do.
func TestClose(t *testing.T) {
	s := serving(t, []string{"attn"}, infer.Config{Rows: 1, Capacity: 300, Chunk: 8}, Config{Queue: 1})
	cancel := running(t, s, Request{Prompt: []int32{1}, MaxTokens: 200, Sampling: greedy, LogProbs: -1})
	waiting := make(chan answer)
	go func() {
		waiting <- ask(t.Context(), s, Request{Prompt: []int32{4}, MaxTokens: 2, Sampling: greedy, LogProbs: -1})
	}()
	until(t, "a place in the queue", func() bool { return s.Stats().Accepted == 2 })
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if a := <-waiting; a.err != nil || len(a.tokens) != 2 {
		t.Errorf("it waited for: %+v", a)
	}
	if a := cancel(); a.err != nil && !errors.Is(a.err, context.Canceled) {
		t.Errorf("it ran: %+v", a)
	}
	if a := ask(t.Context(), s, long()); a.err != ErrClosed && a.err == nil {
		t.Errorf("after Close: %+v", a)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestCloseInTime: when the time of Close ends, what runs and what waits ends with ErrClosed.
func TestCloseInTime(t *testing.T) {
	s := serving(t, []string{"attn"}, infer.Config{Rows: 1, Capacity: 200000, Chunk: 8}, Config{Queue: 1})
	answers := make(chan answer, 2)
	for range 2 {
		go func() { answers <- ask(t.Context(), s, long()) }()
	}
	until(t, "two requests", func() bool { return s.Stats().Accepted == 2 })
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer stop()
	if err := s.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	for range 2 {
		if a := <-answers; a.err != ErrClosed {
			t.Errorf("%v after %d tokens", a.err, len(a.tokens))
		}
	}
	if s.within.Load() != 0 {
		t.Errorf("%d requests are within", s.within.Load())
	}
}

// TestBrokenModel: logits that are no numbers end their answers with an error, and the scheduler goes on.
func TestBrokenModel(t *testing.T) {
	d, w := infertest.Mixed(t, "attn")
	norm := w["model.norm.weight"].F32
	was := norm[0]
	infertest.EachMachine(t, func(t *testing.T, m *autograd.Machine) {
		norm[0] = float32(math.NaN())
		s, stop := start(t, d, w, m, infer.Config{Rows: 2, Capacity: 20, Chunk: 8}, Config{CacheBytes: 1 << 20})
		defer stop()
		for range 2 { // computed, and from what is kept
			for _, n := range []int{-1, 2} {
				a := ask(t.Context(), s, Request{Prompt: []int32{1, 2}, MaxTokens: 3, Sampling: greedy, LogProbs: n})
				var none *infer.NoTokenError
				if !errors.As(a.err, &none) || len(a.tokens) > 0 {
					t.Errorf("%+v", a)
				}
			}
		}
		norm[0] = was
		settled(t, s)
		if st := s.Stats(); st.Failed != 4 {
			t.Errorf("%+v", st)
		}
	})
}
