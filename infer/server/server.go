// Package server answers OpenAI's API over HTTP: completions, chats, streams of both, the model, health, metrics, and a page
// to try the model. What it may cost is bounded by Limits; what is wrong with a request is told in OpenAI's form.
//
// A request goes through read (body, fields, prompt), its answers are generated side by side by the Generator, each turned
// into text by an answer, and written whole or streamed in one of two styles: those of completions and of chats.
package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/gojet/gojet/datasets/chat"
	"github.com/gojet/gojet/datasets/tokenizer"
	"github.com/gojet/gojet/infer/scheduler"
)

// Generator produces answers: a scheduler.Scheduler.
type Generator interface {
	// Generate calls token with every token of an answer; returning false ends it, and so does ctx.
	Generate(ctx context.Context, r scheduler.Request, token func(scheduler.Token) bool) (scheduler.Finish, scheduler.Usage, error)
	Stats() scheduler.Stats
}

// Model is what the server knows of the model.
type Model struct {
	// Names are what requests may call it; answers carry the first.
	Names []string
	// Tokens is its tokenizer, Vocab how many ids the model has.
	Tokens tokenizer.Tokenizer
	Vocab  int
	// Chat is its chat template; nil if it has none.
	Chat *chat.Template
	// End lists the tokens that end an answer.
	End []int32
	// Length is the most tokens of prompt and answer together.
	Length int
	// Created tells how old it is.
	Created time.Time
}

// Validate names what is missing.
func (m *Model) Validate() error {
	switch {
	case len(m.Names) == 0 || m.Names[0] == "":
		return errors.New("server: the model has no name")
	case m.Tokens == nil:
		return errors.New("server: the model has no tokenizer")
	case m.Vocab < m.Tokens.VocabSize():
		return fmt.Errorf("server: the tokenizer has %d tokens, but the model's vocabulary %d", m.Tokens.VocabSize(), m.Vocab)
	case m.Length < 2:
		return fmt.Errorf("server: the model takes %d tokens, want 2 or more", m.Length)
	}
	return nil
}

// Config says how to serve.
type Config struct {
	Limits Limits
	// Key is what clients must show; empty lets everybody in.
	Key string
	// Log receives a line for every request, and what went wrong.
	Log *slog.Logger
}

// Server answers requests about one model.
type Server struct {
	model     Model
	generator Generator
	limits    Limits
	key       *[sha256.Size]byte // of what clients must show
	log       *slog.Logger
	metrics   *metrics

	guard     *chat.Guard
	turnEnd   []int32
	longest   int           // bytes of a token
	preparing chan struct{} // holds one for each request whose prompt is being read

	mu       sync.Mutex
	draining bool
	running  int
	idle     chan struct{} // closed when draining and nothing runs any more
}

// New returns a server that has not begun.
func New(cfg Config, m Model, g Generator) (*Server, error) {
	if err := cfg.Limits.Validate(); err != nil {
		return nil, err
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	s := &Server{model: m, generator: g, limits: cfg.Limits, log: cfg.Log, guard: chat.NewGuard(m.Tokens), turnEnd: turnEnd(&m), longest: longest(m.Tokens),
		preparing: make(chan struct{}, runtime.GOMAXPROCS(0)), idle: make(chan struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if cfg.Key != "" {
		sum := sha256.Sum256([]byte(cfg.Key))
		s.key = &sum
	}
	s.metrics = newMetrics(g)
	return s, nil
}

// most is how long the answer to a prompt may be.
func (s *Server) most(p prompt) int {
	most := s.model.Length - len(p.ids)
	if s.limits.AnswerTokens > 0 {
		most = min(most, s.limits.AnswerTokens)
	}
	return most
}

// reply is what all answers to a request begin with.
type reply struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	Model   string `json:"model"`
	Choices any    `json:"choices"`
	Usage   any    `json:"usage,omitempty"` // of a stream: only where it was asked for
}

func (s *Server) reply(prefix, object string, o *streamOptions) reply {
	r := reply{ID: prefix + newID(), Object: object, Created: time.Now().Unix(), Model: s.model.Names[0]}
	if o != nil && o.IncludeUsage {
		r.Usage = (*usage)(nil) // null until the last chunk
	}
	return r
}

// with returns the reply with these choices, and a usage if there is one.
func (r reply) with(choices any, u *usage) reply {
	r.Choices = choices
	if u != nil {
		r.Usage = u
	}
	return r
}

func newID() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

// enter admits a request unless the server is ending; leave goes with it.
func (s *Server) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return draining()
	}
	s.running++
	return nil
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running--; s.draining && s.running == 0 {
		close(s.idle)
	}
}

// drain refuses requests from now on. It returns how many run, and a channel that is closed when none does.
func (s *Server) drain() (running int, idle <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.draining {
		s.draining = true
		if s.running == 0 {
			close(s.idle)
		}
	}
	return s.running, s.idle
}

func (s *Server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}
