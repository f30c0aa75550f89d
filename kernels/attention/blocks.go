package attention

import (
	"github.com/gojet/gojet/kernels/packed"
)

// Sizes of the tiles, the fastest of those measured. They are part of the results' last bits, so they depend on
// shapes alone. The rows are a multiple of 14 and of 6, the heights of the matrix product's innermost loops, for
// most group sizes.
const (
	tileRows     = 168 // query rows: tokens × the heads that share a key head
	forwardKeys  = 256 // keys of a tile in the forward
	backwardKeys = 128 // keys of a tile in the backward

	// A forward call is cut into about this many pieces along the keys when the queries alone give
	// fewer: decoding reads a long cache on all cores.
	pieces   = 64
	minSplit = 512 // keys that a piece reads at least
)

// blockTokens returns the query tokens of a tile.
func (c Config) blockTokens() int { return max(1, tileRows/c.group()) }

// blocks numbers the blocks of up to size tokens of all sequences: first those of sequence 0.
type blocks struct {
	seqs packed.Sequences
	size int
}

func (b blocks) of(s int) int {
	lo, hi := b.seqs.Span(s)
	return (hi - lo + b.size - 1) / b.size
}

func (b blocks) count() int {
	n := 0
	for s := range b.seqs.Len() {
		n += b.of(s)
	}
	return n
}

// at returns the sequence of block i and its tokens [lo, hi).
func (b blocks) at(i int) (s, lo, hi int) {
	for ; i >= b.of(s); s++ {
		i -= b.of(s)
	}
	first, end := b.seqs.Span(s)
	lo = first + i*b.size
	return s, lo, min(lo+b.size, end)
}

// partSize spreads n items over parts: enough parts for the cores to share evenly, few enough that finding
// a part's place costs nothing.
func partSize(n int) int { return max(1, n/1024) }
