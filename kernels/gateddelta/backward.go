package gateddelta

import (
	"math"

	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/matmul"
	"github.com/gojet/gojet/kernels/vec"
)

// Backward computes what ReferenceBackward does, chunk by chunk from the last to the first. It needs the
// state before every chunk: States as the forward pass left it, or, where that is nil, computed again.
func Backward(c *cpu.Cores, a *BackwardArgs[float32]) {
	a.check()
	a.clearOutside()
	j := cpu.Borrow(c, *a)
	j.For(a.Seqs.Len()*a.Heads, 1, backwardPart)
	j.Return()
}

func backwardPart(a *BackwardArgs[float32], w *cpu.Worker, lo, _ int) {
	x := newHead(a.Config, a.Seqs, inputs{a.Q, a.K, a.V, a.G, a.Beta}, lo)
	b := newBack(w, &x, a)
	if a.States == nil {
		b.replay(w)
	} else {
		for i := x.chunks() - 1; i >= 0; i-- {
			b.state = x.before(a.States, i)
			b.retreat(w, i)
		}
	}
	if a.DH0 != nil {
		copy(x.row(a.DH0), b.dState)
	}
}

// back is a pass in the other direction. Of the results of the chunked form, given dO and the gradient dS'
// of the state after the chunk,
//
//	dU = Pᵀ dO + rest K dS'                    dX = Tᵀ dU
//	dP = dO Uᵀ   dA = −dX Uᵀ                   in their triangles
//	dS = γ_n dS' + (γ Q)ᵀ dO − (beta γ K)ᵀ dX
//
// and the rest follows row by row.
type back struct {
	pass
	a      *BackwardArgs[float32]
	dState []float32 // [K, V], of the state after the chunk
	g      []float32 // [2n, V], dO then dX
	gu     []float32 // [2n, n], [dO; dX] Uᵀ, later the gradients of the products before their decay
	gs     []float32 // [2n, K], [dO; dX] Sᵀ
	us     []float32 // [n, K], U dS'ᵀ
	qk0    []float32 // [2n, K], γ Q then −beta γ K, the gradients of X and O with respect to the state
	dqk    []float32 // [2n, K]
	dg     []float32 // [n]
	sums   []float32 // [n]
	e      []float32 // [n]
}

func newBack(w *cpu.Worker, x *head, a *BackwardArgs[float32]) back {
	n, k, v := min(Chunk, x.tokens()), x.KeyDim, x.ValueDim
	b := back{
		pass:   newPass(w, x, 0, v),
		a:      a,
		dState: w.Floats(k * v),
		g:      w.Floats(2 * n * v),
		gu:     w.Floats(2 * n * n),
		gs:     w.Floats(2 * n * k),
		us:     w.Floats(n * k),
		qk0:    w.Floats(2 * n * k),
		dqk:    w.Floats(2 * n * k),
		dg:     w.Floats(n),
		sums:   w.Floats(n),
		e:      w.Floats(n),
	}
	if a.DHT == nil {
		clear(b.dState)
	} else {
		copy(b.dState, x.row(a.DHT))
	}
	return b
}

// replay computes the states again. Short sequences keep the states of all chunks; long ones keep every
// √-th and compute those between anew, so that memory grows with the root of T.
func (b *back) replay(w *cpu.Worker) {
	const short = 16
	chunks, size, running := b.chunks(), len(b.state), b.state
	if chunks == 0 {
		return
	}
	stride := max(short, int(math.Ceil(math.Sqrt(float64(chunks)))))
	last := (chunks - 1) / stride
	marks := w.Floats((last + 1) * size)
	near := w.Floats(min(stride, chunks) * size)

	b.read(b.a.H0)
	for i := range last*stride + 1 {
		if i%stride == 0 {
			copy(marks[i/stride*size:], running)
		}
		if i < last*stride {
			b.forward(w, i)
		}
	}
	for mark := last; mark >= 0; mark-- {
		first := mark * stride
		end := min(first+stride, chunks)
		b.state = running
		copy(running, marks[mark*size:])
		for i := first; i < end; i++ {
			copy(near[(i-first)*size:], running)
			if i < end-1 {
				b.forward(w, i)
			}
		}
		for i := end - 1; i >= first; i-- {
			b.state = near[(i-first)*size:][:size]
			b.retreat(w, i)
		}
	}
}

// forward takes the state over chunk i.
func (b *back) forward(w *cpu.Worker, i int) {
	b.load(w, i)
	b.correct(w, false)
	b.advance(w)
}

// retreat writes the gradients of chunk i, whose state before it is b.state, and takes dState over it.
func (b *back) retreat(w *cpu.Worker, i int) {
	b.load(w, i)
	b.correct(w, false)
	n, k, v := b.n, b.KeyDim, b.ValueDim
	for i := range n {
		copy(b.g[i*v:][:v], b.value(b.a.DO, b.lo+i))
	}
	dO, dX := matmul.Of(b.g, v), matmul.Of(b.g[n*v:], v)
	dU, u := matmul.Of(b.y, v), matmul.Of(b.u, v)
	state, dState := matmul.Of(b.state, v), matmul.Of(b.dState, v)

	upper(w, n, v, b.p(), dO, 0, dU)
	matmul.Serial(w, matmul.NN, n, v, k, 1, matmul.Of(b.kept, k), dState, 1, dU)
	upper(w, n, v, b.t, dU, 0, dX)

	matmul.Serial(w, matmul.NT, 2*n, n, v, 1, dO, u, 0, matmul.Of(b.gu, n))
	matmul.Serial(w, matmul.NT, 2*n, k, v, 1, dO, state, 0, matmul.Of(b.gs, k))
	matmul.Serial(w, matmul.NT, n, k, v, 1, u, dState, 0, matmul.Of(b.us, k))
	b.gates()
	b.rows(w)

	matmul.Serial(w, matmul.TN, k, v, 2*n, 1, matmul.Of(b.qk0, k), dO, b.fall[n-1], dState)
}

// gates writes dG and dBeta. With E = dP∘P + dA∘A, strictly below the diagonal, the gradient of the logarithm
// of all decay between tokens j and i > j, each g_t collects what was carried across it:
//
//	dg_t = Σ_{i≥t>j} E_ij + Σ_{i≥t} (state before the chunk to token i) + Σ_{j<t} (token j to the state
//	after) + (state before to state after)
//
// Adding it up this way never subtracts, so that gradients of strong gates keep their digits.
func (b *back) gates() {
	n, k, v := b.n, b.KeyDim, b.ValueDim
	p, m := b.p(), b.m()
	clear(b.sums[:n])
	var toHere float64
	for i := n - 1; i >= 0; i-- {
		qs := vec.Dot(b.qk[i*k:][:k], b.gs[i*k:][:k])
		ks := vec.Dot(b.qk[(n+i)*k:][:k], b.gs[(n+i)*k:][:k])
		toHere += float64(b.fall[i]) * float64(qs-b.beta[i]*ks)

		e := b.e[:i]
		vec.Mul(e, b.gu[(n+i)*n:][:i], m[i*n:][:i])
		if b.a.DBeta != nil {
			dX := b.g[(n+i)*v:][:v]
			b.a.DBeta[(b.lo+i)*b.Heads+b.h] = vec.Dot(dX, b.value(b.in.v, b.lo+i)) - b.fall[i]*ks - vec.Sum(e)
		}
		vec.Scale(e, -b.beta[i], e)
		vec.AxpyMul(e, 1, b.gu[i*n:][:i], p[i*n:][:i])
		vec.Add(b.sums[:i], b.sums[:i], e)
		b.dg[i] = float32(toHere) + vec.Sum(b.sums[:i])
	}
	if b.a.DG == nil {
		return
	}
	through := float64(b.fall[n-1]) * float64(vec.Dot(b.state, b.dState))
	for j := range n {
		b.a.DG[(b.lo+j)*b.Heads+b.h] = float32(float64(b.dg[j]) + through)
		through += float64(b.rest[j]) * float64(vec.Dot(b.qk[(n+j)*k:][:k], b.us[j*k:][:k]))
	}
}

// rows writes dQ, dK and dV, and fills qk0.
func (b *back) rows(w *cpu.Worker) {
	n, k, v := b.n, b.KeyDim, b.ValueDim
	for i := range n {
		dP, dM, d := b.gu[i*n:][:n], b.gu[(n+i)*n:][:n], b.d[i*n:][:n]
		vec.Mul(dP, dP, d)
		vec.ScaleMul(dM[:i], -b.beta[i], dM[:i], d[:i])
		clear(dM[i:])

		fall, q, key := b.fall[i], b.qk[i*k:][:k], b.qk[(n+i)*k:][:k]
		vec.Scale(b.qk0[i*k:][:k], fall, q)
		vec.Scale(b.qk0[(n+i)*k:][:k], -b.beta[i]*fall, key)
		vec.Scale(b.dqk[i*k:][:k], fall, b.gs[i*k:][:k])
		vec.Combine(b.dqk[(n+i)*k:][:k], -b.beta[i]*fall, b.gs[(n+i)*k:][:k], b.rest[i], b.us[i*k:][:k])
		if b.a.DV != nil {
			vec.Scale(b.value(b.a.DV, b.lo+i), b.beta[i], b.g[(n+i)*v:][:v])
		}
	}
	gu := matmul.Of(b.gu, n)
	matmul.Serial(w, matmul.NN, 2*n, k, n, 1, gu, b.keys(), 1, matmul.Of(b.dqk, k))
	matmul.Serial(w, matmul.TN, n, k, 2*n, 1, gu, b.queries(), 1, matmul.Of(b.dqk[n*k:], k))
	scale := float32(b.scale())
	for i := range n {
		if b.a.DQ != nil {
			b.normaliseBack(b.key(b.a.DQ, b.lo+i), b.dqk[i*k:][:k], b.qk[i*k:][:k], b.norm[i], scale)
		}
		if b.a.DK != nil {
			b.normaliseBack(b.key(b.a.DK, b.lo+i), b.dqk[(n+i)*k:][:k], b.qk[(n+i)*k:][:k], b.norm[n+i], 1)
		}
	}
}

// normaliseBack is the gradient of y = scale·norm·x through both x and its norm, from y.
func (f Config) normaliseBack(dx, dy, y []float32, norm, scale float32) {
	if f.NormQK {
		vec.Combine(dx, scale*norm, dy, -norm/scale*vec.Dot(y, dy), y)
	} else {
		vec.Scale(dx, scale, dy)
	}
}
