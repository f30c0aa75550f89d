package infer

import (
	"fmt"

	"github.com/gojet/gojet/autograd"
)

// Snapshot is a copy of what the sequence of a row carries after To tokens: of the states that grow with it, keys and values,
// what belongs to its tokens From to To, and all of the others, recurrent states, the last inputs of convolutions and the rings
// of sliding windows. A long sequence is kept in several that follow each other.
type Snapshot struct {
	From, To int
	values   []autograd.Value // in the order of the engine's states
	logits   autograd.Value   // after the last token; none where they were not computed
}

// Bytes returns the memory that the snapshot takes.
func (s *Snapshot) Bytes() int64 {
	n := s.logits.Bytes()
	for _, v := range s.values {
		n += v.Bytes()
	}
	return n
}

// Chooses reports whether the snapshot has the logits after its last token, so that Choose can go on from it.
func (s *Snapshot) Chooses() bool { return !s.logits.None() }

// SnapshotBytes returns the memory of a snapshot of so many tokens, with the logits after them or without.
func (e *Engine) SnapshotBytes(tokens int, logits bool) int64 {
	var n int64
	for i := range e.states {
		s := &e.states[i]
		n += s.value.Bytes() / int64(s.value.Len()) * int64(s.taken(tokens))
	}
	if logits {
		n += int64(e.Vocab()) * int64(e.floatBytes())
	}
	return n
}

// floatBytes is the size of a logit where the machine leaves it.
func (e *Engine) floatBytes() int {
	if e.machine.Device == nil {
		return 4
	}
	return e.machine.Float.Size()
}

// taken is how many elements of the state a snapshot of n tokens holds.
func (s *state) taken(n int) int {
	if s.width > 0 {
		return n * s.width
	}
	return s.elements()
}

// piece is what the state holds of tokens from to to of a row.
func (s *state) piece(row, from, to int) autograd.Value {
	at := row * s.elements()
	if s.width > 0 {
		at += from * s.width
	}
	return s.value.Piece(at, s.taken(to-from))
}

// Snapshot copies what a row's sequence carries, from token `from` on, and on demand the logits after its last token, which the
// last call of Advance, or Restore, must have brought. Drop gives the memory back.
func (e *Engine) Snapshot(row, from int, logits bool) (*Snapshot, error) {
	if row < 0 || row >= e.config.Rows || from < 0 || from > e.consumed[row] {
		return nil, fmt.Errorf("infer: a snapshot of row %d from token %d on, want rows 0 to %d and no more tokens than it has", row, from, e.config.Rows-1)
	}
	s := &Snapshot{From: from, To: e.consumed[row]}
	for i := range e.states {
		v, err := e.copied(e.states[i].piece(row, s.From, s.To))
		if err != nil {
			e.Drop(s)
			return nil, err
		}
		s.values = append(s.values, v)
	}
	if !logits {
		return s, nil
	}
	last := e.lastLogits(row)
	err := fmt.Errorf("infer: the logits after the last token of row %d are not at hand", row)
	if !last.None() {
		s.logits, err = e.copied(last)
	}
	if err != nil {
		e.Drop(s)
		return nil, err
	}
	return s, nil
}

// lastLogits are those after the row's last token, as far as they are at hand.
func (e *Engine) lastLogits(row int) autograd.Value {
	if v := e.kept[row]; !v.None() {
		return v
	}
	if e.moved[row] {
		return autograd.Value{}
	}
	for i := range e.next {
		if e.plan.parts[i].Row == row && e.plan.places[i].n > 0 {
			p := e.plan.places[i]
			return e.piece(p.program.exec.Value(p.program.logits), p.at+p.n-1, 1)
		}
	}
	return autograd.Value{}
}

// LastLogits returns the logits after the last token of a row, where the last call of Advance or Restore has brought them, and
// nothing elsewhere. They are valid until the next call.
func (e *Engine) LastLogits(row int) ([]float32, error) {
	v := e.lastLogits(row)
	if v.None() {
		return nil, nil
	}
	v, err := e.machine.Fetch(v)
	return v.F32, err
}

func (e *Engine) copied(v autograd.Value) (autograd.Value, error) {
	if v.Len() == 0 {
		return autograd.Value{}, nil
	}
	c, err := e.machine.Like(v, v.Len())
	if err == nil {
		e.machine.Copy(c, v)
	}
	return c, err
}

// Restore makes a row's sequence what the snapshots hold, which follow each other. The first begins where a sequence does, or
// where the row's own sequence, of which the snapshots are a continuation, has got to.
func (e *Engine) Restore(row int, parts ...*Snapshot) error {
	if row < 0 || row >= e.config.Rows || len(parts) == 0 {
		return fmt.Errorf("infer: %d snapshots for row %d, want at least one and rows 0 to %d", len(parts), row, e.config.Rows-1)
	}
	at := 0
	if parts[0].From != 0 {
		at = e.consumed[row]
	}
	for _, p := range parts {
		if p.From != at {
			return fmt.Errorf("infer: a snapshot from token %d on after %d tokens of row %d", p.From, at, row)
		}
		at = p.To
	}
	last := parts[len(parts)-1]
	for i := range e.states {
		s := &e.states[i]
		if s.width == 0 {
			e.machine.Copy(s.piece(row, 0, 0), last.values[i])
			continue
		}
		for _, p := range parts {
			if p.From == p.To {
				continue
			}
			e.machine.Copy(s.piece(row, p.From, p.To), p.values[i])
		}
	}
	e.consumed[row], e.chosen[row] = at, none
	e.forget(row)
	if last.logits.None() {
		return nil
	}
	var err error
	e.kept[row], err = e.copied(last.logits)
	return err
}

// Drop gives the memory of a snapshot back.
func (e *Engine) Drop(s *Snapshot) {
	for _, v := range s.values {
		e.machine.Free(v)
	}
	e.machine.Free(s.logits)
	s.values, s.logits = nil, autograd.Value{}
}

// Choose chooses the token after the last one of a row whose logits Restore has brought. It may be called again, for other
// settings or the next draw.
func (e *Engine) Choose(row int) (int32, error) {
	if row < 0 || row >= e.config.Rows || e.kept[row].None() {
		return 0, fmt.Errorf("infer: row %d has no logits to choose from, want those that Restore brings", row)
	}
	e.plan.parts, e.plan.places = e.one[:], append(e.plan.places[:0], place{})
	e.one[0] = Part{Row: row}
	e.next = append(e.next[:0], none)
	if err := e.chooser.again(e.next, int32(row), e.kept[row]); err != nil {
		return 0, err
	}
	if _, err := e.decided(); err != nil {
		return 0, err
	}
	e.chosen[row] = e.next[0]
	return e.next[0], nil
}
