// Package recurrent is what linear attentions share that keep a state S [K, V] for every head of every sequence: where the
// states between chunks stand, how heads are split, and products with one state in plain loops, for references.
package recurrent

import (
	"fmt"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/packed"
)

// Chunk is how many tokens the fast versions take at a time.
const Chunk = 64

// StatesLen is the length of a buffer that keeps the state, of size values, before every chunk of n tokens in at most s
// sequences.
func StatesLen(size, n, s int) int { return (n/Chunk + s) * size }

// Slot is where in such a buffer the state before chunk c of sequence s stands, in units of a state. A sequence of T tokens
// that begins at token lo has at most (lo+T)/Chunk − lo/Chunk + 1 chunks, so slots of neighbours never meet.
func Slot(seqs packed.Sequences, s, c int) int { return int(seqs.Cu[s])/Chunk + s + c }

// CheckStates panics where such a buffer is given and too short. It allows more than StatesLen, so that one buffer serves
// batches of fewer sequences.
func CheckStates(op string, size int, seqs packed.Sequences, n, length int) {
	if want := StatesLen(size, n, seqs.Len()); length > 0 && length < want {
		panic(fmt.Sprintf("%s: states has %d values, want %d or more (StatesLen of %d tokens in %d sequences)",
			op, length, want, n, seqs.Len()))
	}
}

// ValueBlocks is how many blocks of the value dim keep a few cores busy with so many heads. It depends on the shape alone,
// so that the split, and with it the rounding, is the same on every machine.
func ValueBlocks(heads, valueDim int) int {
	const enough, narrow = 4, 64
	blocks := 1
	for heads*blocks < enough && valueDim >= 2*blocks*narrow {
		blocks *= 2
	}
	return blocks
}

// Dot is the inner product, summed in float64.
func Dot[T kernels.Float](a, b []T) T {
	var sum float64
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return T(sum)
}

// Times sets y = Sᵀ x for S [len(x), len(y)].
func Times[T kernels.Float](y, s, x []T) {
	for j := range y {
		var sum float64
		for i := range x {
			sum += float64(s[i*len(y)+j]) * float64(x[i])
		}
		y[j] = T(sum)
	}
}

// TimesT returns S y for S [·, len(y)].
func TimesT[T kernels.Float](s, y []T) []T {
	x := make([]T, len(s)/len(y))
	for i := range x {
		x[i] = Dot(s[i*len(y):][:len(y)], y)
	}
	return x
}

// Outer adds alpha·x yᵀ to S.
func Outer[T kernels.Float](s []T, alpha T, x, y []T) {
	for i := range x {
		for j := range y {
			s[i*len(y)+j] += alpha * x[i] * y[j]
		}
	}
}
