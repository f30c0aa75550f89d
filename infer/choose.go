package infer

import (
	"errors"
	"fmt"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/infer/sampling"
	"github.com/gojet/gojet/kernels/device"
)

// chooser chooses the tokens of rows, each by settings of its own.
type chooser interface {
	// set begins the draws of a row.
	set(row int, cfg sampling.Config, history []int32) error
	// choose takes logits [len(rows), Vocab], and on a device the numbers of the rows as well, and sets ids, one a row: none where
	// the logits allow none. They are choices number `at` and up of a call.
	choose(at int, ids, rows []int32, logits autograd.Value, numbers device.Tensor) error
	// again is choose for one row by logits that lie elsewhere.
	again(ids []int32, row int32, logits autograd.Value) error
	// logProbs sets p for the tokens of the last call, before any setting.
	logProbs(p []float32) error
	free()
}

// none is where no token has been chosen.
const none = -1

// Sample says how First and Next choose the tokens of a row from now on; a row that it was never called for is greedy. history
// is what the repetition penalty sees, together with all that is chosen. A seed gives the same draws in any company; on a
// device they are others than on the CPU.
func (e *Engine) Sample(row int, cfg sampling.Config, history []int32) error {
	if err := e.fits(row, history, 0); err != nil {
		return err
	}
	if err := cfg.Validate(); err != nil {
		return err
	}
	return e.chooser.set(row, cfg, history)
}

// Skip consumes tokens of one row's sequence.
func (e *Engine) Skip(row int, ids []int32) error { return e.feed(row, ids, Part{}) }

// First consumes tokens of one row's sequence and chooses the one after them. Next goes on from it.
func (e *Engine) First(row int, ids []int32) (int32, error) {
	if err := e.feed(row, ids, Part{Choose: true}); err != nil {
		return 0, err
	}
	next, err := e.decided()
	if err != nil {
		return 0, err
	}
	return next[0], nil
}

// Next consumes the token chosen last of each of the rows given, and chooses the next ones, which are valid until the next call.
// On a device these are all that comes to the host.
func (e *Engine) Next(rows []int) ([]int32, error) {
	if len(rows) == 0 {
		return nil, errors.New("infer: a step of no rows, want at least one")
	}
	e.due, e.tokens = e.due[:0], e.tokens[:0]
	for _, row := range rows {
		id := int32(0)
		if row >= 0 && row < len(e.chosen) {
			if id = e.chosen[row]; id == none {
				return nil, fmt.Errorf("infer: row %d has no token to go on from, want First before Next", row)
			}
		}
		e.tokens = append(e.tokens, id)
	}
	for i, row := range rows {
		e.due = append(e.due, Part{Row: row, IDs: e.tokens[i : i+1], Choose: true})
	}
	if _, err := e.Advance(e.due); err != nil {
		return nil, err
	}
	return e.decided()
}

// Chosen returns the token chosen last of a row, which it has not consumed, and whether there is one.
func (e *Engine) Chosen(row int) (int32, bool) { return e.chosen[row], e.chosen[row] != none }

// decided returns the choices of the last call, all of which there must be.
func (e *Engine) decided() ([]int32, error) {
	for i, id := range e.next {
		if id == none {
			row := e.plan.parts[i].Row
			e.next = e.next[:0]
			return nil, fmt.Errorf("infer: %w", &NoTokenError{row})
		}
	}
	return e.next, nil
}

// NoTokenError is logits that allow no token.
type NoTokenError struct{ Row int }

func (e *NoTokenError) Error() string {
	return fmt.Sprintf("the logits of row %d allow no token: one is NaN or +Inf, or all are -Inf", e.Row)
}

// LogProbs returns the log-probabilities of the tokens that the call before it, of Advance, First, Next or Choose, has chosen, by
// the model's own distribution: that of the logits before any setting. Where none was chosen, the value has no meaning.
func (e *Engine) LogProbs() ([]float32, error) {
	p := make([]float32, len(e.next))
	return p, e.chooser.logProbs(p)
}

// samplers choose on the host.
type samplers struct {
	vocab   int
	rows    []*sampling.Sampler
	history [][]int32
	space   sampling.Workspace
	last    []choice // of a call
}

// choice is a token and what it was chosen by.
type choice struct {
	id     int32
	logits []float32
}

func newSamplers(rows, vocab int) (*samplers, error) {
	s := &samplers{vocab: vocab, rows: make([]*sampling.Sampler, rows), history: make([][]int32, rows), last: make([]choice, rows)}
	for row := range rows {
		if err := s.set(row, sampling.Default(), nil); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *samplers) set(row int, cfg sampling.Config, history []int32) (err error) {
	s.history[row] = append(s.history[row][:0], history...)
	s.rows[row], err = sampling.New(cfg, &s.space)
	return err
}

func (s *samplers) choose(at int, ids, rows []int32, logits autograd.Value, _ device.Tensor) error {
	for i, row := range rows {
		z := logits.F32[i*s.vocab : (i+1)*s.vocab]
		id, err := s.rows[row].Next(z, s.history[row])
		if err != nil {
			id = none
		} else {
			s.history[row] = append(s.history[row], id)
		}
		ids[i], s.last[at+i] = id, choice{id, z}
	}
	return nil
}

func (s *samplers) again(ids []int32, row int32, logits autograd.Value) error {
	return s.choose(0, ids, []int32{row}, logits, device.Tensor{})
}

func (s *samplers) logProbs(p []float32) error {
	for i := range p {
		if s.last[i].id == none || s.last[i].logits == nil {
			continue
		}
		v, err := sampling.LogProb(s.last[i].logits, s.last[i].id)
		if err != nil {
			return err
		}
		p[i] = float32(v)
	}
	return nil
}

func (s *samplers) free() {}
