package server

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gojet/gojet/infer/scheduler"
)

// TestBadRequest has one case for each kind of bad request, by name. What is bad about the body alone is refused before
// anything is generated.
func TestBadRequest(t *testing.T) {
	const completion, conversation = "/v1/completions", "/v1/chat/completions"
	calls := make(chan scheduler.Request, 1)
	x := open(t, &parrot{calls: calls}, func(c *Config, _ *Model) { c.Limits.AnswerTokens = 1000 })
	many := strings.Repeat(`"x",`, 999) + `"x"`
	for _, tc := range []struct {
		name, path, body string
		status           int
		param, message   string
	}{
		{"invalid_json", completion, `{"prompt": "a`, 400, "", "the body ends within its JSON object"},
		{"invalid_json: syntax", completion, `{"prompt": 'a'}`, 400, "", "the body is not JSON: at byte 12"},
		{"invalid_json: nothing", completion, ``, 400, "", "the body is empty"},
		{"invalid_json: list", completion, `[]`, 400, "", "the body is a JSON array, want an object"},
		{"invalid_json: more", completion, `{"prompt": "a"} {}`, 400, "", "the body goes on after its JSON object"},
		{"invalid_json: nesting", completion, strings.Repeat("[", 100000), 400, "", "the body is not JSON"},
		{"unknown field", completion, `{"prompt": "a", "promt": "b"}`, 400, "promt", `no field "promt"`},
		{"wrong type", completion, `{"prompt": "a", "max_tokens": "9"}`, 400, "max_tokens", "max_tokens is a string, want a whole number"},
		{"wrong type: n", completion, `{"prompt": "a", "n": 1.5}`, 400, "n", "n is a number 1.5, want a whole number"},
		{"empty_messages", conversation, `{"messages": []}`, 400, "messages", "messages is empty"},
		{"empty_messages: none", conversation, `{}`, 400, "messages", "messages is empty"},
		{"empty_messages: no content", conversation, `{"messages": [{"role": "user"}]}`, 400, "messages", "messages[0] has no content"},
		{"unknown_role", conversation, `{"messages": [{"role": "wizard", "content": "a"}]}`, 400, "messages", `messages[0] has the role "wizard", want system`},
		{"unknown_role: tool", conversation, `{"messages": [{"role": "tool", "content": "a"}]}`, 400, "messages", "calls no tools"},
		{"overlong_prompt", completion, `{"prompt": "` + strings.Repeat("x", 2100) + `"}`, 400, "prompt", "the prompt has 2100 tokens; this server takes prompts of up to 2047"},
		{"overlong_prompt: very long", completion, `{"prompt": "` + strings.Repeat("x", 1<<20) + `"}`, 400, "prompt", "the prompt has at least "},
		{"overlong_prompt: chat", conversation, `{"messages": [{"role": "user", "content": "` + strings.Repeat("x", 2100) + `"}]}`, 400, "messages", "this server takes prompts of up to 2047"},
		{"overlong_prompt: ids", completion, `{"prompt": [` + strings.Repeat("1,", 2099) + `1]}`, 400, "prompt", "the prompt has 2100 tokens"},
		{"prompt_plus_max_tokens_overflow", completion, `{"prompt": "` + strings.Repeat("x", 1500) + `", "max_tokens": 1000}`, 400, "prompt", "the prompt has 1500 tokens; this server takes prompts of up to 1048 when the answer may have 1000, of the model's 2048"},
		{"prompt_plus_max_tokens_overflow: int", completion, `{"prompt": "a", "max_tokens": 9223372036854775807}`, 400, "max_tokens", "this server allows 1000"},
		{"max_tokens_0", completion, `{"prompt": "a", "max_tokens": 0}`, 400, "max_tokens", "max_tokens is 0, want 1 or more"},
		{"max_tokens_0: chat", conversation, `{"messages": [{"role": "user", "content": "a"}], "max_completion_tokens": 0}`, 400, "max_completion_tokens", "max_completion_tokens is 0"},
		{"max_tokens_negative", completion, `{"prompt": "a", "max_tokens": -1}`, 400, "max_tokens", "max_tokens is -1, want 1 or more"},
		{"max_tokens_2^63", completion, `{"prompt": "a", "max_tokens": 9223372036854775808}`, 400, "max_tokens", "want a whole number below 2^63"},
		{"max_tokens: two", conversation, `{"messages": [{"role": "user", "content": "a"}], "max_tokens": 1, "max_completion_tokens": 2}`, 400, "max_tokens", "want one of them"},
		{"temperature_nan", completion, `{"prompt": "a", "temperature": NaN}`, 400, "", "the body is not JSON: at byte 32"},
		{"temperature_nan: text", completion, `{"prompt": "a", "temperature": "NaN"}`, 400, "temperature", "temperature is a string, want a number"},
		{"temperature: infinite", completion, `{"prompt": "a", "temperature": 1e999}`, 400, "temperature", "want a number"},
		{"temperature: negative", completion, `{"prompt": "a", "temperature": -0.1}`, 400, "temperature", "temperature is -0.1, want 0 or more"},
		{"top_p>1", completion, `{"prompt": "a", "top_p": 1.01}`, 400, "top_p", "top_p is 1.01, want above 0 and at most 1"},
		{"min_p>1", completion, `{"prompt": "a", "min_p": 1.01}`, 400, "min_p", "min_p is 1.01, want 0 to 1"},
		{"top_p: 0", completion, `{"prompt": "a", "top_p": 0}`, 400, "top_p", "top_p is 0"},
		{"top_k", completion, `{"prompt": "a", "top_k": -2}`, 400, "top_k", "top_k is -2"},
		{"repetition_penalty", completion, `{"prompt": "a", "repetition_penalty": 0}`, 400, "repetition_penalty", "repetition_penalty is 0"},
		{"n_huge", completion, `{"prompt": "a", "n": 1000000000}`, 400, "n", "n is 1000000000 and there are 1 prompts; this server gives at most 128 answers"},
		{"n_huge: by prompts", completion, `{"prompt": ["a", "b"], "n": 65}`, 400, "n", "n is 65 and there are 2 prompts"},
		{"n: 0", completion, `{"prompt": "a", "n": 0}`, 400, "n", "n is 0, want 1 or more"},
		{"prompts: many", completion, `{"prompt": [` + strings.Repeat(`"a",`, 200) + `"a"]}`, 400, "n", "there are 201 prompts"},
		{"1k_stop_strings", completion, `{"prompt": "a", "stop": [` + many + `]}`, 400, "stop", "stop has 1000 strings, this server allows 16"},
		{"stop: empty", completion, `{"prompt": "a", "stop": ""}`, 400, "stop", "stop string 0 is empty"},
		{"stop: number", completion, `{"prompt": "a", "stop": [1]}`, 400, "stop", "stop must be a string or a list of strings"},
		{"stop: null", completion, `{"prompt": "a", "stop": [null]}`, 400, "stop", "stop must be a string or a list of strings"},
		{"invalid_utf8", completion, "{\"prompt\": \"a\xff\"}", 400, "", "byte 13 of the body is not UTF-8"},
		{"unknown_model", completion, `{"prompt": "a", "model": "gpt"}`, 404, "model", `there is no model "gpt" here, want "tiny"`},
		{"no prompt", completion, `{}`, 400, "prompt", "prompt is missing"},
		{"empty prompt", completion, `{"prompt": ""}`, 400, "prompt", "the prompt is empty"},
		{"empty prompt: list", completion, `{"prompt": []}`, 400, "prompt", "prompt must be a string"},
		{"empty prompt: ids", completion, `{"prompt": [[1], []]}`, 400, "prompt", "the prompt is empty"},
		{"prompt: object", completion, `{"prompt": {}}`, 400, "prompt", "prompt must be a string"},
		{"prompt: mixed", completion, `{"prompt": ["a", 1]}`, 400, "prompt", "prompt must be a string"},
		{"prompt: null", completion, `{"prompt": [1, null]}`, 400, "prompt", "prompt must be a string"},
		{"prompt: null text", completion, `{"prompt": ["a", null]}`, 400, "prompt", "prompt[1] is null"},
		{"prompt: id too great", completion, `{"prompt": [1, 260]}`, 400, "prompt", "token 1 of the prompt has id 260, want 0 to 259"},
		{"prompt: id below 0", completion, `{"prompt": [-1]}`, 400, "prompt", "token 0 of the prompt has id -1"},
		{"prompt: id above 2^31", completion, `{"prompt": [4294967296]}`, 400, "prompt", "prompt must be a string"},
		{"logprobs", completion, `{"prompt": "a", "logprobs": 21}`, 400, "logprobs", "logprobs is 21, want 0 to 20"},
		{"top_logprobs", conversation, `{"messages": [{"role": "user", "content": "a"}], "logprobs": true, "top_logprobs": 21}`, 400, "top_logprobs", "top_logprobs is 21, want 0 to 20"},
		{"top_logprobs alone", conversation, `{"messages": [{"role": "user", "content": "a"}], "top_logprobs": 2}`, 400, "top_logprobs", "top_logprobs needs logprobs"},
		{"stream_options", completion, `{"prompt": "a", "stream_options": {"include_usage": true}}`, 400, "stream_options", "stream set to true"},
		{"suffix", completion, `{"prompt": "a", "suffix": "b"}`, 400, "suffix", "does not support suffix"},
		{"best_of", completion, `{"prompt": "a", "best_of": 2}`, 400, "best_of", "best_of is 2 and n is 1"},
		{"presence_penalty", completion, `{"prompt": "a", "presence_penalty": 0.5}`, 400, "presence_penalty", "does not support presence_penalty"},
		{"logit_bias", completion, `{"prompt": "a", "logit_bias": {"1": 2}}`, 400, "logit_bias", "does not support logit_bias"},
		{"tools", conversation, `{"messages": [{"role": "user", "content": "a"}], "tools": [{"type": "function"}]}`, 400, "tools", "this server does not support tools"},
		{"response_format", conversation, `{"messages": [{"role": "user", "content": "a"}], "response_format": {"type": "json_object"}}`, 400, "response_format", "does not support response_format"},
		{"picture", conversation, `{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}`, 400, "messages", `a part of type "image_url"`},
		{"content: number", conversation, `{"messages": [{"role": "user", "content": 1}]}`, 400, "messages", "must be a string or a list of text parts"},
		{"content: mark", conversation, "{\"messages\": [{\"role\": \"user\", \"content\": \"\ufdd0\"}]}", 400, "messages", "which is no character"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			y := *x
			y.t = t
			param, _, message := y.refused(tc.status, tc.path, tc.body)
			if param != tc.param || !strings.Contains(message, tc.message) {
				t.Errorf("param %q, message %q, want %q, %q", param, message, tc.param, tc.message)
			}
		})
	}
	select {
	case r := <-calls:
		t.Errorf("generated for a bad request: %v", r)
	default:
	}

	t.Run("100MB_body", func(t *testing.T) {
		for _, length := range []int64{100 << 20, -1} {
			r, err := http.NewRequest(http.MethodPost, x.url+completion, io.MultiReader(strings.NewReader(`{"prompt": "`), io.LimitReader(letters{}, 100<<20-12)))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			r.ContentLength = length
			a, err := new(http.Transport).RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(a.Body)
			if err != nil {
				t.Fatal(err)
			}
			a.Body.Close()
			if _, code, message := wrong(t, string(text)); a.StatusCode != 413 || code != "body_too_large" || !strings.Contains(message, "16777216 bytes") {
				t.Errorf("length %d: status %d, %s", length, a.StatusCode, message)
			}
		}
	})
	t.Run("wrong_content_type", func(t *testing.T) {
		for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/json/x"} {
			r, err := http.NewRequest(http.MethodPost, x.url+completion, strings.NewReader(`{"prompt": "a"}`))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", kind)
			a, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(a.Body)
			a.Body.Close()
			if _, _, message := wrong(t, string(text)); err != nil || a.StatusCode != 415 || !strings.Contains(message, "want application/json") {
				t.Errorf("%q: status %d, %s, %v", kind, a.StatusCode, message, err)
			}
		}
	})
}

// letters goes on for ever.
type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// send opens a connection and writes the beginning of a request.
func send(t *testing.T, x *site, text string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(x.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.(*net.TCPConn).SetReadBuffer(32 << 10); err != nil { // little is taken that the test does not read
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// post is a whole request as it is on the wire.
func post(path, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
}

func TestSlowClients(t *testing.T) {
	x := openOn(t, &parrot{}, func(c *Config, _ *Model) {
		c.Limits.Header, c.Limits.Body, c.Limits.Write = 100*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond
	}, smallBuffers)
	t.Run("slow_headers", func(t *testing.T) {
		c := send(t, x, "POST /v1/completions HTTP/1.1\r\nHost: x\r\n")
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("the connection was not closed: %v", err)
		}
	})
	t.Run("slow_body", func(t *testing.T) {
		whole := post("/v1/completions", `{"prompt": "a"}`)
		c := send(t, x, whole[:len(whole)-3])
		a, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		if _, code, message := wrong(t, string(text)); a.StatusCode != 408 || code != "body_timeout" || !strings.Contains(message, "100ms") {
			t.Errorf("status %d, code %s, %s", a.StatusCode, code, message)
		}
	})
	t.Run("stalled_reader", func(t *testing.T) {
		for _, stream := range []string{"true", "false"} {
			c := send(t, x, post("/v1/completions", `{"prompt": "abc", "max_tokens": 500, "n": 4, "logprobs": 20, "stream": `+stream+`}`))
			eventually(t, "the request to begin", func() bool { return x.running() > 0 })
			eventually(t, "the client to be given up", func() bool { return x.running() == 0 })
			a, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(a.Body); err == nil { // an answer that is cut off is an unexpected end
				t.Errorf("stream %s: the client received all %d bytes: the buffers are too large for this test", stream, len(text))
			}
		}
	})
	if a := x.ask("/v1/completions", `{"prompt": "abc", "max_tokens": 3}`); a.Choices[0].Text != "abc" {
		t.Errorf("afterwards: %+v", a)
	}
}

// TestNobodyWaitsForClients: answers that nobody reads are generated to their ends while their clients are stalled, and then
// their slots are free.
func TestNobodyWaitsForClients(t *testing.T) {
	s := newScheduler(t)
	x := openOn(t, s, nil, smallBuffers)
	const stalled, tokens = 2 * rows, 400
	var clients []net.Conn
	for i := range stalled {
		clients = append(clients, send(t, x, post("/v1/completions", fmt.Sprintf(
			`{"prompt": "%d", "max_tokens": %d, "stream": true, "logprobs": 20, "temperature": 0.5, "seed": 1, "ignore_eos": true}`, i, tokens))))
	}
	eventually(t, "all answers to end", func() bool { return s.Stats().AnswerTokens == stalled*tokens && s.Stats().Running == 0 })
	if n := x.running(); n != stalled {
		t.Errorf("%d requests are open, want %d: the buffers are too large for this test", n, stalled)
	}
	if a := x.ask("/v1/completions", `{"prompt": "abc", "max_tokens": 3, "ignore_eos": true}`); a.Usage.Answer != 3 {
		t.Errorf("beside stalled clients: %+v", a)
	}
	// They have only been slow: who reads on gets the whole answer.
	c := clients[0].(*net.TCPConn)
	if err := errors.Join(c.SetReadBuffer(1<<20), c.SetReadDeadline(time.Now().Add(time.Minute))); err != nil {
		t.Fatal(err)
	}
	a, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if chunks, done := events(t, a.Body); !done || len(chunks) < tokens/8 {
		t.Errorf("%d chunks, done %v", len(chunks), done)
	}
}

// running counts the requests that are being answered.
func (x *site) running() int {
	x.server.mu.Lock()
	defer x.server.mu.Unlock()
	return x.server.running
}

// small is a listener whose connections take little that the other side does not read.
type small struct{ net.Listener }

func smallBuffers(l net.Listener) net.Listener { return small{l} }

func (s small) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err == nil {
		err = c.(*net.TCPConn).SetWriteBuffer(32 << 10)
	}
	return c, err
}

// TestDisconnect: a client that leaves frees its slot, in the middle of its prompt and of its answer.
func TestDisconnect(t *testing.T) {
	s := newScheduler(t)
	x := open(t, s, nil)
	free := func() bool { return s.Stats().Running == 0 && s.Stats().Queued == 0 }
	t.Run("disconnect_in_prefill", func(t *testing.T) {
		before := s.Stats()
		var clients []net.Conn
		for i := range 2 * rows { // prompts of their own, so that none is found in the cache
			prompt := strings.Repeat(fmt.Sprintf("%d ", i), capacity/2-1)
			clients = append(clients, send(t, x, post("/v1/completions", `{"prompt": "`+prompt+`", "max_tokens": 1, "ignore_eos": true}`)))
		}
		eventually(t, "all to run or wait", func() bool { return s.Stats().Running == rows && s.Stats().Queued == rows })
		for _, c := range clients {
			c.Close()
		}
		eventually(t, "free slots", free)
		if after := s.Stats(); after.AnswerTokens != before.AnswerTokens || after.Cancelled != before.Cancelled+2*rows {
			t.Errorf("before %+v, after %+v: want %d cancelled and no answer", before, after, 2*rows)
		}
	})
	t.Run("disconnect_in_decode", func(t *testing.T) {
		before := s.Stats()
		c := send(t, x, post("/v1/completions", `{"prompt": "abc", "max_tokens": 2000, "stream": true, "ignore_eos": true}`))
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil || !strings.Contains(line, "200 OK") {
			t.Fatalf("%q, %v", line, err)
		}
		c.Close()
		eventually(t, "free slots", free)
		if after := s.Stats(); after.Cancelled != before.Cancelled+1 || after.AnswerTokens-before.AnswerTokens >= 2000 {
			t.Errorf("before %+v, after %+v: want one cancelled", before, after)
		}
	})
	t.Run("disconnect_in_decode: many answers", func(t *testing.T) {
		before := s.Stats()
		c := send(t, x, post("/v1/chat/completions", `{"messages": [{"role": "user", "content": "a"}], "max_tokens": 1900, "n": 9, "ignore_eos": true}`))
		eventually(t, "a start", func() bool { return s.Stats().AnswerTokens > before.AnswerTokens })
		c.Close()
		eventually(t, "free slots", free)
		if after := s.Stats(); after.Cancelled != before.Cancelled+9 {
			t.Errorf("before %+v, after %+v: want nine cancelled", before, after)
		}
	})
}

// TestStopAcrossTokens: a stop string is found wherever the borders of tokens are, and nothing of it is shown.
func TestStopAcrossTokens(t *testing.T) {
	x := open(t, &parrot{}, nil)
	for _, tc := range []struct{ name, stop, text, finish string }{
		{"stop_across_tokens", `"xyz"`, "ab", "stop"},
		{"several", `["zz", "yzé", "q"]`, "abx", "stop"},
		{"inside a character's bytes", `["é"]`, "abxyz", "stop"},
		{"begun and not ended", `"éab?"`, "abxyzéabxyzéa", "length"},
	} {
		body := `{"prompt": "abxyzé", "max_tokens": 15, "stop": ` + tc.stop
		a := x.ask("/v1/completions", body+`}`).Choices[0]
		if a.Text != tc.text || *a.Finish != tc.finish {
			t.Errorf("%s: %q, %s, want %q, %s", tc.name, a.Text, *a.Finish, tc.text, tc.finish)
		}
		var streamed strings.Builder
		chunks := x.follow("/v1/completions", body+`, "stream": true}`)
		for _, c := range chunks {
			streamed.WriteString(c.Choices[0].Text)
		}
		if last := chunks[len(chunks)-1].Choices[0].Finish; streamed.String() != tc.text || last == nil || *last != tc.finish {
			t.Errorf("%s, streamed: %q", tc.name, streamed.String())
		}
	}
}

// TestOverlongInARow: a thousand prompts that are too long cost little and reach no engine.
func TestOverlongInARow(t *testing.T) {
	calls := make(chan scheduler.Request, 1)
	x := open(t, &parrot{calls: calls}, func(c *Config, _ *Model) { c.Log = nil })
	body := `{"prompt": "` + strings.Repeat("word ", 600) + `", "max_tokens": 48}`
	begun := time.Now()
	for range 1000 {
		_, code, message := x.refused(400, "/v1/completions", body)
		if code != "context_length_exceeded" || !strings.Contains(message, "the prompt has 3000 tokens") || !strings.Contains(message, "up to 2000") {
			t.Fatalf("code %s, %s", code, message)
		}
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
	if len(calls) > 0 {
		t.Error("one of them was generated")
	}
}

// TestCountOfVeryLong: a text is not read to its end to be refused, and what is said of its length is true.
func TestCountOfVeryLong(t *testing.T) {
	s := open(t, &parrot{}, nil).server
	read := 0
	tokens := func(dst []int32, text string) []int32 {
		read += len(text)
		return s.model.Tokens.AppendEncode(dst, text)
	}
	r := room{param: "prompt", prompt: 100, answer: 1, length: 101}
	for _, text := range []string{strings.Repeat("é", 50000), strings.Repeat("<|im_start|>", 120)} {
		read = 0
		_, err := s.encode(text, r, tokens)
		if err == nil || read > 8*r.prompt+16*margin+len("<|im_start|>")*120 {
			t.Errorf("read %d of %d bytes: %v", read, len(text), err)
		}
	}
	if ids, err := s.encode(strings.Repeat("<|im_start|>", 100), r, tokens); err != nil || !slices.Equal(ids, slices.Repeat([]int32{256}, 100)) {
		t.Errorf("a text that fits: %v, %v", ids, err)
	}
}
