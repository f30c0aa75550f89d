package infer

import (
	"context"
	"fmt"
	"slices"
	"unsafe"

	"github.com/gojet/gojet/kernels/embedding"
)

// Scored asks how likely an ending is behind a context. Both have at least one token.
type Scored struct{ Context, Ending []int32 }

// Likelihood is the answer: Σ log p over the N tokens of the ending, each behind the context and those before it, and whether
// each is the likeliest in its place.
type Likelihood struct {
	LogProb float64
	Greedy  bool
	N       int
}

// Score returns a Likelihood for each request, in their order. It uses all rows, whose sequences it forgets.
//
// The contexts are a tree of pieces, cut as Piece does and where they end. A piece that several of them begin with is computed
// once, and so is a context with several endings; pieces of different rows fill one run together. Logits are computed for the
// tokens of endings alone. A result does not depend on the other requests: see Piece.
func (e *Engine) Score(ctx context.Context, rs []Scored) ([]Likelihood, error) {
	s := scoring{e: e, out: make([]Likelihood, len(rs)), rows: make([]*branch, e.config.Rows)}
	for i, r := range rs {
		if err := e.scorable(r); err != nil {
			return nil, fmt.Errorf("infer: request %d: %w", i, err)
		}
		s.out[i] = Likelihood{Greedy: true, N: len(r.Ending)}
	}
	s.grow(rs)
	defer s.forget()
	e.Reset()
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		more, err := s.next()
		if err != nil {
			return nil, err
		}
		if !more {
			return s.out, nil
		}
		if err := s.run(); err != nil {
			return nil, err
		}
	}
}

// scorable reports a request that cannot be answered.
func (e *Engine) scorable(r Scored) error {
	if len(r.Context) == 0 || len(r.Ending) == 0 {
		return fmt.Errorf("a context of %d tokens and an ending of %d, want at least one of both", len(r.Context), len(r.Ending))
	}
	if n := len(r.Context) + len(r.Ending) - 1; n > e.config.Capacity {
		return fmt.Errorf("a context of %d tokens and an ending of %d exceed the capacity of %d", len(r.Context), len(r.Ending), e.config.Capacity+1)
	}
	if err := embedding.Check(r.Context, e.Vocab()); err != nil {
		return err
	}
	return embedding.Check(r.Ending, e.Vocab())
}

// branch is a piece of a context or of an ending, and what follows it.
type branch struct {
	ids    []int32
	parent *branch
	next   []*branch
	shared map[string]*branch // those of next that are pieces of contexts
	wanted []wanted           // in the order of at
	asked  int                // after how many of ids, the last ones, the logits are wanted

	state   *Snapshot // after the piece, for those of next that wait for a row
	waiting int
}

// wanted is a token of a request's ending that stands behind ids[at].
type wanted struct {
	request, at int
	id          int32
}

// scoring is one call of Score.
type scoring struct {
	e     *Engine
	out   []Likelihood
	root  branch
	roots []*branch // that have not begun, the shortest first
	ready []*branch // whose parent is done; the last goes first, so that few states are kept
	rows  []*branch // what each row computes next

	parts    []Part
	doing    []*branch // by part
	verdicts []verdict
}

// mostAsked is how many logits a run computes at most.
const mostAsked = 256

// grow makes the tree.
func (s *scoring) grow(rs []Scored) {
	long := map[*branch]int{} // the longest request of a root
	for i, r := range rs {
		b, at := &s.root, 0
		var first *branch
		for at < len(r.Context) {
			n := s.cut(at, len(r.Context)-at)
			b = b.piece(r.Context[at : at+n])
			if at += n; first == nil {
				first = b
			}
		}
		b.want(wanted{i, len(b.ids) - 1, r.Ending[0]})
		for tail := r.Ending; len(tail) > 1; {
			n := min(s.cut(at, len(tail)-1), mostAsked)
			b = b.follow(tail[:n])
			for k := range n {
				b.want(wanted{i, k, tail[k+1]})
			}
			at, tail = at+n, tail[n:]
		}
		long[first] = max(long[first], at)
	}
	s.roots = s.root.next
	slices.SortStableFunc(s.roots, func(a, b *branch) int { return long[a] - long[b] })
}

// cut is Piece for a sequence of `at` tokens.
func (s *scoring) cut(at, n int) int { return min(n, s.e.config.Chunk-at%s.e.config.Chunk) }

// piece returns the branch of a context's tokens behind b.
func (b *branch) piece(ids []int32) *branch {
	key := unsafe.String((*byte)(unsafe.Pointer(unsafe.SliceData(ids))), 4*len(ids))
	if b.shared == nil {
		b.shared = map[string]*branch{}
	}
	next := b.shared[key]
	if next == nil {
		next = b.follow(ids)
		b.shared[key] = next
	}
	return next
}

// follow adds a branch behind b.
func (b *branch) follow(ids []int32) *branch {
	next := &branch{ids: ids, parent: b}
	b.next = append(b.next, next)
	return next
}

func (b *branch) want(w wanted) {
	b.wanted = append(b.wanted, w)
	b.asked = max(b.asked, len(b.ids)-w.at)
}

// next gives rows that are free a branch, and reports whether anything is left to do.
func (s *scoring) next() (bool, error) {
	busy := false
	for row, b := range s.rows {
		if b == nil {
			var err error
			if b, err = s.begin(row); err != nil {
				return false, err
			}
			s.rows[row] = b
		}
		busy = busy || b != nil
	}
	return busy, nil
}

// begin takes the next branch that waits, nil if there is none, and brings the row to where it begins.
func (s *scoring) begin(row int) (*branch, error) {
	if n := len(s.ready); n > 0 {
		b := s.ready[n-1]
		s.ready = s.ready[:n-1]
		p := b.parent
		if err := s.e.Restore(row, p.state); err != nil {
			return nil, err
		}
		if p.waiting--; p.waiting == 0 {
			s.e.Drop(p.state)
			p.state = nil
		}
		return b, nil
	}
	if n := len(s.roots); n > 0 {
		b := s.roots[n-1]
		s.roots = s.roots[:n-1]
		s.e.ResetRow(row)
		return b, nil
	}
	return nil, nil
}

// run computes as many branches as fit one call of Advance.
func (s *scoring) run() error {
	s.parts, s.doing = s.parts[:0], s.doing[:0]
	room, asked := s.e.config.Chunk, 0
	for row, b := range s.rows {
		if b == nil || len(b.ids) > 1 && len(b.ids) > room || len(s.parts) > 0 && asked+b.asked > mostAsked {
			continue
		}
		if asked += b.asked; len(b.ids) > 1 {
			room -= len(b.ids)
		}
		s.parts, s.doing = append(s.parts, Part{Row: row, IDs: b.ids, Asked: b.asked}), append(s.doing, b)
	}
	if _, err := s.e.Advance(s.parts); err != nil {
		return err
	}
	if err := s.judge(); err != nil {
		return err
	}
	for i, b := range s.doing {
		if err := s.split(s.parts[i].Row, b); err != nil {
			return err
		}
	}
	return nil
}

// split lets a row go on with the first of the branches behind b. The others wait with a copy of its state.
func (s *scoring) split(row int, b *branch) error {
	if len(b.next) == 0 {
		s.rows[row] = nil
		return nil
	}
	s.rows[row] = b.next[0]
	if b.waiting = len(b.next) - 1; b.waiting == 0 {
		return nil
	}
	var err error
	if b.state, err = s.e.Snapshot(row, 0, false); err != nil {
		return err
	}
	for _, next := range slices.Backward(b.next[1:]) {
		s.ready = append(s.ready, next)
	}
	return nil
}

// judge reads the logits of a call of Advance: of its two runs one after the other. The tokens of a request come in order.
func (s *scoring) judge() error {
	for _, which := range [][]int{s.e.plan.steps, s.e.plan.long} {
		s.verdicts = s.verdicts[:0]
		places := 0
		for _, i := range which {
			b, at := s.doing[i], s.e.plan.places[i].at
			for _, w := range b.wanted {
				s.verdicts = append(s.verdicts, verdict{request: w.request, place: at + w.at - (len(b.ids) - b.asked), id: w.id})
			}
			places += b.asked
		}
		if places == 0 {
			continue
		}
		if err := s.e.judge(s.e.plan.places[which[0]].program, places, s.verdicts); err != nil {
			return err
		}
		for _, v := range s.verdicts {
			l := &s.out[v.request]
			l.LogProb += v.logProb
			l.Greedy = l.Greedy && v.best
		}
	}
	return nil
}

// forget drops the states that are still kept, after an error, and the sequences.
func (s *scoring) forget() {
	for _, b := range s.ready {
		if b.parent.state != nil {
			s.e.Drop(b.parent.state)
			b.parent.state = nil
		}
	}
	s.e.Reset()
}
