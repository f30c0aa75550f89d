// Package embedding looks up the row of a table for every token: y[t] = W[id[t]].
package embedding

import (
	"fmt"

	"github.com/gojet/gojet/bf16"
	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/vec"
)

// Table holds the rows [Vocab, D] in one of two forms: F32, or BF16 where F32 is nil.
type Table struct {
	F32  []float32
	BF16 []bf16.BF16
}

// Len returns Vocab·D.
func (w Table) Len() int {
	if w.F32 != nil {
		return len(w.F32)
	}
	return len(w.BF16)
}

// Check reports the first id that is not one of vocab rows, for those who take ids from outside.
func Check(ids []int32, vocab int) error {
	for t, id := range ids {
		if id < 0 || int(id) >= vocab {
			return fmt.Errorf("embedding: token %d has id %d, want 0 to %d", t, id, vocab-1)
		}
	}
	return nil
}

// ReferenceForward is Forward on a table of the same type as the result.
func ReferenceForward[T kernels.Float](y, w []T, ids []int32, d int) {
	lengths("y", len(y), len(w), ids, d)
	for t, id := range ids {
		copy(y[t*d:(t+1)*d], w[int(id)*d:])
	}
}

// ReferenceBackward sets dw [Vocab, D] to the sum of dy [N, D] over the tokens of each row.
func ReferenceBackward[T kernels.Float](dw, dy []T, ids []int32, d int) {
	lengths("dy", len(dy), len(dw), ids, d)
	clear(dw)
	for t, id := range ids {
		row := dw[int(id)*d:][:d]
		for i, v := range dy[t*d : (t+1)*d] {
			row[i] += v
		}
	}
}

type lookup struct {
	y   []float32
	w   Table
	ids []int32
	d   int
}

// Forward sets y [N, D] to the rows of w [Vocab, D] that ids name. An id that is no row panics.
func Forward(c *cpu.Cores, y []float32, w Table, ids []int32, d int) {
	lengths("y", len(y), w.Len(), ids, d)
	j := cpu.Borrow(c, lookup{y, w, ids, d})
	j.For(len(ids), max(1, 1<<14/d), lookupTokens)
	j.Return()
}

func lookupTokens(a *lookup, _ *cpu.Worker, lo, hi int) {
	for t := lo; t < hi; t++ {
		y, from := a.y[t*a.d:(t+1)*a.d], int(a.ids[t])*a.d
		if a.w.F32 != nil {
			copy(y, a.w.F32[from:])
		} else {
			vec.FromBF16(y, a.w.BF16[from:from+a.d])
		}
	}
}

type scatter struct {
	dw, dy []float32
	ids    []int32
	d      int
}

// Backward sets dw [Vocab, D] to the sum of dy [N, D] over the tokens of each row, in the order of the
// tokens; rows that no token names become zero.
//
// Each part owns a range of rows and looks through all ids for them: at a thousand rows a part that costs far
// less than the zeroing, and it needs neither locks nor a sorted copy of the ids.
func Backward(c *cpu.Cores, dw, dy []float32, ids []int32, d int) {
	lengths("dy", len(dy), len(dw), ids, d)
	vocab := len(dw) / d
	j := cpu.Borrow(c, scatter{dw, dy, ids, d})
	j.For(vocab, max(16, vocab/128), scatterRows)
	j.Return()
}

func scatterRows(a *scatter, _ *cpu.Worker, lo, hi int) {
	d := a.d
	clear(a.dw[lo*d : hi*d])
	for t, id := range a.ids {
		if row := int(id); lo <= row && row < hi {
			dw := a.dw[row*d : (row+1)*d]
			vec.Add(dw, dw, a.dy[t*d:(t+1)*d])
		}
	}
}

func lengths(name string, got, table int, ids []int32, d int) {
	if d < 1 || table%d != 0 {
		panic(fmt.Sprintf("embedding: table has %d values, want whole rows of %d", table, d))
	}
	if got != len(ids)*d {
		panic(fmt.Sprintf("embedding: %s has %d values, want %d (N %d × D %d)", name, got, len(ids)*d, len(ids), d))
	}
	if err := Check(ids, table/d); err != nil {
		panic(err.Error())
	}
}
