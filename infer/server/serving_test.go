package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gojet/gojet/infer/scheduler"
)

func TestModels(t *testing.T) {
	x := open(t, &parrot{}, nil)
	status, text := x.call(http.MethodGet, "/v1/models", "")
	want := `{"data":[{"id":"tiny","object":"model","created":1,"owned_by":"gojet","max_model_len":2048,"chat":true},` +
		`{"id":"alias","object":"model","created":1,"owned_by":"gojet","max_model_len":2048,"chat":true}],"object":"list"}`
	if status != 200 || text != want {
		t.Errorf("%d %s", status, text)
	}
	if status, text := x.call(http.MethodGet, "/v1/models/alias", ""); status != 200 || !strings.Contains(text, `"id":"alias"`) {
		t.Errorf("%d %s", status, text)
	}
	if status, text := x.call(http.MethodGet, "/v1/models/a/b", ""); status != 404 || !strings.Contains(text, `no model \"a/b\"`) {
		t.Errorf("%d %s", status, text)
	}
}

func TestElsewhere(t *testing.T) {
	x := open(t, &parrot{}, nil)
	for _, tc := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", "/v1/completions", 405, "method_not_allowed"}, {"POST", "/v1/models", 405, "method_not_allowed"}, {"DELETE", "/health", 405, "method_not_allowed"},
		{"GET", "/v1/nothing", 404, "unknown_url"}, {"POST", "/", 405, "method_not_allowed"}, {"POST", "/v1/embeddings", 404, "unknown_url"},
	} {
		status, text := x.call(tc.method, tc.path, "{}")
		if _, code, _ := wrong(t, text); status != tc.status || code != tc.code {
			t.Errorf("%s %s: %d %s", tc.method, tc.path, status, text)
		}
	}
}

func TestKey(t *testing.T) {
	x := open(t, &parrot{}, func(c *Config, _ *Model) { c.Key = "secret" })
	for _, tc := range []struct {
		path, header string
		status       int
	}{
		{"/v1/models", "", 401}, {"/v1/models", "Bearer wrong", 401}, {"/v1/models", "secret", 401}, {"/v1/models", "Basic secret", 401}, {"/metrics", "", 401},
		{"/v1/completions", "", 401}, {"/v1/models", "Bearer secret", 200}, {"/metrics", "bearer secret", 200}, {"/health", "", 200}, {"/", "", 200},
	} {
		r, err := http.NewRequest(http.MethodGet, x.url+tc.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tc.path == "/v1/completions" {
			r.Method = http.MethodPost
		}
		if tc.header != "" {
			r.Header.Set("Authorization", tc.header)
		}
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(a.Body)
		a.Body.Close()
		if err != nil || a.StatusCode != tc.status {
			t.Errorf("%s %q: %d, %v", tc.path, tc.header, a.StatusCode, err)
		}
		if tc.status == 401 {
			if _, code, message := wrong(t, string(text)); code != "invalid_api_key" || strings.Contains(message, "secret") {
				t.Errorf("%s", text)
			}
		}
	}
}

func TestMetrics(t *testing.T) {
	x := open(t, &parrot{}, nil)
	x.ask("/v1/completions", `{"prompt": "abc", "max_tokens": 5}`)
	x.refused(400, "/v1/completions", `{`)
	x.call(http.MethodGet, "/no/such/place", "")
	_, text := x.call(http.MethodGet, "/metrics", "")
	for _, line := range []string{
		`gojet_requests_total{code="200",route="/v1/completions"} 1`, `gojet_requests_total{code="400",route="/v1/completions"} 1`,
		`gojet_requests_total{code="404",route="/"} 1`, "gojet_prompt_tokens_total 3", "gojet_answer_tokens_total 5", "gojet_cached_tokens_total 0",
		"gojet_time_to_first_token_seconds_count 1", "gojet_time_per_token_seconds_count 1", "gojet_answers_running 2", "gojet_answers_queued 3", "gojet_slots 1",
		"gojet_prefix_cache_bytes 0", "go_goroutines ",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("no line %q in\n%s", line, regexp.MustCompile(`(?m)^(#|go_|process_).*\n`).ReplaceAllString(text, ""))
		}
	}
}

// fails is a generator that does not.
type fails struct {
	parrot
	err error
}

func (f *fails) Generate(context.Context, scheduler.Request, func(scheduler.Token) bool) (scheduler.Finish, scheduler.Usage, error) {
	return "", scheduler.Usage{}, f.err
}

func TestFailures(t *testing.T) {
	for _, tc := range []struct {
		err    error
		status int
		code   string
	}{
		{scheduler.ErrQueueFull, 429, "queue_full"}, {scheduler.ErrClosed, 503, "draining"}, {errors.New("broken"), 500, "internal_error"},
		{&scheduler.TooLongError{Prompt: 7, MaxTokens: 8, Limit: 9}, 400, "context_length_exceeded"},
	} {
		x := open(t, &fails{err: tc.err}, nil)
		for _, stream := range []string{"true", "false"} {
			if _, code, _ := x.refused(tc.status, "/v1/completions", `{"prompt": "a", "n": 3, "stream": `+stream+`}`); code != tc.code {
				t.Errorf("%v: code %s", tc.err, code)
			}
		}
	}
}

// TestRequestTime: an answer that takes too long is ended, in a stream by an event.
func TestRequestTime(t *testing.T) {
	s := newScheduler(t)
	x := open(t, s, func(c *Config, _ *Model) { c.Limits.Request = 20 * time.Millisecond })
	body := `{"prompt": "abc", "max_tokens": 2000, "n": 60, "ignore_eos": true`
	if _, code, _ := x.refused(504, "/v1/completions", body+`}`); code != "request_timeout" {
		t.Errorf("code %s", code)
	}
	r, err := http.Post(x.url+"/v1/completions", "application/json", strings.NewReader(body+`, "stream": true}`))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	chunks, done := events(t, r.Body)
	if last := chunks[len(chunks)-1]; done || last.Error == nil || *last.Error.Code != "request_timeout" {
		t.Errorf("done %v, the last event %+v", done, last)
	}
	eventually(t, "free slots", func() bool { return s.Stats().Running == 0 && s.Stats().Queued == 0 })
}

func TestDrain(t *testing.T) {
	for _, patient := range []bool{true, false} {
		p := &parrot{calls: make(chan scheduler.Request, 1), wait: make(chan struct{})}
		x := open(t, p, func(c *Config, _ *Model) {
			if c.Limits.Drain = 10 * time.Second; !patient {
				c.Limits.Drain = 50 * time.Millisecond
			}
		})
		if status, text := x.call(http.MethodGet, "/health", ""); status != 200 || text != `{"status":"ready"}` {
			t.Errorf("%d %s", status, text)
		}
		half := send(t, x, "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{")
		status := make(chan int, 1)
		go func() {
			n, text, err := x.try(http.MethodPost, "/v1/completions", `{"prompt": "abc", "max_tokens": 5}`)
			if err != nil || n == 200 && decode(t, text).Choices[0].Text != "abcab" {
				t.Errorf("%s, %v", text, err)
			}
			status <- n
		}()
		<-p.calls
		x.stop()
		eventually(t, "draining", x.server.isDraining)
		if patient {
			if n, text := x.call(http.MethodGet, "/health", ""); n != 503 || text != `{"status":"draining"}` {
				t.Errorf("%d %s", n, text)
			}
			if _, code, _ := x.refused(503, "/v1/completions", `{"prompt": "abc"}`); code != "draining" {
				t.Errorf("code %s", code)
			}
			close(p.wait)
			if n := <-status; n != 200 {
				t.Errorf("a running request got %d", n)
			}
		} else if n := <-status; n != 503 {
			t.Errorf("a request that takes too long got %d", n)
		}
		err := <-x.ended
		x.ended <- err // for the cleanup
		if err != nil {
			t.Error(err)
		}
		if _, err := io.ReadAll(half); err != nil {
			t.Errorf("half a request kept its connection: %v", err)
		}
		if _, _, err := x.try(http.MethodGet, "/health", ""); err == nil {
			t.Error("the server still answers")
		}
	}
}

func TestPage(t *testing.T) {
	x := open(t, &parrot{}, nil)
	r, err := http.Get(x.url + "/")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil || r.StatusCode != 200 || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/html") {
		t.Errorf("status %d, %v", r.StatusCode, err)
	}
	if policy := r.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "script-src 'sha256-") {
		t.Errorf("policy %q", policy)
	}
	if strings.Count(string(text), "<script") != 1 {
		t.Error("the policy allows one script")
	}
	if outside := regexp.MustCompile(`(src|href)\s*=\s*["']?(https?:)?//|@import|url\(\s*["']?(http|//)`).Find(text); outside != nil {
		t.Errorf("the page asks for %s", outside)
	}
}

// TestPanic: a bug in a handler ends one request.
func TestPanic(t *testing.T) {
	x := open(t, &parrot{}, nil)
	x.server.guard = nil
	if _, code, _ := x.refused(500, "/v1/chat/completions", hello+`}`); code != "internal_error" {
		t.Errorf("code %s", code)
	}
	x.ask("/v1/completions", `{"prompt": "a"}`)
}

func TestValidate(t *testing.T) {
	for _, change := range []func(*Config, *Model){
		func(c *Config, _ *Model) { c.Limits.BodyBytes = 0 }, func(c *Config, _ *Model) { c.Limits.Write = 0 }, func(c *Config, _ *Model) { c.Limits.Drain = -1 },
		func(c *Config, _ *Model) { c.Limits.Choices = 0 }, func(_ *Config, m *Model) { m.Names = nil }, func(_ *Config, m *Model) { m.Tokens = nil },
		func(_ *Config, m *Model) { m.Vocab = 257 }, func(_ *Config, m *Model) { m.Length = 1 },
	} {
		cfg, m := Config{Limits: DefaultLimits()}, testModel(t)
		change(&cfg, &m)
		if _, err := New(cfg, m, &parrot{}); err == nil || !strings.HasPrefix(err.Error(), "server: ") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}
