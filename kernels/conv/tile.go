package conv

import (
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/packed"
	"github.com/gojet/gojet/kernels/vec"
)

// The fast version works on tiles of tokens by features, small enough that the rows a token shares with
// its neighbours stay in the first cache level, and wide enough that kernels stream from memory.
const (
	tileTokens   = 64
	tileFeatures = 512
)

func (f Config) columns() int { return (f.Dim + tileFeatures - 1) / tileFeatures }

// blocks is how many tiles cover the tokens from the first sequence to the last.
func (f Config) blocks(seqs packed.Sequences) int {
	tokens := int(seqs.Cu[seqs.Len()] - seqs.Cu[0])
	return (tokens + tileTokens - 1) / tileTokens * f.columns()
}

// block is tile number i, counted row by row: tokens [from, to) and features [d, d+m).
func (f Config) block(seqs packed.Sequences, i int) (from, to, d, m int) {
	from = int(seqs.Cu[0]) + i/f.columns()*tileTokens
	d = i % f.columns() * tileFeatures
	return from, from + tileTokens, d, min(tileFeatures, f.Dim-d)
}

// tile is tokens [from, to) of one sequence [lo, hi) and features [d, d+m).
type tile struct {
	Config
	x, kernel []float32
	s, lo, hi int
	from, to  int
	d, m      int
	past      []float32 // [W−1, m], the inputs before the sequence; only where the tile begins it
	taps      []float32 // [W, m], the static kernel by taps
}

// first is the first sequence that reaches beyond token t.
func first(seqs packed.Sequences, t int) int {
	lo, hi := 0, seqs.Len()
	for lo < hi {
		if mid := (lo + hi) / 2; int(seqs.Cu[mid+1]) <= t {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// span limits the tile to the tokens of sequence s in [from, to) and reads the past where it is needed.
func (x *tile) span(seqs packed.Sequences, s, from, to int, cache []float32) {
	x.s = s
	x.lo, x.hi = seqs.Span(s)
	x.from, x.to = max(from, x.lo), min(to, x.hi)
	if x.from-x.Taps+1 >= x.lo {
		return
	}
	if len(cache) == 0 {
		clear(x.past)
		return
	}
	row := x.row(cache, seqs, s)[x.d*(x.Taps-1):]
	for i := range x.Taps - 1 {
		past := x.past[i*x.m:][:x.m]
		for j := range past {
			past[j] = row[j*(x.Taps-1)+i]
		}
	}
}

// newTile takes the tile's scratch and, for a static convolution, turns the kernel so that taps are rows.
func newTile(w *cpu.Worker, f Config, x, kernel []float32, d, m int) tile {
	v := tile{Config: f, x: x, kernel: kernel, d: d, m: m, past: w.Floats((f.Taps - 1) * m)}
	if !f.Dynamic {
		v.taps = w.Floats(f.Taps * m)
		for i := range f.Taps {
			for j := range m {
				v.taps[i*m+j] = kernel[(d+j)*f.Taps+i]
			}
		}
	}
	return v
}

// input is the row of token t, which may lie before the sequence.
func (x *tile) input(t int) []float32 {
	if t < x.lo {
		return x.past[(t-x.lo+x.Taps-1)*x.m:][:x.m]
	}
	return x.features(x.x, t)
}

// features is the tile's part of row t of a [N, D] buffer, and filters that of a [N, D, W] buffer.
func (x *tile) features(buf []float32, t int) []float32 { return buf[t*x.Dim+x.d:][:x.m] }
func (x *tile) filters(buf []float32, t int) []float32 {
	return buf[(t*x.Dim+x.d)*x.Taps:][:x.m*x.Taps]
}

// sum writes the convolution at token t before the activation.
func (x *tile) sum(y []float32, t int, bias []float32) {
	oldest := t - x.Taps + 1
	switch {
	case x.Dynamic && x.Taps == 4:
		dot4(y, x.filters(x.kernel, t), x.input(oldest), x.input(oldest+1), x.input(oldest+2), x.input(t))
	case x.Dynamic:
		k := x.filters(x.kernel, t)
		clear(y)
		for w := range x.Taps {
			for j, v := range x.input(oldest + w) {
				y[j] += v * k[j*x.Taps+w]
			}
		}
	default:
		if len(bias) > 0 {
			copy(y, bias[x.d:])
		} else {
			clear(y)
		}
		for w := range x.Taps {
			vec.AxpyMul(y, 1, x.input(oldest+w), x.taps[w*x.m:][:x.m])
		}
	}
}
