package tasks

import "fmt"

// Place is where an answer's token is predicted: after token At of a batch, Want should follow.
type Place struct {
	At   int
	Want int32
}

// Span is an answer in a batch: its places, and the turn and choice that it belongs to.
type Span struct {
	Item, Turn, Choice int
	From, To           int // of Places
}

// Batch is documents one after the other, at most Tokens, with the places at which predictions are wanted.
type Batch struct {
	IDs    []int32
	Cu     []int32
	Places []Place // by increasing At
	Spans  []Span
}

// Limits are the sizes that every batch keeps to.
type Limits struct{ Tokens, Documents, Places int }

// document is a sequence with answers in it.
type document struct {
	ids   []int32
	spans []Span // From and To are tokens of the answer here
}

// documents of an item: one with all right answers, and one for each wrong choice, which ends there.
func (it Item) documents(n int) []document {
	var main document
	var wrong []document
	for k, t := range it.Turns {
		main.ids = append(main.ids, t.Context...)
		for c, ids := range t.Choices {
			d := &main
			if c != t.Answer {
				wrong = append(wrong, document{ids: append([]int32(nil), main.ids...)})
				d = &wrong[len(wrong)-1]
			} else {
				continue
			}
			d.append(ids, Span{Item: n, Turn: k, Choice: c})
		}
		main.append(t.Right(), Span{Item: n, Turn: k, Choice: t.Answer})
	}
	return append([]document{main}, wrong...)
}

func (d *document) append(ids []int32, s Span) {
	s.From = len(d.ids)
	d.ids = append(d.ids, ids...)
	s.To = len(d.ids)
	d.spans = append(d.spans, s)
}

// Tokens returns the item as one text with its right answers, and which tokens belong to answers.
func (it Item) Tokens() (ids []int32, answers []bool) {
	for _, t := range it.Turns {
		ids = append(append(ids, t.Context...), t.Right()...)
		for range t.Context {
			answers = append(answers, false)
		}
		for range t.Right() {
			answers = append(answers, true)
		}
	}
	return ids, answers
}

// Pack lays items into batches within limits, in their order.
func Pack(items []Item, l Limits) ([]Batch, error) {
	var batches []Batch
	b := Batch{Cu: []int32{0}}
	flush := func() {
		if len(b.IDs) > 0 {
			batches = append(batches, b)
		}
		b = Batch{Cu: []int32{0}}
	}
	for n, it := range items {
		for _, d := range it.documents(n) {
			places := 0
			for _, s := range d.spans {
				places += s.To - s.From
			}
			if len(d.ids) > l.Tokens || places > l.Places {
				return nil, fmt.Errorf("tasks: item %d has %d tokens and asks for %d, want at most %d and %d in a batch", n, len(d.ids), places, l.Tokens, l.Places)
			}
			if len(b.IDs)+len(d.ids) > l.Tokens || len(b.Cu) > l.Documents || len(b.Places)+places > l.Places {
				flush()
			}
			at := len(b.IDs)
			b.IDs = append(b.IDs, d.ids...)
			b.Cu = append(b.Cu, int32(len(b.IDs)))
			for _, s := range d.spans {
				first := len(b.Places)
				for i := s.From; i < s.To; i++ {
					b.Places = append(b.Places, Place{At: at + i - 1, Want: d.ids[i]})
				}
				s.From, s.To = first, len(b.Places)
				b.Spans = append(b.Spans, s)
			}
		}
	}
	flush()
	return batches, nil
}
