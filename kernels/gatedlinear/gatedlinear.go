// Package gatedlinear is linear attention whose state forgets by a gate. For every sequence and head, with a state
// S [K, V] and the gate g of a token, one number or one for every channel of the keys:
//
//	S ← exp(g_t) S + b_t (a_tᵀ S) + k_t v_tᵀ      the middle term with LowRank only, from S before the token
//	o_t = scale Sᵀ q_t
//
// It is retention with a constant gate (RetNet, https://arxiv.org/abs/2307.08621), the state space duality of Mamba-2 with
// a gate per head (https://arxiv.org/abs/2405.21060), gated linear attention with a gate per channel
// (https://arxiv.org/abs/2312.06635), and with LowRank the generalised delta rule of RWKV-7
// (https://arxiv.org/abs/2503.14456), whose transition is diagonal plus low rank.
//
// The fast version runs over chunks of tokens by matrix products, see chunk.go; with LowRank, and for single tokens, it is
// the recurrence itself, see recurrence.go.
//
// N tokens, S sequences, T tokens of one sequence, H heads, K key dim, V value dim, C gates of a head: 1 or K.
package gatedlinear

import (
	"fmt"
	"math"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/packed"
	"github.com/gojet/gojet/kernels/recurrent"
)

// Chunk is how many tokens the fast version takes at a time.
const Chunk = recurrent.Chunk

// Config is the shape of the operation.
type Config struct {
	Heads, KeyDim, ValueDim int
	// Channels means a gate for every channel of the keys, else one for the head.
	Channels bool
	// LowRank adds b (aᵀ S).
	LowRank bool
	// Scale multiplies the queries; 0 means KeyDim^-½.
	Scale float64

	every int // tokens of a segment on a device, see gateddelta.Uncorrected
}

func (f Config) scale() float64 {
	if f.Scale != 0 {
		return f.Scale
	}
	return 1 / math.Sqrt(float64(f.KeyDim))
}

// Gates is C, the number of gates of a head.
func (f Config) Gates() int {
	if f.Channels {
		return f.KeyDim
	}
	return 1
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
	G    []T // [N, H, C], the logarithm of the decay, 0 or less
	A, B []T // [N, H, K], with LowRank
	H0   []T // [rows, H, K, V], the states before the first token; nil means zero

	O  []T // [N, H, V]; zero outside every sequence
	HT []T // [rows, H, K, V], the states after the last token; may be H0, which is then advanced in place
	// States, of StatesLen values, keeps for Backward the state before every chunk; the gaps in it are not written.
	// The reference neither fills nor needs it.
	States []T
}

// BackwardArgs are the buffers of a backward pass: the inputs of the forward pass, the gradients of its
// results, and the gradients of its inputs. H0 must hold what it held before the forward pass; rows of DH0
// that belong to no sequence are zero.
type BackwardArgs[T kernels.Float] struct {
	Config
	Seqs       packed.Sequences
	Q, K, V    []T
	G, A, B    []T
	H0         []T
	DO         []T // [N, H, V]
	DHT        []T // [rows, H, K, V]; nil means zero
	States     []T // as Forward left it; the reference computes the states itself
	DQ, DK, DV []T
	DG, DA, DB []T
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
		panic(fmt.Sprintf("gatedlinear: heads %d, key dim %d, value dim %d, want all 1 or more", f.Heads, f.KeyDim, f.ValueDim))
	}
	if err := seqs.Validate(n, rows); err != nil {
		panic("gatedlinear: " + err.Error())
	}
	for _, b := range buffers {
		if (b.needed || b.length > 0) && b.length != b.want {
			panic(fmt.Sprintf("gatedlinear: %s has %d values, want %d (%s; N %d, H %d, K %d, V %d, rows %d)",
				b.name, b.length, b.want, b.shape, n, f.Heads, f.KeyDim, f.ValueDim, max(rows, 0)))
		}
	}
}

// lowRank is the length of a buffer of n values that LowRank has.
func (f Config) lowRank(n int) int {
	if f.LowRank {
		return n
	}
	return 0
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
	n := len(a.V) / max(f.Heads*f.ValueDim, 1)
	rows := f.rowsOf(len(a.H0), len(a.HT))
	key, value, state := n*f.Heads*f.KeyDim, n*f.Heads*f.ValueDim, max(rows, 0)*f.StateLen()
	f.check(a.Seqs, n, rows, []buffer{
		{"q", len(a.Q), key, true, "[N, H, K]"},
		{"k", len(a.K), key, true, "[N, H, K]"},
		{"v", len(a.V), value, true, "[N, H, V]"},
		{"g", len(a.G), n * f.Heads * f.Gates(), true, "[N, H, C]"},
		{"a", len(a.A), f.lowRank(key), true, "[N, H, K]"},
		{"b", len(a.B), f.lowRank(key), true, "[N, H, K]"},
		{"h0", len(a.H0), state, false, "[rows, H, K, V]"},
		{"o", len(a.O), value, false, "[N, H, V]"},
		{"hT", len(a.HT), state, false, "[rows, H, K, V]"},
	})
	recurrent.CheckStates("gatedlinear", f.StateLen(), a.Seqs, n, len(a.States))
}

func (a *BackwardArgs[T]) check() {
	f := a.Config
	n := len(a.V) / max(f.Heads*f.ValueDim, 1)
	rows := f.rowsOf(len(a.H0), len(a.DHT), len(a.DH0))
	key, value, state := n*f.Heads*f.KeyDim, n*f.Heads*f.ValueDim, max(rows, 0)*f.StateLen()
	f.check(a.Seqs, n, rows, []buffer{
		{"q", len(a.Q), key, true, "[N, H, K]"},
		{"k", len(a.K), key, true, "[N, H, K]"},
		{"v", len(a.V), value, true, "[N, H, V]"},
		{"g", len(a.G), n * f.Heads * f.Gates(), true, "[N, H, C]"},
		{"a", len(a.A), f.lowRank(key), true, "[N, H, K]"},
		{"b", len(a.B), f.lowRank(key), true, "[N, H, K]"},
		{"h0", len(a.H0), state, false, "[rows, H, K, V]"},
		{"do", len(a.DO), value, true, "[N, H, V]"},
		{"dhT", len(a.DHT), state, false, "[rows, H, K, V]"},
		{"dq", len(a.DQ), key, false, "[N, H, K]"},
		{"dk", len(a.DK), key, false, "[N, H, K]"},
		{"dv", len(a.DV), value, false, "[N, H, V]"},
		{"dg", len(a.DG), n * f.Heads * f.Gates(), false, "[N, H, C]"},
		{"da", len(a.DA), f.lowRank(key), false, "[N, H, K]"},
		{"db", len(a.DB), f.lowRank(key), false, "[N, H, K]"},
		{"dh0", len(a.DH0), state, false, "[rows, H, K, V]"},
	})
	recurrent.CheckStates("gatedlinear", f.StateLen(), a.Seqs, n, len(a.States))
}

// clearOutside zeroes what no sequence will write.
func (a *BackwardArgs[T]) clearOutside() {
	f := a.Config
	for _, x := range [][]T{a.DQ, a.DK, a.DA, a.DB} {
		packed.ClearOutside(x, f.Heads*f.KeyDim, a.Seqs)
	}
	packed.ClearOutside(a.DV, f.Heads*f.ValueDim, a.Seqs)
	packed.ClearOutside(a.DG, f.Heads*f.Gates(), a.Seqs)
	if len(a.DH0) > a.Seqs.Len()*f.StateLen() {
		clear(a.DH0)
	}
}
