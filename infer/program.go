package infer

import (
	"errors"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/kernels/packed"
	"github.com/gojet/gojet/layers"
)

// size of a run: tokens, in at most so many sequences, with the logits after so many of them. Steps are runs of one token a
// sequence.
type size struct {
	tokens, sequences, places int
	step                      bool
}

// program is the model compiled for runs of one size.
type program struct {
	size
	exec     *autograd.Executor
	logits   *autograd.Node // [places, Vocab]; nil where there are none
	located  *autograd.Node // where the places are
	ids, seq []int32
	asked    []int32 // places as sequences: the last token of each is one, in the row that it belongs to
}

// programs are compiled as they are needed. Those of steps share one arena and the others another, so that a step and a piece
// of a prompt after it both leave their logits.
type programs struct {
	of    map[size]*program
	steps *autograd.Arena
	long  *autograd.Arena
}

func newPrograms(m *autograd.Machine) programs {
	return programs{map[size]*program{}, m.NewArena(), m.NewArena()}
}

func (p *programs) close() error {
	var errs []error
	for _, x := range p.of {
		errs = append(errs, x.exec.Close())
	}
	p.steps.Close()
	p.long.Close()
	p.of = nil
	return errors.Join(errs...)
}

// room rounds n up to 1, 2, 3, 4, 6, 8, 12, 16, …, so that few programs serve any number and at most a third of one is idle.
func room(n int) int {
	p := 1
	for p < n {
		p *= 2
	}
	if p >= 4 && p/4*3 >= n {
		return p / 4 * 3
	}
	return p
}

// coarse rounds n up to a power of four; 0 stays.
func coarse(n int) int {
	if n == 0 {
		return 0
	}
	p := 1
	for p < n {
		p *= 4
	}
	return p
}

// stepSize is the size of a step of n rows.
func (e *Engine) stepSize(n int) size {
	n = min(room(n), e.config.Rows)
	return size{n, n, n, true}
}

// longSize is the size of a run of so many tokens of n rows' prompts.
func (e *Engine) longSize(tokens, n, places int) size {
	tokens = min(room(tokens), e.config.Chunk)
	return size{tokens, min(coarse(n), e.config.Rows), min(coarse(places), tokens), false}
}

// program returns the one for runs of size z.
func (e *Engine) program(z size) (*program, error) {
	if p := e.programs.of[z]; p != nil {
		return p, nil
	}
	p, err := e.compile(z)
	if err == nil {
		e.programs.of[z] = p
	}
	return p, err
}

func (e *Engine) compile(z size) (*program, error) {
	g := autograd.NewGraph(autograd.Float32)
	in := layers.Inputs{IDs: g.Ints("ids", z.tokens), Seq: g.Sequences("sequences", z.sequences), Rows: e.config.Rows, Capacity: e.config.Capacity}
	out := e.decoder.Forward(g, in).Hidden
	p := &program{size: z, ids: make([]int32, z.tokens), seq: make([]int32, 3*(z.sequences+1))}
	if z.places > 0 {
		p.asked = make([]int32, 3*(z.places+1))
		p.located = g.Sequences("places", z.places)
		out = e.decoder.Logits(g, g.LastTokens(out, p.located))
		p.logits = out
	}
	plan, err := autograd.Compile(g, out)
	if err != nil {
		return nil, err
	}
	arena := e.programs.long
	if z.step {
		arena = e.programs.steps
	}
	p.exec = autograd.NewExecutorIn(arena, plan)
	if err := e.weights.Bind(p.exec, g, ""); err != nil {
		return nil, err
	}
	for _, s := range e.states {
		if err := p.exec.Bind(g.Inputs()[s.name], s.value); err != nil {
			return nil, err
		}
	}
	if z.places > 0 {
		if err := p.exec.Bind(p.located, autograd.Int32s(p.asked, 3, z.places+1)); err != nil {
			return nil, err
		}
	}
	if err := p.exec.Bind(in.IDs, autograd.Int32s(p.ids, z.tokens)); err != nil {
		return nil, err
	}
	return p, p.exec.Bind(in.Seq, autograd.Int32s(p.seq, 3, z.sequences+1))
}

// run runs p on sequences q of its ids, and asks for the logits at places.
func (p *program) run(q, places packed.Sequences) error {
	autograd.SetSequences(p.seq, q)
	if p.places > 0 {
		autograd.SetSequences(p.asked, places)
	}
	return p.exec.RunAll()
}
