package harness

import (
	"context"
	"fmt"
	"math"
	"path/filepath"

	"github.com/gojet/gojet/datasets/chat"
	"github.com/gojet/gojet/evals"
	"github.com/gojet/gojet/evals/metrics/python"
	"github.com/gojet/gojet/evals/prompt"
	"github.com/gojet/gojet/evals/records"
	"github.com/gojet/gojet/evals/suite"
)

// job is a task that can be run: its files are there, its templates, filters and metrics are made.
type job struct {
	*suite.Task
	config   Config
	shots    int
	shape    prompt.Shape // of questions
	example  prompt.Shape
	describe *prompt.Template
	length   *prompt.Template
	where    *prompt.Template
	fields   []field
	chains   []chain
	measures []measure
	generate generation
	test     []string // files of the split that is evaluated
	examples []string // and of the one that examples come from, if there are any
	same     bool     // as this: an example may be the question itself
}

// field is what process_docs adds.
type field struct {
	name  string
	value *prompt.Template
}

// delimiters where a task gives none.
const (
	targetDelimiter = " "
	delimiter       = "\n\n"
)

// newJob makes the job of a task. It reads no data.
func newJob(ctx context.Context, t *suite.Task, c Config, enc evals.Encoder) (*job, error) {
	j := &job{Task: t, config: c, shots: shots(t, c)}
	if t.UnsafeCode && c.Runner == nil {
		return nil, fmt.Errorf("task %s runs what the model wrote: allow it by --allow-code-execution", t.Name)
	}
	if err := j.compile(); err != nil {
		return nil, fmt.Errorf("task %s: %s: %w", t.Name, t.Path, err)
	}
	if t.Generated != nil {
		if err := j.checkGenerated(ctx, enc); err != nil {
			return nil, fmt.Errorf("task %s: %w", t.Name, err)
		}
		return j, nil
	}
	if c.Data == "" {
		return nil, fmt.Errorf("task %s needs the data set %s: say by --data where the data sets are", t.Name, t.Repository)
	}
	var err error
	if j.test, err = records.Find(c.Data, j.split(t.Evaluated())); err != nil {
		return nil, fmt.Errorf("task %s: %w", t.Name, err)
	}
	if j.shots > 0 && len(t.Fewshot.Samples) == 0 {
		if j.examples = j.givenExamples(); j.examples == nil {
			if j.examples, err = records.Find(c.Data, j.split(t.ExampleSplit())); err != nil {
				return nil, fmt.Errorf("task %s: examples (num_fewshot %d): %w", t.Name, j.shots, err)
			}
		}
	}
	return j, nil
}

// shots is how many examples a task has: what it says, or what the run says unless the task says 0.
func shots(t *suite.Task, c Config) int {
	n := 0
	if t.NumFewshot != nil {
		n = *t.NumFewshot
	}
	if c.NumFewshot >= 0 && (t.NumFewshot == nil || n != 0) {
		n = c.NumFewshot
	}
	return n
}

// givenExamples is the file of examples that the user has for the task, if it is there.
func (j *job) givenExamples() []string {
	if j.Fewshot.File == "" || j.config.FewshotData == "" {
		return nil
	}
	path := filepath.Join(j.config.FewshotData, filepath.Base(j.Fewshot.File))
	if !exists(path) {
		return nil
	}
	return []string{path}
}

func (j *job) split(name string) records.Split {
	return records.Split{Repository: j.Repository, Configuration: j.Configuration, Name: name, Files: j.Files[name]}
}

func (j *job) compile() (err error) {
	if j.shape, err = shape(j.Format); err != nil {
		return err
	}
	if j.example, err = shape(j.Fewshot.Format.Over(j.Format)); err != nil {
		return fmt.Errorf("fewshot_config: %w", err)
	}
	templates := []struct {
		key    string
		source string
		to     **prompt.Template
	}{{"description", j.Description, &j.describe}, {"doc_to_length", j.DocToLength, &j.length}, {"process_docs: where", j.Process.Where, &j.where}}
	for _, t := range templates {
		if t.source == "" {
			continue
		}
		if *t.to, err = prompt.New(t.key, t.source); err != nil {
			return err
		}
	}
	for _, f := range j.Process.Fields {
		t, err := prompt.New("process_docs: fields: "+f.Name, f.Value)
		if err != nil {
			return err
		}
		j.fields = append(j.fields, field{f.Name, t})
	}
	if j.chains, err = chains(j.Filters); err != nil {
		return err
	}
	if j.generate, err = j.generation(); err != nil {
		return err
	}
	j.measures, err = measures(j.Task, j.config.Runner)
	return err
}

// shape parses the templates of a format.
func shape(f suite.Format) (s prompt.Shape, err error) {
	s.TargetDelimiter, s.Delimiter = targetDelimiter, delimiter
	if f.TargetDelimiter != nil {
		s.TargetDelimiter = *f.TargetDelimiter
	}
	if f.Delimiter != nil {
		s.Delimiter = *f.Delimiter
	}
	if s.Text, err = prompt.New("doc_to_text", f.Text); err != nil {
		return s, err
	}
	if s.Target, err = prompt.New("doc_to_target", f.Target); err != nil {
		return s, err
	}
	if s.Choice, err = prompt.New("doc_to_choice", f.Choice); err != nil || f.GenPrefix == nil {
		return s, err
	}
	s.GenPrefix, err = prompt.New("gen_prefix", *f.GenPrefix)
	return s, err
}

// load reads the documents of files and does to them what the task says.
func (j *job) load(ctx context.Context, files []string) ([]map[string]any, error) {
	docs, err := records.Read(ctx, files)
	if err != nil {
		return nil, err
	}
	return j.process(docs)
}

func (j *job) process(docs []map[string]any) ([]map[string]any, error) {
	if len(j.fields) == 0 && j.where == nil {
		return docs, nil
	}
	functions := map[string]chat.Function{"shuffled": shuffled(python.NewRandom(j.Process.Seed))}
	kept := docs[:0]
	for i, doc := range docs {
		for _, f := range j.fields {
			v, err := f.value.Call(doc, functions)
			if err != nil {
				return nil, fmt.Errorf("document %d: %w", i, err)
			}
			doc[f.name] = v
		}
		if j.where != nil {
			v, err := j.where.Value(doc)
			if err != nil {
				return nil, fmt.Errorf("document %d: %w", i, err)
			}
			if keep, ok := v.(bool); !ok {
				return nil, fmt.Errorf("document %d: process_docs: where is %v, want true or false", i, v)
			} else if !keep {
				continue
			}
		}
		kept = append(kept, doc)
	}
	if len(kept) == 0 {
		return nil, fmt.Errorf("process_docs: where keeps none of %d documents", len(docs))
	}
	return kept, nil
}

// shuffled is a function of templates: a list in the order that random.shuffle of Python gives it.
func shuffled(r *python.Random) chat.Function {
	return func(args []any) (any, error) {
		if len(args) != 1 {
			return nil, fmt.Errorf("shuffled takes a list, found %d values", len(args))
		}
		l, ok := args[0].([]any)
		if !ok {
			return nil, fmt.Errorf("shuffled takes a list, found %v", args[0])
		}
		r.Shuffle(len(l), func(i, k int) { l[i], l[k] = l[k], l[i] })
		return l, nil
	}
}

// sampler chooses the examples.
func (j *job) sampler(ctx context.Context, test []map[string]any) (prompt.Sampler, error) {
	docs := j.Fewshot.Samples
	if len(docs) == 0 {
		var err error
		if docs, err = j.load(ctx, j.examples); err != nil {
			return nil, fmt.Errorf("examples: %w", err)
		}
	}
	if len(j.Fewshot.Indices) > 0 {
		var chosen []map[string]any
		for _, i := range j.Fewshot.Indices {
			if i < 0 || i >= len(docs) {
				return nil, fmt.Errorf("fewshot_indices has %d, want numbers of %d documents", i, len(docs))
			}
			chosen = append(chosen, docs[i])
		}
		docs = chosen
	}
	if j.Fewshot.Sampler == suite.FirstN {
		return prompt.First(docs), nil
	}
	return prompt.NewDrawn(docs, j.config.Seed), nil
}

// limit is how many of n documents are evaluated.
func (c Config) limit(n int) int {
	switch {
	case c.Limit == 0:
		return n
	case c.Limit < 1:
		return min(n, int(math.Ceil(float64(n)*c.Limit)))
	}
	return min(n, int(c.Limit))
}

// generation is how answers are generated.
type generation struct {
	until       []string
	maxTokens   int
	temperature float64
	topP        float64
	topK        int
}

// defaultMaxTokens of an answer.
const defaultMaxTokens = 256

// generation reads generation_kwargs and what the run puts over them.
func (j *job) generation() (g generation, err error) {
	if j.Output != suite.Generate {
		return g, nil
	}
	o := &options{left: map[string]any{}}
	for _, from := range []suite.Options{j.Generation, j.config.Generation} {
		for key, v := range from {
			o.left[key] = v
		}
	}
	if v, given := o.take("until"); given {
		switch v := v.(type) {
		case string:
			g.until = []string{v}
		case []any:
			for _, s := range v {
				g.until = append(g.until, prompt.Spell(s))
			}
		default:
			o.fail("until is %v, want a list of texts", v)
		}
	} else {
		g.until = []string{j.shape.Delimiter}
	}
	g.maxTokens = room(j.Task)
	for _, key := range []string{"max_completion_tokens", "max_tokens", "max_new_tokens", "max_gen_toks"} { // the last one counts
		g.maxTokens = option(o, key, g.maxTokens)
	}
	g.temperature, g.topP = o.number("temperature", 0), o.number("top_p", 0)
	g.topK = option(o, "top_k", 0)
	if !option(o, "do_sample", g.temperature > 0) {
		g.temperature = 0
	} else if g.temperature == 0 {
		g.temperature = 1
	}
	switch {
	case g.maxTokens < 1:
		o.fail("max_gen_toks is %d, want 1 or more", g.maxTokens)
	case g.temperature < 0 || g.temperature > 100 || math.IsNaN(g.temperature):
		o.fail("temperature is %v, want 0 to 100", g.temperature)
	case g.topP < 0 || g.topP > 1 || math.IsNaN(g.topP):
		o.fail("top_p is %v, want 0 to 1", g.topP)
	case g.topK < 0:
		o.fail("top_k is %d, want 0 or more", g.topK)
	}
	if err := o.done(); err != nil {
		return g, fmt.Errorf("generation_kwargs: %w", err)
	}
	return g, nil
}

func (o *options) number(key string, otherwise float64) float64 {
	v, ok := o.take(key)
	switch n := v.(type) {
	case int:
		return float64(n)
	case float64:
		return n
	}
	if ok {
		o.fail("%s is %v, want a number", key, v)
	}
	return otherwise
}

// prompted is a request for an answer. Answers that are drawn differ in their seeds.
func (g generation) prompted(text string, seed uint64) evals.Prompted {
	p := evals.Prompted{Prompt: text, Until: g.until, MaxTokens: g.maxTokens, Temperature: g.temperature, TopP: g.topP, TopK: g.topK}
	if g.temperature > 0 {
		p.Seed = seed
	}
	return p
}
