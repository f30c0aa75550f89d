package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gojet/gojet/datasets"
	"github.com/gojet/gojet/datasets/source"
	"github.com/gojet/gojet/datasets/tokenizer"
	"github.com/gojet/gojet/recipes"
)

type dataFlags struct {
	spec      source.Spec
	tokenizer string
	heldOut   float64
	length    int
	sample    int
	cache     string
}

func newData() *cobra.Command {
	var f dataFlags
	c := &cobra.Command{
		Use:   "data [RECIPE [KEY=VALUE...] | --path PATH]",
		Short: "Look into training data: counts, lengths, samples",
		Long: `Look into training data: counts, lengths, samples.

The documents are those of a recipe, by its name or file, with values replaced as in gojet train; or those at --path. They are
tokenised if no cache has them yet. The sample shows documents as training sees them, what it does not learn (prompts of chats) in
[[double brackets]], or dimmed on a terminal.`,
		Example: `  gojet data --path corpus/ --tokenizer model/ --sample 2
  gojet data --path "logs/**/*.jsonl.zst" --held-out 0.01
  gojet data sft data.path=chats.jsonl`,
		RunE: func(c *cobra.Command, args []string) error {
			config, err := f.config(args)
			if err != nil {
				return err
			}
			return showData(c, config, f)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.spec.Path, "path", "", "a file, a directory, or a `PATTERN` such as data/**/*.jsonl")
	flags.StringVar(&f.spec.Format, "format", "", "`FORMAT` of the files at --path: text, jsonl, parquet or arrow (by their names if not given)")
	flags.StringSliceVar(&f.spec.Include, "include", nil, "`PATTERNS` of the files to take at --path, separated by commas")
	flags.StringVar(&f.tokenizer, "tokenizer", "bytes", "`PATH` of a tokenizer.json or of the folder that holds one, for --path; \"bytes\" is one token a byte")
	flags.Float64Var(&f.heldOut, "held-out", 0, "documents of --path kept from training: a fraction below 1, or a number")
	flags.IntVar(&f.length, "length", 0, "tokens in a row (that of the recipe's first stage, or 2048)")
	flags.IntVar(&f.sample, "sample", 0, "documents to show")
	flags.StringVar(&f.cache, "cache", "", "`DIRECTORY` of tokenised data (that of the recipe, or one for this user)")
	return c
}

// config is that of the recipe, or one for the flags alone.
func (f *dataFlags) config(args []string) (datasets.Config, error) {
	if f.length < 0 || f.sample < 0 {
		return datasets.Config{}, fmt.Errorf("--length is %d, --sample is %d, want neither below 0", f.length, f.sample)
	}
	c := datasets.Default()
	switch {
	case len(args) > 0 && f.spec.Path != "":
		return c, fmt.Errorf("found the recipe %q and --path %q, want one of them", args[0], f.spec.Path)
	case len(args) > 0:
		r, err := recipes.Load(args[0], args[1:]...)
		if err != nil {
			return c, err
		}
		if f.length == 0 && len(r.Stages) > 0 {
			f.length = r.Stages[0].Length
		}
		c = r.Data
	case f.spec.Path != "":
		c.Sources = []datasets.Source{{Spec: f.spec}}
		c.Tokenizer, c.HeldOut = f.tokenizer, f.heldOut
	default:
		return c, errors.New("want a recipe or --path (gojet data --help says more)")
	}
	if f.length == 0 {
		f.length = 2048
	}
	if f.cache != "" {
		c.Cache = f.cache
	}
	return c, nil
}

func showData(c *cobra.Command, config datasets.Config, f dataFlags) (err error) {
	last := time.Now()
	d, err := datasets.Open(c.Context(), config, datasets.Options{
		Notice: func(s string) { fmt.Fprintln(c.ErrOrStderr(), s) },
		Progress: func(p datasets.Progress) {
			if now := time.Now(); now.Sub(last) > 2*time.Second {
				last = now
				fmt.Fprintln(c.ErrOrStderr(), "tokenising", p)
			}
		},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	l, err := d.Train(datasets.Shape{Rows: 1, Length: f.length})
	if err != nil {
		return err
	}
	out := bufio.NewWriter(c.OutOrStdout())
	all, each := d.Stats()
	printCounts(out, all, each)
	printLengths(out, all)
	training, held := d.Split()
	rows := l.Steps()
	fmt.Fprintf(out, "\ntraining   %d documents, %d tokens: %d rows of %d, %.1f%% filled\n", training.Documents, training.Tokens, rows, f.length,
		100*float64(training.Tokens)/(float64(rows)*float64(f.length)))
	fmt.Fprintf(out, "held out   %d documents, %d tokens\n", held.Documents, held.Tokens)
	if f.sample > 0 {
		if err := printSample(out, d, l, f.sample, isTerminal(c.OutOrStdout())); err != nil {
			return errors.Join(out.Flush(), err)
		}
	}
	return out.Flush()
}

func printCounts(w io.Writer, all datasets.Stats, each []datasets.Stats) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "source\tdocuments\tempty\ttokens\tnot learned\tshortest\tmean\tlongest\tbytes/token")
	if len(each) > 1 {
		all.Name = "all"
		each = append(each, all)
	}
	for _, s := range each {
		mean := float64(s.Tokens) / float64(s.Documents)
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%.0f\t%d\t%.2f\n", s.Name, s.Documents, s.Empty, s.Tokens, s.Hidden, s.Shortest, mean, s.Longest, float64(s.Bytes)/float64(s.Tokens))
	}
	t.Flush()
}

// printLengths draws a bar for each range of lengths that some document has.
func printLengths(w io.Writer, s datasets.Stats) {
	const width = 40
	most := 0
	for _, n := range s.Lengths {
		most = max(most, n)
	}
	fmt.Fprintln(w, "\ntokens in a document")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, n := range s.Lengths {
		if n > 0 {
			bar := strings.Repeat("▇", int(math.Ceil(width*float64(n)/float64(most))))
			fmt.Fprintf(t, "%d to %d\t%d\t%s\n", 1<<i, 2<<i-1, n, bar)
		}
	}
	t.Flush()
}

// printSample shows the first documents of training.
func printSample(w io.Writer, d *datasets.Data, l *datasets.Loader, n int, terminal bool) error {
	tok := d.Tokenizer()
	if tok == nil {
		return errors.New("--sample: the recipe has no tokenizer to read its tokens with")
	}
	for step := 0; n > 0; step++ {
		b, err := l.Batch(step)
		if err != nil {
			return err
		}
		if b.Epoch > 0 {
			return nil
		}
		at := 0
		for doc := 0; doc < b.Docs && n > 0 && at < b.Tokens; doc++ {
			lo, hi := int(b.Cu[doc]), int(b.Cu[doc+1])
			fmt.Fprintf(w, "\n--- row %d, document %d, %d tokens\n", step, doc, hi-lo)
			fmt.Fprintln(w, decodeMarked(tok, b.IDs[lo:hi], b.Labels[lo:hi], terminal))
			at, n = hi, n-1
		}
	}
	return nil
}

// decodeMarked returns the text of a document with what is not learned marked. Nothing says whether the first token is; it
// goes with the second.
func decodeMarked(t tokenizer.Tokenizer, ids, labels []int32, terminal bool) string {
	before, after := "[[", "]]"
	if terminal {
		before, after = "\x1b[2m", "\x1b[0m"
	}
	hidden := func(i int) bool { return i > 0 && labels[i-1] == datasets.Ignored }
	var s strings.Builder
	for from := 0; from < len(ids); {
		masked := hidden(from)
		if from == 0 && len(ids) > 1 {
			masked = hidden(1)
		}
		to := from + 1
		for to < len(ids) && hidden(to) == masked {
			to++
		}
		text := t.Decode(ids[from:to])
		if masked {
			text = before + text + after
		}
		s.WriteString(text)
		from = to
	}
	return s.String()
}

// isTerminal reports whether somebody looks at what is written.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
