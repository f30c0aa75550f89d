// Package endpoint evaluates a model behind an OpenAI-compatible server.
//
// Log-likelihoods come from POST /completions with echo and logprobs, texts from the same or, with Config.Chat, from POST
// /chat/completions, which knows no log-likelihoods. A prompt goes as token ids where the request has them, else as text:
// the server's own tokenizer then decides what belongs to the continuation, by the characters of each token.
//
// The server is asked for one token after a prompt that is scored, so a context and its continuation may have one token
// less than the model has positions: an evals.Encoder for it says two less.
package endpoint

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gojet/gojet/evals"
)

// Config says where the server is and how it is asked.
type Config struct {
	// URL is that of the API, http://localhost:8000/v1; with /completions or /chat/completions at its end too.
	URL string
	// Model is its name there. Where it is empty the server is asked for its models, and has to have one.
	Model string
	// Chat sends prompts as a user's message.
	Chat bool
	// KeyVariable is the variable of the environment that holds the API key. There may be none.
	KeyVariable string
	// Concurrency is how many requests are under way at a time.
	Concurrency int
	// Timeout is that of one attempt at a request.
	Timeout time.Duration
	// Attempts at a request. Those after the first follow a server that is overloaded, broken or silent (429, 408, 5xx,
	// no answer), after Pause, twice that, and so on to MaxPause, or what the server asks for.
	Attempts        int
	Pause, MaxPause time.Duration
}

// Default suits a server of one's own.
func Default() Config {
	return Config{
		KeyVariable: "OPENAI_API_KEY", Concurrency: 16, Timeout: 5 * time.Minute,
		Attempts: 5, Pause: time.Second, MaxPause: 30 * time.Second,
	}
}

// Validate reports the first value that cannot be.
func (c Config) Validate() error {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("endpoint: url is %q, want one like http://localhost:8000/v1", c.URL)
	case c.Concurrency < 1 || c.Concurrency > 4096:
		return fmt.Errorf("endpoint: concurrency is %d, want 1 to 4096", c.Concurrency)
	case c.Timeout <= 0:
		return fmt.Errorf("endpoint: timeout is %v, want more than 0", c.Timeout)
	case c.Attempts < 1:
		return fmt.Errorf("endpoint: attempts is %d, want 1 or more", c.Attempts)
	case c.Pause < 0 || c.MaxPause < c.Pause:
		return fmt.Errorf("endpoint: pauses are %v to %v, want increasing ones from 0 on", c.Pause, c.MaxPause)
	}
	return nil
}

// Model is a model behind a server.
type Model struct {
	cfg    Config
	base   string
	key    string
	client *http.Client
}

var _ evals.Model = (*Model)(nil)

// New finds the model.
func New(ctx context.Context, cfg Config) (*Model, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	base := strings.TrimRight(cfg.URL, "/")
	base = strings.TrimSuffix(base, "/completions")
	base = strings.TrimSuffix(base, "/chat")
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = cfg.Concurrency
	m := &Model{cfg: cfg, base: base, client: &http.Client{Transport: transport}}
	if cfg.KeyVariable != "" {
		m.key = os.Getenv(cfg.KeyVariable)
	}
	if cfg.Model == "" {
		if err := m.choose(ctx); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Name of the model on the server.
func (m *Model) Name() string { return m.cfg.Model }

// Close gives idle connections back.
func (m *Model) Close() { m.client.CloseIdleConnections() }

// choose takes the only model that the server has.
func (m *Model) choose(ctx context.Context) error {
	var list struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if err := m.call(ctx, http.MethodGet, "/models", nil, &list); err != nil {
		return err
	}
	if len(list.Data) != 1 || list.Data[0].ID == "" {
		var names []string
		for _, d := range list.Data {
			names = append(names, d.ID)
		}
		return fmt.Errorf("endpoint: %s has %d models (%s): name one", m.base, len(names), strings.Join(names, ", "))
	}
	m.cfg.Model = list.Data[0].ID
	return nil
}

// Generate continues prompts.
func (m *Model) Generate(ctx context.Context, rs []evals.Prompted) ([]string, error) {
	return each(ctx, m.cfg.Concurrency, rs, m.generate)
}

// LogLikelihoods scores continuations.
func (m *Model) LogLikelihoods(ctx context.Context, rs []evals.Scored) ([]evals.Likelihood, error) {
	if m.cfg.Chat && len(rs) > 0 {
		return nil, fmt.Errorf("endpoint: %s/chat/completions gives no log-likelihoods of a prompt: use completions for such tasks", m.base)
	}
	return each(ctx, m.cfg.Concurrency, rs, m.score)
}

// each asks for all answers, most of them at a time. The first error ends all.
func each[R, A any](ctx context.Context, most int, requests []R, ask func(context.Context, R) (A, error)) ([]A, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	answers := make([]A, len(requests))
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(most, len(requests)) {
		wg.Go(func() {
			for i := range next {
				var err error
				if answers[i], err = ask(ctx, requests[i]); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := range requests {
		if ctx.Err() != nil {
			break
		}
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return answers, nil
}
