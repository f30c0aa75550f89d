package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gojet/gojet/datasets/chat"
	"github.com/gojet/gojet/evals"
	"github.com/gojet/gojet/evals/endpoint"
	sandbox "github.com/gojet/gojet/evals/execute"
	"github.com/gojet/gojet/evals/harness"
	"github.com/gojet/gojet/evals/ruler"
	"github.com/gojet/gojet/evals/suite"
	"github.com/gojet/gojet/layers"
)

type evalFlags struct {
	model      string
	endpoint   endpoint.Config
	tokenizer  string
	tasks      []string
	data       string
	include    []string
	output     string
	list       bool
	maxLength  int
	chunk      int
	genKwargs  string
	chat       bool
	code       bool
	unconfined bool
	run        harness.Config
	machineFlags
}

func newEval() *cobra.Command {
	f := evalFlags{run: harness.Defaults(), endpoint: endpoint.Default()}
	c := &cobra.Command{
		Use:   "eval {--model DIR | --endpoint URL} --tasks NAME,… [--data DIR]",
		Short: "Measure a model by the usual benchmarks",
		Long: `Measure a model by the usual benchmarks.

Tasks are named by their own names, by groups, by tags, or by patterns as mmlu_*; --list lists them. Prompts, examples and
scores are those of lm-evaluation-harness. The data are read from --data, where a data set lies as in its repository: in
DIR/OWNER/NAME, DIR/NAME, or as the hub's cache has it. The tasks ruler, needle and recall need no data: their prompts are made
at each of --lengths.

With --endpoint the model is behind an OpenAI-compatible server. --tokenizer names its tokenizer then; without one, tasks that
count tokens cannot be run. The key is that of the environment variable of --endpoint-key.

With --output the folder gets results.json, samples_TASK.jsonl with every document, and requests.jsonl with every answer of
the model: a run that was stopped goes on where it was when it is started again.`,
		Example: `  gojet eval --model model/ --tasks arc_easy,piqa --data data/
  gojet eval --model model/ --tasks mmlu --num-fewshot 5 --data data/ --output results/
  gojet eval --model model/ --tasks ruler,needle --lengths 4096,16384
  gojet eval --endpoint http://localhost:8000/v1 --tokenizer model/ --max-length 4096 --tasks gsm8k --data data/
  gojet eval --list`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			all, err := suite.Open(f.include...)
			if err != nil {
				return err
			}
			if f.list {
				return listTasks(c.OutOrStdout(), all)
			}
			if err := f.validate(); err != nil {
				return err
			}
			return f.eval(c, all)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.model, "model", "", "the model's `DIR`")
	flags.StringVar(&f.endpoint.URL, "endpoint", "", "ask the OpenAI-compatible server at `URL` in place of a model of --model")
	flags.StringVar(&f.endpoint.Model, "endpoint-model", "", "the model's `NAME` there (default the only one that it has)")
	flags.StringVar(&f.endpoint.KeyVariable, "endpoint-key", f.endpoint.KeyVariable, "the environment `VARIABLE` with the server's key")
	flags.BoolVar(&f.endpoint.Chat, "endpoint-chat", false, "ask for chat completions, which have no log-likelihoods")
	flags.IntVar(&f.endpoint.Concurrency, "endpoint-concurrency", f.endpoint.Concurrency, "ask `N` requests at a time")
	flags.StringSliceVar(&f.tasks, "tasks", nil, "`NAMES` of tasks, groups or tags, with commas between")
	flags.StringVar(&f.data, "data", "", "the `DIR` of the data sets")
	flags.StringSliceVar(&f.include, "include-path", nil, "also take the tasks of the files in `DIR`")
	flags.BoolVar(&f.list, "list", false, "list the tasks and do nothing else")
	flags.StringVar(&f.output, "output", "", "write results and samples into `DIR`, and go on from what is there")
	flags.IntSliceVar(&f.run.Lengths, "lengths", f.run.Lengths, "make prompts of `N` tokens, with commas between several, where they are made")
	flags.IntVar(&f.run.Samples, "samples", f.run.Samples, "make `N` prompts of each length")
	flags.IntVar(&f.run.NumFewshot, "num-fewshot", f.run.NumFewshot, "give `N` examples, except in tasks that say 0 (default what each task says)")
	flags.StringVar(&f.run.FewshotData, "fewshot-data", "", "`DIR` with files of examples that tasks may ask for")
	flags.Float64Var(&f.run.Limit, "limit", 0, "evaluate only the first `N` documents of each task, or below 1 that part of them")
	flags.IntVar(&f.run.BatchSize, "batch-size", f.run.BatchSize, "compute `N` requests at a time")
	flags.Int64Var(&f.run.Seed, "seed", f.run.Seed, "what the choice of examples begins from")
	flags.IntVar(&f.run.Bootstrap, "bootstrap-iters", f.run.Bootstrap, "draw documents `N` times for standard errors without a formula; 0 computes no standard errors")
	flags.StringVar(&f.genKwargs, "gen-kwargs", "", "generate with `SETTINGS` as max_gen_toks=64,temperature=0.7,do_sample=true")
	flags.IntVar(&f.maxLength, "max-length", 0, "give the model at most `N` tokens (default as many as it has positions)")
	flags.IntVar(&f.chunk, "chunk", 512, "take prompts in chunks of at most `N` tokens")
	flags.StringVar(&f.tokenizer, "tokenizer", "", "`PATH` of a tokenizer.json or of the folder that holds one; \"bytes\" is one token a byte (default the model's)")
	flags.BoolVar(&f.chat, "apply-chat-template", false, "write prompts as conversations, by the model's chat template")
	flags.BoolVar(&f.run.Multiturn, "fewshot-as-multiturn", f.run.Multiturn, "with a chat template, make every example a turn of its own")
	flags.StringVar(&f.run.SystemInstruction, "system-instruction", "", "put `TEXT` before every prompt")
	flags.BoolVar(&f.code, "allow-code-execution", false, "run programs that the model writes, confined and limited")
	flags.BoolVar(&f.unconfined, "allow-unconfined-code", false, "with --allow-code-execution, run them with limits alone where they cannot be confined")
	f.add(flags, "bf16")
	return c
}

func (f *evalFlags) validate() error {
	switch {
	case (f.model == "") == (f.endpoint.URL == ""):
		return errors.New("want one of --model, the model's folder, and --endpoint, the URL of a server")
	case f.endpoint.URL == "" && (f.endpoint.Chat || f.endpoint.Model != ""):
		return errors.New("--endpoint-chat and --endpoint-model go with --endpoint")
	case f.endpoint.URL != "" && f.chat:
		return errors.New("--apply-chat-template goes with --model; --endpoint-chat leaves the template to the server")
	case len(f.tasks) == 0:
		return errors.New("--tasks is missing, want names with commas between (--list lists them)")
	case f.chunk < 1:
		return fmt.Errorf("--chunk is %d, want 1 or more", f.chunk)
	case f.maxLength < 0:
		return fmt.Errorf("--max-length is %d, want 1 or more", f.maxLength)
	case f.unconfined && !f.code:
		return errors.New("--allow-unconfined-code goes with --allow-code-execution")
	}
	f.run.Data = f.data
	if err := f.run.Validate(); err != nil {
		return fmt.Errorf("--%w", err) // which begins with the flag's name
	}
	var err error
	if f.run.Generation, err = parseSettings(f.genKwargs); err != nil {
		return fmt.Errorf("--gen-kwargs: %w", err)
	}
	return f.machineFlags.validate()
}

// parseSettings reads key=value,key=value.
func parseSettings(text string) (suite.Options, error) {
	if text == "" {
		return nil, nil
	}
	o := suite.Options{}
	for part := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(part, "=")
		if key = strings.TrimSpace(key); !ok || key == "" {
			return nil, fmt.Errorf("%q, want key=value", part)
		}
		value = strings.TrimSpace(value)
		if i, err := strconv.Atoi(value); err == nil {
			o[key] = i
		} else if x, err := strconv.ParseFloat(value, 64); err == nil {
			o[key] = x
		} else if b, err := strconv.ParseBool(value); err == nil {
			o[key] = b
		} else {
			o[key] = value
		}
	}
	return o, nil
}

func (f *evalFlags) eval(c *cobra.Command, all *suite.Suite) (err error) {
	selected, err := all.Select(f.tasks)
	if err != nil {
		return err
	}
	if f.code {
		limits := sandbox.Default()
		limits.Unconfined = f.unconfined
		if f.run.Runner, err = sandbox.New(c.Context(), limits); err != nil {
			return err
		}
	}
	if f.chat {
		if f.run.Chat, err = chat.Load(f.model); err != nil {
			return fmt.Errorf("--apply-chat-template: %w", err)
		}
	}
	m, close, err := f.open(c.Context())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, close()) }()
	w := &evalWatcher{Progress: harness.NewProgress(c.ErrOrStderr())}
	h := &harness.Harness{Config: f.run, Model: m.Model, Watcher: w}
	if m.encoder != nil {
		h.Encoder, h.Config.Tokenizer = m.encoder, m.encoder.tokens
	}
	if f.output != "" {
		if err := f.keep(h, w); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, h.Store.Close()) }()
	}
	begun := time.Now()
	results, err := h.Run(c.Context(), selected)
	w.End()
	if err != nil {
		return err
	}
	if err := w.grids(c.OutOrStdout(), f.output); err != nil {
		return err
	}
	if w.output != nil {
		run := map[string]any{
			"model": m.name, "batch_size": f.run.BatchSize, "device": f.device, "precision": f.precision, "limit": f.run.Limit,
			"bootstrap_iters": f.run.Bootstrap, "gen_kwargs": f.run.Generation, "fewshot_seed": f.run.Seed,
			"apply_chat_template": f.chat, "seconds": time.Since(begun).Seconds(),
		}
		if err := errors.Join(w.output.Close(), w.output.Write(results.JSON(run))); err != nil {
			return err
		}
	}
	return results.Table(c.OutOrStdout())
}

// evaluated is a model of either kind. Without a tokenizer at hand the encoder is nil.
type evaluated struct {
	evals.Model
	encoder *evalEncoder
	name    string
}

// open opens the model, here or behind a server, and its tokenizer.
func (f *evalFlags) open(ctx context.Context) (m evaluated, close func() error, err error) {
	if f.endpoint.URL != "" {
		return f.connect(ctx)
	}
	local, err := openModel(f.model, layers.AsStored, f.machineFlags)
	if err != nil {
		return m, nil, err
	}
	t, err := (&generateFlags{tokenizer: f.tokenizer}).modelTokenizer(f.model, local.Config.VocabSize)
	if err == nil {
		var e *evalModel
		if e, err = newEvalModel(local, t, cmp.Or(f.tokenizer, f.model), f.maxLength, f.run.BatchSize, f.chunk); err == nil {
			return evaluated{e, e.evalEncoder, filepath.Base(f.model)}, e.Close, nil
		}
	}
	return m, nil, errors.Join(err, local.Close())
}

// serverLength is how many tokens the model of a server is taken to read, if nothing is said.
const serverLength = 4096

// connect finds the server's model.
func (f *evalFlags) connect(ctx context.Context) (m evaluated, close func() error, err error) {
	if f.tokenizer != "" {
		t, err := openTokenizer(f.tokenizer)
		if err != nil {
			return m, nil, err
		}
		// See package endpoint for the two tokens.
		if m.encoder, err = newEvalEncoder(t, f.tokenizer, cmp.Or(f.maxLength, serverLength)-2); err != nil {
			return m, nil, err
		}
	}
	server, err := endpoint.New(ctx, f.endpoint)
	if err != nil {
		return m, nil, err
	}
	m.Model, m.name = server, server.Name()
	return m, func() error { server.Close(); return nil }, nil
}

// keep opens the output folder and what is there of earlier runs.
func (f *evalFlags) keep(h *harness.Harness, w *evalWatcher) (err error) {
	if w.output, err = harness.NewOutput(f.output); err != nil {
		return err
	}
	name := strings.Join([]string{f.endpoint.URL, f.endpoint.Model, fmt.Sprint(f.endpoint.Chat), f.tokenizer}, "\x00")
	if f.model != "" {
		if name, err = fingerprint(f.model, f.tokenizer, f.device, f.precision); err != nil {
			return err
		}
	}
	h.Store, err = harness.OpenStore(w.output.Requests(), name)
	return err
}

// evalWatcher shows progress, writes samples, and keeps the scores of needles by length and depth.
type evalWatcher struct {
	*harness.Progress
	output  *harness.Output
	needles map[string][]ruler.Point
}

// Sample is harness.Watcher.
func (w *evalWatcher) Sample(task string, s harness.Sample) error {
	depth, deep := s.Doc["depth"].(float64)
	length, long := s.Doc["max_length"].(int)
	if score, ok := s.Value(); deep && long && ok && depth >= 0 {
		if w.needles == nil {
			w.needles = map[string][]ruler.Point{}
		}
		w.needles[task] = append(w.needles[task], ruler.Point{Length: length, Depth: depth, Score: score})
	}
	if w.output == nil {
		return nil
	}
	return w.output.Sample(task, s)
}

// grids writes the tables of needles at several depths, and with an output folder their pictures.
func (w *evalWatcher) grids(out io.Writer, folder string) error {
	for _, task := range slices.Sorted(maps.Keys(w.needles)) {
		g := ruler.NewGrid(w.needles[task])
		if len(g.Depths) > 20 { // needles anywhere, not in a grid
			continue
		}
		if _, err := fmt.Fprintf(out, "%s by depth and length\n%s\n", task, g.Table()); err != nil {
			return err
		}
		if folder == "" {
			continue
		}
		if err := g.Plot(filepath.Join(folder, "grid_"+task+".png"), task); err != nil {
			return err
		}
	}
	return nil
}

// listTasks writes the names of what there is.
func listTasks(out io.Writer, all *suite.Suite) error {
	for _, kind := range []struct {
		title string
		names []string
	}{{"groups", all.Groups()}, {"tags", all.Tags()}, {"tasks", all.Tasks()}} {
		if _, err := fmt.Fprintf(out, "%s\n  %s\n", kind.title, strings.Join(kind.names, "\n  ")); err != nil {
			return err
		}
	}
	return nil
}
