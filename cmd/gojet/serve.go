package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gojet/gojet/datasets/chat"
	"github.com/gojet/gojet/datasets/tokenizer"
	"github.com/gojet/gojet/infer"
	"github.com/gojet/gojet/infer/sampling"
	"github.com/gojet/gojet/infer/scheduler"
	"github.com/gojet/gojet/infer/server"
	"github.com/gojet/gojet/layers"
)

const (
	// defaultModelLen of prompt and answer together, where the model has the positions: each slot has memory for so many.
	defaultModelLen = 4096
	// keyVariable names the environment variable that holds the API key, so that it need not stand in a list of processes.
	keyVariable = "GOJET_API_KEY"
)

type serveFlags struct {
	host      string
	port      int
	names     []string
	key       string
	tokenizer string
	template  string
	length    int
	slots     int
	queue     int
	cache     int // MiB
	chunk     int
	limits    server.Limits
	level     string
	machineFlags
}

func newServe() *cobra.Command {
	f := serveFlags{limits: server.DefaultLimits()}
	c := &cobra.Command{
		Use:   "serve MODEL_DIR",
		Short: "Answer OpenAI's API over HTTP, with a page to try the model",
		Long: `Answer OpenAI's API over HTTP: /v1/completions, /v1/chat/completions, /v1/models, and /health, /metrics (Prometheus) and a page
to try the model at /. docs/serve.md says what of the API there is.

Requests are answered side by side, --max-num-seqs at a time; others wait. SIGTERM or Ctrl-C lets running requests end, for --drain-timeout
at most, and refuses new ones; a second one ends the server at once. Where $NOTIFY_SOCKET is set, systemd is told when it is ready.

With $GOJET_API_KEY, or --api-key, clients must show that key; the page asks for it. /health and the page itself are open.`,
		Example: `  gojet serve model/
  gojet serve model/ --host 0.0.0.0 --port 8080 --served-model-name jet --max-model-len 32768 --max-num-seqs 32
  curl localhost:8000/v1/completions -H 'Content-Type: application/json' -d '{"prompt": "The capital of France is"}'`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.validate(); err != nil {
				return err
			}
			return f.serve(c, args[0])
		},
	}
	flags, l := c.Flags(), &f.limits
	flags.StringVar(&f.host, "host", "127.0.0.1", "listen on `ADDRESS`; 0.0.0.0 is all of them")
	flags.IntVar(&f.port, "port", 8000, "listen on port `N`; 0 takes a free one")
	flags.StringArrayVar(&f.names, "served-model-name", nil, "call the model `NAME`; may be repeated, answers carry the first (default the folder's name)")
	flags.StringVar(&f.key, "api-key", "", "want `KEY` of clients (default $"+keyVariable+")")
	flags.StringVar(&f.tokenizer, "tokenizer", "", "`PATH` of a tokenizer.json or of the folder that holds one; \"bytes\" is one token a byte (default MODEL_DIR)")
	flags.StringVar(&f.template, "chat-template", "", "take the chat template in `FILE` (default the tokenizer's)")
	flags.IntVar(&f.length, "max-model-len", 0, fmt.Sprintf("`N` tokens of prompt and answer together at most (default %d, or as many as the model has positions for)", defaultModelLen))
	flags.IntVar(&f.slots, "max-num-seqs", 8, "generate `N` answers side by side; each has memory for --max-model-len tokens")
	flags.IntVar(&f.queue, "max-queue", 256, "let `N` answers wait, refuse more")
	flags.IntVar(&f.cache, "prefix-cache", 256, "keep the state of prompts for those that begin alike, in `MIB` of memory")
	flags.IntVar(&f.chunk, "chunk", 256, "take prompts in chunks of at most `N` tokens")
	flags.Int64Var(&l.BodyBytes, "max-body-bytes", l.BodyBytes, "refuse bodies of more than `N` bytes")
	flags.IntVar(&l.PromptTokens, "max-prompt-tokens", l.PromptTokens, "refuse prompts of more than `N` tokens; 0 leaves it to --max-model-len")
	flags.IntVar(&l.AnswerTokens, "max-tokens", l.AnswerTokens, "refuse to generate more than `N` tokens an answer; 0 leaves it to --max-model-len")
	flags.IntVar(&l.Choices, "max-n", l.Choices, "refuse more than `N` answers to a request: prompts times n")
	flags.IntVar(&l.Stops, "max-stops", l.Stops, "refuse more than `N` stop strings")
	flags.DurationVar(&l.Header, "header-timeout", l.Header, "`TIME` for a request's header")
	flags.DurationVar(&l.Body, "body-timeout", l.Body, "`TIME` for a request's body")
	flags.DurationVar(&l.Request, "request-timeout", l.Request, "`TIME` from then on, waiting included")
	flags.DurationVar(&l.Write, "write-timeout", l.Write, "`TIME` for a client to take an event, or 64 KiB, of its answer")
	flags.DurationVar(&l.Idle, "idle-timeout", l.Idle, "`TIME` for which a connection is kept without a request")
	flags.DurationVar(&l.Drain, "drain-timeout", l.Drain, "`TIME` for running requests to end when the server does")
	flags.StringVar(&f.level, "log-level", "info", "what the error stream is told: `LEVEL` debug, info (each answer), warn, error")
	f.add(flags, "bf16")
	return c
}

func (f *serveFlags) validate() error {
	for _, x := range []struct {
		name                string
		value, least, limit int
	}{
		{"port", f.port, 0, 65535}, {"max-model-len", f.length, 0, 1 << 30}, {"max-num-seqs", f.slots, 1, 1 << 16}, {"max-queue", f.queue, 0, 1 << 30},
		{"prefix-cache", f.cache, 0, 1 << 30}, {"chunk", f.chunk, 1, 1 << 30}, {"max-n", f.limits.Choices, 1, 1 << 30},
		{"max-prompt-tokens", f.limits.PromptTokens, 0, 1 << 30}, {"max-tokens", f.limits.AnswerTokens, 0, 1 << 30}, {"max-stops", f.limits.Stops, 0, 1 << 30},
	} {
		if x.value < x.least || x.value > x.limit {
			return fmt.Errorf("--%s is %d, want %d to %d", x.name, x.value, x.least, x.limit)
		}
	}
	if f.limits.BodyBytes < 1 {
		return fmt.Errorf("--max-body-bytes is %d, want 1 or more", f.limits.BodyBytes)
	}
	for _, x := range []struct {
		name        string
		time, least time.Duration
	}{
		{"header", f.limits.Header, 1}, {"body", f.limits.Body, 1}, {"request", f.limits.Request, 1}, {"write", f.limits.Write, 1}, {"idle", f.limits.Idle, 1},
		{"drain", f.limits.Drain, 0},
	} {
		if x.time < x.least {
			return fmt.Errorf("--%s-timeout is %v, want a time such as 30s", x.name, x.time)
		}
	}
	if slices.Contains(f.names, "") {
		return errors.New("--served-model-name is empty, want a name")
	}
	return f.machineFlags.validate()
}

func (f *serveFlags) serve(c *cobra.Command, dir string) (err error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.level)); err != nil {
		return fmt.Errorf("--log-level is %q, want debug, info, warn or error", f.level)
	}
	m, err := openModel(dir, layers.AsStored, f.machineFlags)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	served, err := f.model(m, dir)
	if err != nil {
		return err
	}
	e, err := infer.New(m.Decoder, m.weights, m.machine, infer.Config{Rows: f.slots, Capacity: served.Length, Chunk: f.chunk})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	g, err := scheduler.New(e, scheduler.Config{Queue: f.queue, CacheBytes: int64(f.cache) << 20})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close(context.WithoutCancel(c.Context()))) }() // the server has drained it
	log := slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
	s, err := server.New(server.Config{Limits: f.limits, Key: cmp.Or(f.key, os.Getenv(keyVariable)), Log: log}, *served, g)
	if err != nil {
		return err
	}
	log.Info("warming up", "slots", f.slots, "tokens", served.Length, "weights_bytes", m.weights.Bytes(), "state_bytes", e.StateBytes())
	if err := warm(c.Context(), g, served.Length); err != nil {
		return err
	}
	var l net.Listener
	l, err = new(net.ListenConfig).Listen(c.Context(), "tcp", net.JoinHostPort(f.host, strconv.Itoa(f.port)))
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c.OutOrStdout(), "serving %s at http://%s\n", served.Names[0], l.Addr()); err != nil {
		return errors.Join(err, l.Close())
	}
	if a, ok := l.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() && cmp.Or(f.key, os.Getenv(keyVariable)) == "" {
		log.Warn("other machines can reach this server, and it wants no key", "address", l.Addr().String())
	}
	if err := notifySystemd("READY=1"); err != nil {
		log.Warn("systemd was not told", "error", err)
	}
	context.AfterFunc(c.Context(), func() {
		if err := notifySystemd("STOPPING=1"); err != nil {
			log.Warn("systemd was not told", "error", err)
		}
	})
	return s.Serve(c.Context(), l)
}

// model is what the server must know of the model.
func (f *serveFlags) model(m *model, dir string) (*server.Model, error) {
	t, err := (&generateFlags{tokenizer: f.tokenizer}).modelTokenizer(dir, m.Config.VocabSize)
	if err != nil {
		return nil, err
	}
	s := &server.Model{Names: f.names, Tokens: t, Vocab: m.Config.VocabSize, Length: f.length, Created: time.Now()}
	if len(s.Names) == 0 {
		whole, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		s.Names = []string{filepath.Base(whole)}
	}
	switch most := m.Config.MaxPositions; {
	case s.Length == 0:
		s.Length = min(defaultModelLen, most)
	case s.Length > most:
		return nil, fmt.Errorf("--max-model-len is %d, but the model has %d positions (max_position_embeddings)", s.Length, most)
	}
	for _, id := range m.Config.EOS {
		s.End = append(s.End, int32(id))
	}
	settings := &tokenizer.Config{}
	if beside := cmp.Or(f.tokenizer, dir); beside != "bytes" {
		if strings.HasSuffix(beside, ".json") {
			beside = filepath.Dir(beside)
		}
		if settings, err = tokenizer.LoadConfig(beside); err != nil {
			return nil, err
		}
	}
	if id, ok := t.ID(settings.EOS); ok && !slices.Contains(s.End, id) {
		s.End = append(s.End, id)
	}
	if f.template != "" {
		source, err := os.ReadFile(f.template)
		if err != nil {
			return nil, fmt.Errorf("--chat-template: %w", err)
		}
		settings.ChatTemplate = string(source)
	}
	if settings.ChatTemplate == "" && f.template == "" {
		return s, nil
	}
	s.Chat, err = chat.New(settings.ChatTemplate, map[string]string{"bos_token": settings.BOS, "eos_token": settings.EOS, "pad_token": settings.PAD})
	if err != nil {
		return nil, fmt.Errorf("chat template of %s: %w", cmp.Or(f.template, f.tokenizer, dir), err)
	}
	return s, nil
}

// warm has the model's programs compiled before the first client waits for them.
func warm(ctx context.Context, g *scheduler.Scheduler, length int) error {
	_, _, err := g.Generate(ctx, scheduler.Request{Prompt: []int32{0}, MaxTokens: min(2, length-1), Sampling: sampling.Default(), LogProbs: -1}, func(scheduler.Token) bool { return true })
	return err
}

// notifySystemd tells the service manager of a change (sd_notify), if there is one that wants to know.
func notifySystemd(state string) (err error) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if path[0] == '@' { // a name without a file
		path = "\x00" + path[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	_, err = conn.Write([]byte(state))
	return err
}
