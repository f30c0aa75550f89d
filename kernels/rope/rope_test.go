package rope

import (
	"fmt"
	"math"
	"testing"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/packed"
)

const theta = 1e6

func forward64(x []float64, h, d int, q packed.Sequences) []float64 {
	y := make([]float64, len(x))
	ReferenceForward(theta, d, &Args[float64]{Y: y, X: x, Heads: h, Seqs: q})
	return y
}

func backward64(dy []float64, h, d int, q packed.Sequences) []float64 {
	dx := make([]float64, len(dy))
	ReferenceBackward(theta, d, &Args[float64]{Y: dx, X: dy, Heads: h, Seqs: q})
	return dx
}

func TestReferenceGradient(t *testing.T) {
	const n, h, d = 7, 2, 6
	q := packed.Sequences{Cu: []int32{1, 4, 4, 6}, Pos: []int32{0, 3, 100}}
	rnd := check.Rand(1)
	x, dy := check.Normal(rnd, n*h*d, 1), check.Normal(rnd, n*h*d, 1)
	check.Gradient(t, "x", x, backward64(dy, h, d, q), func() float64 {
		var sum float64
		for i, y := range forward64(x, h, d, q) {
			sum += y * dy[i]
		}
		return sum
	})
}

// The angle of pair 0 is the position itself, in radians, and that of the last one is nearly nothing.
func TestKnownAngles(t *testing.T) {
	x := []float64{1, 1, 0, 0}
	y := forward64(x, 1, 4, packed.Sequences{Cu: []int32{0, 1}, Pos: []int32{2}})
	small := 2 / math.Sqrt(theta)
	check.Close(t, "y", y, []float64{math.Cos(2), math.Cos(small), math.Sin(2), math.Sin(small)}, 1e-15)
}

func TestFastAgainstReference(t *testing.T) {
	for _, n := range check.Sizes() {
		for _, q := range []packed.Sequences{
			packed.Batch(1, n),
			{Cu: []int32{0, int32(n)}, Pos: []int32{262143 - int32(n)}},
			{Cu: []int32{int32(n / 3), int32(n / 2), int32(n / 2), int32(n - n/4)}, Pos: []int32{5, 70, 131000}},
		} {
			for _, hd := range [][2]int{{1, 2}, {3, 10}, {2, 34}, {2, 128}} {
				t.Run(fmt.Sprintf("%v%v/%dx%dx%d", q.Cu, q.Pos, n, hd[0], hd[1]), func(t *testing.T) {
					compare(t, n, hd[0], hd[1], q)
				})
			}
		}
	}
}

func compare(t *testing.T, n, h, d int, q packed.Sequences) {
	rnd := check.Rand(uint64(n))
	x64, dy64 := check.Normal(rnd, n*h*d, 1), check.Normal(rnd, n*h*d, 1)
	wantY, wantDX := forward64(x64, h, d, q), backward64(dy64, h, d, q)
	x, dy := check.To[float32](x64), check.To[float32](dy64)
	unchanged := check.Unchanged(t, x, dy)
	table := NewTable(theta, d)
	var first []float32
	for threads := 1; threads <= 3; threads++ {
		c := cpu.New(threads)
		y, dx := check.Poisoned[float32](len(x)), check.Poisoned[float32](len(x))
		Forward(c, table, &Args[float32]{Y: y.Data, X: x, Heads: h, Seqs: q})
		Backward(c, table, &Args[float32]{Y: dx.Data, X: dy, Heads: h, Seqs: q})
		check.Written(t, "y", y, wantY, check.Kernel32)
		check.Written(t, "dx", dx, wantDX, check.Kernel32)
		if threads == 1 {
			first = y.Data
		}
		check.Close(t, "y of another number of threads", y.Data, first, 0)
		over := append([]float32(nil), x...)
		Forward(c, table, &Args[float32]{Y: over, X: over, Heads: h, Seqs: q})
		check.Close(t, "y in place", over, y.Data, 0)
		c.Close()
	}
	unchanged()
	alone(t, table, h*d, h, x, first, q)
}

// alone holds that a sequence in a pack is what it is by itself.
func alone(t *testing.T, table *Table, width, h int, x, y []float32, q packed.Sequences) {
	c := cpu.New(1)
	defer c.Close()
	for s := range q.Len() {
		lo, hi := q.Span(s)
		part := check.Poisoned[float32]((hi - lo) * width)
		single := packed.Sequences{Cu: []int32{0, int32(hi - lo)}, Pos: []int32{int32(q.Start(s))}}
		Forward(c, table, &Args[float32]{Y: part.Data, X: x[lo*width : hi*width], Heads: h, Seqs: single})
		check.Written(t, "y of a sequence alone", part, y[lo*width:hi*width], 0)
	}
}

func TestTableHoldsOnlyWhatIsUsed(t *testing.T) {
	table := NewTable(theta, 8)
	table.Grow(200_000, 200_000)
	if got := table.Bytes(); got != 0 {
		t.Errorf("empty range: table holds %d bytes, want 0", got)
	}
	for range 2 {
		table.Grow(blockPositions*1000-1, blockPositions*1000+1)
		if got, want := table.Bytes(), int64(2*blockPositions*8*4); got != want {
			t.Errorf("two blocks: table holds %d bytes, want %d", got, want)
		}
	}
}

func TestMistakesPanic(t *testing.T) {
	x := make([]float32, 12)
	for _, tc := range []struct {
		want string
		call func()
	}{
		{"rope: head has 3 features, want an even number", func() { NewTable(theta, 3) }},
		{"rope: theta is 0, want more than 0", func() { NewTable(0, 4) }},
		{"rope: x has 12 values, want whole tokens of 8 (H 2 × D 4)", func() {
			Forward(cpu.New(1), NewTable(theta, 4), &Args[float32]{Y: x, X: x, Heads: 2, Seqs: packed.Batch(1, 1)})
		}},
		{"rope: y has 4 values, want 12, the length of x", func() {
			Forward(cpu.New(1), NewTable(theta, 4), &Args[float32]{Y: x[:4], X: x, Heads: 3, Seqs: packed.Batch(1, 1)})
		}},
		{"rope: packed: cu_seqlens ends at 2, beyond the 1 tokens", func() {
			Forward(cpu.New(1), NewTable(theta, 4), &Args[float32]{Y: x, X: x, Heads: 3, Seqs: packed.Batch(1, 2)})
		}},
	} {
		func() {
			defer func() {
				if r := recover(); r != tc.want {
					t.Errorf("panic %v, want %q", r, tc.want)
				}
			}()
			tc.call()
		}()
	}
}

func TestNoAllocation(t *testing.T) {
	const n, h, d = 64, 4, 64
	x := make([]float32, n*h*d)
	table, q := NewTable(theta, d), packed.Batch(2, 32)
	c := cpu.New(2)
	defer c.Close()
	call := func() { Forward(c, table, &Args[float32]{Y: x, X: x, Heads: h, Seqs: q}) }
	call()
	if n := testing.AllocsPerRun(50, call); n > 0 {
		t.Errorf("one call allocates %v times, want 0", n)
	}
}

func BenchmarkForward(b *testing.B) {
	const n, h, d = 1024, 12, 128
	x, table, q := make([]float32, n*h*d), NewTable(theta, d), packed.Batch(1, n)
	c := cpu.New(0)
	defer c.Close()
	b.SetBytes(2 * n * h * d * 4)
	for b.Loop() {
		Forward(c, table, &Args[float32]{Y: x, X: x, Heads: h, Seqs: q})
	}
}
