package tokenizer

import "slices"

// A word's bytes become tokens by the merges of byte-pair encoding (Sennrich et al. 2016,
// https://arxiv.org/abs/1508.07909): as long as any two neighbours merge, those of the lowest rank do, the
// leftmost first. Both ways below do exactly that.

// shortWord is the most bytes for which searching all neighbours for the lowest rank beats keeping a heap.
const shortWord = 48

// part is a token of a word being merged.
type part struct {
	id   int32
	rank int32 // of the merge with the next part, noMerge for none
	prev int32
	next int32 // len(parts) behind the last
}

// merger merges words; it keeps its buffers from one to the next.
type merger struct {
	*merges
	bytes *[256]int32 // the token of every byte
	parts []part
	heap  []uint64
}

// appendWord appends the tokens of word, which is not empty.
func (m *merger) appendWord(dst []int32, word string) []int32 {
	m.parts = slices.Grow(m.parts[:0], len(word))
	last := len(word) - 1
	for i := range last {
		left, right := m.bytes[word[i]], m.bytes[word[i+1]]
		m.parts = append(m.parts, part{id: left, rank: m.rank(left, right), prev: int32(i - 1), next: int32(i + 1)})
	}
	m.parts = append(m.parts, part{id: m.bytes[word[last]], rank: noMerge, prev: int32(last - 1), next: int32(last + 1)})
	if len(word) <= shortWord {
		m.mergeShort()
	} else {
		m.mergeLong()
	}
	for i := 0; i < len(m.parts); i = int(m.parts[i].next) {
		dst = append(dst, m.parts[i].id)
	}
	return dst
}

// mergeShort searches all parts before every merge: O(n²) for n bytes, without any bookkeeping.
func (m *merger) mergeShort() {
	parts := m.parts
	for {
		best, rank := 0, int32(noMerge)
		for i := range parts {
			if parts[i].rank < rank {
				best, rank = i, parts[i].rank
			}
		}
		if rank == noMerge {
			break
		}
		parts[best].id = m.made[rank]
		parts = append(parts[:best+1], parts[best+2:]...)
		parts[best].rank = m.rankAt(parts, best, best+1)
		if best > 0 {
			parts[best-1].rank = m.rank(parts[best-1].id, parts[best].id)
		}
	}
	for i := range parts {
		parts[i].next = int32(i + 1)
	}
	m.parts = parts
}

// rankAt returns the rank of parts i and next, noMerge when next is behind the end.
func (m *merger) rankAt(parts []part, i, next int) int32 {
	if next == len(parts) {
		return noMerge
	}
	return m.rank(parts[i].id, parts[next].id)
}

// mergeLong keeps the possible merges in a heap, ordered by rank and then by place: O(n log n). An entry whose
// part has since changed is dropped when it comes up: the part's rank is no longer the entry's.
func (m *merger) mergeLong() {
	parts := m.parts
	m.heap = slices.Grow(m.heap[:0], len(parts))
	for i := range parts {
		m.offer(i, parts[i].rank)
	}
	for len(m.heap) > 0 {
		top := m.pop()
		i, rank := int(uint32(top)), int32(top>>32)
		if parts[i].rank != rank {
			continue
		}
		p := &parts[i]
		gone := &parts[p.next]
		p.id, p.next, gone.rank = m.made[rank], gone.next, noMerge
		if int(p.next) < len(parts) {
			parts[p.next].prev = int32(i)
		}
		p.rank = m.rankAt(parts, i, int(p.next))
		m.offer(i, p.rank)
		if p.prev >= 0 {
			before := &parts[p.prev]
			before.rank = m.rank(before.id, p.id)
			m.offer(int(p.prev), before.rank)
		}
	}
}

// offer puts the merge of part i with its successor on the heap.
func (m *merger) offer(i int, rank int32) {
	if rank == noMerge {
		return
	}
	m.heap = append(m.heap, uint64(rank)<<32|uint64(i))
	h := m.heap
	for k := len(h) - 1; k > 0; {
		up := (k - 1) / 2
		if h[up] <= h[k] {
			break
		}
		h[up], h[k] = h[k], h[up]
		k = up
	}
}

// pop takes the lowest entry off the heap.
func (m *merger) pop() uint64 {
	h := m.heap
	top := h[0]
	last := len(h) - 1
	h[0] = h[last]
	h = h[:last]
	m.heap = h
	for k := 0; ; {
		down := 2*k + 1
		if down >= last {
			break
		}
		if down+1 < last && h[down+1] < h[down] {
			down++
		}
		if h[k] <= h[down] {
			break
		}
		h[k], h[down] = h[down], h[k]
		k = down
	}
	return top
}

// trim lets go of buffers that a huge word has left behind.
func (m *merger) trim() {
	const keep = 1 << 16
	if cap(m.parts) > keep {
		m.parts, m.heap = nil, nil
	}
}
