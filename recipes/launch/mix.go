package launch

import (
	"fmt"

	"github.com/gojet/gojet/datasets"
	"github.com/gojet/gojet/datasets/tokenizer"
	"github.com/gojet/gojet/evals/tasks"
	"github.com/gojet/gojet/recipes"
	"github.com/gojet/gojet/train"
)

// mixed puts rows of questions among the rows of data. Which rows and what stands in them is a function of the row's
// number.
type mixed struct {
	train.Data
	rows, length int
	share        float64
	sets         []*tasks.Set
	seed         uint64
	answers      bool // label answers alone
}

func newMixed(inner train.Data, m *recipes.Mix, rows, length int, seed uint64, answers bool, tok tokenizer.Tokenizer) (train.Data, error) {
	x := &mixed{Data: inner, rows: rows, length: length, share: m.Share, seed: seed, answers: answers}
	for _, c := range m.Tasks {
		s, err := tasks.Open(c, tasks.Materials{Tokenizer: tok})
		if err != nil {
			return nil, err
		}
		if ids, _ := s.Item(seed, 0).Tokens(); len(ids) > length {
			return nil, fmt.Errorf("mix: an item of %s has %d tokens, rows have %d", s.Name, len(ids), length)
		}
		x.sets = append(x.sets, s)
	}
	return x, nil
}

// asks says whether row i is one of questions, and which of those it is.
func (m *mixed) asks(i int) (int, bool) {
	n := int(float64(i+1) * m.share)
	return n - 1, n > int(float64(i)*m.share)
}

func (m *mixed) Batch(number int) (train.Batch, error) {
	from, err := m.Data.Batch(number)
	if err != nil {
		return from, err
	}
	b := train.Batch{IDs: make([]int32, len(from.IDs)), Labels: make([]int32, len(from.IDs)), Cu: []int32{0}}
	for i := range b.Labels {
		b.Labels[i] = datasets.Ignored
	}
	doc := 1
	for r := range m.rows {
		lo, hi := r*m.length, (r+1)*m.length
		first := doc
		for doc < len(from.Cu) && int(from.Cu[doc]) <= hi {
			doc++
		}
		if last := int(b.Cu[len(b.Cu)-1]); last < lo { // padding before another row is a document
			b.Cu = append(b.Cu, int32(lo))
		}
		if q, ok := m.asks(number*m.rows + r); ok {
			m.row(&b, lo, hi, q)
			continue
		}
		copy(b.IDs[lo:hi], from.IDs[lo:hi])
		copy(b.Labels[lo:hi], from.Labels[lo:hi])
		for _, c := range from.Cu[first:doc] {
			if int(c) > lo {
				b.Cu = append(b.Cu, c)
			}
		}
	}
	return b, nil
}

// row fills a row with the items of row q of questions, as many as fit and as rows of data may have documents.
func (m *mixed) row(b *train.Batch, lo, hi, q int) {
	set := m.sets[q%len(m.sets)]
	most := datasets.MaxDocs(1, m.length) - 1
	for k, at := 0, lo; k < most; k++ {
		ids, answers := set.Item(m.seed, q*most+k).Tokens()
		if len(ids) > hi-at {
			break
		}
		copy(b.IDs[at:], ids)
		for i := range ids[1:] {
			if answers[i+1] || !m.answers {
				b.Labels[at+i] = ids[i+1]
			}
		}
		at += len(ids)
		b.Cu = append(b.Cu, int32(at))
	}
}
