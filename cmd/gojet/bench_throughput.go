package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/infer"
	"github.com/gojet/gojet/infer/throughput"
)

type throughputFlags struct {
	model, compare string
	lengths        []int
	batch          int
	answer         int
	chunk          int
	together       int
	fed            int
	rounds, warmup int
	sweep, fit     bool
	json           bool
	plot           string
	machineFlags
}

func newBenchThroughput() *cobra.Command {
	var f throughputFlags
	c := &cobra.Command{
		Use:   "throughput",
		Short: "Measure how fast a model takes prompts and answers them, by context length and batch",
		Long: fmt.Sprintf(`Measure how fast a model takes prompts and answers them, by context length and batch: prompt tokens and answer tokens a second,
the time to the first token, the peak of memory, and what a sequence's cache takes. docs/throughput.md says how each is measured.

--model is a folder with weights, a config.json alone, or a published shape, both with random weights: %s.

A round begins with empty state, takes the prompts and generates the answers; the first rounds warm up and do not count.
--sweep goes through the context lengths of the Jet-Nemotron paper with its batches and chunks, and --compare measures a second model
beside, with the speed-ups and those of the paper. On a GPU, --fit takes the largest batch that its memory holds, up to
--batch-size where that is given; the model of --compare always does, up to the batch of the first.`, strings.Join(slices.Sorted(maps.Keys(namedShapes())), ", ")),
		Example: `  gojet bench throughput --prompt-len 65536 --batch-size 128 --prefill-rows 2
  gojet bench throughput --model qwen2.5-0.5b --prompt-len 128 --batch-size 8 --device cpu
  gojet bench throughput --sweep --compare qwen3-1.7b --prefill-rows 2 --plot sweep.svg`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			plans, err := f.plans(c.Flags().Changed)
			if err != nil {
				return err
			}
			return f.run(c.Context(), c.OutOrStdout(), plans)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.model, "model", "jet-nemotron-2b", "measure `MODEL`: a folder, a config.json, or the name of a shape")
	flags.StringVar(&f.compare, "compare", "", "measure `MODEL` too, and divide the first one's speeds by its own")
	flags.IntSliceVar(&f.lengths, "prompt-len", nil, "prompts of `N` tokens; several, with commas between, are measured one after the other (default 65536, with --sweep the paper's)")
	flags.IntVar(&f.batch, "batch-size", 1, "`N` sequences side by side (with --sweep the paper's)")
	flags.IntVar(&f.answer, "max-new-tokens", 128, "answers of `N` tokens")
	flags.IntVar(&f.chunk, "prefill-chunk-size", 2048, "take `N` tokens of a prompt at a time (with --sweep the paper's)")
	flags.IntVar(&f.together, "prefill-batch", 0, "take the chunks of `N` prompts at the same time (default as many as make 2048 tokens, at least one)")
	flags.IntVar(&f.fed, "prefill-rows", 0, "only `N` of the sequences take a prompt, the others get copies of their state; 0 is none, and state of zeros (default all)")
	flags.IntVar(&f.rounds, "rounds", 10, "measure `N` rounds, those that warm up included")
	flags.IntVar(&f.warmup, "warmup", 3, "drop the first `N` rounds")
	flags.BoolVar(&f.sweep, "sweep", false, "go through the paper's context lengths, 4096 to 262144, or those of --prompt-len")
	flags.BoolVar(&f.fit, "fit", false, "find the largest batch that the GPU's memory holds")
	flags.BoolVar(&f.json, "json", false, "write JSON")
	flags.StringVar(&f.plot, "plot", "", "draw the speeds over the context length into `FILE`, .svg or .png")
	f.add(flags, "bf16")
	return c
}

// plans checks the flags and returns what they ask for. given tells which flags were set.
func (f *throughputFlags) plans(given func(string) bool) ([]batchPlan, error) {
	for _, size := range []struct {
		flag           string
		value, atLeast int
	}{{"batch-size", f.batch, 1}, {"max-new-tokens", f.answer, 2}, {"prefill-chunk-size", f.chunk, 1}, {"warmup", f.warmup, 0}, {"rounds", f.rounds, f.warmup + 1}} {
		if size.value < size.atLeast {
			return nil, fmt.Errorf("--%s is %d, want %d or more", size.flag, size.value, size.atLeast)
		}
	}
	if given("prefill-batch") && f.together < 1 {
		return nil, fmt.Errorf("--prefill-batch is %d, want 1 or more", f.together)
	}
	if given("prefill-rows") && f.fed < 0 {
		return nil, fmt.Errorf("--prefill-rows is %d, want 0 or more", f.fed)
	}
	if extension := filepath.Ext(f.plot); f.plot != "" && extension != ".svg" && extension != ".png" {
		return nil, fmt.Errorf("--plot is %q, want a name that ends in .svg or .png", f.plot)
	}
	if err := f.machineFlags.validate(); err != nil {
		return nil, err
	}
	lengths := f.lengths
	if len(lengths) == 0 {
		if lengths = []int{65536}; f.sweep {
			lengths = paperLengths()
		}
	}
	var plans []batchPlan
	for _, n := range lengths {
		const most = 1 << 24
		if n < 1 || n > most {
			return nil, fmt.Errorf("--prompt-len is %d, want 1 to %d", n, most)
		}
		p := batchPlan{Plan: throughput.Plan{Prompt: n, Batch: f.batch, Answer: f.answer, Chunk: f.chunk, Together: f.together, Fed: f.fed}, most: mostRows}
		if !given("prefill-rows") {
			p.Fed = math.MaxInt // all
		}
		if row := paperSweep[n]; f.sweep && row.batch > 0 {
			if !given("batch-size") {
				p.Batch = row.batch
			}
			if !given("prefill-chunk-size") {
				p.Chunk = row.chunk
			}
		}
		if given("batch-size") {
			p.most = f.batch
		}
		p.Chunk = min(p.Chunk, n)
		plans = append(plans, p)
	}
	return plans, nil
}

// batchPlan is a measurement, or the search for the largest batch that can be measured.
type batchPlan struct {
	throughput.Plan
	most int // sequences, where the largest batch is looked for
}

// run measures, prints and draws.
func (f *throughputFlags) run(ctx context.Context, out io.Writer, plans []batchPlan) (err error) {
	machine, err := f.open()
	if err != nil {
		return err
	}
	t := &measurement{flags: f, machine: machine}
	defer func() { err = errors.Join(err, t.machine.Close()) }()
	if f.fit && machine.Device == nil {
		return errors.New("--fit wants a GPU: what fits the memory of a CPU depends on what else runs")
	}
	r := throughputReport{Hardware: hardwareOf(machine.Device, "not asked for")}
	if r.Rows, err = t.measure(ctx, f.model, plans, nil); err != nil {
		return err
	}
	if f.compare != "" {
		if r.Compared, err = t.measure(ctx, f.compare, plans, r.Rows); err != nil {
			return err
		}
		r.Speedups = speedups(r.Rows, r.Compared)
	}
	if f.plot != "" {
		if err := r.plot(f.plot); err != nil {
			return err
		}
	}
	if err := r.write(out, f.json); err != nil {
		return err
	}
	if slices.ContainsFunc(slices.Concat(r.Rows, r.Compared), func(m throughputRow) bool { return m.Error != "" }) {
		return errors.New("some rows could not be measured")
	}
	return nil
}

// measurement is the measuring on its way.
type measurement struct {
	flags   *throughputFlags
	machine *autograd.Machine
	model   *benchModel
}

// measure measures one model by all plans. Where first is given, a device takes the largest batch of its own, up to first's.
func (t *measurement) measure(ctx context.Context, name string, plans []batchPlan, first []throughputRow) (rows []throughputRow, err error) {
	if t.model, err = openBenchModel(name, t.machine); err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, t.model.close())
		t.model = nil
	}()
	for i, p := range plans {
		if first != nil {
			p.Batch = first[i].Batch
		}
		row, err := t.point(ctx, p, first != nil)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			row.Error = oneLine(err.Error())
			if err := t.again(); err != nil {
				return nil, err
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// again opens a device and the model anew after a fault, such as too little memory.
func (t *measurement) again() error {
	if t.machine.Device == nil {
		return nil
	}
	err := errors.Join(t.model.close(), t.machine.Close())
	machine, failed := t.flags.open()
	if failed != nil {
		return errors.Join(err, failed)
	}
	t.machine = machine
	t.model, failed = openBenchModel(t.model.name, machine)
	return failed
}

// point measures one plan.
func (t *measurement) point(ctx context.Context, p batchPlan, second bool) (throughputRow, error) {
	if t.machine.Device != nil && (t.flags.fit || second) {
		if second {
			p.most = p.Batch
		}
		var err error
		if p.Batch, err = t.largest(ctx, p); err != nil {
			return t.row(p), err
		}
	}
	p.Plan = p.Settled()
	row := t.row(p)
	peak := peakMemory(t.machine)
	e, err := infer.New(t.model.Decoder, t.model.weights, t.machine, p.Config())
	if err != nil {
		return row, err
	}
	row.CacheBytes, row.CacheBytesComputed = e.StateBytes()/int64(p.Batch), t.model.cacheBytes(p.Prompt+p.Answer)
	err = t.rounds(ctx, e, p, &row)
	row.PeakBytes = peak()
	if err = errors.Join(err, e.Close()); err == nil && row.CacheBytes != row.CacheBytesComputed {
		err = fmt.Errorf("the cache of a sequence takes %d bytes, want %d, the sum over the states of its layers", row.CacheBytes, row.CacheBytesComputed)
	}
	return row, err
}

// row is a measurement before it is taken.
func (t *measurement) row(p batchPlan) throughputRow {
	return throughputRow{Model: t.model.name, Random: t.model.random, PromptLen: p.Prompt, Batch: p.Batch, MaxNewTokens: p.Answer, Chunk: p.Chunk,
		PrefillBatch: p.Together, PrefillRows: p.Fed, Rounds: t.flags.rounds, Warmup: t.flags.warmup, WeightBytes: t.model.weights.Bytes()}
}

// rounds takes all rounds and keeps the speeds of those that count.
func (t *measurement) rounds(ctx context.Context, e *infer.Engine, p batchPlan, row *throughputRow) error {
	speeds, err := throughput.Measure(ctx, e, p.Plan, t.flags.rounds, t.flags.warmup)
	if err != nil {
		return err
	}
	row.Prefill, row.FirstToken, row.Decode = spreadOf(speeds.Prefill), spreadOf(speeds.First), spreadOf(speeds.Decode)
	return nil
}
