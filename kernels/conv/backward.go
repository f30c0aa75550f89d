package conv

import (
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/vec"
)

// staticFeatures is the width of a part of the static backward pass, which walks all tokens in order so that
// the gradient of the kernel is one sum. Dynamic parts are single tiles.
const staticFeatures = 128

// Backward computes what ReferenceBackward does. A tile computes the sums of its tokens again, and of the
// W−1 tokens after it, to which its inputs contribute.
func Backward(c *cpu.Cores, a *BackwardArgs[float32]) {
	a.check()
	a.clearUnwritten()
	j := cpu.Borrow(c, *a)
	if a.Dynamic {
		j.For(a.blocks(a.Seqs), 1, dynamicPart)
	} else {
		j.For((a.Dim+staticFeatures-1)/staticFeatures, 1, staticPart)
	}
	j.Return()
}

func dynamicPart(a *BackwardArgs[float32], w *cpu.Worker, i, _ int) {
	from, to, d, m := a.block(a.Seqs, i)
	x := newBackTile(w, a, d, m)
	x.walk(from, to)
}

func staticPart(a *BackwardArgs[float32], w *cpu.Worker, i, _ int) {
	d := i * staticFeatures
	m := min(staticFeatures, a.Dim-d)
	x := newBackTile(w, a, d, m)
	dTaps, dBias := w.Floats(len(x.dTaps)), w.Floats(m)
	clear(dTaps)
	clear(dBias)
	last := int(a.Seqs.Cu[a.Seqs.Len()])
	for from := int(a.Seqs.Cu[0]); from < last; from += tileTokens {
		clear(x.dTaps)
		clear(x.dBias)
		x.walk(from, from+tileTokens)
		vec.Add(dTaps, dTaps, x.dTaps)
		vec.Add(dBias, dBias, x.dBias)
	}
	for t := range a.Taps {
		for j, v := range dTaps[t*m:][:m] {
			if a.DKernel != nil {
				a.DKernel[(d+j)*a.Taps+t] = v
			}
		}
	}
	if a.DBias != nil {
		copy(a.DBias[d:], dBias)
	}
}

// backTile is a tile with the gradients of what it reads.
type backTile struct {
	tile
	a     *BackwardArgs[float32]
	dSum  []float32 // [m]
	dPast []float32 // [W−1, m]
	dTaps []float32 // [W, m], static
	dBias []float32 // [m], static
	waste []float32 // [m·W], takes gradients that belong to another tile or are not wanted
}

func newBackTile(w *cpu.Worker, a *BackwardArgs[float32], d, m int) backTile {
	x := backTile{
		tile:  newTile(w, a.Config, a.X, a.Kernel, d, m),
		a:     a,
		dSum:  w.Floats(m),
		dPast: w.Floats((a.Taps - 1) * m),
		waste: w.Floats(m * a.Taps),
	}
	if !a.Dynamic {
		x.dTaps, x.dBias = w.Floats(a.Taps*m), w.Floats(m)
	}
	return x
}

// walk writes the gradients of tokens [from, to) and adds to those of the static kernel and bias.
func (x *backTile) walk(from, to int) {
	a := x.a
	for s := first(a.Seqs, from); s < a.Seqs.Len() && int(a.Seqs.Cu[s]) < to; s++ {
		x.span(a.Seqs, s, from, to, a.Cache)
		if x.from >= x.to {
			continue
		}
		clear(x.dPast)
		for t := x.from; t < min(x.hi, x.to+x.Taps-1); t++ {
			x.token(t)
		}
		if x.from == x.lo && len(a.DCache) > 0 {
			x.writePast()
		}
	}
}

// token spreads the gradient of the sum at token t.
func (x *backTile) token(t int) {
	dy := x.features(x.a.DY, t)
	if x.SiLU {
		x.sum(x.dSum, t, x.a.Bias)
		vec.SiLUGrad(x.dSum, dy, x.dSum)
	} else {
		copy(x.dSum, dy)
	}
	if t < x.to {
		clear(x.dInput(t))
	}
	if x.Dynamic {
		x.dynamic(t)
	} else {
		x.static(t)
	}
}

// dInput is where the gradient of the input at token t is added up.
func (x *backTile) dInput(t int) []float32 {
	switch {
	case t < x.lo:
		return x.dPast[(t-x.lo+x.Taps-1)*x.m:][:x.m]
	case t < x.from || t >= x.to || x.a.DX == nil:
		return x.waste[:x.m]
	}
	return x.features(x.a.DX, t)
}

func (x *backTile) static(t int) {
	inside := t < x.to
	if inside {
		vec.Add(x.dBias, x.dBias, x.dSum)
	}
	for w := range x.Taps {
		from := t - x.Taps + 1 + w
		if inside {
			vec.AxpyMul(x.dTaps[w*x.m:][:x.m], 1, x.dSum, x.input(from))
		}
		vec.AxpyMul(x.dInput(from), 1, x.dSum, x.taps[w*x.m:][:x.m])
	}
}

func (x *backTile) dynamic(t int) {
	k, dk := x.filters(x.kernel, t), x.waste
	if t < x.to && x.a.DKernel != nil {
		dk = x.filters(x.a.DKernel, t)
	}
	oldest := t - x.Taps + 1
	if x.Taps == 4 {
		spread4(x.dSum, k, dk,
			x.input(oldest), x.input(oldest+1), x.input(oldest+2), x.input(t),
			x.dInput(oldest), x.dInput(oldest+1), x.dInput(oldest+2), x.dInput(t))
		return
	}
	for w := range x.Taps {
		in, dIn := x.input(oldest+w), x.dInput(oldest+w)
		for j, g := range x.dSum {
			dIn[j] += g * k[j*x.Taps+w]
			dk[j*x.Taps+w] = g * in[j]
		}
	}
}

// writePast writes the gradient of the cache of the sequence that the tile begins.
func (x *backTile) writePast() {
	n := x.Taps - 1
	row := x.row(x.a.DCache, x.a.Seqs, x.s)[x.d*n:]
	for i := range n {
		for j, v := range x.dPast[i*x.m:][:x.m] {
			row[j*n+i] = v
		}
	}
}
