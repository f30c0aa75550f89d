package embedding

import (
	"fmt"
	"testing"

	"github.com/gojet/gojet/bf16"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/vec"
)

// draw returns n ids of which several meet in one row, and some rows have none.
func draw(n, vocab int) []int32 {
	rnd := check.Rand(uint64(n + vocab))
	ids := make([]int32, n)
	for t := range ids {
		ids[t] = int32(min(rnd.IntN(vocab), rnd.IntN(vocab)))
	}
	return ids
}

func TestReferenceGradient(t *testing.T) {
	const n, vocab, d = 9, 4, 3
	rnd := check.Rand(1)
	w, dy, ids := check.Normal(rnd, vocab*d, 1), check.Normal(rnd, n*d, 1), draw(n, vocab)
	dw := make([]float64, vocab*d)
	ReferenceBackward(dw, dy, ids, d)
	check.Gradient(t, "w", w, dw, func() float64 {
		y := make([]float64, n*d)
		ReferenceForward(y, w, ids, d)
		var sum float64
		for i, v := range y {
			sum += v * dy[i]
		}
		return sum
	})
}

func TestFastAgainstReference(t *testing.T) {
	for _, n := range append(check.Sizes(), 0) {
		for _, vocab := range []int{1, 50, 5000} {
			for _, d := range []int{1, 37, 96} {
				t.Run(fmt.Sprintf("%d/%dx%d", n, vocab, d), func(t *testing.T) { compare(t, n, vocab, d) })
			}
		}
	}
}

func compare(t *testing.T, n, vocab, d int) {
	rnd := check.Rand(uint64(n))
	w64, dy64, ids := check.Normal(rnd, vocab*d, 1), check.Normal(rnd, n*d, 1), draw(n, vocab)
	w, dy := check.To[float32](w64), check.To[float32](dy64)
	half := make([]bf16.BF16, len(w))
	vec.ToBF16(half, w)
	rounded := make([]float64, len(w))
	for i, v := range half {
		rounded[i] = float64(v.Float32())
	}
	wantY, wantHalf, wantDW := make([]float64, n*d), make([]float64, n*d), make([]float64, vocab*d)
	ReferenceForward(wantY, w64, ids, d)
	ReferenceForward(wantHalf, rounded, ids, d)
	ReferenceBackward(wantDW, dy64, ids, d)
	unchanged := check.Unchanged(t, w, dy)
	var first []float32
	for threads := 1; threads <= 3; threads++ {
		c := cpu.New(threads)
		y, yHalf, dw := check.Poisoned[float32](n*d), check.Poisoned[float32](n*d), check.Poisoned[float32](vocab*d)
		Forward(c, y.Data, Table{F32: w}, ids, d)
		Forward(c, yHalf.Data, Table{BF16: half}, ids, d)
		Backward(c, dw.Data, dy, ids, d)
		check.Written(t, "y", y, wantY, check.Kernel32)
		check.Written(t, "y of bfloat16", yHalf, wantHalf, 0)
		check.Written(t, "dw", dw, wantDW, check.Kernel32)
		if threads == 1 {
			first = dw.Data
		}
		check.Close(t, "dw of another number of threads", dw.Data, first, 0)
		c.Close()
	}
	unchanged()
}

func TestIDsOutOfRange(t *testing.T) {
	for _, tc := range []struct {
		ids  []int32
		want string
	}{
		{[]int32{0, 9}, ""},
		{[]int32{0, 10}, "embedding: token 1 has id 10, want 0 to 9"},
		{[]int32{-1}, "embedding: token 0 has id -1, want 0 to 9"},
	} {
		err := Check(tc.ids, 10)
		if got := fmt.Sprint(err); (err != nil || tc.want != "") && got != tc.want {
			t.Errorf("ids %v: error %v, want %q", tc.ids, err, tc.want)
		}
		func() {
			defer func() {
				if r := recover(); (r != nil || tc.want != "") && r != tc.want {
					t.Errorf("ids %v: panic %v, want %q", tc.ids, r, tc.want)
				}
			}()
			n := len(tc.ids)
			Forward(cpu.New(1), make([]float32, 3*n), Table{F32: make([]float32, 30)}, tc.ids, 3)
		}()
	}
}

func TestWrongLengthsPanic(t *testing.T) {
	for _, tc := range []struct {
		y, table int
		want     string
	}{
		{6, 31, "embedding: table has 31 values, want whole rows of 3"},
		{5, 30, "embedding: y has 5 values, want 6 (N 2 × D 3)"},
	} {
		func() {
			defer func() {
				if r := recover(); r != tc.want {
					t.Errorf("panic %v, want %q", r, tc.want)
				}
			}()
			Forward(cpu.New(1), make([]float32, tc.y), Table{F32: make([]float32, tc.table)}, []int32{0, 1}, 3)
		}()
	}
}

// A vocabulary of checkpoint size with few features: time is linear in D.
func BenchmarkBackward(b *testing.B) {
	const n, vocab, d = 4096, 151936, 64
	dw, dy, ids := make([]float32, vocab*d), make([]float32, n*d), draw(n, vocab)
	c := cpu.New(0)
	defer c.Close()
	b.SetBytes(vocab * d * 4)
	for b.Loop() {
		Backward(c, dw, dy, ids, d)
	}
}

func BenchmarkForward(b *testing.B) {
	const n, vocab, d = 1024, 5000, 1536
	y, ids := make([]float32, n*d), draw(n, vocab)
	tables := map[string]Table{"f32": {F32: make([]float32, vocab*d)}, "bf16": {BF16: make([]bf16.BF16, vocab*d)}}
	for name, table := range tables {
		b.Run(name, func(b *testing.B) {
			c := cpu.New(0)
			defer c.Close()
			b.SetBytes(n * d * 4)
			for b.Loop() {
				Forward(c, y, table, ids, d)
			}
		})
	}
}
