package gatedlinear

import (
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/matmul"
	"github.com/gojet/gojet/kernels/vec"
)

// Backward computes what ReferenceBackward does, chunk by chunk from the last to the first, from the States that Forward
// left.
func Backward(c *cpu.Cores, a *BackwardArgs[float32]) {
	a.check()
	if a.States == nil && len(a.V) > 0 {
		panic("gatedlinear: the backward pass needs the states that the forward pass kept")
	}
	a.clearOutside()
	j := cpu.Borrow(c, *a)
	j.For(a.Seqs.Len()*a.Heads, 1, backwardPart)
	j.Return()
}

func backwardPart(a *BackwardArgs[float32], w *cpu.Worker, lo, _ int) {
	x := newHead(a.Config, a.Seqs, inputs{a.Q, a.K, a.V, a.G, a.A, a.B}, lo)
	dState := w.Floats(x.KeyDim * x.ValueDim)
	if a.DHT == nil {
		clear(dState)
	} else {
		copy(dState, x.row(a.DHT))
	}
	if x.LowRank {
		r := newWalkBack(w, &x, a, dState)
		for i := x.chunks() - 1; i >= 0; i-- {
			r.retreat(i, x.before(a.States, i))
		}
	} else {
		b := newBack(w, &x, a, dState)
		for i := x.chunks() - 1; i >= 0; i-- {
			b.retreat(w, i, x.before(a.States, i))
		}
	}
	if a.DH0 != nil {
		copy(x.row(a.DH0), dState)
	}
}

// back is a chunk in the other direction. Given dO and the gradient dS' of the state after the chunk,
//
//	dV = Pᵀ dO + K̂ dS'      dP = dO Vᵀ in its triangle      dQ̂ = dO Sᵀ      dK̂ = V dS'ᵀ
//	dS = exp(b_n) dS' + Q̂ᵀ dO
//
// and dQ and dK collect what comes through Q̂ and K̂ and, under the decays of P, through P.
type back struct {
	chunk
	a        *BackwardArgs[float32]
	dState   []float32 // [K, V], of the state after the chunk
	dp       []float32 // [n, n], later its product with P
	dqf, dkr []float32 // [n, K]
	dq, dk   []float32 // [n, K], through P
	from     []float32 // [block, K] and
	into     []float32 // [n, K], the parts of dq and dk of a block and the tokens before it
	sums, dg []float32 // [n] with one gate
	through  []float32 // [K]
}

func newBack(w *cpu.Worker, x *head, a *BackwardArgs[float32], dState []float32) back {
	n, k := min(Chunk, x.tokens()), x.KeyDim
	b := back{chunk: newChunk(w, x, n), a: a, dState: dState}
	blocks, into, sums := 0, 0, n
	if x.Channels {
		blocks, into, sums = block*k, n*k, 0
	}
	carve(w, piece{&b.dp, n * n}, piece{&b.dqf, n * k}, piece{&b.dkr, n * k}, piece{&b.dq, n * k}, piece{&b.dk, n * k},
		piece{&b.from, blocks}, piece{&b.into, into}, piece{&b.sums, sums}, piece{&b.dg, sums}, piece{&b.through, k})
	return b
}

// retreat writes the gradients of chunk i, whose state before it is given, and takes dState over it.
func (b *back) retreat(w *cpu.Worker, i int, state []float32) {
	b.load(w, i)
	n, k, v := b.n, b.KeyDim, b.ValueDim
	dO, values := b.values(b.a.DO, b.lo, 0), b.values(b.in.v, b.lo, 0)
	if b.a.DV != nil {
		dV := b.values(b.a.DV, b.lo, 0)
		matmul.Serial(w, matmul.NN, n, v, k, 1, matmul.Of(b.kr, k), matmul.Of(b.dState, v), 0, dV)
		b.upper(w, v, dO, dV)
	}
	matmul.Serial(w, matmul.NT, n, n, v, 1, dO, values, 0, matmul.Of(b.dp, n))
	matmul.Serial(w, matmul.NT, n, k, v, 1, dO, matmul.Of(state, v), 0, matmul.Of(b.dqf, k))
	matmul.Serial(w, matmul.NT, n, k, v, 1, values, matmul.Of(b.dState, v), 0, matmul.Of(b.dkr, k))
	if b.Channels {
		b.channelGates(w, state)
	} else {
		b.headGates(w, state)
	}
	b.rows()
	b.decayState(b.dState, v)
	matmul.Serial(w, matmul.TN, k, v, n, 1, matmul.Of(b.qf, k), dO, 1, matmul.Of(b.dState, v))
}

// rows writes dQ and dK.
func (b *back) rows() {
	scale := float32(b.scale())
	for i := range b.n {
		dq, dk := b.rowK(b.dq, i), b.rowK(b.dk, i)
		if b.a.DQ != nil {
			b.times(b.e, b.rowC(b.fall, i), b.rowK(b.dqf, i))
			vec.Combine(b.key(b.a.DQ, b.lo+i), scale, dq, scale, b.e)
		}
		if b.a.DK != nil {
			b.times(b.e, b.rowC(b.rest, i), b.rowK(b.dkr, i))
			vec.Add(b.key(b.a.DK, b.lo+i), dk, b.e)
		}
	}
}

// headGates fills dq and dk and writes dG with one gate for the head. With E = dP∘P below the diagonal, the gradient of the
// logarithm of all decay between tokens j and i > j, each g_t collects what was carried across it:
//
//	dg_t = Σ_{i≥t>j} E_ij + Σ_{i≥t} (state before the chunk to token i) + Σ_{j<t} (token j to the state
//	after) + (state before to state after)
//
// Adding it up this way never subtracts, so that gradients of strong gates keep their digits.
func (b *back) headGates(w *cpu.Worker, state []float32) {
	n, k := b.n, b.KeyDim
	if b.a.DG != nil {
		clear(b.sums[:n])
		var toHere float64
		for i := n - 1; i >= 0; i-- {
			toHere += float64(vec.Dot(b.rowK(b.qf, i), b.rowK(b.dqf, i)))
			vec.AxpyMul(b.sums[:i], 1, b.dp[i*n:][:i], b.p[i*n:][:i])
			b.dg[i] = float32(toHere) + vec.Sum(b.sums[:i])
		}
		through := float64(b.fall[n-1]) * float64(vec.Dot(state, b.dState))
		for j := range n {
			b.gate(b.a.DG, b.lo+j)[0] = float32(float64(b.dg[j]) + through)
			through += float64(vec.Dot(b.rowK(b.kr, j), b.rowK(b.dkr, j)))
		}
	}
	for i := range n {
		vec.Mul(b.dp[i*n:][:n], b.dp[i*n:][:n], b.d[i*n:][:n])
	}
	matmul.Serial(w, matmul.NN, n, k, n, 1, matmul.Of(b.dp, n), matmul.Of(b.k, k), 0, matmul.Of(b.dq, k))
	matmul.Serial(w, matmul.TN, n, k, n, 1, matmul.Of(b.dp, n), matmul.Of(b.q, k), 0, matmul.Of(b.dk, k))
}

// channelGates does the same with a gate for every channel. There the first sum is
//
//	Σ_{i≥t} Σ_{j<i} E_ij − Σ_{j≥t} Σ_{i>j} E_ij,     Σ_{j<i} E_ij = q_i dq_i,  Σ_{i>j} E_ij = k_j dk_j
//
// with dq and dk through P without its diagonal, whose decay is none.
func (b *back) channelGates(w *cpu.Worker, state []float32) {
	n, v := b.n, b.ValueDim
	b.pairsBack(w)
	if b.a.DG != nil {
		clear(b.through)
		for i := n - 1; i >= 0; i-- {
			vec.AxpyMul(b.through, 1, b.rowK(b.qf, i), b.rowK(b.dqf, i))
			vec.AxpyMul(b.through, 1, b.rowK(b.q, i), b.rowK(b.dq, i))
			vec.AxpyMul(b.through, -1, b.rowK(b.k, i), b.rowK(b.dk, i))
			copy(b.gate(b.a.DG, b.lo+i), b.through)
		}
		all := b.rowC(b.fall, n-1)
		for i := range b.through {
			b.through[i] = all[i] * vec.Dot(state[i*v:][:v], b.dState[i*v:][:v])
		}
		for j := range n {
			dg := b.gate(b.a.DG, b.lo+j)
			vec.Add(dg, dg, b.through)
			vec.AxpyMul(b.through, 1, b.rowK(b.kr, j), b.rowK(b.dkr, j))
		}
	}
	for i := range n {
		vec.Axpy(b.rowK(b.dq, i), b.dp[i*n+i], b.rowK(b.k, i))
		vec.Axpy(b.rowK(b.dk, i), b.dp[i*n+i], b.rowK(b.q, i))
	}
}

// pairsBack fills dq and dk through P below its diagonal.
func (b *back) pairsBack(w *cpu.Worker) {
	n, k := b.n, b.KeyDim
	clear(b.dq[:n*k])
	clear(b.dk[:n*k])
	for lo := 0; lo < n; lo += block {
		hi := min(lo+block, n)
		if lo > 0 {
			b.meet(lo, hi)
			dp := matmul.Of(b.dp[lo*n:], n)
			matmul.Serial(w, matmul.NN, hi-lo, k, lo, 1, dp, matmul.Of(b.kb, k), 0, matmul.Of(b.from, k))
			matmul.Serial(w, matmul.TN, lo, k, hi-lo, 1, dp, matmul.Of(b.qb, k), 0, matmul.Of(b.into, k))
			vec.AxpyMul(b.dq[lo*k:], 1, b.from[:(hi-lo)*k], b.qw)
			vec.AxpyMul(b.dk, 1, b.into[:lo*k], b.kw)
		}
		for i := lo; i < hi; i++ {
			for j := lo; j < i; j++ {
				b.between(b.e, i, j)
				dp := b.dp[i*n+j]
				vec.AxpyMul(b.rowK(b.dq, i), dp, b.e, b.rowK(b.k, j))
				vec.AxpyMul(b.rowK(b.dk, j), dp, b.e, b.rowK(b.q, i))
			}
		}
	}
}
