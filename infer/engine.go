// Package infer runs a decoder: prefill in chunks, then token by token, from state that it keeps.
package infer

import (
	"errors"
	"fmt"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/kernels/embedding"
	"github.com/gojet/gojet/kernels/packed"
	"github.com/gojet/gojet/layers"
)

// Config sizes an engine.
type Config struct {
	// Capacity is the most tokens that a sequence may have, prompt and answer together.
	Capacity int
	// Chunk is how many tokens of a prompt are taken at a time. Memory grows with it, not with the prompt.
	Chunk int
	// AllLogits keeps the logits of every token fed, not of the last alone.
	AllLogits bool
}

// Validate reports sizes that cannot be.
func (c Config) Validate() error {
	if c.Capacity < 1 || c.Chunk < 1 {
		return fmt.Errorf("infer: capacity %d, chunk %d; want 1 or more of each", c.Capacity, c.Chunk)
	}
	return nil
}

// Engine continues one sequence. It is not safe for concurrent use.
type Engine struct {
	decoder *layers.Decoder
	weights layers.Weights // where the machine reads them
	given   layers.Weights
	machine *autograd.Machine
	config  Config

	state    map[string]autograd.Value
	programs map[int]*program // by tokens a run
	consumed int
	all      []float32
}

// program is the model compiled for runs of up to size tokens.
type program struct {
	exec     *autograd.Executor
	logits   *autograd.Node
	ids, seq []int32
}

// New makes an engine with empty state.
func New(d *layers.Decoder, w layers.Weights, m *autograd.Machine, cfg Config) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Chunk = min(cfg.Chunk, cfg.Capacity)
	e := &Engine{decoder: d, given: w, machine: m, config: cfg, state: map[string]autograd.Value{}, programs: map[int]*program{}}
	var err error
	if e.weights, err = w.Place(m, nil); err != nil {
		return nil, err
	}
	for _, s := range d.States(cfg.Capacity) {
		if e.state[s.Name], err = m.Zeros(autograd.Float32, autograd.State, append([]int{1}, s.Shape...)...); err != nil {
			return nil, err
		}
	}
	return e, nil
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
	e.weights.Release(e.machine, e.given)
	e.programs, e.state = nil, nil
	return errors.Join(errs...)
}

// Vocab returns how many logits a token has.
func (e *Engine) Vocab() int { return e.decoder.Config.VocabSize }

// Len returns how many tokens the sequence has consumed.
func (e *Engine) Len() int { return e.consumed }

// StateBytes returns the memory of the sequence's state.
func (e *Engine) StateBytes() int64 {
	var n int64
	for _, v := range e.state {
		n += v.Bytes()
	}
	return n
}

// Reset forgets the sequence.
func (e *Engine) Reset() {
	for _, v := range e.state {
		e.machine.Clear(v)
	}
	e.consumed = 0
}

// Feed consumes tokens and returns the logits after the last of them, [Vocab], or with AllLogits after each,
// [len(ids), Vocab]. They are valid until the next call.
func (e *Engine) Feed(ids []int32) ([]float32, error) {
	if len(ids) == 0 {
		return nil, fmt.Errorf("infer: no tokens to feed, want at least one")
	}
	if e.consumed+len(ids) > e.config.Capacity {
		return nil, fmt.Errorf("infer: %d tokens after %d exceed the capacity of %d", len(ids), e.consumed, e.config.Capacity)
	}
	if err := embedding.Check(ids, e.Vocab()); err != nil {
		return nil, err
	}
	e.all = e.all[:0]
	var logits []float32
	for len(ids) > 0 {
		n := min(len(ids), e.config.Chunk)
		var err error
		if logits, err = e.run(ids[:n]); err != nil {
			return nil, err
		}
		if e.config.AllLogits {
			e.all = append(e.all, logits[:n*e.Vocab()]...)
		}
		ids = ids[n:]
		e.consumed += n
	}
	if e.config.AllLogits {
		return e.all, nil
	}
	return logits, nil
}

// run consumes up to Chunk tokens. A shorter last chunk leaves the rest of the program's tokens outside the sequence.
func (e *Engine) run(ids []int32) ([]float32, error) {
	size := e.config.Chunk
	if len(ids) == 1 {
		size = 1
	}
	p := e.programs[size]
	if p == nil {
		var err error
		if p, err = e.compile(size); err != nil {
			return nil, err
		}
		e.programs[size] = p
	}
	clear(p.ids)
	copy(p.ids, ids)
	cu, pos := [2]int32{0, int32(len(ids))}, [1]int32{int32(e.consumed)}
	autograd.SetSequences(p.seq, packed.Sequences{Cu: cu[:], Pos: pos[:]})
	if err := p.exec.RunAll(); err != nil {
		return nil, err
	}
	logits, err := p.exec.Read(p.logits)
	return logits.F32, err
}

func (e *Engine) compile(size int) (*program, error) {
	g := autograd.NewGraph(autograd.Float32)
	in := layers.Inputs{IDs: g.Ints("ids", size), Seq: g.Sequences("sequences", 1), Rows: 1, Capacity: e.config.Capacity}
	h := e.decoder.Forward(g, in).Hidden
	if !e.config.AllLogits {
		h = g.LastTokens(h, in.Seq)
	}
	logits := e.decoder.Logits(g, h)
	plan, err := autograd.Compile(g, logits)
	if err != nil {
		return nil, err
	}
	p := &program{exec: autograd.NewExecutor(plan, e.machine), logits: logits, ids: make([]int32, size), seq: make([]int32, 6)}
	if err := e.weights.Bind(p.exec, g, ""); err != nil {
		return nil, err
	}
	for name, v := range e.state {
		if err := p.exec.Bind(g.Inputs()[name], v); err != nil {
			return nil, err
		}
	}
	if err := p.exec.Bind(in.IDs, autograd.Int32s(p.ids, size)); err != nil {
		return nil, err
	}
	return p, p.exec.Bind(in.Seq, autograd.Int32s(p.seq, 3, 2))
}
