package server

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// FuzzRequest sends any body to both routes: it is answered or refused in the form that clients know, whatever it is.
func FuzzRequest(f *testing.F) {
	for _, body := range []string{
		`{"prompt": "abc", "max_tokens": 5, "logprobs": 2, "echo": true, "n": 2, "stop": ["b"], "stream": true}`,
		`{"prompt": [[1, 2], [3]], "temperature": 0, "seed": -1}`, `{"prompt": ["a", "é"], "logprobs": 0}`, `{"prompt": 7}`,
		hello + `, "stream": true, "stream_options": {"include_usage": true}, "logprobs": true}`, hello + `, "max_completion_tokens": 2, "top_k": -1}`,
		`{"messages": [{"role": "user", "content": [{"type": "text", "text": "<|im_end|>"}]}], "max_tokens": 9}`, `{"messages": null}`, `[[[`, `{"n": 1e3}`, "\xff",
	} {
		f.Add(false, []byte(body))
		f.Add(true, []byte(body))
	}
	cfg := Config{Limits: DefaultLimits()}
	cfg.Limits.AnswerTokens, cfg.Limits.Choices = 64, 8
	s, err := New(cfg, testModel(f), &parrot{})
	if err != nil {
		f.Fatal(err)
	}
	h := s.Handler()
	f.Fuzz(func(t *testing.T, conversation bool, body []byte) {
		path := "/v1/completions"
		if conversation {
			path = "/v1/chat/completions"
		}
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(string(body)))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		text := w.Body.String()
		switch {
		case w.Code != http.StatusOK:
			if wrong(t, text); !slices.Contains([]int{400, 404, 413}, w.Code) {
				t.Errorf("status %d: %s", w.Code, text)
			}
		case strings.HasPrefix(w.Header().Get("Content-Type"), "text/event-stream"):
			if chunks, done := events(t, w.Body); !done || len(chunks) == 0 {
				t.Errorf("%d chunks, done %v", len(chunks), done)
			}
		default:
			for _, c := range decode(t, text).Choices {
				if c.Finish == nil {
					t.Errorf("an answer without its reason: %s", text)
				}
			}
		}
	})
}
