// Package throughput measures how fast an engine takes prompts and answers them: prompts in chunks, then answers of all sequences
// side by side, with the tokens chosen where the model runs.
package throughput

import (
	"context"
	"time"

	"github.com/gojet/gojet/infer"
)

// Plan is the prompts and answers of one measurement.
type Plan struct {
	Prompt   int // tokens of each prompt
	Batch    int // sequences
	Answer   int // tokens of each answer, the one after the prompt included
	Chunk    int // tokens of a prompt that are taken at a time
	Together int // prompts whose chunks are taken at the same time; 0 for as many as keep a machine busy
	// Fed is how many sequences consume a prompt; the others get copies of their state. With 0 all are taken to have consumed
	// one, from state of zeros.
	Fed int
}

// Pass is how many tokens of prompts, taken at a time, keep a machine busy.
const Pass = 2048

// Settled fills in what follows from the batch.
func (p Plan) Settled() Plan {
	if p.Together == 0 {
		p.Together = max(1, Pass/p.Chunk)
	}
	p.Fed = min(p.Fed, p.Batch)
	// What an engine takes at a time is no more than its capacity for one sequence.
	p.Together = max(1, min(p.Together, p.Fed, (p.Prompt+p.Answer)/p.Chunk))
	return p
}

// Config is of an engine for the plan.
func (p Plan) Config() infer.Config {
	return infer.Config{Rows: p.Batch, Capacity: p.Prompt + p.Answer, Chunk: p.Chunk * p.Together}
}

// Run continues the rows of an engine by a plan.
type Run struct {
	Plan
	engine *infer.Engine
	tokens []int32
	copied time.Duration // what copying state took
}

// Times are what one round took.
type Times struct {
	Prefill time.Duration // of all prompts, without copying state
	First   time.Duration // until the tokens after the first prompts
	Decode  time.Duration // of all tokens after the first of each answer
}

// shifts of the prompts of different sequences against each other.
const shifts = 97

// New prepares a plan that is settled on an engine of its configuration.
func New(e *infer.Engine, p Plan) *Run {
	r := &Run{Plan: p, engine: e, tokens: make([]int32, p.Prompt+shifts)}
	for i := range r.tokens {
		r.tokens[i] = int32(i*7919%e.Vocab()+e.Vocab()) % int32(e.Vocab())
	}
	return r
}

func (r *Run) ids(row int) []int32 { return r.tokens[row%shifts:][:r.Prompt] }

// Round is one measurement from empty state: prompts, then answers.
func (r *Run) Round(ctx context.Context) (Times, error) {
	r.engine.Reset()
	r.copied = 0
	var t Times
	begun := time.Now()
	for row := 0; row < r.Fed; row += r.Together {
		if err := r.prefill(ctx, row, min(row+r.Together, r.Fed)); err != nil {
			return t, err
		}
		if row == 0 {
			t.First = time.Since(begun) - r.copied
		}
	}
	t.Prefill = time.Since(begun) - r.copied
	if r.Fed == 0 {
		if err := r.assume(); err != nil {
			return t, err
		}
	}
	var err error
	t.Decode, err = r.decode(ctx, r.Answer-1)
	return t, err
}

// prefill feeds the prompts of the rows [lo, hi), chunk by chunk, chooses the tokens after them, and copies the state of each to the
// rows that have it from there.
func (r *Run) prefill(ctx context.Context, lo, hi int) error {
	var parts []infer.Part
	for at := 0; at < r.Prompt; at += r.Chunk {
		if err := ctx.Err(); err != nil {
			return err
		}
		end := min(at+r.Chunk, r.Prompt)
		parts = parts[:0]
		for row := lo; row < hi; row++ {
			parts = append(parts, infer.Part{Row: row, IDs: r.ids(row)[at:end], Choose: end == r.Prompt})
		}
		if _, err := r.engine.Advance(parts); err != nil {
			return err
		}
	}
	begun := time.Now()
	defer func() { r.copied += time.Since(begun) }()
	if lo+r.Fed >= r.Batch {
		return nil
	}
	held := make([]*infer.Snapshot, 0, hi-lo)
	defer func() {
		for _, s := range held {
			r.engine.Drop(s)
		}
	}()
	for row := lo; row < hi; row++ {
		s, err := r.engine.Snapshot(row, 0, true)
		if err != nil {
			return err
		}
		held = append(held, s)
	}
	for i, s := range held {
		for row := lo + i + r.Fed; row < r.Batch; row += r.Fed {
			if err := r.engine.Restore(row, s); err != nil {
				return err
			}
			if _, err := r.engine.Choose(row); err != nil {
				return err
			}
		}
	}
	return nil
}

// assume takes all rows as if they had consumed their prompts, and chooses a token for each.
func (r *Run) assume() error {
	for row := range r.Batch {
		if err := r.engine.Assume(row, r.Prompt-1); err != nil {
			return err
		}
		if _, err := r.engine.First(row, r.ids(row)[:1]); err != nil {
			return err
		}
	}
	return nil
}

// decode takes steps of all rows.
func (r *Run) decode(ctx context.Context, steps int) (time.Duration, error) {
	rows := make([]int, r.Batch)
	for i := range rows {
		rows[i] = i
	}
	begun := time.Now()
	for range steps {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if _, err := r.engine.Next(rows); err != nil {
			return 0, err
		}
	}
	return time.Since(begun), nil
}

// copies holds as many copies of states at once as a round does.
func (r *Run) copies() error {
	if r.Fed >= r.Batch {
		return nil
	}
	var held []*infer.Snapshot
	defer func() {
		for _, s := range held {
			r.engine.Drop(s)
		}
	}()
	for row := range min(r.Together, r.Fed) {
		s, err := r.engine.Snapshot(row, 0, false)
		if err != nil {
			return err
		}
		held = append(held, s)
	}
	return nil
}

// Probe takes one chunk of prompts, one step of all rows and the copies of state that a round holds: what a round needs of memory.
func (r *Run) Probe(ctx context.Context) error {
	var parts []infer.Part
	for row := range r.Together {
		parts = append(parts, infer.Part{Row: row, IDs: r.ids(row)[:r.Chunk], Choose: true})
	}
	if _, err := r.engine.Advance(parts); err != nil {
		return err
	}
	if err := r.assume(); err != nil {
		return err
	}
	if _, err := r.decode(ctx, 1); err != nil {
		return err
	}
	return r.copies()
}

// Speeds are of the rounds that count, one after the other.
type Speeds struct {
	Prefill []float64 // prompt tokens a second; none where no sequence consumes a prompt
	First   []float64 // seconds to the first token; likewise
	Decode  []float64 // answer tokens a second, after the first of each
}

// Measure takes so many rounds, of which the first ones warm up and do not count.
func Measure(ctx context.Context, e *infer.Engine, p Plan, rounds, warmup int) (Speeds, error) {
	r := New(e, p)
	var s Speeds
	for i := range rounds {
		t, err := r.Round(ctx)
		if err != nil {
			return s, err
		}
		if i < warmup {
			continue
		}
		if p.Fed > 0 {
			s.Prefill = append(s.Prefill, float64(p.Fed*p.Prompt)/t.Prefill.Seconds())
			s.First = append(s.First, t.First.Seconds())
		}
		s.Decode = append(s.Decode, float64(p.Batch*(p.Answer-1))/t.Decode.Seconds())
	}
	return s, nil
}
