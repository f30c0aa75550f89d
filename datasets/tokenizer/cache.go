package tokenizer

import "hash/maphash"

const (
	cacheSlots   = 1 << 14
	cachedBytes  = 30 // longest word kept
	cachedTokens = 8  // most tokens kept
)

// cacheSlot is a word and its tokens, one cache line (64 bytes) together.
type cacheSlot struct {
	bytes  uint8 // length of word, 0 where the slot is free
	tokens uint8
	word   [cachedBytes]byte
	ids    [cachedTokens]int32
}

// cache remembers the tokens of words, in 1 MiB whatever the text: a word's hash names its one slot, and
// the word that came last stays.
type cache struct {
	seed  maphash.Seed
	slots [cacheSlots]cacheSlot
}

func newCache() *cache { return &cache{seed: maphash.MakeSeed()} }

// slot returns the slot for word, nil if it is too long to be kept.
func (c *cache) slot(word string) *cacheSlot {
	if len(word) > cachedBytes {
		return nil
	}
	return &c.slots[maphash.String(c.seed, word)%cacheSlots]
}

// holds reports whether the slot has the tokens of word.
func (s *cacheSlot) holds(word string) bool {
	return int(s.bytes) == len(word) && string(s.word[:s.bytes]) == word
}

// keep stores the tokens of word if they fit.
func (s *cacheSlot) keep(word string, ids []int32) {
	if len(ids) > cachedTokens {
		return
	}
	s.bytes, s.tokens = uint8(copy(s.word[:], word)), uint8(copy(s.ids[:], ids))
}
