package conv

import (
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/packed"
	"github.com/gojet/gojet/kernels/vec"
)

// Forward computes what ReferenceForward does.
func Forward(c *cpu.Cores, a *ForwardArgs[float32]) {
	a.check()
	packed.ClearOutside(a.Y, a.Dim, a.Seqs)
	j := cpu.Borrow(c, *a)
	if a.Y != nil {
		j.For(a.blocks(a.Seqs), 1, forwardPart)
	}
	if len(a.NewCache) > 0 {
		j.For(a.Seqs.Len(), 1, cachePart)
	}
	j.Return()
}

func forwardPart(a *ForwardArgs[float32], w *cpu.Worker, i, _ int) {
	from, to, d, m := a.block(a.Seqs, i)
	x := newTile(w, a.Config, a.X, a.Kernel, d, m)
	for s := first(a.Seqs, from); s < a.Seqs.Len() && int(a.Seqs.Cu[s]) < to; s++ {
		x.span(a.Seqs, s, from, to, a.Cache)
		for t := x.from; t < x.to; t++ {
			y := x.features(a.Y, t)
			x.sum(y, t, a.Bias)
			if a.SiLU {
				vec.SiLU(y, y)
			}
		}
	}
}

// cachePart advances the cache of sequence s: the last W−1 of what it held and the inputs. Going from the
// oldest to the newest, it may do so in place.
func cachePart(a *ForwardArgs[float32], _ *cpu.Worker, s, _ int) {
	lo, hi := a.Seqs.Span(s)
	n, t := a.Taps-1, hi-lo
	next := a.row(a.NewCache, a.Seqs, s)
	var old []float32
	if len(a.Cache) > 0 {
		old = a.row(a.Cache, a.Seqs, s)
	}
	for d := range a.Dim {
		for i := range n {
			switch {
			case i+t >= n:
				next[d*n+i] = a.X[(hi-n+i)*a.Dim+d]
			case old != nil:
				next[d*n+i] = old[d*n+i+t]
			default:
				next[d*n+i] = 0
			}
		}
	}
}
