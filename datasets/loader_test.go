package datasets

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// invent makes a corpus of documents of these lengths whose tokens all differ: they count up from first.
func invent(first int32, lengths ...int) *corpus {
	c := &corpus{}
	for _, n := range lengths {
		for range n {
			c.tokens = append(c.tokens, first)
			first++
		}
		c.ends = append(c.ends, uint64(len(c.tokens)))
	}
	return c
}

// memory is Data of corpora that are in no cache.
func memory(t *testing.T, c Config, corpora ...*corpus) *Data {
	t.Helper()
	d := &Data{config: c}
	for i, x := range corpora {
		if err := x.check(); err != nil {
			t.Fatal(err)
		}
		d.names = append(d.names, fmt.Sprint("corpus ", i))
		d.caches = append(d.caches, &cached{corpus: *x})
	}
	if err := d.makeStreams(); err != nil {
		t.Fatal(err)
	}
	return d
}

func lengths(seed uint64, n, most int) []int {
	r := rand.New(rand.NewPCG(seed, 1))
	x := make([]int, n)
	for i := range x {
		x[i] = 1 + r.IntN(most)
	}
	return x
}

// config is Default with changes.
func config(change func(*Config)) Config {
	c := Default()
	c.Seed = 42
	if change != nil {
		change(&c)
	}
	return c
}

func train(t *testing.T, d *Data, s Shape) *Loader {
	t.Helper()
	l, err := d.Train(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func batch(t *testing.T, l *Loader, step int) Batch {
	t.Helper()
	b, err := l.Batch(step)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// home finds the document that a token of an invented corpus is in.
type home map[int32]struct {
	doc  int
	last bool
}

func homes(corpora ...*corpus) home {
	h := home{}
	doc := 0
	for _, c := range corpora {
		for d := range c.documents() {
			from, to := c.span(d)
			for i := from; i < to; i++ {
				h[c.tokens[i]] = struct {
					doc  int
					last bool
				}{doc, i == to-1}
			}
			doc++
		}
	}
	return h
}

// check verifies the form of a batch of invented documents, and that every label is the next token of the same
// document, whether that is in the row or not.
func (h home) check(t *testing.T, b Batch, s Shape, hidden func(int32) bool) {
	t.Helper()
	n := s.Rows * s.Length
	if len(b.IDs) != n || len(b.Labels) != n || len(b.Cu) != b.Docs+1 || b.Cu[0] != 0 || int(b.Cu[b.Docs]) > n {
		t.Fatalf("batch of %d ids, %d labels, cu %v, %d documents, want %d tokens", len(b.IDs), len(b.Labels), b.Cu, b.Docs, n)
	}
	if b.Docs > MaxDocs(s.Rows, s.Length) {
		t.Fatalf("%d documents, want at most %d", b.Docs, MaxDocs(s.Rows, s.Length))
	}
	tokens, learned := 0, 0
	for d := range b.Docs {
		lo, hi := int(b.Cu[d]), int(b.Cu[d+1])
		if lo >= hi || lo/s.Length != (hi-1)/s.Length {
			t.Fatalf("document %d is [%d, %d): empty, or in two rows of %d", d, lo, hi, s.Length)
		}
		if b.IDs[lo] == 0 {
			for i := lo; i < hi; i++ {
				if b.IDs[i] != 0 || b.Labels[i] != Ignored {
					t.Fatalf("padding at %d has id %d, label %d", i, b.IDs[i], b.Labels[i])
				}
			}
			continue
		}
		tokens += hi - lo
		for i := lo; i < hi; i++ {
			at, ok := h[b.IDs[i]]
			if !ok || at.doc != h[b.IDs[lo]].doc {
				t.Fatalf("token %d at %d is in another document than %d at %d", b.IDs[i], i, b.IDs[lo], lo)
			}
			if i > lo && b.IDs[i] != b.IDs[i-1]+1 {
				t.Fatalf("token %d follows %d", b.IDs[i], b.IDs[i-1])
			}
			want := b.IDs[i] + 1
			if at.last || hidden != nil && hidden(want) {
				want = Ignored
			} else {
				learned++
			}
			if b.Labels[i] != want {
				t.Fatalf("label of token %d is %d, want %d", b.IDs[i], b.Labels[i], want)
			}
		}
	}
	for i := int(b.Cu[b.Docs]); i < n; i++ {
		if b.IDs[i] != 0 || b.Labels[i] != Ignored {
			t.Fatalf("beyond the documents, at %d: id %d, label %d", i, b.IDs[i], b.Labels[i])
		}
	}
	if tokens != b.Tokens || learned != b.Learned {
		t.Fatalf("batch says %d tokens, %d learned, want %d and %d", b.Tokens, b.Learned, tokens, learned)
	}
}

// TestEpochs: every token of every training document comes exactly once an epoch, for all ways of packing, and no
// held-out token in training.
func TestEpochs(t *testing.T) {
	for _, tc := range []struct {
		name    string
		lengths []int
		shape   Shape
		change  func(*Config)
	}{
		{"packed", lengths(1, 200, 300), Shape{Rows: 4, Length: 64}, nil},
		{"unpacked", lengths(2, 200, 300), Shape{Rows: 4, Length: 64}, func(c *Config) { c.Packing = false }},
		{"short documents", lengths(3, 500, 9), Shape{Rows: 3, Length: 64}, nil},
		{"odd shape", lengths(4, 100, 70), Shape{Rows: 1, Length: 33}, nil},
		{"rows of one", lengths(5, 20, 5), Shape{Rows: 7, Length: 1}, nil},
		{"one document", []int{1000}, Shape{Rows: 2, Length: 48}, nil},
		{"less than a row", []int{3, 4}, Shape{Rows: 2, Length: 48}, nil},
		{"pieces", lengths(6, 100, 300), Shape{Rows: 4, Length: 64}, func(c *Config) { c.MaxDocumentTokens = 50 }},
		{"held out", lengths(7, 200, 100), Shape{Rows: 4, Length: 64}, func(c *Config) { c.HeldOut = 0.1 }},
		{"held-out number", lengths(8, 200, 100), Shape{Rows: 4, Length: 64}, func(c *Config) { c.HeldOut = 7 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			half := len(tc.lengths) / 2
			a, b := invent(1, tc.lengths[:half]...), invent(1_000_000, tc.lengths[half:]...)
			corpora := []*corpus{a, b}
			if half == 0 {
				corpora = corpora[1:]
			}
			d := memory(t, config(tc.change), corpora...)
			h := homes(corpora...)
			l := train(t, d, tc.shape)
			perEpoch := map[int]map[int32]int{}
			docs := map[int]bool{}
			for step := range 3*l.Steps() + 1 {
				x := batch(t, l, step)
				h.check(t, x, tc.shape, nil)
				for r := range tc.shape.Rows {
					k, row := l.find(step*tc.shape.Rows + r)
					p, _ := k.find(row)
					if perEpoch[p.epoch] == nil {
						perEpoch[p.epoch] = map[int32]int{}
					}
					for _, id := range x.IDs[r*tc.shape.Length : (r+1)*tc.shape.Length] {
						if id != 0 {
							perEpoch[p.epoch][id]++
							docs[h[id].doc] = true
						}
					}
				}
			}
			training, held := d.Split()
			if len(docs) != training.Documents || training.Documents+held.Documents != len(tc.lengths) || training.Tokens+held.Tokens != int64(len(h)) {
				t.Errorf("saw %d documents of %d, want %+v for training, %+v held out", len(docs), len(tc.lengths), training, held)
			}
			if len(perEpoch) < 3 {
				t.Fatalf("saw %d epochs, want 3", len(perEpoch))
			}
			for epoch := range 2 {
				for id, at := range h {
					want := 0
					if docs[at.doc] {
						want = 1
					}
					if n := perEpoch[epoch][id]; n != want {
						t.Fatalf("epoch %d has token %d of document %d %d times, want %d", epoch, id, at.doc, n, want)
					}
				}
			}
			if held.Documents == 0 {
				return
			}
			out, err := d.HeldOut(tc.shape)
			if err != nil {
				t.Fatal(err)
			}
			seen := map[int32]int{}
			for step := range out.Steps() {
				x := batch(t, out, step)
				h.check(t, x, tc.shape, nil)
				if again := batch(t, out, step+out.Steps()); !reflect.DeepEqual(x, again) {
					t.Errorf("held-out step %d is another the second time", step)
				}
				for _, id := range x.IDs {
					if id != 0 {
						seen[id]++
					}
				}
			}
			for id, at := range h {
				if want := map[bool]int{true: 0, false: 1}[docs[at.doc]]; seen[id] != want {
					t.Fatalf("held-out batches have token %d of document %d %d times, want %d", id, at.doc, seen[id], want)
				}
			}
		})
	}
}

// TestShuffled: epochs, seeds and orders differ, and a document is as likely early as late.
func TestShuffled(t *testing.T) {
	c := invent(1, slices.Repeat([]int{40}, 1000)...)
	s := Shape{Rows: 2, Length: 320}
	first := func(change func(*Config), s Shape, step int) []int32 {
		return batch(t, train(t, memory(t, config(change), c), s), step).IDs
	}
	base := first(nil, s, 0)
	if slices.IsSorted(base) {
		t.Error("documents come in the order of the file")
	}
	steps := train(t, memory(t, config(nil), c), s).Steps()
	for name, other := range map[string][]int32{
		"seed":  first(func(c *Config) { c.Seed++ }, s, 0),
		"order": first(nil, Shape{s.Rows, s.Length, 1}, 0),
		"epoch": first(nil, s, steps),
	} {
		same := 0
		for i := range base {
			if other[i] == base[i] {
				same++
			}
		}
		if same > len(base)/10 {
			t.Errorf("another %s: %d of %d tokens are the same", name, same, len(base))
		}
	}
}

// TestWeights: rows go to sources by weight, each source is gone through before it begins again.
func TestWeights(t *testing.T) {
	a, b := invent(1, lengths(1, 100, 100)...), invent(1_000_000, lengths(2, 30, 100)...)
	d := memory(t, config(func(c *Config) { c.Sources = []Source{{Weight: 3}, {Weight: 1}} }), a, b)
	s := Shape{Rows: 4, Length: 64}
	l := train(t, d, s)
	h := homes(a, b)
	rows, tokens := 0, map[int32]int{}
	for step := range l.Steps() {
		x := batch(t, l, step)
		h.check(t, x, s, nil)
		for r := range s.Rows {
			if x.IDs[r*s.Length] >= 1_000_000 {
				rows++
			}
		}
		for _, id := range x.IDs {
			tokens[id]++
		}
	}
	if want := l.Steps() * s.Rows / 4; rows < want-1 || rows > want+1 {
		t.Errorf("the lighter source has %d of %d rows, want %d", rows, l.Steps()*s.Rows, want)
	}
	for id := range h {
		if tokens[id] == 0 {
			t.Fatalf("token %d never came in %d steps", id, l.Steps())
		}
	}
}

// TestLong: what is done with documents of more than max_document_tokens.
func TestLong(t *testing.T) {
	c := invent(1, 10, 50, 20, 51, 7)
	for _, tc := range []struct {
		long   Long
		tokens int
		docs   int
	}{{Split, 138, 7}, {Truncate, 97, 5}, {Drop, 37, 3}} {
		d := memory(t, config(func(c *Config) { c.MaxDocumentTokens, c.LongDocuments = 30, tc.long }), c)
		l := train(t, d, Shape{Rows: 1, Length: 1024})
		b := batch(t, l, 0)
		if b.Tokens != tc.tokens || b.Docs != tc.docs {
			t.Errorf("%s: %d tokens in %d documents, want %d in %d", tc.long, b.Tokens, b.Docs, tc.tokens, tc.docs)
		}
		ends := 0
		for i, label := range b.Labels[:b.Tokens] {
			if label == Ignored {
				ends++
			} else if label != b.IDs[i]+1 {
				t.Errorf("%s: label of %d is %d", tc.long, b.IDs[i], label)
			}
		}
		if want := map[Long]int{Split: 5, Truncate: 5, Drop: 3}[tc.long]; ends != want {
			t.Errorf("%s: %d tokens without a label, want %d", tc.long, ends, want)
		}
	}
}

// TestHidden: what is hidden has no label, wherever rows are cut.
func TestHidden(t *testing.T) {
	c := invent(1, lengths(1, 50, 100)...)
	isHidden := map[int32]bool{}
	r := rand.New(rand.NewPCG(2, 2))
	for at := 0; at < len(c.tokens); {
		n := 1 + r.IntN(20)
		end := min(at+n, len(c.tokens))
		if r.IntN(2) == 0 {
			c.hidden = append(c.hidden, uint64(at), uint64(end))
			for _, id := range c.tokens[at:end] {
				isHidden[id] = true
			}
		}
		at = end
	}
	s := Shape{Rows: 2, Length: 64}
	h := homes(c)
	l := train(t, memory(t, config(nil), c), s)
	for step := range l.Steps() {
		h.check(t, batch(t, l, step), s, func(id int32) bool { return isHidden[id] })
	}
	l = train(t, memory(t, config(func(c *Config) { c.MaskPrompt = false }), c), s)
	for step := range l.Steps() {
		h.check(t, batch(t, l, step), s, nil)
	}
}

// TestAnyOrder: a batch depends on its step alone, whatever was asked for before.
func TestAnyOrder(t *testing.T) {
	corpora := []*corpus{invent(1, lengths(1, 100, 9)...), invent(1_000_000, lengths(2, 30, 200)...)}
	for name, change := range map[string]func(*Config){
		"together": nil,
		"weights":  func(c *Config) { c.Sources = []Source{{Weight: 1}, {Weight: 2}} },
	} {
		s := Shape{Rows: 3, Length: 64}
		through := train(t, memory(t, config(change), corpora...), s)
		var want []Batch
		for step := range 100 {
			want = append(want, batch(t, through, step))
		}
		for _, step := range rand.New(rand.NewPCG(1, 1)).Perm(100) {
			fresh := train(t, memory(t, config(change), corpora...), s)
			if got := batch(t, fresh, step); !reflect.DeepEqual(got, want[step]) {
				t.Fatalf("%s: step %d asked for first is not the one come to", name, step)
			}
			if got := batch(t, through, step); !reflect.DeepEqual(got, want[step]) {
				t.Fatalf("%s: step %d asked for again is another", name, step)
			}
		}
	}
}

func TestLoaderErrors(t *testing.T) {
	d := memory(t, config(nil), invent(1, 5, 6))
	for _, s := range []Shape{{Rows: 0, Length: 5}, {Rows: 1, Length: 0}, {Rows: 1 << 20, Length: 1 << 20}} {
		if _, err := d.Train(s); err == nil {
			t.Errorf("%v: no error", s)
		}
	}
	if _, err := d.HeldOut(Shape{Rows: 1, Length: 8}); err == nil {
		t.Error("nothing is held out: no error")
	}
	l := train(t, d, Shape{Rows: 2, Length: 8})
	for _, step := range []int{-1, 1<<63 - 1} {
		if _, err := l.Batch(step); err == nil {
			t.Errorf("step %d: no error", step)
		}
	}
	all := memory(t, config(func(c *Config) { c.MaxDocumentTokens, c.LongDocuments = 2, Drop }), invent(1, 5, 6))
	if _, err := all.Train(Shape{Rows: 1, Length: 8}); err == nil {
		t.Error("all documents are dropped: no error")
	}
}
