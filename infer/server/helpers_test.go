package server

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/datasets/chat"
	"github.com/gojet/gojet/datasets/tokenizer"
	"github.com/gojet/gojet/infer"
	"github.com/gojet/gojet/infer/scheduler"
	"github.com/gojet/gojet/layers"
)

const (
	rows     = 4    // of the engine in tests
	capacity = 2048 // tokens of a sequence
	chatML   = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}" +
		"{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

// testModel describes a model of bytes with two special tokens.
func testModel(t testing.TB) Model {
	t.Helper()
	b, err := tokenizer.NewBytes("<|im_start|>", "<|im_end|>")
	if err != nil {
		t.Fatal(err)
	}
	x, err := chat.New(chatML, nil)
	if err != nil {
		t.Fatal(err)
	}
	return Model{Names: []string{"tiny", "alias"}, Tokens: b, Vocab: 260, Chat: x, End: []int32{0}, Length: capacity, Created: time.Unix(1, 0)}
}

// newScheduler runs a small hybrid model with random weights.
func newScheduler(t testing.TB) *scheduler.Scheduler {
	t.Helper()
	c := &checkpoints.Config{
		ModelType: checkpoints.JetNemotron, HiddenSize: 16, IntermediateSize: 24, NumHeads: 2, NumKVHeads: 1, HeadDim: 8, VocabSize: 260, MaxPositions: 4096,
		RMSNormEps: 1e-6, RopeTheta: 1e4, InitializerRange: 0.4, TieEmbeddings: true, AttentionBias: true, BOS: -1, DType: "float32",
		LayerTypes: []string{"attn", "jet", "swa"}, NumLayers: 3,
	}
	if err := c.SetJet("jet", checkpoints.JetConfig{NumHeads: 2, HeadDim: 4, ExpandV: 2, NormEps: 1e-5, ConvSize: 4, GeneratorReduction: 4, Mode: "chunk"}); err != nil {
		t.Fatal(err)
	}
	if err := c.SetWindow(9); err != nil {
		t.Fatal(err)
	}
	d, err := layers.NewDecoder(c)
	if err != nil {
		t.Fatal(err)
	}
	m, err := autograd.OpenMachine(autograd.CPU, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	e, err := infer.New(d, d.Draw(3), m, infer.Config{Rows: rows, Capacity: capacity, Chunk: 16})
	if err != nil {
		t.Fatal(err)
	}
	s, err := scheduler.New(e, scheduler.Config{Queue: 256, CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("requests were left in the scheduler: %v", err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// parrot answers with the prompt, again and again.
type parrot struct {
	calls chan scheduler.Request // told of every call, if it is there
	wait  chan struct{}          // waited for before the first token, if it is there
}

func (p *parrot) Generate(ctx context.Context, r scheduler.Request, token func(scheduler.Token) bool) (scheduler.Finish, scheduler.Usage, error) {
	u := scheduler.Usage{Prompt: len(r.Prompt)}
	if p.calls != nil {
		p.calls <- r
	}
	if p.wait != nil {
		select {
		case <-p.wait:
		case <-ctx.Done():
			return "", u, context.Cause(ctx)
		}
	}
	if r.PromptLogProbs {
		for _, id := range r.Prompt[1:] {
			token(scheduler.Token{ID: id, Prompt: true, LogProb: -2, Top: []scheduler.Alternative{{ID: id, LogProb: -2}}})
		}
	}
	for u.Answer < r.MaxTokens {
		if err := ctx.Err(); err != nil {
			return "", u, context.Cause(ctx)
		}
		t := scheduler.Token{ID: r.Prompt[u.Answer%len(r.Prompt)]}
		if r.LogProbs >= 0 {
			t.LogProb = -1
			for i := range r.LogProbs {
				t.Top = append(t.Top, scheduler.Alternative{ID: (t.ID + int32(i)) % 256, LogProb: -1 - float32(i)})
			}
		}
		u.Answer++
		if !token(t) {
			return scheduler.Stop, u, nil
		}
	}
	return scheduler.Length, u, nil
}

func (p *parrot) Stats() scheduler.Stats { return scheduler.Stats{Rows: 1, Running: 2, Queued: 3} }

// logTo writes a server's log as the test's.
type logTo struct{ t testing.TB }

func (l logTo) Write(p []byte) (int, error) {
	l.t.Logf("%s", strings.TrimSpace(string(p)))
	return len(p), nil
}

// site is a server that listens.
type site struct {
	t      testing.TB
	server *Server
	url    string
	stop   context.CancelFunc // as a signal does
	ended  chan error
}

// open serves until the test ends. change may be nil.
func open(t testing.TB, g Generator, change func(*Config, *Model)) *site {
	t.Helper()
	return openOn(t, g, change, nil)
}

// openOn has the listener wrapped.
func openOn(t testing.TB, g Generator, change func(*Config, *Model), wrap func(net.Listener) net.Listener) *site {
	t.Helper()
	cfg, m := Config{Limits: DefaultLimits(), Log: slog.New(slog.NewTextHandler(logTo{t}, nil))}, testModel(t)
	if change != nil {
		change(&cfg, &m)
	}
	s, err := New(cfg, m, g)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x := &site{t: t, server: s, url: "http://" + l.Addr().String(), ended: make(chan error, 1)}
	if wrap != nil {
		l = wrap(l)
	}
	var ctx context.Context
	ctx, x.stop = context.WithCancel(context.Background())
	go func() { x.ended <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		x.stop()
		http.DefaultClient.CloseIdleConnections()
		if err := <-x.ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return x
}

// call sends a request with a JSON body and returns status and answer.
func (x *site) call(method, path, body string) (int, string) {
	x.t.Helper()
	status, answer, err := x.try(method, path, body)
	if err != nil {
		x.t.Fatal(err)
	}
	return status, answer
}

func (x *site) try(method, path, body string) (int, string, error) {
	r, err := http.NewRequest(method, x.url+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Content-Type", "application/json")
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	return a.StatusCode, string(text), err
}

// said is what any answer holds.
type said struct {
	ID, Object, Model string
	Created           int64
	Choices           []struct {
		Index    int
		Text     string
		Message  struct{ Role, Content string }
		Delta    struct{ Role, Content string }
		LogProbs *struct {
			Tokens     []string
			LogProbs   []*float32           `json:"token_logprobs"`
			Top        []map[string]float32 `json:"top_logprobs"`
			TextOffset []int                `json:"text_offset"`
			Content    []struct {
				Token   string
				LogProb float32
				Bytes   []int
				Top     []struct {
					Token   string
					LogProb float32
				} `json:"top_logprobs"`
			}
		}
		Finish *string `json:"finish_reason"`
	}
	Usage *usage
	Error *struct {
		Message, Type string
		Param, Code   *string
	}
}

func decode(t testing.TB, text string) said {
	t.Helper()
	var a said
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return a
}

// ask sends a request that must succeed.
func (x *site) ask(path, body string) said {
	x.t.Helper()
	status, text := x.call(http.MethodPost, path, body)
	if status != http.StatusOK {
		x.t.Fatalf("%s %s: %d %s", path, body, status, text)
	}
	return decode(x.t, text)
}

// refused sends a request that must fail, and returns what is wrong with it: param, code and message.
func (x *site) refused(status int, path, body string) (param, code, message string) {
	x.t.Helper()
	got, text := x.call(http.MethodPost, path, body)
	if got != status {
		x.t.Fatalf("%.200s: status %d, want %d: %.300s", body, got, status, text)
	}
	return wrong(x.t, text)
}

// wrong takes an error apart.
func wrong(t testing.TB, text string) (param, code, message string) {
	t.Helper()
	a := decode(t, text)
	if a.Error == nil || a.Error.Message == "" || a.Error.Type == "" || a.Error.Code == nil || *a.Error.Code == "" || strings.Contains(a.Error.Message, "\n") {
		t.Fatalf("%s is no error in OpenAI's form", text)
	}
	if a.Error.Param != nil {
		param = *a.Error.Param
	}
	return param, *a.Error.Code, a.Error.Message
}

// events reads a whole stream: its chunks, and whether [DONE] came last.
func events(t testing.TB, r io.Reader) (chunks []said, done bool) {
	t.Helper()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		switch {
		case done && lines.Text() != "":
			t.Errorf("after [DONE]: %s", lines.Text())
		case !ok && lines.Text() != "" && lines.Text()[0] != ':':
			t.Errorf("no event: %s", lines.Text())
		case data == "[DONE]":
			done = true
		case ok:
			chunks = append(chunks, decode(t, data))
		}
	}
	if err := lines.Err(); err != nil {
		t.Error(err)
	}
	return chunks, done
}

// follow sends a request whose answer is a stream.
func (x *site) follow(path, body string) []said {
	x.t.Helper()
	r, err := http.Post(x.url+path, "application/json", strings.NewReader(body))
	if err != nil {
		x.t.Fatal(err)
	}
	defer r.Body.Close()
	if kind := r.Header.Get("Content-Type"); r.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "text/event-stream") {
		x.t.Fatalf("%s: status %d, %s", body, r.StatusCode, kind)
	}
	chunks, done := events(x.t, r.Body)
	if !done {
		x.t.Errorf("%s: the stream has no [DONE]", body)
	}
	return chunks
}

// eventually waits for what another goroutine does.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
