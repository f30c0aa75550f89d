package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gojet/gojet/infer/scheduler"
)

const hello = `{"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Hi"}]`

// TestCompletion: the fields of an answer, and the kinds of prompts.
func TestCompletion(t *testing.T) {
	x := open(t, &parrot{}, nil)
	a := x.ask("/v1/completions", `{"model": "alias", "prompt": "abc", "max_tokens": 5, "user": "me"}`)
	if !strings.HasPrefix(a.ID, "cmpl-") || a.Object != "text_completion" || a.Model != "tiny" || time.Since(time.Unix(a.Created, 0)) > time.Minute {
		t.Errorf("%+v", a)
	}
	if c := a.Choices[0]; len(a.Choices) != 1 || c.Text != "abcab" || *c.Finish != "length" || c.LogProbs != nil {
		t.Errorf("choices %+v", a.Choices)
	}
	if u := a.Usage; u.Prompt != 3 || u.Answer != 5 || u.Total != 8 {
		t.Errorf("usage %+v", u)
	}
	if a := x.ask("/v1/completions", `{"prompt": "abc"}`); a.Usage.Answer != usualAnswer {
		t.Errorf("without max_tokens %d tokens, want %d", a.Usage.Answer, usualAnswer)
	}
	for _, tc := range []struct {
		prompt string
		texts  []string
	}{
		{`["ab", "cd"]`, []string{"ab", "cd"}}, {`[101, 102]`, []string{"ef"}}, {`[[101], [102]]`, []string{"ee", "ff"}},
		{`"<|im_end|>ab"`, []string{"a"}}, {`"é"`, []string{"é"}},
	} {
		a := x.ask("/v1/completions", `{"prompt": `+tc.prompt+`, "max_tokens": 2, "presence_penalty": 0, "logit_bias": {}, "suffix": null, "best_of": 1}`)
		var texts []string
		for i, c := range a.Choices {
			texts = append(texts, c.Text)
			if c.Index != i {
				t.Errorf("choice %d has index %d", i, c.Index)
			}
		}
		if !slices.Equal(texts, tc.texts) {
			t.Errorf("%s: %q, want %q", tc.prompt, texts, tc.texts)
		}
	}
	// A character that is cut off at the end stands there as U+FFFD.
	if a := x.ask("/v1/completions", `{"prompt": "é", "max_tokens": 3}`); a.Choices[0].Text != "é\ufffd" {
		t.Errorf("%q", a.Choices[0].Text)
	}
}

func TestEchoAndLogProbs(t *testing.T) {
	x := open(t, &parrot{}, nil)
	for _, stream := range []bool{false, true} {
		for _, tc := range []struct {
			body, text string
			tokens     []string
			offsets    []int
			first      bool // there is a token without probability
		}{
			{`"prompt": "aéb", "max_tokens": 2`, "a\ufffd", []string{"a", `bytes:\xc3`}, []int{0, 1}, false},
			{`"prompt": "ab", "max_tokens": 2, "echo": true`, "abab", []string{"a", "b", "a", "b"}, []int{0, 1, 2, 3}, true},
			{`"prompt": [97, 98], "max_tokens": 1, "echo": true`, "aba", []string{"a", "b", "a"}, []int{0, 1, 2}, true},
			{`"prompt": "é", "max_tokens": 0, "echo": true`, "é", []string{`bytes:\xc3`, `bytes:\xa9`}, []int{0, 0}, true},
			{`"prompt": "abcd", "max_tokens": 9, "stop": "cd"`, "ab", []string{"a", "b"}, []int{0, 1}, false},
		} {
			body := `{"logprobs": 2, ` + tc.body
			var text string
			var tokens []string
			var offsets []int
			var probs []*float32
			var top []map[string]float32
			chunks := []said{}
			if stream {
				chunks = x.follow("/v1/completions", body+`, "stream": true}`)
			} else {
				chunks = append(chunks, x.ask("/v1/completions", body+`}`))
			}
			for _, c := range chunks {
				text += c.Choices[0].Text
				l := c.Choices[0].LogProbs
				tokens, offsets = append(tokens, l.Tokens...), append(offsets, l.TextOffset...)
				probs, top = append(probs, l.LogProbs...), append(top, l.Top...)
			}
			if text != tc.text || !slices.Equal(tokens, tc.tokens) || !slices.Equal(offsets, tc.offsets) {
				t.Errorf("stream %v, %s: %q, tokens %q, offsets %v", stream, tc.body, text, tokens, offsets)
			}
			for i, p := range probs {
				if unsure := i == 0 && tc.first; (p == nil) != unsure || (top[i] == nil) != unsure || !unsure && top[i][tokens[i]] != *p {
					t.Errorf("stream %v, %s: token %d has probabilities %v, %v", stream, tc.body, i, p, top[i])
				}
			}
		}
	}
	if a := x.ask("/v1/completions", `{"prompt": "abc", "echo": true, "max_tokens": 1, "n": 2}`); a.Choices[1].Text != "abca" {
		t.Errorf("echo alone: %+v", a.Choices)
	}
}

func TestChat(t *testing.T) {
	calls := make(chan scheduler.Request, 1)
	x := open(t, &parrot{calls: calls}, nil)
	a := x.ask("/v1/chat/completions", hello+`, "max_completion_tokens": 3, "logprobs": true, "top_logprobs": 1, "tool_choice": "none", "response_format": {"type": "text"}}`)
	c, r := a.Choices[0], <-calls
	if !strings.HasPrefix(a.ID, "chatcmpl-") || a.Object != "chat.completion" || c.Message.Role != "assistant" || c.Message.Content != "sy" || *c.Finish != "length" {
		t.Errorf("%+v", a) // the first token is <|im_start|>, which is not shown
	}
	if l := c.LogProbs.Content; len(l) != 3 || l[1].Token != "s" || l[1].LogProb != -1 || l[1].Bytes[0] != 's' || len(l[1].Top) != 1 || l[1].Top[0].Token != "s" {
		t.Errorf("log-probabilities %+v", l)
	}
	want := "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
	if !slices.Equal(r.Prompt, x.server.model.Tokens.Encode(want)) || !slices.Equal(r.End, []int32{0, 257}) {
		t.Errorf("prompt %q, end %v", x.server.model.Tokens.Decode(r.Prompt), r.End)
	}
	// What people say steers nothing.
	x.ask("/v1/chat/completions", `{"messages": [{"role": "developer", "content": [{"type": "text", "text": "<|im_end|>"}, {"type": "text", "text": "b"}]},
		{"role": "assistant", "content": null, "tool_calls": [], "refusal": null}], "max_tokens": 1}`)
	want = "<|im_start|>system\nX\nb<|im_end|>\n<|im_start|>assistant\n<|im_end|>\n<|im_start|>assistant\n"
	wantIDs := x.server.model.Tokens.Encode(want)
	at := slices.Index(wantIDs, 'X')
	wantIDs = slices.Concat(wantIDs[:at], x.server.model.Tokens.EncodeOrdinary("<|im_end|>"), wantIDs[at+1:])
	if r = <-calls; !slices.Equal(r.Prompt, wantIDs) {
		t.Errorf("prompt %q, %v", x.server.model.Tokens.Decode(r.Prompt), r.Prompt)
	}
	// Without a limit an answer may take all the room there is.
	x.ask("/v1/chat/completions", hello+`, "ignore_eos": true}`)
	if r = <-calls; r.MaxTokens != capacity-len(r.Prompt) || r.End != nil {
		t.Errorf("%d tokens after %d, end %v", r.MaxTokens, len(r.Prompt), r.End)
	}
}

func TestNoTemplate(t *testing.T) {
	x := open(t, &parrot{}, func(_ *Config, m *Model) { m.Chat = nil })
	if _, code, message := x.refused(400, "/v1/chat/completions", hello+`}`); code != "no_chat_template" || !strings.Contains(message, "/v1/completions") {
		t.Errorf("%s: %s", code, message)
	}
}

// TestChatStream: the role first, then text, the reason, the usage, [DONE].
func TestChatStream(t *testing.T) {
	x := open(t, &parrot{}, nil)
	chunks := x.follow("/v1/chat/completions", hello+`, "max_tokens": 4, "n": 2, "stream": true, "stream_options": {"include_usage": true}}`)
	var text [2]string
	opened, closed := [2]bool{}, [2]bool{}
	for i, c := range chunks[:len(chunks)-1] {
		k := c.Choices[0].Index
		switch d := c.Choices[0].Delta; {
		case c.ID != chunks[0].ID || c.Object != "chat.completion.chunk" || c.Usage != nil || closed[k]:
			t.Errorf("chunk %d: %+v", i, c)
		case !opened[k]:
			if opened[k] = true; d.Role != "assistant" || d.Content != "" {
				t.Errorf("answer %d begins with %+v", k, d)
			}
		case c.Choices[0].Finish != nil:
			closed[k] = true
		}
		text[k] += c.Choices[0].Delta.Content
	}
	if text != [2]string{"sys", "sys"} || closed != [2]bool{true, true} {
		t.Errorf("texts %q", text)
	}
	if last := chunks[len(chunks)-1]; len(last.Choices) != 0 || last.Usage == nil || last.Usage.Answer != 8 || last.Usage.Prompt < 30 {
		t.Errorf("the last chunk: %+v", last)
	}
	for _, c := range x.follow("/v1/chat/completions", hello+`, "max_tokens": 4, "stream": true}`) {
		if c.Usage != nil || len(c.Choices) == 0 {
			t.Errorf("usage was not asked for: %+v", c)
		}
	}
}

// TestSameAnswers uses a real model: whole and streamed, alone and in company, an answer is the same, and the n-th of several
// is the one that its own seed gives.
func TestSameAnswers(t *testing.T) {
	x := open(t, newScheduler(t), nil)
	for _, path := range []string{"/v1/completions", "/v1/chat/completions"} {
		request := func(seed, n int, more string) string {
			prompt := `"prompt": "The capital"`
			if strings.Contains(path, "chat") {
				prompt = hello[1:]
			}
			return fmt.Sprintf(`{%s, "max_tokens": 24, "temperature": 1.5, "seed": %d, "n": %d, "stop": ["ab", "e"]%s}`, prompt, seed, n, more)
		}
		var alone []string
		for seed := range 5 {
			c := x.ask(path, request(seed, 1, "")).Choices[0]
			alone = append(alone, c.Text+c.Message.Content+"|"+*c.Finish)
		}
		if slices.Equal(alone[:1], alone[1:2]) {
			t.Errorf("seeds 0 and 1 both give %q", alone[0])
		}
		for i, c := range x.ask(path, request(0, 5, "")).Choices {
			if got := c.Text + c.Message.Content + "|" + *c.Finish; got != alone[i] {
				t.Errorf("%s: answer %d is %q, alone %q", path, i, got, alone[i])
			}
		}
		streamed := make([]string, 5)
		for _, c := range x.follow(path, request(0, 5, `, "stream": true`)) {
			k := c.Choices[0].Index
			streamed[k] += c.Choices[0].Text + c.Choices[0].Delta.Content
			if f := c.Choices[0].Finish; f != nil {
				streamed[k] += "|" + *f
			}
		}
		if !slices.Equal(streamed, alone) {
			t.Errorf("%s streamed %q, want %q", path, streamed, alone)
		}
	}
}

// TestEchoOfModel: a prompt's log-probabilities are those that its tokens have as an answer.
func TestEchoOfModel(t *testing.T) {
	x := open(t, newScheduler(t), nil)
	a := x.ask("/v1/completions", `{"prompt": "Hello", "max_tokens": 6, "temperature": 0, "logprobs": 1, "ignore_eos": true}`)
	answer := a.Choices[0].LogProbs
	ids := []string{"72", "101", "108", "108", "111"}
	for _, name := range answer.Tokens {
		b := name[0]
		if n, err := fmt.Sscanf(name, `bytes:\x%02x`, &b); n == 0 && len(name) != 1 {
			t.Fatalf("%q: %v", name, err)
		}
		ids = append(ids, fmt.Sprint(b))
	}
	e := x.ask("/v1/completions", `{"prompt": [`+strings.Join(ids, ",")+`], "max_tokens": 0, "echo": true, "logprobs": 1}`).Choices[0].LogProbs
	if len(e.Tokens) != 11 || e.LogProbs[0] != nil {
		t.Fatalf("%+v", e)
	}
	for i, name := range answer.Tokens {
		if d := *e.LogProbs[5+i] - *answer.LogProbs[i]; e.Tokens[5+i] != name || d > 1e-4 || d < -1e-4 {
			t.Errorf("token %d: %q %v as prompt, %q %v as answer", i, e.Tokens[5+i], *e.LogProbs[5+i], name, *answer.LogProbs[i])
		}
	}
}

// TestConcurrent: a hundred requests, ten of whose clients leave; the others get what they get alone.
func TestConcurrent(t *testing.T) {
	s := newScheduler(t)
	x := open(t, s, nil)
	body := func(i, tokens int) string {
		return fmt.Sprintf(`{"prompt": "%s", "max_tokens": %d, "temperature": 1, "seed": %d, "ignore_eos": true}`, strings.Repeat(fmt.Sprint(i), i%40+1), tokens, i)
	}
	want := make([]string, 100)
	for i := range want {
		want[i] = x.ask("/v1/completions", body(i, 8)).Choices[0].Text
	}
	var group sync.WaitGroup
	for i := range want {
		group.Go(func() {
			if i%10 == 0 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Millisecond/10)
				defer cancel()
				r, err := http.NewRequestWithContext(ctx, http.MethodPost, x.url+"/v1/completions", strings.NewReader(body(i, 1500)))
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("Content-Type", "application/json")
				if a, err := http.DefaultClient.Do(r); err == nil {
					a.Body.Close()
					t.Errorf("request %d came to its end", i)
				}
				return
			}
			status, text, err := x.try(http.MethodPost, "/v1/completions", body(i, 8))
			if err != nil || status != 200 {
				t.Errorf("request %d: %d %s %v", i, status, text, err)
				return
			}
			if got := decode(t, text).Choices[0].Text; got != want[i] {
				t.Errorf("request %d: %q, alone %q", i, got, want[i])
			}
		})
	}
	group.Wait()
	eventually(t, "free slots", func() bool { return s.Stats().Running == 0 && s.Stats().Queued == 0 && x.running() == 0 })
}

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
