package datasets

import "fmt"

// Ignored is the label of a token after which nothing is learned.
const Ignored = -100

// Batch is Rows rows of Length tokens, documents packed one after the other.
type Batch struct {
	// IDs are the N = Rows·Length tokens, 0 where a row's end is padding.
	IDs []int32
	// Labels [N] are the tokens that follow within the same document, even where the row ends before it, and Ignored
	// where none does, where it is not to be learned (prompts of chats), and on padding.
	Labels []int32
	// Cu are the borders of the documents in IDs (cu_seqlens), at most MaxDocs+1. No document crosses rows. Padding before another
	// row is a document of its own, so that Cu has no gaps; padding at the very end lies outside.
	Cu []int32
	// Docs is len(Cu)-1.
	Docs int
	// Tokens is the number of tokens that are not padding, Learned the number of labels that are not Ignored.
	Tokens, Learned int
	// Epoch is how often the documents of the first row's stream had been gone through before it.
	Epoch int
}

// A packed row with documents of fewer than tokensPerDoc tokens on average, and at least fewDocs of them, is padded, so
// that buffers for the documents' state have a bound.
const (
	tokensPerDoc = 32
	fewDocs      = 4
)

// rowDocs is the most documents in a packed row.
func rowDocs(length int) int { return max(fewDocs, length/tokensPerDoc) }

// MaxDocs is the most documents that a batch of so many rows can have, packed or not, padding included.
func MaxDocs(rows, length int) int { return rows * (rowDocs(length) + 1) }

// writer fills a batch row by row.
type writer struct {
	b       *Batch
	length  int
	at, end int // tokens written, and the end of the row
}

func newWriter(rows, length int) *writer {
	n := rows * length
	b := &Batch{IDs: make([]int32, n), Labels: make([]int32, n), Cu: make([]int32, 1, 1+2*rows)}
	for i := range b.Labels {
		b.Labels[i] = Ignored
	}
	return &writer{b: b, length: length}
}

// row starts the next row.
func (w *writer) row() {
	if w.at < w.end {
		w.border(w.end)
	}
	w.end += w.length
}

// add appends one document of the row.
func (w *writer) add(p part) {
	n := int(p.to - p.from)
	if w.at+n > w.end {
		panic(fmt.Sprintf("datasets: %d tokens for a row with room for %d", n, w.end-w.at))
	}
	copy(w.b.IDs[w.at:], p.corpus.tokens[p.from:p.to])
	next := p.to
	if p.more {
		next++
	}
	labels := w.b.Labels[w.at : w.at+int(next-p.from)-1]
	copy(labels, p.corpus.tokens[p.from+1:next])
	p.corpus.hide(labels, p.from+1)
	for _, l := range labels {
		if l != Ignored {
			w.b.Learned++
		}
	}
	w.b.Tokens += n
	w.border(w.at + n)
}

// border ends a document.
func (w *writer) border(at int) {
	w.b.Cu = append(w.b.Cu, int32(at))
	w.at = at
}

func (w *writer) batch() Batch {
	w.b.Docs = len(w.b.Cu) - 1
	return *w.b
}
