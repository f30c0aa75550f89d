// Package infer runs a decoder: prefill in chunks, then token by token, from state that it keeps.
package infer

import (
	"errors"
	"fmt"
	"slices"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/kernels/embedding"
	"github.com/gojet/gojet/kernels/packed"
	"github.com/gojet/gojet/layers"
)

// Config sizes an engine.
type Config struct {
	// Rows is how many sequences can be continued side by side; 0 means 1.
	Rows int
	// Capacity is the most tokens that a sequence may have, prompt and answer together.
	Capacity int
	// Chunk is how many tokens of a prompt are taken at a time. Memory grows with it, not with the prompt.
	Chunk int
	// AllLogits keeps the logits of every token fed, not of the last alone.
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

	state    map[string]autograd.Value // [Rows, …]
	programs map[size]*program
	consumed []int // tokens of each row
	all      []float32
	where    packed.Sequences // of the run at hand
	one      [1]int
	mixing   []autograd.Value // the state that a new sequence must find empty
	chooser  chooser
	chosen   []int32 // the token chosen last of each row, which it has not consumed
	due      []int32 // what Next consumes
	next     []int32 // and what it has chosen
}

// size of a run: tokens, in at most so many sequences.
type size struct{ tokens, sequences int }

// program is the model compiled for runs of one size.
type program struct {
	exec     *autograd.Executor
	logits   *autograd.Node
	located  *autograd.Node // where the sequences are
	ids, seq []int32
}

// New makes an engine with empty state.
func New(d *layers.Decoder, w layers.Weights, m *autograd.Machine, cfg Config) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Chunk, cfg.Rows = min(cfg.Chunk, cfg.Capacity), max(cfg.Rows, 1)
	e := &Engine{decoder: d, given: w, machine: m, config: cfg, state: map[string]autograd.Value{}, programs: map[size]*program{}, consumed: make([]int, cfg.Rows)}
	var err error
	if e.weights, err = w.Place(m, nil); err != nil {
		return nil, err
	}
	for _, s := range d.States(cfg.Capacity) {
		if e.state[s.Name], err = m.Zeros(autograd.Float32, autograd.State, append([]int{cfg.Rows}, s.Shape...)...); err != nil {
			return nil, err
		}
		if !s.PerToken { // what was kept for a token is read only once it has been written again
			e.mixing = append(e.mixing, e.state[s.Name])
		}
	}
	e.chosen = slices.Repeat([]int32{none}, cfg.Rows)
	if m.Device == nil {
		e.chooser, err = newSamplers(cfg.Rows, e.Vocab())
	} else {
		e.chooser, err = newChoices(m, cfg.Rows, e.Vocab())
	}
	return e, err
}

// Close gives the memory of a device back.
func (e *Engine) Close() error {
	var errs []error
	for _, p := range e.programs {
		errs = append(errs, p.exec.Close())
	}
	for _, v := range e.state {
		e.machine.Free(v)
	}
	e.chooser.free()
	e.weights.Release(e.machine, e.given)
	e.programs, e.state = nil, nil
	return errors.Join(errs...)
}

// Vocab returns how many logits a token has.
func (e *Engine) Vocab() int { return e.decoder.Config.VocabSize }

// Rows returns how many sequences the engine has room for.
func (e *Engine) Rows() int { return e.config.Rows }

// Len returns how many tokens the sequence of row 0 has consumed.
func (e *Engine) Len() int { return e.consumed[0] }

// StateBytes returns the memory of the state of all rows.
func (e *Engine) StateBytes() int64 {
	var n int64
	for _, v := range e.state {
		n += v.Bytes()
	}
	return n
}

// StepBytes returns the bytes of state that a step of all rows moves, were the caches full: all is read, and recurrent states
// are written too.
func (e *Engine) StepBytes() int64 {
	n := e.StateBytes()
	for _, v := range e.mixing {
		if len(v.Shape) == 4 {
			n += v.Bytes()
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
	for _, v := range e.mixing {
		e.machine.ClearRow(v, row)
	}
	e.consumed[row], e.chosen[row] = 0, none
}

// Feed is FeedRow for row 0.
func (e *Engine) Feed(ids []int32) ([]float32, error) { return e.FeedRow(0, ids) }

// FeedRow consumes tokens of one row's sequence and returns the logits after the last of them, [Vocab], or with AllLogits
// after each, [len(ids), Vocab]. They are valid until the next call.
func (e *Engine) FeedRow(row int, ids []int32) ([]float32, error) {
	if !e.config.AllLogits {
		p, _, err := e.feed(row, ids)
		if err != nil {
			return nil, err
		}
		return p.read()
	}
	e.all = e.all[:0]
	if err := e.feedable(row, ids); err != nil {
		return nil, err
	}
	for len(ids) > 0 {
		p, n, err := e.chunk(row, ids)
		if err != nil {
			return nil, err
		}
		logits, err := p.read()
		if err != nil {
			return nil, err
		}
		e.all = append(e.all, logits[:n*e.Vocab()]...)
		ids = ids[n:]
	}
	return e.all, nil
}

// feed consumes tokens of one row's sequence. It returns the program that ran last, and the tokens of that run.
func (e *Engine) feed(row int, ids []int32) (p *program, n int, err error) {
	if err := e.feedable(row, ids); err != nil {
		return nil, 0, err
	}
	for ; len(ids) > 0 && err == nil; ids = ids[n:] {
		p, n, err = e.chunk(row, ids)
	}
	return p, n, err
}

// feedable reports tokens that a row cannot consume.
func (e *Engine) feedable(row int, ids []int32) error {
	if len(ids) == 0 {
		return fmt.Errorf("infer: no tokens to feed, want at least one")
	}
	return e.fits(row, ids, len(ids))
}

// chunk consumes the first n of ids, as many as are taken at a time.
func (e *Engine) chunk(row int, ids []int32) (p *program, n int, err error) {
	n, e.one[0] = min(len(ids), e.config.Chunk), row
	z := size{e.config.Chunk, 1} // a shorter last chunk leaves the rest of its tokens outside the sequence
	if n == 1 {
		z.tokens = 1
	}
	p, err = e.run(z, e.one[:], ids[:n], n)
	return p, n, err
}

// Step consumes one token of each of the rows given, and returns the logits after them, [len(rows), Vocab]. They are valid
// until the next call.
func (e *Engine) Step(rows []int, ids []int32) ([]float32, error) {
	p, err := e.step(rows, ids)
	if err != nil {
		return nil, err
	}
	logits, err := p.read()
	if err != nil {
		return nil, err
	}
	return logits[:len(rows)*e.Vocab()], nil
}

// step consumes one token of each of the rows.
func (e *Engine) step(rows []int, ids []int32) (*program, error) {
	if len(rows) == 0 || len(rows) != len(ids) {
		return nil, fmt.Errorf("infer: a step of %d rows and %d tokens, want as many of both, at least one", len(rows), len(ids))
	}
	taken := make([]bool, e.config.Rows)
	for i, row := range rows {
		if err := e.fits(row, ids[i:i+1], 1); err != nil {
			return nil, err
		}
		if taken[row] {
			return nil, fmt.Errorf("infer: row %d comes twice in one step", row)
		}
		taken[row] = true
	}
	return e.run(e.stepSize(len(rows)), rows, ids, 1)
}

// stepSize is the size of a step of n rows: powers of two, so that few programs serve any number.
func (e *Engine) stepSize(n int) size {
	p := 1
	for p < n {
		p *= 2
	}
	p = min(p, e.config.Rows)
	return size{p, p}
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

// run consumes n tokens of each of rows, which lie one after the other in ids.
func (e *Engine) run(z size, rows []int, ids []int32, n int) (*program, error) {
	p := e.programs[z]
	if p == nil {
		var err error
		if p, err = e.compile(z); err != nil {
			return nil, err
		}
		e.programs[z] = p
	}
	clear(p.ids)
	copy(p.ids, ids)
	autograd.SetSequences(p.seq, e.sequences(z, rows, n))
	if err := p.exec.RunAll(); err != nil {
		return nil, err
	}
	for _, row := range rows {
		e.consumed[row] += n
		e.chosen[row] = none
	}
	return p, nil
}

// read returns the logits of the last run.
func (p *program) read() ([]float32, error) {
	logits, err := p.exec.Read(p.logits)
	return logits.F32, err
}

// sequences locates n tokens of each of rows. The sequences that are left over are empty and stand in rows that nobody uses.
func (e *Engine) sequences(z size, rows []int, n int) packed.Sequences {
	q := &e.where
	q.Cu, q.Pos, q.Slot = append(q.Cu[:0], 0), q.Pos[:0], q.Slot[:0]
	for i, row := range rows {
		q.Cu = append(q.Cu, int32((i+1)*n))
		q.Pos = append(q.Pos, int32(e.consumed[row]))
		q.Slot = append(q.Slot, int32(row))
	}
	for row := 0; len(q.Slot) < z.sequences; row++ {
		if !slices.Contains(rows, row) {
			q.Cu = append(q.Cu, int32(len(rows)*n))
			q.Pos = append(q.Pos, 0)
			q.Slot = append(q.Slot, int32(row))
		}
	}
	return *q
}

func (e *Engine) compile(z size) (*program, error) {
	g := autograd.NewGraph(autograd.Float32)
	in := layers.Inputs{IDs: g.Ints("ids", z.tokens), Seq: g.Sequences("sequences", z.sequences), Rows: e.config.Rows, Capacity: e.config.Capacity}
	h := e.decoder.Forward(g, in).Hidden
	if !e.config.AllLogits {
		h = g.LastTokens(h, in.Seq)
	}
	logits := e.decoder.Logits(g, h)
	plan, err := autograd.Compile(g, logits)
	if err != nil {
		return nil, err
	}
	p := &program{exec: autograd.NewExecutor(plan, e.machine), logits: logits, located: in.Seq, ids: make([]int32, z.tokens), seq: make([]int32, 3*(z.sequences+1))}
	if err := e.weights.Bind(p.exec, g, ""); err != nil {
		return nil, err
	}
	for name, v := range e.state {
		if err := p.exec.Bind(g.Inputs()[name], v); err != nil {
			return nil, err
		}
	}
	if err := p.exec.Bind(in.IDs, autograd.Int32s(p.ids, z.tokens)); err != nil {
		return nil, err
	}
	return p, p.exec.Bind(in.Seq, autograd.Int32s(p.seq, 3, z.sequences+1))
}
