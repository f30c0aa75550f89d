package rope

import (
	"fmt"
	"math"
)

// blockPositions is how many positions the table computes at a time.
const blockPositions = 256

// Table keeps the cosines and sines of the angles pos·θ^(−2i/D), i < D/2, for the positions used so far.
// It is filled in blocks, so that a sequence far from position 0 pays only for where it is. Angles are
// computed in float64: at position 262144 a float32 angle would be off by a hundredth of a radian.
// One goroutine at a time may use a Table.
type Table struct {
	d      int
	freq   []float64   // [D/2]
	blocks [][]float32 // [position/blockPositions][blockPositions, 2, D/2], cosines before sines; nil: not yet
}

// NewTable returns the table for base theta and heads of d features; d must be even.
func NewTable(theta float64, d int) *Table {
	if d < 2 || d%2 != 0 {
		panic(fmt.Sprintf("rope: head has %d features, want an even number", d))
	}
	if !(theta > 0) {
		panic(fmt.Sprintf("rope: theta is %v, want more than 0", theta))
	}
	return &Table{d: d, freq: frequencies(theta, d)}
}

// Dim returns D.
func (t *Table) Dim() int { return t.d }

// Bytes returns the memory that the table holds.
func (t *Table) Bytes() int64 {
	var n int64
	for _, b := range t.blocks {
		n += int64(len(b)) * 4
	}
	return n
}

// Grow makes the positions [lo, hi) ready.
func (t *Table) Grow(lo, hi int) {
	if lo >= hi {
		return
	}
	last := (hi - 1) / blockPositions
	for len(t.blocks) <= last {
		t.blocks = append(t.blocks, nil)
	}
	for b := lo / blockPositions; b <= last; b++ {
		if t.blocks[b] == nil {
			t.blocks[b] = t.compute(b * blockPositions)
		}
	}
}

func (t *Table) compute(first int) []float32 {
	block := make([]float32, blockPositions*t.d)
	for p := range blockPositions {
		cos, sin := halves(block[p*t.d : (p+1)*t.d])
		for i, f := range t.freq {
			s, c := math.Sincos(float64(first+p) * f)
			cos[i], sin[i] = float32(c), float32(s)
		}
	}
	return block
}

// at returns the cosines and sines [D/2] of a position that Grow made ready.
func (t *Table) at(pos int) (cos, sin []float32) {
	return halves(t.blocks[pos/blockPositions][pos%blockPositions*t.d:][:t.d])
}

func halves[T any](x []T) (lower, upper []T) { return x[:len(x)/2], x[len(x)/2:] }

// frequencies returns θ^(−2i/D) for i < D/2.
func frequencies(theta float64, d int) []float64 {
	f := make([]float64, d/2)
	for i := range f {
		f[i] = math.Pow(theta, -2*float64(i)/float64(d))
	}
	return f
}
