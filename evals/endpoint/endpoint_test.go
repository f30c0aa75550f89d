package endpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gojet/gojet/evals"
)

// toy answers as a model would whose tokens are words with the blank before them. A word's log-probability is minus
// its length; "bad" is never the likeliest word.
type toy struct {
	t        *testing.T
	requests atomic.Int64
	running  atomic.Int64
	most     atomic.Int64
	mu       sync.Mutex
	last     asked
	header   http.Header
}

func words(text string) (ws []string) {
	for i, w := range strings.Split(text, " ") {
		if i > 0 {
			w = " " + w
		}
		ws = append(ws, w)
	}
	return ws
}

func (s *toy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	now := s.running.Add(1)
	defer s.running.Add(-1)
	s.most.Store(max(s.most.Load(), now))
	var a asked
	if r.Method == http.MethodPost {
		if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
			s.t.Error(err)
		}
		s.mu.Lock()
		s.last, s.header = a, r.Header.Clone()
		s.mu.Unlock()
	}
	switch r.URL.Path {
	case "/v1/models":
		fmt.Fprint(w, `{"data":[{"id":"toy"}]}`)
	case "/v1/chat/completions":
		fmt.Fprintf(w, `{"choices":[{"index":0,"message":{"role":"assistant","content":%q}}]}`, "to "+a.Messages[0].Content)
	case "/v1/completions":
		s.complete(w, a)
	default:
		http.NotFound(w, r)
	}
}

func (s *toy) complete(w http.ResponseWriter, a asked) {
	var pieces []string
	switch p := a.Prompt.(type) {
	case string:
		pieces = words(p)
	case []any:
		for _, id := range p {
			pieces = append(pieces, strings.Repeat("x", int(id.(float64))))
		}
	}
	if !a.Echo {
		fmt.Fprintf(w, `{"choices":[{"index":0,"text":%q}]}`, fmt.Sprintf(" got %d; then\nmore", len(pieces)))
		return
	}
	pieces = append(pieces, " next")
	var token []any
	var top []any
	var offset []int
	at := 0
	for i, p := range pieces {
		v := -float64(len([]rune(p)))
		alternatives := map[string]float64{p: v}
		if strings.Contains(p, "bad") {
			alternatives["other"] = v / 2
		}
		token, top, offset = append(token, any(v)), append(top, alternatives), append(offset, at)
		if i == 0 {
			token[0], top[0] = nil, nil
		}
		at += len([]rune(p))
	}
	body, _ := json.Marshal(map[string]any{"choices": []any{map[string]any{"logprobs": map[string]any{
		"token_logprobs": token, "top_logprobs": top, "text_offset": offset}}}})
	_, _ = w.Write(body)
}

func quick(url string) Config {
	c := Default()
	c.URL, c.Pause, c.MaxPause, c.Timeout, c.Attempts = url, time.Millisecond, 5*time.Millisecond, 2*time.Second, 3
	return c
}

func open(t *testing.T, h http.Handler, change func(*Config)) *Model {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c := quick(s.URL + "/v1/")
	if change != nil {
		change(&c)
	}
	m, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func TestLogLikelihoods(t *testing.T) {
	m := open(t, &toy{t: t}, nil)
	if m.Name() != "toy" {
		t.Errorf("the model is called %q", m.Name())
	}
	got, err := m.LogLikelihoods(t.Context(), []evals.Scored{
		{Context: "Is it?", Continuation: " yes sir"},
		{Context: "Is it?", Continuation: " bad idea"},
		{Context: "Straße été", Continuation: " être"}, // characters, not bytes
		{Context: "Is it? ", Continuation: "yes"},      // the blank belongs to the token that follows
		{ContextTokens: []int32{3, 4}, ContinuationTokens: []int32{5, 6, 7}},
	})
	want := []evals.Likelihood{{LogProb: -8, Greedy: true}, {LogProb: -9}, {LogProb: -5, Greedy: true}, {LogProb: -4, Greedy: true}, {LogProb: -18, Greedy: true}}
	if err != nil || len(got) != len(want) {
		t.Fatalf("%v, %v", got, err)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("request %d: %+v, want %+v", i, got[i], want[i])
		}
	}
	if _, err := m.LogLikelihoods(t.Context(), []evals.Scored{{Continuation: "word"}}); err == nil || !strings.Contains(err.Error(), "needs the model's tokenizer") {
		t.Errorf("without a context: %v", err)
	}
}

func TestGenerate(t *testing.T) {
	t.Setenv("TOY_KEY", "open sesame")
	s := &toy{t: t}
	m := open(t, s, func(c *Config) { c.KeyVariable = "TOY_KEY"; c.Model = "mine" })
	got, err := m.Generate(t.Context(), []evals.Prompted{{
		Prompt: "one two", Until: []string{"", "\n", "a", "b", "c", "d", "; then"}, MaxTokens: 7, Temperature: 0.5, TopP: 0.9, TopK: 3, Seed: 1 << 63,
	}})
	if err != nil || len(got) != 1 || got[0] != " got 2" {
		t.Errorf("%q, %v", got, err)
	}
	a := s.last
	if a.Model != "mine" || a.MaxTokens != 7 || a.Temperature != 0.5 || a.TopP != 0.9 || a.TopK != 3 || a.Seed != 0 || len(a.Stop) != 4 || a.Stop[0] != "\n" || a.LogProbs != nil {
		t.Errorf("the server was asked %+v", a)
	}
	if s.header.Get("Authorization") != "Bearer open sesame" {
		t.Errorf("the key was sent as %q", s.header.Get("Authorization"))
	}
	got, err = m.Generate(t.Context(), []evals.Prompted{{Prompt: "text", Tokens: []int32{1, 2, 3}, MaxTokens: 1}})
	if err != nil || got[0] != " got 3; then\nmore" {
		t.Errorf("by tokens: %q, %v", got, err)
	}
}

func TestChat(t *testing.T) {
	m := open(t, &toy{t: t}, func(c *Config) { c.Chat = true; c.URL += "chat/completions" })
	got, err := m.Generate(t.Context(), []evals.Prompted{{Prompt: "you. Bye", Until: []string{". "}, MaxTokens: 5}})
	if err != nil || got[0] != "to you" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := m.LogLikelihoods(t.Context(), make([]evals.Scored, 1)); err == nil || !strings.Contains(err.Error(), "no log-likelihoods") {
		t.Errorf("log-likelihoods of a chat: %v", err)
	}
}

func TestConcurrency(t *testing.T) {
	s := &toy{t: t}
	slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.ServeHTTP(w, r)
	})
	m := open(t, slow, func(c *Config) { c.Concurrency = 3 })
	var rs []evals.Prompted
	for i := range 50 {
		rs = append(rs, evals.Prompted{Prompt: strings.Repeat("w ", i), Until: []string{";"}, MaxTokens: 1})
	}
	got, err := m.Generate(t.Context(), rs)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range got {
		if want := fmt.Sprintf(" got %d", i+1); a != want {
			t.Errorf("answer %d is %q, want %q", i, a, want)
		}
	}
	if most := s.most.Load(); most > 3 {
		t.Errorf("%d requests at a time, want at most 3", most)
	}
}

// failing refuses the first requests.
func failing(n int64, status int, body string, then http.Handler) (http.Handler, *atomic.Int64) {
	var count atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if count.Add(1) <= n {
			w.Header().Set("Retry-After", "0.01")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
			return
		}
		then.ServeHTTP(w, r)
	}), &count
}

func TestRetries(t *testing.T) {
	for _, tc := range []struct {
		fails  int64
		status int
		body   string
		tries  int64
		want   string // in the error, "" for none
	}{
		{2, 429, `{"error":{"message":"slow down"}}`, 3, ""},
		{2, 503, "", 3, ""},
		{9, 500, `{"error":"it broke"}`, 3, "500 Internal Server Error: it broke (attempt 3 of 3)"},
		{9, 400, `{"error":{"message":"the prompt has 9 tokens\nof 8"}}`, 1, "/v1/completions: 400 Bad Request: the prompt has 9 tokens of 8"},
		{9, 401, `{"detail":"no key"}`, 1, "401 Unauthorized: no key"},
		{9, 404, `<html>nothing here</html>`, 1, "404 Not Found: <html>nothing here</html>"},
		{9, 501, `{"message":"never"}`, 1, "501 Not Implemented: never"},
		{9, 422, strings.Repeat("long ", 1000), 1, " …"},
	} {
		h, count := failing(tc.fails, tc.status, tc.body, &toy{t: t})
		m := open(t, h, func(c *Config) { c.Model = "toy" })
		_, err := m.Generate(t.Context(), []evals.Prompted{{Prompt: "a", MaxTokens: 1}})
		if (err == nil) != (tc.want == "") || err != nil && (!strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%d: %v, want %q", tc.status, err, tc.want)
		}
		if count.Load() != tc.tries {
			t.Errorf("%d: %d attempts, want %d", tc.status, count.Load(), tc.tries)
		}
	}
}

func TestBrokenServers(t *testing.T) {
	say := func(body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
	}
	hang := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-r.Context().Done() })
	cut := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"choices":[`)
	})
	for name, tc := range map[string]struct {
		h    http.Handler
		want string
	}{
		"not JSON":     {say("<html>"), "is not the JSON that is expected"},
		"empty":        {say(""), "is not the JSON that is expected"},
		"no choices":   {say(`{}`), "no log-probabilities"},
		"no logprobs":  {say(`{"choices":[{"text":"x"}]}`), "no log-probabilities"},
		"no echo":      {say(`{"choices":[{"logprobs":{"token_logprobs":[-1],"top_logprobs":[{"a":-1}],"text_offset":[0]}}]}`), "does the server know echo?"},
		"no offsets":   {say(`{"choices":[{"logprobs":{"token_logprobs":[-1],"top_logprobs":[{"a":-1}]}}]}`), "text offsets"},
		"wrong types":  {say(`{"choices":[{"logprobs":{"token_logprobs":["a"]}}]}`), "is not the JSON"},
		"never":        {hang, "no answer within 50ms (attempt 2 of 2)"},
		"cut off":      {cut, "unexpected EOF (attempt 2 of 2)"},
		"other method": {http.NotFoundHandler(), "404 Not Found"},
	} {
		m := open(t, tc.h, func(c *Config) { c.Model = "m"; c.Timeout = 50 * time.Millisecond; c.Attempts = 2 })
		_, err := m.LogLikelihoods(t.Context(), []evals.Scored{{Context: "a b", Continuation: " c"}})
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "/v1/completions") {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	c := quick("http://127.0.0.1:1")
	if _, err := New(t.Context(), c); err == nil || !strings.Contains(err.Error(), "refused") || strings.Count(err.Error(), "127.0.0.1:1/models") != 1 {
		t.Errorf("no server: %v", err)
	}
}

func TestCancel(t *testing.T) {
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-r.Context().Done() })
	m := open(t, h, func(c *Config) { c.Model = "m" })
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(30*time.Millisecond, cancel)
	begun := time.Now()
	if _, err := m.Generate(ctx, make([]evals.Prompted, 100)); !errors.Is(err, context.Canceled) || time.Since(begun) > time.Second {
		t.Errorf("cancelled: %v after %v", err, time.Since(begun))
	}
}

// TestFirstErrorEnds: what is still to be asked is not.
func TestFirstErrorEnds(t *testing.T) {
	h, count := failing(1<<30, 400, "no", nil)
	m := open(t, h, func(c *Config) { c.Model = "m"; c.Concurrency = 2 })
	if _, err := m.Generate(t.Context(), make([]evals.Prompted, 1000)); err == nil || count.Load() > 10 {
		t.Errorf("%v after %d requests", err, count.Load())
	}
}

func TestModels(t *testing.T) {
	for body, want := range map[string]string{
		`{"data":[{"id":"a"},{"id":"b"}]}`: "has 2 models (a, b): name one",
		`{"data":[]}`:                      "has 0 models",
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }))
		if _, err := New(t.Context(), quick(s.URL)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		s.Close()
	}
}

func TestValidate(t *testing.T) {
	for _, change := range []func(*Config){
		func(c *Config) { c.URL = "localhost:8000" }, func(c *Config) { c.URL = "ftp://x/v1" }, func(c *Config) { c.URL = "" },
		func(c *Config) { c.Concurrency = 0 }, func(c *Config) { c.Timeout = 0 }, func(c *Config) { c.Attempts = 0 },
		func(c *Config) { c.Pause = -1 }, func(c *Config) { c.MaxPause = 0 },
	} {
		c := quick("http://x/v1")
		change(&c)
		if _, err := New(t.Context(), c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}
