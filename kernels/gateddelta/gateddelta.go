// Package gateddelta is the gated delta rule, a linear attention whose state forgets by a gate and is
// corrected rather than added to. For every sequence and head, with a state S [K, V]:
//
//	S ← exp(g_t) S
//	S ← S + k_t u_tᵀ,   u_t = beta_t (v_t − Sᵀ k_t)
//	o_t = Sᵀ q_t
//
// Source: Yang, Kautz, Hatamizadeh, "Gated Delta Networks", https://arxiv.org/abs/2412.06464. The fast
// version runs over chunks of tokens by matrix products (Yang et al., "Parallelizing Linear Transformers
// with the Delta Rule over Sequence Length", https://arxiv.org/abs/2406.06484); see chunk.go.
//
// N tokens, S sequences, T tokens of one sequence, H heads, K key dim, V value dim.
package gateddelta

import (
	"fmt"
	"math"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/l2norm"
	"github.com/gojet/gojet/kernels/packed"
	"github.com/gojet/gojet/kernels/recurrent"
)

// Chunk is how many tokens the fast version takes at a time.
const Chunk = recurrent.Chunk

// NormEps is added to Σx² where queries and keys are normalised.
const NormEps = l2norm.Eps

// Config is the shape of the operation.
type Config struct {
	Heads, KeyDim, ValueDim int
	// NormQK makes the operation divide every query and key by √(Σx² + NormEps) first.
	NormQK bool
	// Scale multiplies the queries (after NormQK); 0 means KeyDim^-½.
	Scale float64

	every       int  // tokens of a segment on a device, of any sizes; 0 chooses: see cut
	uncorrected bool // see Uncorrected
}

// Uncorrected is the same recurrence with u_t = v_t, without beta: gated linear attention. It is only for the kernels of a device,
// in bfloat16. Segments are of `every` tokens, a multiple of Chunk, where their kernels are at all; 0 chooses.
func Uncorrected(heads, keyDim, valueDim int, scale float64, every int) Config {
	return Config{Heads: heads, KeyDim: keyDim, ValueDim: valueDim, Scale: scale, every: every, uncorrected: true}
}

func (f Config) scale() float64 {
	if f.Scale != 0 {
		return f.Scale
	}
	return 1 / math.Sqrt(float64(f.KeyDim))
}

// StateLen is the length of one sequence's state, H·K·V.
func (f Config) StateLen() int { return f.Heads * f.KeyDim * f.ValueDim }

// ForwardArgs are the buffers of a forward pass. State rows are those of Seqs.Row. The state of an empty
// sequence passes through; rows of HT that belong to no sequence are left alone.
type ForwardArgs[T kernels.Float] struct {
	Config
	Seqs packed.Sequences
	Q, K []T // [N, H, K]
	V    []T // [N, H, V]
	G    []T // [N, H], the logarithm of the decay, 0 or less
	Beta []T // [N, H]
	H0   []T // [rows, H, K, V], the states before the first token; nil means zero

	O  []T // [N, H, V]; zero outside every sequence
	HT []T // [rows, H, K, V], the states after the last token; may be H0, which is then advanced in place
	// States, of StatesLen values, keeps for Backward the state before every chunk. Its layout is the
	// fast version's own, and the gaps in it are not written. The reference neither fills nor needs it.
	States []T
}

// BackwardArgs are the buffers of a backward pass: the inputs of the forward pass, the gradients of its
// results, and the gradients of its inputs. H0 must hold what it held before the forward pass; rows of DH0
// that belong to no sequence are zero.
type BackwardArgs[T kernels.Float] struct {
	Config
	Seqs       packed.Sequences
	Q, K, V    []T
	G, Beta    []T
	H0         []T
	DO         []T // [N, H, V]
	DHT        []T // [rows, H, K, V]; nil means zero
	States     []T // as Forward left it; nil computes the states again
	DQ, DK, DV []T
	DG, DBeta  []T
	DH0        []T // [rows, H, K, V]
}

// StatesLen is the length of ForwardArgs.States for n tokens in at most s sequences.
func StatesLen(f Config, n, s int) int { return recurrent.StatesLen(f.StateLen(), n, s) }

type buffer struct {
	name   string
	length int
	want   int
	needed bool
	shape  string
}

// check panics unless every buffer that is given or needed has its length.
func (f Config) check(seqs packed.Sequences, n, rows int, buffers []buffer) {
	if f.Heads < 1 || f.KeyDim < 1 || f.ValueDim < 1 {
		panic(fmt.Sprintf("gateddelta: heads %d, key dim %d, value dim %d, want all 1 or more", f.Heads, f.KeyDim, f.ValueDim))
	}
	if f.uncorrected {
		panic("gateddelta: the uncorrected recurrence is for devices only")
	}
	if err := seqs.Validate(n, rows); err != nil {
		panic("gateddelta: " + err.Error())
	}
	for _, b := range buffers {
		if (b.needed || b.length > 0) && b.length != b.want {
			panic(fmt.Sprintf("gateddelta: %s has %d values, want %d (%s; N %d, H %d, K %d, V %d, rows %d)",
				b.name, b.length, b.want, b.shape, n, f.Heads, f.KeyDim, f.ValueDim, max(rows, 0)))
		}
	}
}

// rowsOf is the number of state rows in the first buffer that is given, or -1.
func (f Config) rowsOf(states ...int) int {
	for _, n := range states {
		if n > 0 {
			return n / max(f.StateLen(), 1)
		}
	}
	return -1
}

func (a *ForwardArgs[T]) check() {
	f := a.Config
	n := len(a.Beta) / max(f.Heads, 1)
	rows := f.rowsOf(len(a.H0), len(a.HT))
	key, value, state := n*f.Heads*f.KeyDim, n*f.Heads*f.ValueDim, max(rows, 0)*f.StateLen()
	f.check(a.Seqs, n, rows, []buffer{
		{"q", len(a.Q), key, true, "[N, H, K]"},
		{"k", len(a.K), key, true, "[N, H, K]"},
		{"v", len(a.V), value, true, "[N, H, V]"},
		{"g", len(a.G), n * f.Heads, true, "[N, H]"},
		{"beta", len(a.Beta), n * f.Heads, true, "[N, H]"},
		{"h0", len(a.H0), state, false, "[rows, H, K, V]"},
		{"o", len(a.O), value, false, "[N, H, V]"},
		{"hT", len(a.HT), state, false, "[rows, H, K, V]"},
	})
	recurrent.CheckStates("gateddelta", f.StateLen(), a.Seqs, n, len(a.States))
}

func (a *BackwardArgs[T]) check() {
	f := a.Config
	n := len(a.Beta) / max(f.Heads, 1)
	rows := f.rowsOf(len(a.H0), len(a.DHT), len(a.DH0))
	key, value, state := n*f.Heads*f.KeyDim, n*f.Heads*f.ValueDim, max(rows, 0)*f.StateLen()
	f.check(a.Seqs, n, rows, []buffer{
		{"q", len(a.Q), key, true, "[N, H, K]"},
		{"k", len(a.K), key, true, "[N, H, K]"},
		{"v", len(a.V), value, true, "[N, H, V]"},
		{"g", len(a.G), n * f.Heads, true, "[N, H]"},
		{"beta", len(a.Beta), n * f.Heads, true, "[N, H]"},
		{"h0", len(a.H0), state, false, "[rows, H, K, V]"},
		{"do", len(a.DO), value, true, "[N, H, V]"},
		{"dhT", len(a.DHT), state, false, "[rows, H, K, V]"},
		{"dq", len(a.DQ), key, false, "[N, H, K]"},
		{"dk", len(a.DK), key, false, "[N, H, K]"},
		{"dv", len(a.DV), value, false, "[N, H, V]"},
		{"dg", len(a.DG), n * f.Heads, false, "[N, H]"},
		{"dbeta", len(a.DBeta), n * f.Heads, false, "[N, H]"},
		{"dh0", len(a.DH0), state, false, "[rows, H, K, V]"},
	})
	recurrent.CheckStates("gateddelta", f.StateLen(), a.Seqs, n, len(a.States))
}

// clearOutside zeroes what no sequence will write.
func (a *BackwardArgs[T]) clearOutside() {
	f := a.Config
	packed.ClearOutside(a.DQ, f.Heads*f.KeyDim, a.Seqs)
	packed.ClearOutside(a.DK, f.Heads*f.KeyDim, a.Seqs)
	packed.ClearOutside(a.DV, f.Heads*f.ValueDim, a.Seqs)
	packed.ClearOutside(a.DG, f.Heads, a.Seqs)
	packed.ClearOutside(a.DBeta, f.Heads, a.Seqs)
	if len(a.DH0) > a.Seqs.Len()*f.StateLen() {
		clear(a.DH0)
	}
}
