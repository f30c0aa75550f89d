package scheduler

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/infer"
	"github.com/gojet/gojet/infer/infertest"
	"github.com/gojet/gojet/infer/sampling"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/layers"
)

const vocab = infertest.Vocab

// serving makes a scheduler of such a model, and closes it when the test ends.
func serving(t testing.TB, kinds []string, ec infer.Config, sc Config) *Scheduler {
	t.Helper()
	d, w := infertest.Mixed(t, kinds...)
	cores := cpu.New(2)
	s, stop := start(t, d, w, autograd.OnCPU(cores), ec, sc)
	t.Cleanup(func() { stop(); cores.Close() })
	return s
}

// start makes a scheduler, which stop closes.
func start(t testing.TB, d *layers.Decoder, w layers.Weights, m *autograd.Machine, ec infer.Config, sc Config) (s *Scheduler, stop func()) {
	t.Helper()
	e, err := infer.New(d, w, m, ec)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = New(e, sc); err != nil {
		t.Fatal(err)
	}
	return s, func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if st := s.Stats(); st.CacheBytes != 0 || st.CacheEntries != 0 {
			t.Errorf("%+v: prefixes are kept after Close", st)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

// answer is all that a request has brought.
type answer struct {
	tokens []Token
	finish Finish
	usage  Usage
	err    error
}

func ask(ctx context.Context, s *Scheduler, r Request) (a answer) {
	a.finish, a.usage, a.err = s.Generate(ctx, r, func(t Token) bool { a.tokens = append(a.tokens, t); return true })
	return a
}

// same compares what two answers say, to the bit.
func same(a, b answer) bool {
	return a.finish == b.finish && a.err == b.err && slices.EqualFunc(a.tokens, b.tokens, func(x, y Token) bool {
		return x.ID == y.ID && x.Prompt == y.Prompt && x.LogProb == y.LogProb && slices.Equal(x.Top, y.Top)
	})
}

// requests are n of many lengths, some of which begin alike, greedy and sampled.
func requests(n, capacity, vocab int) []Request {
	r := rand.New(rand.NewPCG(1, 2))
	common := make([]int32, capacity/2)
	for i := range common {
		common[i] = int32(r.IntN(vocab))
	}
	var rs []Request
	for i := range n {
		var prompt []int32
		if i%3 == 0 {
			prompt = slices.Clone(common[:1+r.IntN(len(common))])
		}
		for len(prompt) == 0 || len(prompt) < capacity/2 && r.IntN(30) > 0 {
			prompt = append(prompt, int32(r.IntN(vocab)))
		}
		q := Request{Prompt: prompt, MaxTokens: 1 + r.IntN(capacity/5), Sampling: sampling.Default(), LogProbs: i%4 - 1, End: []int32{int32(r.IntN(vocab))}}
		if i%2 == 0 {
			q.Sampling = sampling.Config{Temperature: 1.2, TopK: 30, TopP: 0.95, RepetitionPenalty: 1.05, Seed: uint64(i)}
		}
		q.PromptLogProbs = i%10 == 7
		rs = append(rs, q)
	}
	return rs
}

// TestHundred: of a hundred requests at once, ten are cancelled at some moment, and the others are answered as they are alone.
func TestHundred(t *testing.T) {
	kinds := []string{"attn", "jet", "swa"}
	rs := requests(100, 160, vocab)
	alone := serving(t, kinds, infer.Config{Rows: 1, Capacity: 160, Chunk: 16}, Config{})
	var want []answer
	for _, r := range rs {
		want = append(want, ask(t.Context(), alone, r))
	}
	before := runtime.NumGoroutine()
	s := serving(t, kinds, infer.Config{Rows: 7, Capacity: 160, Chunk: 16}, Config{Queue: 100, CacheBytes: 1 << 20})
	var wait sync.WaitGroup
	for i, r := range rs {
		wait.Add(1)
		go func() {
			defer wait.Done()
			ctx := t.Context()
			if i%10 == 3 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(30))*time.Millisecond)
				defer cancel()
			}
			got := ask(ctx, s, r)
			switch {
			case errors.Is(got.err, context.DeadlineExceeded) && i%10 == 3:
				if k := len(got.tokens); k > len(want[i].tokens) || !same(answer{tokens: got.tokens}, answer{tokens: want[i].tokens[:k]}) {
					t.Errorf("request %d, cancelled: %v, alone %v", i, got.tokens, want[i].tokens)
				}
			case !same(got, want[i]):
				t.Errorf("request %d (prompt of %d, cached %d): %v %v, alone %v %v", i, len(r.Prompt), got.usage.Cached, got.tokens, got.err, want[i].tokens, want[i].err)
			}
		}()
	}
	wait.Wait()
	settled(t, s)
	if st := s.Stats(); st.CachedTokens == 0 || st.Finished+st.Cancelled != 100 {
		t.Errorf("%+v, want some tokens from the cache and 100 requests", st)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if runtime.NumGoroutine() <= before+1 { // the cores' second
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

// settled waits until nothing runs and holds all rows to be free.
func settled(t *testing.T, s *Scheduler) {
	t.Helper()
	for range 1000 {
		if st := s.Stats(); st.Running == 0 && st.Queued == 0 && s.within.Load() == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("rows are taken: %+v", s.Stats())
}
