package datasets

import (
	"sort"
	"sync"
)

// deck puts the documents of a stream, those for training or those held out, in order and cuts them into rows. An
// epoch is every document once; its last row may be short. Rows are found without looking at tokens: the first
// request for a row of an epoch goes once over the lengths of the documents.
type deck struct {
	stream *stream
	from   int // place in the stream's split of the first document
	n      int // documents
	length int // tokens in a row
	most   int // documents in a row
	// shuffle is the key of the epochs' orders; none if sorted: then all are that of the split.
	shuffle uint64
	sorted  bool

	mu     sync.Mutex
	before []int // before[e] is the number of rows before epoch e, as far as known
	plans  [2]*plan
}

// plan is the order of an epoch, 4 bytes a document, and where each row starts, 8 bytes a row.
type plan struct {
	epoch int
	order []uint32 // the documents; nil where they keep the order of the split
	rows  []cursor
}

// cursor is a place in the documents of an epoch: offset tokens into the one at that place of the order.
type cursor struct{ place, offset uint32 }

// part is tokens [from, to) of a corpus that make one document of a row. More says that the document goes on
// with token to.
type part struct {
	corpus   *corpus
	from, to uint64
	more     bool
}

// document returns the document at a place of an epoch.
func (d *deck) document(p *plan, place int) (c *corpus, from, to uint64) {
	switch {
	case p.order != nil:
		place = int(p.order[place])
	case d.stream.split != nil:
		place = int(d.stream.split[d.from+place])
	default:
		place += d.from
	}
	return d.stream.document(place)
}

// shuffled returns the documents in the order of an epoch.
func (d *deck) shuffled(epoch int) []uint32 {
	order := make([]uint32, d.n)
	if d.stream.split != nil {
		copy(order, d.stream.split[d.from:])
	} else {
		for i := range order {
			order[i] = uint32(d.from + i)
		}
	}
	permute(order, derive(d.shuffle, uint64(epoch)))
	return order
}

// cut fills a row from a place on and returns where the next one starts. A row ends when it is full, has its most
// documents, or the epoch ends. Take gets the row's parts; it may be nil.
func (d *deck) cut(p *plan, at cursor, take func(part)) cursor {
	room, docs := d.length, 0
	for room > 0 && docs < d.most && int(at.place) < d.n {
		c, from, to := d.document(p, int(at.place))
		start := from + uint64(at.offset)
		end := min(to, start+uint64(room))
		if limit := uint64(d.stream.limit); limit > 0 {
			end = min(end, start+limit-uint64(at.offset)%limit)
		}
		if start < end {
			if take != nil {
				take(part{corpus: c, from: start, to: end, more: end < to})
			}
			room -= int(end - start)
			docs++
		}
		if at.offset += uint32(end - start); end == to {
			at = cursor{place: at.place + 1}
		}
	}
	return at
}

// skip moves past documents of which nothing is used. There are none unless long ones are dropped.
func (d *deck) skip(p *plan, at cursor) cursor {
	for d.stream.long == Drop && at.offset == 0 && int(at.place) < d.n {
		if _, from, to := d.document(p, int(at.place)); from < to {
			break
		}
		at.place++
	}
	return at
}

func (d *deck) newPlan(epoch int) *plan {
	p := &plan{epoch: epoch}
	if !d.sorted {
		p.order = d.shuffled(epoch)
	}
	for at := d.skip(p, cursor{}); int(at.place) < d.n; at = d.skip(p, d.cut(p, at, nil)) {
		p.rows = append(p.rows, at)
	}
	return p
}

// plan returns the plan of an epoch; the last two used are kept. The lock must be held.
func (d *deck) plan(epoch int) *plan {
	if d.sorted {
		epoch = 0 // all are the same
	}
	for i, p := range d.plans {
		if p != nil && p.epoch == epoch {
			d.plans[0], d.plans[i] = d.plans[i], d.plans[0]
			return p
		}
	}
	d.plans[1] = d.plans[0]
	d.plans[0] = d.newPlan(epoch)
	return d.plans[0]
}

// rows is the number of rows of the first epoch.
func (d *deck) rows() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.plan(0).rows)
}

// row returns the epoch of row i, counted through all epochs, and its parts.
func (d *deck) row(i int, take func(part)) (epoch int) {
	p, i := d.find(i)
	d.cut(p, p.rows[i], take)
	return p.epoch
}

// find returns the plan that row i, counted through all epochs, is in, and its place there. Where the rows of an epoch
// depend on its order, as they do when some are cut short for their many documents, the epochs before are
// counted one after the other.
func (d *deck) find(i int) (*plan, int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.steady() {
		n := len(d.plan(0).rows)
		return d.plan(i / n), i % n
	}
	if d.before == nil {
		d.before = []int{0}
	}
	for {
		last := len(d.before) - 1
		if i < d.before[last] {
			break
		}
		d.before = append(d.before, d.before[last]+len(d.plan(last).rows))
	}
	epoch := upper(d.before, i) - 1
	return d.plan(epoch), i - d.before[epoch]
}

// steady reports that all epochs have the same number of rows.
func (d *deck) steady() bool { return d.sorted || d.most == 1 }

// upper returns the number of elements of s, which do not decrease, that are at most x.
func upper(s []int, x int) int {
	return sort.Search(len(s), func(i int) bool { return s[i] > x })
}
