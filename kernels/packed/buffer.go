package packed

// Buffer returns the sequences as devices read them: [3, S+1], the offsets, the positions of first tokens and the rows of
// state, the last two with one value to spare.
func (q Sequences) Buffer() []int32 {
	w := q.Len() + 1
	b := make([]int32, 3*w)
	copy(b, q.Cu)
	for s := range q.Len() {
		b[w+s], b[2*w+s] = int32(q.Start(s)), int32(q.Row(s))
	}
	return b
}
