package server

import (
	"net/http"

	"github.com/gojet/gojet/datasets/chat"
	"github.com/gojet/gojet/datasets/tokenizer"
	"github.com/gojet/gojet/infer/scheduler"
)

// chatRequest is the body of /v1/chat/completions.
type chatRequest struct {
	settings
	Messages            []chatMessage `json:"messages"`
	MaxCompletionTokens *int          `json:"max_completion_tokens"`
	LogProbs            bool          `json:"logprobs"`
	TopLogProbs         *int          `json:"top_logprobs"`

	// Asking for one of these is an error.
	ResponseFormat   neutral `json:"response_format"`
	Tools            neutral `json:"tools"`
	ToolChoice       neutral `json:"tool_choice"`
	Functions        neutral `json:"functions"`
	FunctionCall     neutral `json:"function_call"`
	Modalities       neutral `json:"modalities"`
	Audio            neutral `json:"audio"`
	Prediction       neutral `json:"prediction"`
	WebSearchOptions neutral `json:"web_search_options"`
	ReasoningEffort  neutral `json:"reasoning_effort"`
	Verbosity        neutral `json:"verbosity"`
	// No answer depends on these.
	ParallelToolCalls neutral `json:"parallel_tool_calls"`
	Store             neutral `json:"store"`
	ServiceTier       neutral `json:"service_tier"`
	SafetyIdentifier  neutral `json:"safety_identifier"`
	PromptCacheKey    neutral `json:"prompt_cache_key"`
}

// chatMessage is a turn, as it comes and as clients send back what they have got.
type chatMessage struct {
	Role    string       `json:"role"`
	Content contentField `json:"content"`
	Name    neutral      `json:"name"` // templates have no place for it

	ToolCalls    neutral `json:"tool_calls"`
	ToolCallID   neutral `json:"tool_call_id"`
	FunctionCall neutral `json:"function_call"`
	Audio        neutral `json:"audio"`
	Refusal      neutral `json:"refusal"`
	Annotations  neutral `json:"annotations"`
}

func (r *chatRequest) check(l Limits) error {
	const tools = "it calls no tools, describe in a message what you want"
	const text = "its answers are text"
	err := refuse(
		refusal{"tools", r.Tools, nil, tools}, refusal{"tool_choice", r.ToolChoice, []string{`"none"`, `"auto"`}, tools},
		refusal{"functions", r.Functions, nil, tools}, refusal{"function_call", r.FunctionCall, []string{`"none"`, `"auto"`}, tools},
		refusal{"response_format", r.ResponseFormat, []string{`{"type":"text"}`}, text},
		refusal{"modalities", r.Modalities, []string{`["text"]`}, text}, refusal{"audio", r.Audio, nil, text},
		refusal{"prediction", r.Prediction, nil, "leave it out"}, refusal{"web_search_options", r.WebSearchOptions, nil, "it searches nothing"},
		refusal{"reasoning_effort", r.ReasoningEffort, []string{`"none"`}, "the models have no such setting"},
		refusal{"verbosity", r.Verbosity, []string{`"medium"`}, "the models have no such setting"})
	if err != nil {
		return err
	}
	if r.MaxCompletionTokens != nil {
		if r.MaxTokens != nil && *r.MaxTokens != *r.MaxCompletionTokens {
			return invalid("max_tokens", "max_tokens is %d and max_completion_tokens %d, want one of them", *r.MaxTokens, *r.MaxCompletionTokens)
		}
		if *r.MaxCompletionTokens < 1 {
			return invalid("max_completion_tokens", "max_completion_tokens is %d, want 1 or more", *r.MaxCompletionTokens)
		}
		r.MaxTokens = r.MaxCompletionTokens
	}
	switch {
	case r.TopLogProbs != nil && (*r.TopLogProbs < 0 || *r.TopLogProbs > mostAlternatives):
		return invalid("top_logprobs", "top_logprobs is %d, want 0 to %d", *r.TopLogProbs, mostAlternatives)
	case r.TopLogProbs != nil && !r.LogProbs:
		return invalid("top_logprobs", "top_logprobs needs logprobs set to true")
	}
	return r.settings.check(l, 1, 1)
}

// conversation returns the messages as templates know them.
func (r *chatRequest) conversation() ([]chat.Message, error) {
	if len(r.Messages) == 0 {
		return nil, invalid("messages", "messages is empty, want at least one message")
	}
	all := make([]chat.Message, len(r.Messages))
	for i, m := range r.Messages {
		switch m.Role {
		case "system", "user", "assistant":
		case "developer": // the newer name
			m.Role = "system"
		case "tool", "function":
			return nil, unsupported("messages", "messages[%d] has the role %q, but this server calls no tools", i, m.Role)
		default:
			return nil, invalid("messages", "messages[%d] has the role %q, want system, developer, user or assistant", i, m.Role)
		}
		if m.ToolCalls.asks() || m.FunctionCall.asks() || m.ToolCallID.asks() || m.Audio.asks() {
			return nil, unsupported("messages", "messages[%d] has a call of a tool, or sound; this server takes text alone", i)
		}
		if !m.Content.given && m.Role != "assistant" {
			return nil, invalid("messages", "messages[%d] has no content", i)
		}
		all[i] = chat.Message{Role: m.Role, Content: m.Content.text}
	}
	return all, nil
}

// converse answers /v1/chat/completions.
func (s *Server) converse(w http.ResponseWriter, r *http.Request) error {
	if s.model.Chat == nil {
		return newError(http.StatusBadRequest, typeInvalid, "no_chat_template", "the model %s has no chat template; use /v1/completions", s.model.Names[0])
	}
	q := chatRequest{settings: defaultSettings()}
	var p prompt
	err := s.read(w, r, &q, func() error {
		if err := s.known(q.Model); err != nil {
			return err
		}
		if err := q.check(s.limits); err != nil {
			return err
		}
		messages, err := q.conversation()
		if err != nil {
			return err
		}
		p, err = s.conversation(messages, q.MaxTokens)
		return err
	})
	if err != nil {
		return err
	}
	stops, err := q.stops()
	if err != nil {
		return err
	}
	most, answers := s.most(p), make([]*answer, q.N)
	if q.MaxTokens != nil {
		most = *q.MaxTokens
	}
	for n := range answers {
		g := q.request(&s.model, p.ids, most, n, s.turnEnd)
		if q.LogProbs {
			g.LogProbs = 0
		}
		if q.TopLogProbs != nil {
			g.LogProbs = *q.TopLogProbs
		}
		answers[n] = newAnswer(n, g, s.model.Tokens, stops)
	}
	object := "chat.completion"
	if q.Stream {
		object = "chat.completion.chunk"
	}
	x := &chatStyle{reply: s.reply("chatcmpl-", object, q.StreamOptions), vocab: s.model.Tokens, logs: q.LogProbs}
	return s.answer(w, r, answers, x, &q.settings, x.ID)
}

type chatChoice struct {
	Index    int               `json:"index"`
	Message  *chatAnswer       `json:"message,omitempty"`
	Delta    *chatDelta        `json:"delta,omitempty"`
	LogProbs *chatLogProbs     `json:"logprobs"`
	Finish   *scheduler.Finish `json:"finish_reason"`
}

type chatAnswer struct {
	Role    string  `json:"role"`
	Content string  `json:"content"`
	Refusal *string `json:"refusal"` // no answer is one
}

type chatDelta struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
}

type chatLogProbs struct {
	Content []chatToken `json:"content"`
}

type chatToken struct {
	chatAlternative
	Top []chatAlternative `json:"top_logprobs"`
}

type chatAlternative struct {
	Token   string  `json:"token"`
	LogProb float32 `json:"logprob"`
	Bytes   []int   `json:"bytes"`
}

// chatStyle is how /v1/chat/completions answers.
type chatStyle struct {
	reply
	vocab tokenizer.Vocabulary
	logs  bool
}

func (x *chatStyle) whole(all []collected, u *usage) any {
	choices := make([]chatChoice, len(all))
	for i := range all {
		c := &all[i]
		choices[i] = chatChoice{Index: i, Message: &chatAnswer{Role: "assistant", Content: c.text.String()}, LogProbs: x.logProbs(c.tokens), Finish: &c.finish}
	}
	return x.with(choices, u)
}

func (x *chatStyle) opening(index int) any {
	return x.with([]chatChoice{{Index: index, Delta: &chatDelta{Role: "assistant", Content: new(string)}}}, nil)
}

func (x *chatStyle) chunk(d delta) any {
	c := chatChoice{Index: d.index, Delta: new(chatDelta), LogProbs: x.logProbs(d.tokens)}
	if d.text != "" {
		c.Delta.Content = &d.text
	}
	if d.finish != "" {
		c.Finish = &d.finish
	}
	return x.with([]chatChoice{c}, nil)
}

func (x *chatStyle) closing(u *usage) any { return x.with([]chatChoice{}, u) }

func (x *chatStyle) logProbs(tokens []scored) *chatLogProbs {
	if !x.logs {
		return nil
	}
	l := &chatLogProbs{Content: []chatToken{}}
	for _, t := range tokens {
		c := chatToken{x.alternative(t.ID, t.LogProb), make([]chatAlternative, len(t.Top))}
		for i, other := range t.Top {
			c.Top[i] = x.alternative(other.ID, other.LogProb)
		}
		l.Content = append(l.Content, c)
	}
	return l
}

func (x *chatStyle) alternative(id int32, p float32) chatAlternative {
	name, raw := spell(x.vocab, id)
	t := chatAlternative{Token: name, LogProb: p, Bytes: make([]int, len(raw))}
	for i := range len(raw) {
		t.Bytes[i] = int(raw[i])
	}
	return t
}
