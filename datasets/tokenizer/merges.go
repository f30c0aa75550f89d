package tokenizer

import "math/bits"

// noMerge is the rank of a pair that does not merge: it comes after every rank.
const noMerge = 1<<31 - 1

// merges maps a pair of tokens to the rank of its merge: an open hash table, written once.
type merges struct {
	slots []mergeSlot // a power of two of them, at most half of them taken
	shift uint
	made  []int32 // made[rank] is the token that the merge of that rank makes
}

type mergeSlot struct {
	left, right int32
	rank        int32 // noMerge where the slot is free
}

// newMerges makes room for n merges.
func newMerges(n int) *merges {
	m := &merges{slots: make([]mergeSlot, 1<<bits.Len(uint(2*n+1))), made: make([]int32, 0, n)}
	m.shift = uint(64 - bits.Len(uint(len(m.slots)-1)))
	for i := range m.slots {
		m.slots[i].rank = noMerge
	}
	return m
}

// slot returns the slot of the pair, or the free one where it would be.
func (m *merges) slot(left, right int32) *mergeSlot {
	const odd = 0x9E3779B97F4A7C15 // 2⁶⁴ divided by the golden ratio: Knuth's multiplicative hashing
	h := (uint64(uint32(left))<<32 | uint64(uint32(right))) * odd
	h ^= h >> 32
	for i := h * odd >> m.shift; ; i++ {
		s := &m.slots[i&uint64(len(m.slots)-1)]
		if s.left == left && s.right == right || s.rank == noMerge {
			return s
		}
	}
}

// rank returns the rank of the merge of left and right, noMerge when there is none.
func (m *merges) rank(left, right int32) int32 { return m.slot(left, right).rank }

// add gives the pair the next rank. It reports false when the pair has one already.
func (m *merges) add(left, right, made int32) bool {
	s := m.slot(left, right)
	if s.rank != noMerge {
		return false
	}
	*s = mergeSlot{left, right, int32(len(m.made))}
	m.made = append(m.made, made)
	return true
}
