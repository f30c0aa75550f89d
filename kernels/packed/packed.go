// Package packed describes many sequences lying one after the other in one buffer of tokens.
//
// It is the cu_seqlens convention of FlashAttention: sequence s owns tokens Cu[s] to Cu[s+1]. Training
// packs documents this way, a rectangular batch is the case of equal lengths, and decoding is S sequences
// of one token each.
package packed

import "fmt"

// Sequences locates S sequences in a buffer of tokens and in the state kept between calls.
type Sequences struct {
	// Cu has S+1 offsets, not decreasing. Tokens before Cu[0] and from Cu[S] on belong to no sequence:
	// operations that mix tokens write zeros there. Empty sequences are allowed.
	Cu []int32
	// Pos[s] counts the tokens of sequence s that earlier calls have consumed: the position of its first
	// token here. Nil means all zero.
	Pos []int32
	// Slot[s] is the row of the state buffers that belongs to sequence s. Nil means row s.
	// Two sequences never share a row.
	Slot []int32
}

// Batch returns b sequences of t tokens each.
func Batch(b, t int) Sequences {
	cu := make([]int32, b+1)
	for i := range cu {
		cu[i] = int32(i * t)
	}
	return Sequences{Cu: cu}
}

// Len returns S.
func (q Sequences) Len() int { return len(q.Cu) - 1 }

// Span returns the tokens [lo, hi) of sequence s.
func (q Sequences) Span(s int) (lo, hi int) { return int(q.Cu[s]), int(q.Cu[s+1]) }

// Start returns the position of the first token of sequence s.
func (q Sequences) Start(s int) int {
	if q.Pos == nil {
		return 0
	}
	return int(q.Pos[s])
}

// Row returns the row of the state buffers that belongs to sequence s.
func (q Sequences) Row(s int) int {
	if q.Slot == nil {
		return s
	}
	return int(q.Slot[s])
}

// Validate reports whether the offsets fit n tokens and, where state is kept, rows rows of it.
// Pass rows < 0 where there is no state.
func (q Sequences) Validate(n, rows int) error {
	if len(q.Cu) < 1 {
		return fmt.Errorf("packed: cu_seqlens is empty, want at least one offset")
	}
	if q.Cu[0] < 0 {
		return fmt.Errorf("packed: cu_seqlens[0] is %d, want 0 or more", q.Cu[0])
	}
	for s := range q.Len() {
		if q.Cu[s+1] < q.Cu[s] {
			return fmt.Errorf("packed: cu_seqlens[%d] is %d, below %d before it", s+1, q.Cu[s+1], q.Cu[s])
		}
		if q.Start(s) < 0 {
			return fmt.Errorf("packed: position of sequence %d is %d, want 0 or more", s, q.Start(s))
		}
		if r := q.Row(s); rows >= 0 && (r < 0 || r >= rows) {
			return fmt.Errorf("packed: state row of sequence %d is %d, want 0 to %d", s, r, rows-1)
		}
	}
	if last := int(q.Cu[q.Len()]); last > n {
		return fmt.Errorf("packed: cu_seqlens ends at %d, beyond the %d tokens", last, n)
	}
	return nil
}

// ClearOutside zeroes the rows of x, of width values each, of the tokens that belong to no sequence. An empty x is none.
func ClearOutside[T any](x []T, width int, q Sequences) {
	if len(x) == 0 {
		return
	}
	clear(x[:int(q.Cu[0])*width])
	clear(x[int(q.Cu[q.Len()])*width:])
}
