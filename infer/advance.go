package infer

import (
	"fmt"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/packed"
)

// Part is what one row does in a call of Advance.
type Part struct {
	Row int
	// IDs are the tokens that the row's sequence consumes: one, or a piece of a prompt.
	IDs []int32
	// Choose chooses the token after the last of them, as Sample has said.
	Choose bool
	// Asked is after how many of IDs, the last ones, Logits returns the logits.
	Asked int
}

// places is how many logits a part needs.
func (p *Part) places() int {
	if p.Choose {
		return max(p.Asked, 1)
	}
	return p.Asked
}

// advance is the work of one call.
type advance struct {
	parts        []Part
	steps, long  []int   // parts of one token, and of more
	places       []place // by part
	taken        []bool  // by row
	where, asked packed.Sequences
}

// place is where the logits of a part are: n of a program's, from `at` on.
type place struct {
	program *program
	at, n   int
}

// Piece returns how many of n tokens a row takes at a time: up to the next multiple of Chunk in its sequence. Sequences that
// are cut there, and where their prompts end, have the same results in any company.
func (e *Engine) Piece(row, n int) int { return min(n, e.config.Chunk-e.consumed[row]%e.config.Chunk) }

// Advance continues the rows of all parts together: those of one token in one run, and the pieces of prompts, of Chunk tokens
// in sum at most, packed into another. It returns the tokens chosen, one a part, and −1 where a part chooses none or its logits
// allow none. They are valid until the next call. After an error, what the rows have consumed is not known.
func (e *Engine) Advance(parts []Part) ([]int32, error) {
	e.next = e.next[:0]
	if err := e.divide(parts); err != nil {
		return nil, err
	}
	for range parts {
		e.next = append(e.next, none)
	}
	a := &e.plan
	if len(a.steps) > 0 {
		if err := e.run(e.stepSize(len(a.steps)), a.steps); err != nil {
			return nil, err
		}
	}
	if len(a.long) > 0 {
		tokens, places := 0, 0
		for _, i := range a.long {
			tokens += len(parts[i].IDs)
			places += parts[i].places()
		}
		if err := e.run(e.longSize(tokens, len(a.long), places), a.long); err != nil {
			return nil, err
		}
	}
	return e.next, nil
}

// divide checks the parts and plans their runs.
func (e *Engine) divide(parts []Part) error {
	a := &e.plan
	a.parts, a.steps, a.long = parts, a.steps[:0], a.long[:0]
	if a.taken == nil {
		a.taken = make([]bool, e.config.Rows)
	}
	clear(a.taken)
	a.places = a.places[:0]
	tokens := 0
	for i := range parts {
		p := &parts[i]
		if err := e.feedable(p.Row, p.IDs); err != nil {
			return err
		}
		if a.taken[p.Row] {
			return fmt.Errorf("infer: row %d comes twice in one step", p.Row)
		}
		if p.Asked < 0 || p.Asked > len(p.IDs) {
			return fmt.Errorf("infer: logits after %d of %d tokens of row %d", p.Asked, len(p.IDs), p.Row)
		}
		a.taken[p.Row] = true
		a.places = append(a.places, place{})
		if len(p.IDs) == 1 {
			a.steps = append(a.steps, i)
			continue
		}
		a.long = append(a.long, i)
		if tokens += len(p.IDs); tokens > e.config.Chunk {
			return fmt.Errorf("infer: pieces of %d tokens in one step, want at most %d in all", tokens, e.config.Chunk)
		}
	}
	return nil
}

// run runs some of the parts and chooses after them.
func (e *Engine) run(z size, which []int) error {
	p, err := e.program(z)
	if err != nil {
		return err
	}
	clear(p.ids)
	e.locate(p, which)
	if err := p.run(e.plan.where, e.plan.asked); err != nil {
		return err
	}
	for _, i := range which {
		part := &e.plan.parts[i]
		e.consumed[part.Row] += len(part.IDs)
		e.chosen[part.Row] = none
		e.forget(part.Row)
		e.moved[part.Row] = false
	}
	return e.chooseAll(p, which)
}

// locate sets the ids of p, where its sequences are, and the places whose logits are asked for. The sequences that are left
// over are empty and stand in rows that have no part in the run.
func (e *Engine) locate(p *program, which []int) {
	a := &e.plan
	q, asked := &a.where, &a.asked
	q.Cu, q.Pos, q.Slot = append(q.Cu[:0], 0), q.Pos[:0], q.Slot[:0]
	asked.Cu, asked.Slot = append(asked.Cu[:0], 0), asked.Slot[:0]
	at := 0
	for _, i := range which {
		part := &a.parts[i]
		copy(p.ids[at:], part.IDs)
		at += len(part.IDs)
		q.Cu = append(q.Cu, int32(at))
		q.Pos = append(q.Pos, int32(e.consumed[part.Row]))
		q.Slot = append(q.Slot, int32(part.Row))
		n := part.places()
		a.places[i] = place{p, len(asked.Slot), n}
		for k := range n {
			asked.Cu = append(asked.Cu, int32(at-n+k+1))
			asked.Slot = append(asked.Slot, int32(part.Row))
		}
	}
	clear(a.taken)
	for _, i := range which {
		a.taken[a.parts[i].Row] = true
	}
	for row := 0; len(q.Slot) < p.sequences; row++ {
		if !a.taken[row] {
			q.Cu = append(q.Cu, int32(at))
			q.Pos = append(q.Pos, 0)
			q.Slot = append(q.Slot, int32(row))
		}
	}
}

// chooseAll chooses the tokens of the parts that want one: those whose logits lie together, together.
func (e *Engine) chooseAll(p *program, which []int) error {
	a := &e.plan
	for lo := 0; lo < len(which); {
		if !a.parts[which[lo]].Choose {
			lo++
			continue
		}
		hi := lo + 1
		for hi < len(which) && which[hi] == which[hi-1]+1 && a.parts[which[hi]].Choose && a.places[which[hi]].n == 1 {
			hi++
		}
		first := a.places[which[lo]]
		at := first.at + first.n - 1
		logits := e.piece(p.exec.Value(p.logits), at, hi-lo)
		var numbers device.Tensor
		if e.machine.Device != nil {
			all := p.exec.Value(p.located).Dev
			numbers = all.Slice(all.Len/3*2+at, hi-lo)
		}
		ids := e.next[which[lo] : which[hi-1]+1]
		if err := e.chooser.choose(which[lo], ids, a.asked.Slot[at:at+hi-lo], logits, numbers); err != nil {
			return err
		}
		for k, id := range ids {
			e.chosen[a.parts[which[lo+k]].Row] = id
		}
		lo = hi
	}
	return nil
}

// piece is n of the rows [·, Vocab] of logits, from row `at` on.
func (e *Engine) piece(logits autograd.Value, at, n int) autograd.Value {
	return logits.Piece(at*e.Vocab(), n*e.Vocab())
}

// Logits returns the logits after the Asked tokens of part i of the last call of Advance, [Asked, Vocab]. They are valid until
// the next call.
func (e *Engine) Logits(i int) ([]float32, error) {
	p := e.plan.places[i]
	n := e.plan.parts[i].Asked
	if n == 0 {
		return nil, nil
	}
	return e.logits(p.program, p.at+p.n-n, n)
}

func (e *Engine) logits(p *program, at, n int) ([]float32, error) {
	v, err := e.machine.Fetch(e.piece(p.exec.Value(p.logits), at, n))
	return v.F32, err
}
