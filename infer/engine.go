// Package infer runs a decoder: prefill in chunks, then token by token, from state that it keeps for many sequences, each in a
// row of its own. Rows go on together, in runs that pack pieces of several prompts, and in steps of one token each.
//
// On the CPU a row's logits have the same bits alone and in any company: no kernel sums in an order that depends on other rows
// or on where a row stands. They depend on where the sequence was cut into calls, as linear blocks sum by chunks and attention
// by what is in its cache; Piece cuts at multiples of Config.Chunk, so that a prompt is always cut alike. Another Chunk changes
// the last bits, and so may a token that is fed alone after others and not with them. On a device, matrix products choose their
// ways by the size of a run, so that company may change the last bits, too.
package infer

import (
	"errors"
	"fmt"
	"slices"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/kernels/embedding"
	"github.com/gojet/gojet/kernels/sampling"
	"github.com/gojet/gojet/layers"
)

// Config sizes an engine.
type Config struct {
	// Rows is how many sequences can be continued side by side; 0 means 1.
	Rows int
	// Capacity is the most tokens that a sequence may have, prompt and answer together.
	Capacity int
	// Chunk is how many tokens are taken at a time of prompts, of one or of several. Memory grows with it, not with the
	// prompts. A prompt is cut at the multiples of Chunk, whatever runs beside it.
	Chunk int
	// AllLogits makes Feed and FeedRow return the logits of every token fed, not of the last alone.
	AllLogits bool
}

// Validate reports sizes that cannot be.
func (c Config) Validate() error {
	if c.Capacity < 1 || c.Chunk < 1 || c.Rows < 0 {
		return fmt.Errorf("infer: rows %d, capacity %d, chunk %d; want 1 or more of each", c.Rows, c.Capacity, c.Chunk)
	}
	return nil
}

// Engine continues sequences, each in a row of state of its own. It is not safe for concurrent use.
type Engine struct {
	decoder *layers.Decoder
	weights layers.Weights // where the machine reads them
	given   layers.Weights
	machine *autograd.Machine
	config  Config

	states   []state
	kept     []autograd.Value // by row: logits that Restore brought, none where it brought none
	moved    []bool           // by row: its sequence is another than that of the last call of Advance
	programs programs
	consumed []int // tokens of each row
	all      []float32
	chooser  chooser
	judges   *sampling.Judge // of Score on a device, once it was called
	chosen   []int32         // the token chosen last of each row, which it has not consumed
	plan     advance         // of the call at hand
	one      [1]Part
	due      []Part
	tokens   []int32 // one for each of due
	next     []int32 // what the last call has chosen, none where it has not
}

// state is one state of a layer, of all rows.
type state struct {
	name  string
	value autograd.Value // [Rows, …]
	// width is the elements of a token, where there are some for each token of the sequence; 0 elsewhere.
	width int
}

// elements returns those of one row.
func (s *state) elements() int { return s.value.Len() / s.value.Shape[0] }

// New makes an engine with empty state.
func New(d *layers.Decoder, w layers.Weights, m *autograd.Machine, cfg Config) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Chunk, cfg.Rows = min(cfg.Chunk, cfg.Capacity), max(cfg.Rows, 1)
	e := &Engine{decoder: d, given: w, machine: m, config: cfg, consumed: make([]int, cfg.Rows), kept: make([]autograd.Value, cfg.Rows), moved: make([]bool, cfg.Rows)}
	var err error
	if e.weights, err = w.Place(m, nil); err != nil {
		return nil, err
	}
	for _, s := range d.States(cfg.Capacity) {
		v, err := m.Zeros(autograd.Float32, autograd.State, append([]int{cfg.Rows}, s.Shape...)...)
		if err != nil {
			return nil, err
		}
		held := state{name: s.Name, value: v}
		if s.PerToken {
			held.width = s.Size() / s.Shape[0]
		}
		e.states = append(e.states, held)
	}
	e.programs = newPrograms(m)
	e.chosen = slices.Repeat([]int32{none}, cfg.Rows)
	if m.Device == nil {
		e.chooser, err = newSamplers(cfg.Rows, e.Vocab())
	} else {
		e.chooser, err = newChoices(m, cfg.Rows, e.Vocab())
	}
	return e, err
}

// Close gives the memory of a device back. Snapshots are to be dropped before.
func (e *Engine) Close() error {
	err := e.programs.close()
	for _, s := range e.states {
		e.machine.Free(s.value)
	}
	for row := range e.kept {
		e.forget(row)
	}
	e.chooser.free()
	if e.judges != nil {
		e.judges.Free()
	}
	e.weights.Release(e.machine, e.given)
	e.states = nil
	return err
}

// Vocab returns how many logits a token has.
func (e *Engine) Vocab() int { return e.decoder.Config.VocabSize }

// Rows returns how many sequences the engine has room for.
func (e *Engine) Rows() int { return e.config.Rows }

// Capacity returns the most tokens that a sequence may have.
func (e *Engine) Capacity() int { return e.config.Capacity }

// Chunk returns how many tokens of prompts are taken at a time.
func (e *Engine) Chunk() int { return e.config.Chunk }

// Len returns how many tokens the sequence of row 0 has consumed.
func (e *Engine) Len() int { return e.consumed[0] }

// RowLen returns how many tokens the sequence of a row has consumed.
func (e *Engine) RowLen(row int) int { return e.consumed[row] }

// StateBytes returns the memory of the state of all rows.
func (e *Engine) StateBytes() int64 {
	var n int64
	for _, s := range e.states {
		n += s.value.Bytes()
	}
	return n
}

// StepBytes returns the bytes of state that a step of all rows moves, were the caches full: all is read, and recurrent states
// are written too.
func (e *Engine) StepBytes() int64 {
	n := e.StateBytes()
	for _, s := range e.states {
		if len(s.value.Shape) == 4 {
			n += s.value.Bytes()
		}
	}
	return n
}

// Reset forgets all sequences.
func (e *Engine) Reset() {
	for row := range e.consumed {
		e.ResetRow(row)
	}
}

// ResetRow forgets the sequence of one row.
func (e *Engine) ResetRow(row int) {
	for _, s := range e.states {
		if s.width == 0 { // what was kept for a token is read only once it has been written again
			e.machine.ClearRow(s.value, row)
		}
	}
	e.consumed[row], e.chosen[row] = 0, none
	e.forget(row)
}

// forget drops the logits that were at hand for a row.
func (e *Engine) forget(row int) {
	e.machine.Free(e.kept[row])
	e.kept[row], e.moved[row] = autograd.Value{}, true
}

// Feed is FeedRow for row 0.
func (e *Engine) Feed(ids []int32) ([]float32, error) { return e.FeedRow(0, ids) }

// FeedRow consumes tokens of one row's sequence and returns the logits after the last of them, [Vocab], or with AllLogits
// after each, [len(ids), Vocab]. They are valid until the next call.
func (e *Engine) FeedRow(row int, ids []int32) ([]float32, error) {
	if !e.config.AllLogits {
		if err := e.feed(row, ids, Part{Asked: 1}); err != nil {
			return nil, err
		}
		return e.Logits(0)
	}
	e.all = e.all[:0]
	if err := e.feedable(row, ids); err != nil {
		return nil, err
	}
	for len(ids) > 0 {
		n := e.Piece(row, len(ids))
		if err := e.advanceOne(Part{Row: row, IDs: ids[:n], Asked: n}); err != nil {
			return nil, err
		}
		logits, err := e.Logits(0)
		if err != nil {
			return nil, err
		}
		e.all = append(e.all, logits...)
		ids = ids[n:]
	}
	return e.all, nil
}

// feed consumes tokens of one row's sequence, the last piece of them as `last` says.
func (e *Engine) feed(row int, ids []int32, last Part) error {
	if err := e.feedable(row, ids); err != nil {
		return err
	}
	for n := e.Piece(row, len(ids)); n < len(ids); n = e.Piece(row, len(ids)) {
		if err := e.advanceOne(Part{Row: row, IDs: ids[:n]}); err != nil {
			return err
		}
		ids = ids[n:]
	}
	last.Row, last.IDs = row, ids
	return e.advanceOne(last)
}

func (e *Engine) advanceOne(p Part) error {
	e.one[0] = p
	_, err := e.Advance(e.one[:])
	return err
}

// feedable reports tokens that a row cannot consume.
func (e *Engine) feedable(row int, ids []int32) error {
	if len(ids) == 0 {
		return errors.New("infer: no tokens to feed, want at least one")
	}
	return e.fits(row, ids, len(ids))
}

// Step consumes one token of each of the rows given, and returns the logits after them, [len(rows), Vocab]. They are valid
// until the next call.
func (e *Engine) Step(rows []int, ids []int32) ([]float32, error) {
	if len(rows) == 0 || len(rows) != len(ids) {
		return nil, fmt.Errorf("infer: a step of %d rows and %d tokens, want as many of both, at least one", len(rows), len(ids))
	}
	e.due = e.due[:0]
	for i, row := range rows {
		e.due = append(e.due, Part{Row: row, IDs: ids[i : i+1], Asked: 1})
	}
	if _, err := e.Advance(e.due); err != nil {
		return nil, err
	}
	return e.logits(e.plan.places[0].program, 0, len(rows))
}

// fits reports a row that is not there, a sequence that would grow too long, or a token that is none.
func (e *Engine) fits(row int, ids []int32, n int) error {
	if row < 0 || row >= e.config.Rows {
		return fmt.Errorf("infer: row %d, want 0 to %d", row, e.config.Rows-1)
	}
	if e.consumed[row]+n > e.config.Capacity {
		return fmt.Errorf("infer: %d tokens after %d exceed the capacity of %d", n, e.consumed[row], e.config.Capacity)
	}
	return embedding.Check(ids, e.Vocab())
}
