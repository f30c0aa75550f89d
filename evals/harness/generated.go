package harness

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gojet/gojet/evals"
	"github.com/gojet/gojet/evals/ruler"
	"github.com/gojet/gojet/evals/suite"
	"github.com/gojet/gojet/evals/tasks"
)

// generated makes the documents of a task that needs no data: Config.Samples of each of Config.Lengths, or of each cell of a grid.
func (j *job) generated(ctx context.Context, enc evals.Encoder) ([]map[string]any, error) {
	g, seed := j.Generated, uint64(j.config.Seed)
	if g.Grid != "" {
		grid := ruler.DefaultGrid(j.config.Lengths...)
		grid.Task, grid.Samples, grid.Seed = g.Grid, j.config.Samples, seed
		return documents(grid.Generate(ctx, enc))
	}
	var all []map[string]any
	for _, length := range j.config.Lengths {
		var docs []map[string]any
		var err error
		if g.Ruler != "" {
			docs, err = documents(ruler.Generate(ctx, ruler.Config{Task: g.Ruler, Length: length, Samples: j.config.Samples, Seed: seed}, enc))
		} else {
			docs, err = j.recall(length, seed)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, docs...)
	}
	return all, nil
}

func documents(samples []ruler.Sample, err error) ([]map[string]any, error) {
	docs := make([]map[string]any, len(samples))
	for i, s := range samples {
		docs[i] = s.Document()
	}
	return docs, err
}

// recallQueries is how many keys a document of recall asks for.
const recallQueries = 4

// recall makes documents with as many pairs of key and value as the length has room for. Each question is one document,
// behind the questions and answers before it.
func (j *job) recall(length int, seed uint64) ([]map[string]any, error) {
	tok := j.config.Tokenizer
	open := func(pairs int) (*tasks.Set, error) {
		return tasks.Open(tasks.Config{Kind: tasks.Recall, Pairs: pairs, Queries: recallQueries, Width: 3}, tasks.Materials{Tokenizer: tok})
	}
	size := func(pairs int) (int, error) {
		set, err := open(pairs)
		if err != nil {
			return 0, err
		}
		n := 0
		for _, t := range set.Item(seed, 0).Turns {
			n += len(t.Context) + len(t.Right())
		}
		return n, nil
	}
	few, err := size(recallQueries)
	if err != nil {
		return nil, err
	}
	more, err := size(5 * recallQueries)
	if err != nil {
		return nil, err
	}
	const spare = 0.97 // keys differ in how many tokens they have
	perPair := float64(more-few) / (4 * recallQueries)
	pairs := recallQueries + int((spare*float64(length)-float64(few))/perPair)
	if pairs < recallQueries {
		return nil, fmt.Errorf("a length of %d has room for %d pairs, want at least %d", length, max(0, pairs), recallQueries)
	}
	set, err := open(pairs)
	if err != nil {
		return nil, err
	}
	var docs []map[string]any
	for i := range (j.config.Samples + recallQueries - 1) / recallQueries {
		var context strings.Builder
		for _, t := range set.Item(seed, i).Turns {
			context.WriteString(tok.Decode(t.Context))
			answer := tok.Decode(t.Right())
			docs = append(docs, map[string]any{"input": context.String(), "answer": answer, "max_length": length, "pairs": pairs})
			context.WriteString(answer)
		}
	}
	return docs[:j.config.Samples], nil
}

// checkGenerated reports what a generated task lacks, before anything is made.
func (j *job) checkGenerated(ctx context.Context, enc evals.Encoder) error {
	g := j.Generated
	if enc == nil || g.Recall && j.config.Tokenizer == nil {
		return errors.New("its prompts are made by the length of their tokens, which needs the model's tokenizer")
	}
	for _, n := range j.config.Lengths {
		if n > enc.MaxLength() {
			return fmt.Errorf("lengths has %d, but the model reads %d tokens", n, enc.MaxLength())
		}
		name := g.Ruler + g.Grid // one of them
		if name == "" {
			continue
		}
		c := ruler.Config{Task: name, Length: n, Samples: j.config.Samples}
		if err := c.Validate(); err != nil {
			return err
		}
		c.Samples = 1 // does one fit at all?
		if _, err := ruler.Generate(ctx, c, enc); err != nil {
			return err
		}
	}
	return nil
}

// room is how many tokens the answer of a generated task takes, where the task does not say.
func room(t *suite.Task) int {
	if t.Generated == nil || t.Generated.Ruler+t.Generated.Grid == "" {
		return defaultMaxTokens
	}
	return ruler.Room(t.Generated.Ruler + t.Generated.Grid)
}
