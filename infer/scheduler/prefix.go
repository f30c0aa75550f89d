package scheduler

import (
	"container/list"
	"slices"
	"unsafe"

	"github.com/gojet/gojet/infer"
)

// prefix is a node of the tree of prompts that are kept: the state after a piece of a prompt, behind that of its parent. Pieces
// end at the engine's cuts, the last one of a prompt where the prompt does.
type prefix struct {
	parent   *prefix
	ids      []int32
	snapshot *infer.Snapshot
	bytes    int64
	children map[string]*prefix // by their tokens
	place    *list.Element      // among those without children; nil for others and for what was given up
}

// prefixes is the tree, bounded by the bytes of its states. Those that have gone unused the longest are given up first, those
// with others behind them after these.
type prefixes struct {
	engine  *infer.Engine
	limit   int64
	bytes   int64
	entries int
	root    *prefix
	leaves  *list.List // the one used last in front
}

func newPrefixes(e *infer.Engine, limit int64) *prefixes {
	p := &prefixes{engine: e, limit: limit, leaves: list.New()}
	if limit > 0 {
		p.root = &prefix{children: map[string]*prefix{}}
	}
	return p
}

func (p *prefixes) keeps() bool { return p.limit > 0 }

// key is the bytes of tokens, which are not to change while it is in use.
func key(ids []int32) string {
	return unsafe.String((*byte)(unsafe.Pointer(unsafe.SliceData(ids))), 4*len(ids))
}

// find returns the prefixes behind one that the tokens of the rest of a prompt go through, from the first to the last. The rest
// begins at a cut.
func (p *prefixes) find(from *prefix, rest []int32, chunk int) []*prefix {
	var found []*prefix
	for at := from; at != nil && len(rest) > 0; {
		n := min(chunk, len(rest))
		next := at.children[key(rest[:n])]
		// The end of a prompt serves only with the logits behind it.
		if next == nil || n == len(rest) && !next.snapshot.Chooses() {
			break
		}
		found = append(found, next)
		at, rest = next, rest[n:]
	}
	return found
}

// restore brings a row to the last of the prefixes found.
func (p *prefixes) restore(row int, found []*prefix) error {
	var parts []*infer.Snapshot
	for _, f := range found {
		parts = append(parts, f.snapshot)
	}
	p.touch(found[len(found)-1])
	return p.engine.Restore(row, parts...)
}

// touch makes a leaf the one used last.
func (p *prefixes) touch(x *prefix) {
	if x.place != nil {
		p.leaves.MoveToFront(x.place)
	}
}

// keep adds the state of a job's row after a piece of its prompt that began at token `from`, with the logits where an answer
// begins with them.
func (p *prefixes) keep(j *job, from int, logits bool) error {
	parent, ids := j.prefix, j.Prompt[from:j.at]
	j.prefix = nil
	if parent == nil || parent != p.root && parent.snapshot == nil { // not kept, or given up meanwhile
		return nil
	}
	if old := parent.children[key(ids)]; old != nil {
		if old.snapshot.Chooses() || j.at < len(j.Prompt) || len(old.children) > 0 {
			j.prefix = old
			p.touch(old)
			return nil
		}
		p.drop(old) // a cut that is the end of a prompt as well: it comes back with the logits
	}
	bytes := p.engine.SnapshotBytes(j.at-from, logits)
	if !p.makeRoom(bytes, parent) {
		return nil
	}
	s, err := p.engine.Snapshot(j.row, from, logits)
	if err != nil {
		return err
	}
	x := &prefix{parent: parent, ids: slices.Clone(ids), snapshot: s, bytes: bytes, children: map[string]*prefix{}}
	parent.children[key(x.ids)] = x
	if parent.place != nil {
		p.leaves.Remove(parent.place)
		parent.place = nil
	}
	x.place = p.leaves.PushFront(x)
	p.bytes += x.bytes
	p.entries++
	j.prefix = x
	return nil
}

// makeRoom gives prefixes up until there is room, but not the one that another is to follow. It reports whether there is.
func (p *prefixes) makeRoom(bytes int64, but *prefix) bool {
	for p.bytes+bytes > p.limit {
		e := p.leaves.Back()
		if e != nil && e.Value.(*prefix) == but {
			e = e.Prev()
		}
		if e == nil {
			return false
		}
		p.drop(e.Value.(*prefix))
	}
	return true
}

// drop gives a leaf up. Its parent may become one.
func (p *prefixes) drop(x *prefix) {
	p.leaves.Remove(x.place)
	x.place = nil
	p.bytes -= x.bytes
	p.entries--
	p.engine.Drop(x.snapshot)
	x.snapshot = nil
	delete(x.parent.children, key(x.ids))
	if x.parent != p.root && len(x.parent.children) == 0 {
		x.parent.place = p.leaves.PushBack(x.parent)
	}
}

// clear gives all up.
func (p *prefixes) clear() {
	for e := p.leaves.Back(); e != nil; e = p.leaves.Back() {
		p.drop(e.Value.(*prefix))
	}
}
