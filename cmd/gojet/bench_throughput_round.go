package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/infer"
)

// batchPlan is the prompts and answers of one measurement.
type batchPlan struct {
	prompt   int // tokens of each prompt
	batch    int // sequences
	most     int // of them, where the largest batch is looked for
	answer   int // tokens of each answer, the one after the prompt included
	chunk    int // tokens of a prompt that are taken at a time
	together int // prompts whose chunks are taken at the same time
	// fed is how many sequences consume a prompt; the others get copies of their state. With 0 all are taken to have consumed
	// one, from state of zeros.
	fed int
}

func (p batchPlan) config() infer.Config {
	return infer.Config{Rows: p.batch, Capacity: p.prompt + p.answer, Chunk: p.chunk * p.together}
}

// batchRun continues the rows of an engine side by side.
type batchRun struct {
	batchPlan
	engine *infer.Engine
	tokens []int32
	copied time.Duration // what copying state took
}

// roundTimes are what one round took.
type roundTimes struct{ prefill, first, decode time.Duration }

// shifts of the prompts of different sequences against each other.
const shifts = 97

func newBatchRun(e *infer.Engine, p batchPlan) *batchRun {
	r := &batchRun{batchPlan: p, engine: e, tokens: make([]int32, p.prompt+shifts)}
	for i := range r.tokens {
		r.tokens[i] = int32(i*7919%e.Vocab()+e.Vocab()) % int32(e.Vocab())
	}
	return r
}

func (r *batchRun) ids(row int) []int32 { return r.tokens[row%shifts:][:r.prompt] }

// round is one measurement from empty state: prompts, then answers.
func (r *batchRun) round(ctx context.Context) (roundTimes, error) {
	r.engine.Reset()
	r.copied = 0
	var t roundTimes
	begun := time.Now()
	for row := 0; row < r.fed; row += r.together {
		if err := r.prefill(ctx, row, min(row+r.together, r.fed)); err != nil {
			return t, err
		}
		if row == 0 {
			t.first = time.Since(begun) - r.copied
		}
	}
	t.prefill = time.Since(begun) - r.copied
	if r.fed == 0 {
		if err := r.assume(); err != nil {
			return t, err
		}
	}
	var err error
	t.decode, err = r.decode(ctx)
	return t, err
}

// prefill feeds the prompts of the rows [lo, hi), chunk by chunk, chooses the tokens after them, and copies the state of each to the
// rows that have it from there.
func (r *batchRun) prefill(ctx context.Context, lo, hi int) error {
	var parts []infer.Part
	for at := 0; at < r.prompt; at += r.chunk {
		if err := ctx.Err(); err != nil {
			return err
		}
		end := min(at+r.chunk, r.prompt)
		parts = parts[:0]
		for row := lo; row < hi; row++ {
			parts = append(parts, infer.Part{Row: row, IDs: r.ids(row)[at:end], Choose: end == r.prompt})
		}
		if _, err := r.engine.Advance(parts); err != nil {
			return err
		}
	}
	begun := time.Now()
	defer func() { r.copied += time.Since(begun) }()
	if lo+r.fed >= r.batch {
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
		for row := lo + i + r.fed; row < r.batch; row += r.fed {
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
func (r *batchRun) assume() error {
	for row := range r.batch {
		if err := r.engine.Assume(row, r.prompt-1); err != nil {
			return err
		}
		if _, err := r.engine.First(row, r.ids(row)[:1]); err != nil {
			return err
		}
	}
	return nil
}

// decode takes the steps that remain after the first token of each answer.
func (r *batchRun) decode(ctx context.Context) (time.Duration, error) {
	rows := make([]int, r.batch)
	for i := range rows {
		rows[i] = i
	}
	begun := time.Now()
	for range r.answer - 1 {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if _, err := r.engine.Next(rows); err != nil {
			return 0, err
		}
	}
	return time.Since(begun), nil
}

// spread is a quantity over rounds.
type spread struct {
	Mean float64 `json:"mean"`
	SD   float64 `json:"sd"` // of a round from the mean; 0 where there is one
	Min  float64 `json:"min"`
	Max  float64 `json:"max"`
}

func spreadOf(v []float64) *spread {
	if len(v) == 0 {
		return nil
	}
	s := &spread{Min: math.Inf(1), Max: math.Inf(-1)}
	for _, x := range v {
		s.Mean += x / float64(len(v))
		s.Min, s.Max = min(s.Min, x), max(s.Max, x)
	}
	for _, x := range v {
		s.SD += (x - s.Mean) * (x - s.Mean)
	}
	if len(v) > 1 {
		s.SD = math.Sqrt(s.SD / float64(len(v)-1))
	} else {
		s.SD = 0
	}
	return s
}

// print is the mean with what it varies by.
func (s *spread) print() string {
	if s == nil {
		return "–"
	}
	return fmt.Sprintf("%.4g ± %.1f%%", s.Mean, 100*s.SD/s.Mean)
}

// peakMemory begins a new peak, and returns what reads it: the peak of the device's tensors, or of the process's resident memory, 0
// where the system does not tell. Where the system does not forget an old peak, it counts.
func peakMemory(m *autograd.Machine) func() int64 {
	if m.Device != nil {
		m.Device.ResetPeak()
		return func() int64 { return m.Device.Usage().Peak }
	}
	debug.FreeOSMemory()                                      // what an earlier model has left
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // not everywhere allowed
	return func() int64 {
		text, err := os.ReadFile("/proc/self/status")
		if err != nil {
			return 0
		}
		return residentPeak(text)
	}
}

// residentPeak reads it, in bytes, from a process's status.
func residentPeak(status []byte) int64 {
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmHWM:")); ok {
			n, err := strconv.ParseInt(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte("kB")))), 10, 64)
			if err == nil {
				return n << 10
			}
		}
	}
	return 0
}
