package infer

import (
	"fmt"
	"slices"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/infer/sampling"
	"github.com/gojet/gojet/kernels/device"
)

// chooser chooses the tokens of rows, each by settings of its own.
type chooser interface {
	// set begins the draws of a row.
	set(row int, cfg sampling.Config, history []int32) error
	// choose takes logits [len(rows), Vocab], and on a device the numbers of the rows as well, and sets ids, one a row.
	choose(ids []int32, rows []int, logits autograd.Value, numbers device.Tensor) error
	// logProbs sets p for the tokens chosen last, before any setting.
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
func (e *Engine) Skip(row int, ids []int32) error {
	_, _, err := e.feed(row, ids)
	return err
}

// First consumes tokens of one row's sequence and chooses the one after them. Next goes on from it.
func (e *Engine) First(row int, ids []int32) (int32, error) {
	p, n, err := e.feed(row, ids)
	if err != nil {
		return 0, err
	}
	if !e.config.AllLogits {
		n = 1
	}
	chosen, err := e.choose(p, e.one[:], n-1)
	if err != nil {
		return 0, err
	}
	return chosen[0], nil
}

// Next consumes the token chosen last of each of the rows given, and chooses the next ones, which are valid until the next call.
// On a device these are all that comes to the host.
func (e *Engine) Next(rows []int) ([]int32, error) {
	e.due = e.due[:0]
	for _, row := range rows {
		id := int32(0)
		if row >= 0 && row < len(e.chosen) {
			if id = e.chosen[row]; id == none {
				return nil, fmt.Errorf("infer: row %d has no token to go on from, want First before Next", row)
			}
		}
		e.due = append(e.due, id)
	}
	p, err := e.step(rows, e.due)
	if err != nil {
		return nil, err
	}
	return e.choose(p, rows, 0)
}

// LogProbs returns the log-probabilities of the tokens that the call before it, of First or Next, has chosen, by the model's
// own distribution: that of the logits before any setting.
func (e *Engine) LogProbs() ([]float32, error) {
	p := make([]float32, len(e.next))
	return p, e.chooser.logProbs(p)
}

// choose chooses a token for each of rows from p's logits, from row `at` of these.
func (e *Engine) choose(p *program, rows []int, at int) ([]int32, error) {
	e.next = slices.Grow(e.next[:0], len(rows))[:len(rows)]
	logits, from, to := p.exec.Value(p.logits), at*e.Vocab(), (at+len(rows))*e.Vocab()
	var numbers device.Tensor
	if e.machine.Device == nil {
		logits = autograd.Float32s(logits.F32[from:to])
	} else {
		logits = autograd.Value{Dev: logits.Dev.Slice(from, to-from)}
		all := p.exec.Value(p.located).Dev
		numbers = all.Slice(all.Len/3*2, len(rows))
	}
	if err := e.chooser.choose(e.next, rows, logits, numbers); err != nil {
		e.next = e.next[:0]
		return nil, err
	}
	for i, row := range rows {
		e.chosen[row] = e.next[i]
	}
	return e.next, nil
}

// samplers choose on the host.
type samplers struct {
	vocab   int
	rows    []*sampling.Sampler
	history [][]int32
	space   sampling.Workspace
	ids     []int32 // chosen last
	logits  []float32
}

func newSamplers(rows, vocab int) (*samplers, error) {
	s := &samplers{vocab: vocab, rows: make([]*sampling.Sampler, rows), history: make([][]int32, rows)}
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

func (s *samplers) choose(ids []int32, rows []int, logits autograd.Value, _ device.Tensor) (err error) {
	s.ids, s.logits = ids, logits.F32
	for i, row := range rows {
		if ids[i], err = s.rows[row].Next(s.logits[i*s.vocab:(i+1)*s.vocab], s.history[row]); err != nil {
			return err
		}
		s.history[row] = append(s.history[row], ids[i])
	}
	return nil
}

func (s *samplers) logProbs(p []float32) error {
	for i := range p {
		v, err := sampling.LogProb(s.logits[i*s.vocab:(i+1)*s.vocab], s.ids[i])
		if err != nil {
			return err
		}
		p[i] = float32(v)
	}
	return nil
}

func (s *samplers) free() {}
