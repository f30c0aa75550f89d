package datasets

import (
	"fmt"
	"math"
)

// Shape is the size of batches and which order they come in.
type Shape struct {
	Rows, Length int
	// Order picks one of the shuffles that the configuration's seed gives. Stages that go over the same data pass
	// different ones.
	Order uint64
}

// Loader makes batches. Batch is a pure function of configuration, shape and step; any number of goroutines may
// call it in any order.
type Loader struct {
	shape Shape
	decks []*deck
	mix   *mixture // nil for a single deck
	// finite loaders end with a short batch, and begin again.
	finite bool
}

// Train returns the batches for training. They never end: documents come once an epoch, each epoch in an order of
// its own.
func (d *Data) Train(s Shape) (*Loader, error) {
	l, err := d.newLoader(s, func(t *stream, k *deck) { k.from, k.n = t.held, t.count-t.held })
	if err == nil && len(d.streams) > 1 {
		weights := make([]float64, len(d.streams))
		for i := range weights {
			weights[i] = d.config.Sources[i].Weight
		}
		l.mix = newMixture(weights)
	}
	return l, err
}

// HeldOut returns the batches of the held-out documents, in a fixed order: every document once in Steps batches, the
// last of them padded, and then the same again. Shape.Order means nothing here.
func (d *Data) HeldOut(s Shape) (*Loader, error) {
	if d.config.HeldOut == 0 {
		return nil, fmt.Errorf("data.held_out is 0, want a fraction or number of documents to measure on")
	}
	l, err := d.newLoader(s, func(t *stream, k *deck) { k.n, k.sorted = t.held, true })
	if err == nil {
		l.finite = true
	}
	return l, err
}

// newLoader gives each stream its deck; choose says which documents are in it.
func (d *Data) newLoader(s Shape, choose func(*stream, *deck)) (*Loader, error) {
	if s.Rows < 1 || s.Length < 1 || s.Rows > math.MaxInt32/s.Length {
		return nil, fmt.Errorf("datasets: batches of %d rows of %d tokens, want at least 1 of each and no more than %d tokens", s.Rows, s.Length, math.MaxInt32)
	}
	if t := d.config.Tokens; t != nil && d.time != s.Length {
		return nil, fmt.Errorf("data.tokens: %s holds rows of %d tokens, the stage wants rows of %d", t.Path, d.time, s.Length)
	}
	l := &Loader{shape: s}
	for i, t := range d.streams {
		k := &deck{stream: t, length: s.Length, most: 1, sorted: !t.shuffled,
			shuffle: derive(d.config.Seed, shuffleKey, uint64(i), s.Order)}
		if d.config.Packing && t.shuffled {
			k.most = rowDocs(s.Length)
		}
		choose(t, k)
		if k.n == 0 || k.rows() == 0 {
			return nil, fmt.Errorf("data: source %s has no tokens for this: all its %d documents are held out or dropped", t.name, t.count)
		}
		l.decks = append(l.decks, k)
	}
	return l, nil
}

// Keys of the random numbers' uses.
const (
	shuffleKey = iota + 1
	splitKey
)

// Steps is the number of batches after which every document has come: exactly once if held out, at least once in
// training, where documents of sources with much weight have come more often by then.
func (l *Loader) Steps() int {
	rows := 0
	for i, k := range l.decks {
		switch {
		case l.finite:
			rows += k.rows()
		case l.mix != nil:
			rows = max(rows, l.mix.place(i, k.rows()-1)+1)
		default:
			rows = k.rows()
		}
	}
	return (rows-1)/l.shape.Rows + 1
}

// Shape returns what the loader was made with.
func (l *Loader) Shape() Shape { return l.shape }

// Batch returns the batch of a step, from 0 on. Its slices are the caller's.
func (l *Loader) Batch(step int) (Batch, error) {
	if most := math.MaxInt/l.shape.Rows - 1; step < 0 || step > most {
		return Batch{}, fmt.Errorf("datasets: step %d, want 0 to %d", step, most)
	}
	if l.finite {
		step %= l.Steps()
	}
	w := newWriter(l.shape.Rows, l.shape.Length)
	for r := range l.shape.Rows {
		w.row()
		k, row := l.find(step*l.shape.Rows + r)
		if k == nil {
			break
		}
		if epoch := k.row(row, w.add); r == 0 {
			w.b.Epoch = epoch
		}
	}
	return w.batch(), nil
}

// find returns the deck and its row that row i of the whole is; nil after the end of a finite loader.
func (l *Loader) find(i int) (*deck, int) {
	if l.finite {
		for _, k := range l.decks {
			n := k.rows()
			if i < n {
				return k, i
			}
			i -= n
		}
		return nil, 0
	}
	if l.mix == nil {
		return l.decks[0], i
	}
	s, row := l.mix.at(i)
	return l.decks[s], row
}
