package linearloss

import (
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/linear"
	"github.com/gojet/gojet/kernels/matmul"
	"github.com/gojet/gojet/kernels/vec"
)

// A chunk holds about chunkValues logits. A large vocabulary still gets minChunk tokens at a time, since each
// chunk reads the whole head twice and reads and writes its gradient once.
const (
	chunkValues = 4 << 20
	minChunk    = 128
	maxChunk    = 256

	// Logits are exponentiated and summed in float32 over this many, then in float64.
	segment = 512
)

// chunkTokens returns the tokens of a chunk. It depends on the shape alone.
func chunkTokens(n, vocab int) int {
	return min(n, max(minChunk, min(maxChunk, chunkValues/vocab)))
}

// tally is what the rows of a chunk say, in the order of tokens.
type tally struct {
	loss  [maxChunk]float64
	agree [maxChunk]bool
}

// head is a linear head over chunks of tokens: logits forward, gradients of logits backward.
type head struct {
	vocab, d int
	h        []float32     // [N, D]
	w        linear.Weight // [Vocab, D]
	dh, dw   []float32     // may be nil
	begun    bool          // dw holds an earlier chunk's sum
}

func weight(w Head[float32]) linear.Weight { return linear.Weight{F32: w.Full, BF16: w.BF16} }

func (d *head) wantsGradient() bool { return d.dh != nil || d.dw != nil }

// forward computes the logits of tokens lo to hi.
func (d *head) forward(c *cpu.Cores, logits []float32, lo, hi int) {
	linear.Forward(c, logits[:(hi-lo)*d.vocab], d.h[lo*d.d:hi*d.d], d.w, nil, hi-lo, d.d, d.vocab)
}

// backward takes the gradients of the logits of tokens lo to hi.
func (d *head) backward(c *cpu.Cores, logits []float32, lo, hi int) {
	if d.dh != nil {
		linear.BackwardInput(c, d.dh[lo*d.d:hi*d.d], logits[:(hi-lo)*d.vocab], d.w, hi-lo, d.d, d.vocab)
	}
	if d.dw != nil {
		var beta float32
		if d.begun {
			beta = 1
		}
		matmul.Mul(c, matmul.TN, d.vocab, d.d, hi-lo, 1, matmul.Of(logits, d.vocab), matmul.Of(d.h[lo*d.d:], d.d), beta, matmul.Of(d.dw, d.d))
		d.begun = true
	}
}

// skip gives tokens lo to hi, none of which counts, no gradient.
func (d *head) skip(lo, hi int) {
	if d.dh != nil {
		clear(d.dh[lo*d.d : hi*d.d])
	}
}

// end gives the weights no gradient if no chunk did.
func (d *head) end() {
	if !d.begun {
		clear(d.dw)
	}
}

// expSum sets z = exp(z − top) and returns the sum.
func expSum(z []float32, top float32) float64 {
	var sum float64
	for len(z) > 0 {
		n := min(segment, len(z))
		sum += float64(vec.ExpSum(z[:n], z[:n], top))
		z = z[n:]
	}
	return sum
}
