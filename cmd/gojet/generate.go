package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/gojet/gojet/datasets/tokenizer"
	"github.com/gojet/gojet/infer"
	"github.com/gojet/gojet/infer/sampling"
	"github.com/gojet/gojet/layers"
)

// defaultMaxTokens of an answer, where the model has the positions.
const defaultMaxTokens = 256

type generateFlags struct {
	prompt    string
	maxTokens int
	sampling  sampling.Config
	stops     []string
	tokenizer string
	chunk     int
	ids       bool
	ignoreEOS bool
	stats     bool
	machineFlags
}

func newGenerate() *cobra.Command {
	f := generateFlags{sampling: sampling.Default()}
	c := &cobra.Command{
		Use:   "generate MODEL_DIR [PROMPT | -]",
		Short: "Continue a prompt",
		Long: `Continue a prompt.

The prompt is the second argument, the value of --prompt, or with - the whole standard input, its last newline included.
The answer is written as it comes, then a newline. It ends at an end-of-text token of the model, before a stop string, or
after --max-tokens. Without --temperature each token is the most likely one.`,
		Example: `  gojet generate model/ "The capital of France is"
  gojet generate model/ - --temperature 0.7 --top-p 0.9 --stop $'\n\n' < prompt
  gojet generate model/ --ids "1 2 3" --max-tokens 5`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.validate(c); err != nil {
				return err
			}
			prompt, err := f.promptText(c, args[1:])
			if err != nil {
				return err
			}
			return f.generate(c, args[0], prompt)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.prompt, "prompt", "", "the prompt's `TEXT`")
	flags.IntVar(&f.maxTokens, "max-tokens", 0, fmt.Sprintf("end the answer after `N` tokens (default %d, or as many as the model has positions for)", defaultMaxTokens))
	flags.Float64Var(&f.sampling.Temperature, "temperature", f.sampling.Temperature, "draw tokens with logits divided by `T`; 0 takes the most likely one")
	flags.IntVar(&f.sampling.TopK, "top-k", f.sampling.TopK, "draw from the `K` most likely tokens; 0 is all of them")
	flags.Float64Var(&f.sampling.TopP, "top-p", f.sampling.TopP, "draw from the most likely tokens whose probabilities reach `P`")
	flags.Float64Var(&f.sampling.MinP, "min-p", f.sampling.MinP, "draw from the tokens that have at least the share `P` of the likeliest one's probability")
	flags.Float64Var(&f.sampling.RepetitionPenalty, "repetition-penalty", f.sampling.RepetitionPenalty, "make tokens of prompt and answer less likely by the factor `X`")
	flags.Uint64Var(&f.sampling.Seed, "seed", f.sampling.Seed, "what the draws begin from")
	flags.StringArrayVar(&f.stops, "stop", nil, "end the answer before this `TEXT`; may be repeated")
	flags.StringVar(&f.tokenizer, "tokenizer", "", "`PATH` of a tokenizer.json or of the folder that holds one; \"bytes\" is one token a byte (default MODEL_DIR)")
	flags.IntVar(&f.chunk, "chunk", 256, "take the prompt in chunks of at most `N` tokens")
	flags.BoolVar(&f.ids, "ids", false, "read and write token ids, with blanks or commas between, in place of text")
	flags.BoolVar(&f.ignoreEOS, "ignore-eos", false, "go on after the model's end-of-text tokens")
	f.add(flags, "bf16")
	flags.BoolVar(&f.stats, "stats", false, "write tokens per second and memory to the error stream")
	c.MarkFlagsMutuallyExclusive("ids", "stop")
	c.MarkFlagsMutuallyExclusive("ids", "tokenizer")
	return c
}

func (f *generateFlags) validate(c *cobra.Command) error {
	if err := f.sampling.Validate(); err != nil {
		return fmt.Errorf("--%w", err) // which begins with the flag's name
	}
	if c.Flags().Changed("max-tokens") && f.maxTokens < 1 {
		return fmt.Errorf("--max-tokens is %d, want 1 or more", f.maxTokens)
	}
	if f.chunk < 1 {
		return fmt.Errorf("--chunk is %d, want 1 or more", f.chunk)
	}
	return f.machineFlags.validate()
}

func (f *generateFlags) promptText(c *cobra.Command, args []string) (string, error) {
	byFlag := c.Flags().Changed("prompt")
	switch {
	case len(args) > 0 && byFlag:
		return "", errors.New("the prompt comes twice: as an argument and by --prompt")
	case len(args) > 0 && args[0] == "-":
		all, err := io.ReadAll(c.InOrStdin())
		return string(all), err
	case len(args) > 0:
		return args[0], nil
	case byFlag:
		return f.prompt, nil
	}
	return "", errors.New("there is no prompt: give it as the second argument, by --prompt, or - to read the standard input")
}

func (f *generateFlags) generate(c *cobra.Command, dir, prompt string) (err error) {
	stops, err := sampling.NewStops(f.stops)
	if err != nil {
		return fmt.Errorf("--stop: %w", err)
	}
	m, err := openModel(dir, layers.AsStored, f.machineFlags)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	a := &answer{out: c.OutOrStdout()}
	if !f.ids {
		t, err := f.modelTokenizer(dir, m.Config.VocabSize)
		if err != nil {
			return err
		}
		a.tokens, a.text, a.stops = t, tokenizer.NewDecoder(t), stops.Stream()
	}
	r, err := f.request(m, a, prompt)
	if err != nil {
		return err
	}
	// Chunks of even length: the last one costs as much as the others, however short.
	chunks := (len(r.Prompt)-1)/f.chunk + 1
	e, err := infer.New(m.Decoder, m.weights, m.machine, infer.Config{
		Capacity: len(r.Prompt) + r.MaxTokens, Chunk: (len(r.Prompt)-1)/chunks + 1,
	})
	if err != nil {
		return err
	}
	a.begun = time.Now()
	_, err = infer.Generate(c.Context(), e, r)
	a.ended = time.Now()
	if err != nil && a.count == 0 {
		return err
	}
	err = errors.Join(err, a.finish())
	if f.stats {
		err = errors.Join(err, a.stats(c.ErrOrStderr(), len(r.Prompt), e.StateBytes(), m.weights.Bytes()))
	}
	return err
}

// modelTokenizer is the one asked for, or the model's own, if the model has a row for each of its tokens.
func (f *generateFlags) modelTokenizer(dir string, vocab int) (tokenizer.Tokenizer, error) {
	t, err := openTokenizer(cmp.Or(f.tokenizer, dir))
	if f.tokenizer == "" && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s holds no tokenizer.json: name one by --tokenizer, or use --ids", dir)
	}
	if err != nil {
		return nil, err
	}
	if checked, ok := t.(interface{ CheckVocab(rows int) error }); ok {
		return t, checked.CheckVocab(vocab)
	}
	if t.VocabSize() > vocab {
		return nil, fmt.Errorf("the tokenizer %q has %d tokens, but the model's embedding %d rows", f.tokenizer, t.VocabSize(), vocab)
	}
	return t, nil
}

func (f *generateFlags) request(m *model, a *answer, prompt string) (infer.Request, error) {
	r := infer.Request{MaxTokens: f.maxTokens, Sampling: f.sampling, Token: a.token}
	var err error
	if a.tokens != nil {
		r.Prompt = a.tokens.Encode(prompt)
	} else if r.Prompt, err = parseIDs(prompt); err != nil {
		return r, err
	}
	if len(r.Prompt) == 0 {
		return r, errors.New("the prompt is empty, want at least one token")
	}
	room := m.Config.MaxPositions - len(r.Prompt)
	if room < 1 || r.MaxTokens > room {
		return r, fmt.Errorf("a prompt of %d tokens and an answer of up to %d exceed the model's %d positions (max_position_embeddings)",
			len(r.Prompt), max(1, r.MaxTokens), m.Config.MaxPositions)
	}
	if r.MaxTokens == 0 {
		r.MaxTokens = min(room, defaultMaxTokens)
	}
	if !f.ignoreEOS {
		for _, id := range m.Config.EOS {
			r.End = append(r.End, int32(id))
		}
	}
	return r, nil
}

// answer writes tokens as they come: as text, or without a tokenizer as ids.
type answer struct {
	out    io.Writer
	tokens tokenizer.Tokenizer
	text   *tokenizer.Decoder
	stops  *sampling.StopStream

	buffer  []byte
	stopped bool // by a stop string
	count   int
	broken  error // what out said

	begun, first, ended time.Time
}

// token takes the next one and tells whether the answer may go on.
func (a *answer) token(id int32) bool {
	if a.count++; a.count == 1 {
		a.first = time.Now()
	}
	a.buffer = a.buffer[:0]
	if a.tokens != nil {
		a.buffer, a.stopped = a.stops.Push(a.buffer, a.text.Push(id))
	} else {
		if a.count > 1 {
			a.buffer = append(a.buffer, ' ')
		}
		a.buffer = strconv.AppendInt(a.buffer, int64(id), 10)
	}
	a.write()
	return !a.stopped && a.broken == nil
}

func (a *answer) write() {
	if len(a.buffer) > 0 && a.broken == nil {
		_, a.broken = a.out.Write(a.buffer)
	}
}

// finish writes what was held back, and a newline.
func (a *answer) finish() error {
	a.buffer = a.buffer[:0]
	if a.tokens != nil && !a.stopped {
		a.buffer, a.stopped = a.stops.Push(a.buffer, a.text.Flush())
		a.buffer = a.stops.Flush(a.buffer)
	}
	a.buffer = append(a.buffer, '\n')
	a.write()
	return a.broken
}

// stats writes the speed of the prompt, up to the first token, and of the tokens after it.
func (a *answer) stats(out io.Writer, prompt int, state, weights int64) error {
	if a.count == 0 {
		a.first = a.ended
	}
	line := func(what string, n int, d time.Duration) error {
		speed := 0.0
		if n > 0 {
			speed = float64(n) / max(d.Seconds(), 1e-9)
		}
		_, err := fmt.Fprintf(out, "%s  %d tokens, %.3f s, %.1f tokens/s\n", what, n, d.Seconds(), speed)
		return err
	}
	err := errors.Join(line("prompt", prompt, a.first.Sub(a.begun)), line("decode", max(0, a.count-1), a.ended.Sub(a.first)))
	_, last := fmt.Fprintf(out, "state   %d bytes\nweights %d bytes\n", state, weights)
	return errors.Join(err, last)
}
