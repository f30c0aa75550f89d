package datasets

import "sort"

// corpus is the tokens of one source, document after document, as they lie in its cache. It is read by any number of
// goroutines and never written.
type corpus struct {
	tokens []int32
	// ends[d] is where document d ends in tokens and the next begins; no document is empty.
	ends []uint64
	// hidden are runs of tokens that are not to be learned, in order and apart: where each begins, where it ends.
	// They are the prompts of chats.
	hidden []uint64
}

func (c *corpus) documents() int { return len(c.ends) }

// span returns where document d lies in tokens.
func (c *corpus) span(d int) (from, to uint64) {
	if d > 0 {
		from = c.ends[d-1]
	}
	return from, c.ends[d]
}

// hide sets to Ignored the labels of the tokens from that one on that are hidden.
func (c *corpus) hide(labels []int32, from uint64) {
	to := from + uint64(len(labels))
	// The first run that ends after from.
	i := sort.Search(len(c.hidden)/2, func(i int) bool { return c.hidden[2*i+1] > from })
	for ; i < len(c.hidden)/2 && c.hidden[2*i] < to; i++ {
		lo, hi := max(c.hidden[2*i], from), min(c.hidden[2*i+1], to)
		for k := lo; k < hi; k++ {
			labels[k-from] = Ignored
		}
	}
}

// stream is documents that are shuffled together, from one corpus or several, and what is done with long ones.
type stream struct {
	name    string
	corpora []*corpus
	firsts  []int // firsts[i] is the number of documents before corpora[i]
	count   int
	limit   int  // tokens of a document beyond which it is long, 0 for none
	long    Long // what is done with a long one
	// shuffled is false for tokens that were packed beforehand.
	shuffled bool
	// split lists the documents, those held out first; nil where it would list them in their order.
	split []uint32
	held  int
}

func newStream(name string, corpora []*corpus, c *Config) *stream {
	s := &stream{name: name, corpora: corpora, limit: c.MaxDocumentTokens, long: c.LongDocuments}
	for _, x := range corpora {
		s.firsts = append(s.firsts, s.count)
		s.count += x.documents()
	}
	return s
}

// document finds a document and the part of it that is used.
func (s *stream) document(i int) (c *corpus, from, to uint64) {
	at := 0
	if len(s.corpora) > 1 {
		at = upper(s.firsts, i) - 1
	}
	c = s.corpora[at]
	from, to = c.span(i - s.firsts[at])
	if n := uint64(s.limit); n > 0 && to-from > n {
		switch s.long {
		case Truncate:
			to = from + n
		case Drop:
			to = from
		}
	}
	return c, from, to
}
