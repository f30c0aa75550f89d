package server

import (
	"context"
	"fmt"
	"net/http"
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
