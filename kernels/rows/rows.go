// Package rows picks rows out of a [N, D] buffer: the last token of each sequence, whose logits a decoder needs.
package rows

import (
	"fmt"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/packed"
)

// Last sets y [S, D] to the last token of every sequence; an empty sequence gives zeros.
func Last[T kernels.Float](y, x []T, d int, q packed.Sequences) {
	if len(y) != q.Len()*d {
		panic(fmt.Sprintf("rows: y has %d values, want %d (S %d × D %d)", len(y), q.Len()*d, q.Len(), d))
	}
	for s := range q.Len() {
		row := y[s*d : (s+1)*d]
		lo, hi := q.Span(s)
		if lo == hi {
			clear(row)
			continue
		}
		copy(row, x[(hi-1)*d:hi*d])
	}
}
