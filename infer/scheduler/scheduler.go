// Package scheduler serves many requests with one engine: those of different lengths join and leave between steps, prompts are
// taken in pieces between the steps of running answers, and prompts that begin alike are computed once.
//
// One goroutine owns the engine. In each step it continues all running answers by a token and takes at most one run of prompts,
// infer.Config.Chunk tokens, so that a long prompt holds answers up for no longer than that. Requests get rows in the order in
// which they came; nothing that runs is interrupted for another.
//
// An answer depends on its request alone. On the CPU this holds to the bit, log-probabilities included: prompts are cut at
// multiples of Chunk whatever runs beside them, prefixes are reused at these cuts only, and no kernel sums in an order that
// depends on other rows. Another Chunk is another order of summation, which may differ in the last bits; on a device, so may
// other company.
package scheduler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gojet/gojet/infer"
	"github.com/gojet/gojet/infer/sampling"
	"github.com/gojet/gojet/kernels/embedding"
)

// MostLogProbs is the most alternatives that a request may ask for.
const MostLogProbs = 20

// Errors of Generate.
var (
	ErrQueueFull = errors.New("scheduler: the queue is full")
	ErrClosed    = errors.New("scheduler: closed")
)

// TooLongError is a request that no row has room for.
type TooLongError struct{ Prompt, MaxTokens, Limit int }

func (e *TooLongError) Error() string {
	return fmt.Sprintf("scheduler: a prompt of %d tokens and an answer of up to %d exceed the limit of %d", e.Prompt, e.MaxTokens, e.Limit)
}

// Config sizes a scheduler.
type Config struct {
	// Queue is how many requests may wait for a row.
	Queue int
	// CacheBytes bounds the memory of prefixes kept for later prompts, on the machine that the engine runs on. 0 keeps none.
	CacheBytes int64
}

// Validate reports sizes that cannot be.
func (c Config) Validate() error {
	if c.Queue < 0 || c.CacheBytes < 0 {
		return fmt.Errorf("scheduler: queue %d, cache of %d bytes; want 0 or more of both", c.Queue, c.CacheBytes)
	}
	return nil
}

// Request is one generation.
type Request struct {
	Prompt []int32
	// MaxTokens is 1 or more, or 0 where PromptLogProbs is all that is wanted.
	MaxTokens int
	// End lists the tokens that end the answer; they are not part of it.
	End []int32
	// Sampling has the request's own seed.
	Sampling sampling.Config
	// LogProbs is −1 for none, n ≥ 0 for the log-probability of each token and of the n likeliest ones, MostLogProbs at most.
	LogProbs int
	// PromptLogProbs calls token for the prompt's tokens from the second on as well, before those of the answer. Their
	// alternatives are as many as LogProbs says. No kept prefix is used then.
	PromptLogProbs bool
}

// Token is a token of an answer, or of a prompt.
type Token struct {
	ID      int32
	Prompt  bool          // a token of the prompt: see Request.PromptLogProbs
	LogProb float32       // by the model's own distribution, before any sampling step; 0 where it was not asked for
	Top     []Alternative // the likeliest tokens in its place, in order
}

// Alternative is a token that might have come, and its log-probability.
type Alternative = sampling.Alternative

// Finish says why an answer ended.
type Finish string

// Reasons.
const (
	Stop   Finish = "stop"   // an End token, or the caller
	Length Finish = "length" // MaxTokens
)

// Usage counts the tokens of a request. Cached are those of the prompt whose state was kept from before. FirstToken is the time
// from the call to the choice of the first token of the answer.
type Usage struct {
	Prompt, Cached, Answer int
	FirstToken             time.Duration
}

// Stats is what a scheduler does now, and what it has done so far.
type Stats struct {
	Rows    int // sequences that can run at a time
	Running int // requests that have a row
	Queued  int // requests that wait for one

	Accepted, Finished, Cancelled, Failed int64 // requests; those finished have their whole answer
	Refused                               int64 // by a full queue

	PromptTokens, CachedTokens, AnswerTokens int64 // computed, found in the cache, chosen
	Steps                                    int64

	StateBytes             int64 // of all rows
	CacheBytes, CacheLimit int64
	CacheEntries           int
}

// Scheduler serves requests with one engine, which is its own until Close returns.
type Scheduler struct {
	engine  *infer.Engine
	config  Config
	limit   int
	vocab   int
	wake    chan struct{}
	stopped chan struct{}

	within atomic.Int64 // requests accepted and not ended

	mu      sync.Mutex
	queue   []*job
	closing bool
	abort   bool
	stats   Stats
}

// New starts a scheduler. The engine's rows are how many requests run at a time.
func New(e *infer.Engine, cfg Config) (*Scheduler, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Scheduler{engine: e, config: cfg, limit: e.Capacity(), vocab: e.Vocab(), wake: make(chan struct{}, 1), stopped: make(chan struct{})}
	s.stats = Stats{Rows: e.Rows(), StateBytes: e.StateBytes(), CacheLimit: cfg.CacheBytes}
	go newLoop(s).serve()
	return s, nil
}

// Generate queues the request, waits for a row and calls token with every token as it is chosen, on the caller's goroutine;
// token returning false ends the answer. When ctx ends, the row is free within one step. A slow caller slows nobody: its tokens
// wait for it. Errors are *TooLongError, ErrQueueFull, ErrClosed, that of ctx, or say what is wrong with the request.
func (s *Scheduler) Generate(ctx context.Context, r Request, token func(Token) bool) (Finish, Usage, error) {
	if err := s.check(r); err != nil {
		return "", Usage{Prompt: len(r.Prompt)}, err
	}
	j := newJob(ctx, r)
	if err := s.enter(j); err != nil {
		return "", j.usage, err
	}
	finish, usage, err := j.follow(token)
	if !j.ended() {
		s.leave(j)
	}
	return finish, usage, err
}

// check reports a request that cannot be served.
func (s *Scheduler) check(r Request) error {
	switch {
	case len(r.Prompt) == 0:
		return errors.New("scheduler: the prompt has no tokens, want at least one")
	case r.MaxTokens < 0 || r.MaxTokens == 0 && !r.PromptLogProbs:
		return fmt.Errorf("scheduler: max tokens is %d, want 1 or more", r.MaxTokens)
	case len(r.Prompt) > s.limit || r.MaxTokens > s.limit-len(r.Prompt):
		return &TooLongError{len(r.Prompt), r.MaxTokens, s.limit}
	case r.LogProbs < -1 || r.LogProbs > MostLogProbs:
		return fmt.Errorf("scheduler: log-probabilities of the %d likeliest tokens, want −1 (none) to %d", r.LogProbs, MostLogProbs)
	}
	if err := r.Sampling.Validate(); err != nil {
		return fmt.Errorf("scheduler: %w", err)
	}
	return embedding.Check(r.Prompt, s.vocab)
}

// enter queues a job.
func (s *Scheduler) enter(j *job) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing:
		return ErrClosed
	case int(s.within.Load()) >= s.stats.Rows+s.config.Queue:
		s.stats.Refused++
		return ErrQueueFull
	}
	s.within.Add(1)
	s.queue = append(s.queue, j)
	s.stats.Accepted++
	s.poke()
	return nil
}

// leave takes a job out whose caller is gone.
func (s *Scheduler) leave(j *job) {
	j.gone.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, q := range s.queue {
		if q == j {
			s.queue = append(s.queue[:i], s.queue[i+1:]...)
			s.stats.Cancelled++
			s.within.Add(-1)
			break
		}
	}
	s.poke()
}

// poke wakes the loop.
func (s *Scheduler) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Stats returns what the scheduler does and has done.
func (s *Scheduler) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.Queued = len(s.queue)
	return stats
}

// Close takes no new requests and waits for those accepted. When ctx ends before them, they end with ErrClosed, and ctx's error
// is returned. Afterwards the engine is the caller's again.
func (s *Scheduler) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	s.poke()
	s.mu.Unlock()
	select {
	case <-s.stopped:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	s.abort = true
	s.poke()
	s.mu.Unlock()
	<-s.stopped
	return ctx.Err()
}
