package datasets

import "math/bits"

// Stats counts what a source or all sources hold.
type Stats struct {
	Name      string // the source's path; "" for all
	Documents int    // with tokens
	Empty     int    // without, and left out
	Bytes     int64  // of text; four for each token of documents that came as tokens
	Tokens    int64
	Hidden    int64 // of the tokens, those not to be learned: prompts of chats
	// Shortest and Longest document, in tokens.
	Shortest, Longest int
	// Lengths counts documents by length: Lengths[i] have 2ⁱ to 2ⁱ⁺¹-1 tokens.
	Lengths []int
	// MaxToken is the greatest id, for which an embedding must have a row.
	MaxToken int32
}

// Stats returns the counts of all sources together, and of each. They do not depend on LongDocuments.
func (d *Data) Stats() (all Stats, each []Stats) {
	for i, c := range d.caches {
		s := c.stats()
		s.Name = d.names[i]
		each = append(each, s)
		all.add(s)
	}
	return all, each
}

// Share is a part of the documents and of their tokens.
type Share struct {
	Documents int
	Tokens    int64
}

// Split returns what is for training and what is held out, after long documents were dropped or cut short.
func (d *Data) Split() (training, heldOut Share) {
	for _, s := range d.streams {
		for i := range s.count {
			to := &training
			if i < s.held {
				to = &heldOut
			}
			at := i
			if s.split != nil {
				at = int(s.split[i])
			}
			if _, from, end := s.document(at); from < end {
				to.Documents++
				to.Tokens += int64(end - from)
			}
		}
	}
	return training, heldOut
}

func (c *cached) stats() Stats {
	s := Stats{Documents: c.documents(), Empty: c.facts.Empty, Bytes: c.facts.Bytes, Tokens: int64(len(c.tokens)), MaxToken: c.facts.Max}
	for i := range c.documents() {
		from, to := c.span(i)
		n := int(to - from)
		if i == 0 || n < s.Shortest {
			s.Shortest = n
		}
		s.Longest = max(s.Longest, n)
		s.count(bits.Len(uint(n))-1, 1)
	}
	for i := 0; i < len(c.hidden); i += 2 {
		s.Hidden += int64(c.hidden[i+1] - c.hidden[i])
	}
	return s
}

func (s *Stats) count(bin, n int) {
	for len(s.Lengths) <= bin {
		s.Lengths = append(s.Lengths, 0)
	}
	s.Lengths[bin] += n
}

func (s *Stats) add(o Stats) {
	if s.Documents == 0 || o.Shortest < s.Shortest {
		s.Shortest = o.Shortest
	}
	s.Documents += o.Documents
	s.Empty += o.Empty
	s.Bytes += o.Bytes
	s.Tokens += o.Tokens
	s.Hidden += o.Hidden
	s.Longest = max(s.Longest, o.Longest)
	s.MaxToken = max(s.MaxToken, o.MaxToken)
	for bin, n := range o.Lengths {
		s.count(bin, n)
	}
}
