// Package attention is causal attention with grouped queries, full or within a sliding window:
//
//	o_i = Σ_j softmax_j(scale · q_i·k_j) v_j     over the keys j ≤ i of the same sequence, with a window W: i−W < j ≤ i
//
// Query head h reads the key and value head h / (Heads/KVHeads). Positions are encoded into q and k before
// (package rope). The fast version walks over blocks of keys with a running softmax, so that memory grows
// with T, not with T² (FlashAttention, https://arxiv.org/abs/2205.14135 and https://arxiv.org/abs/2307.08691).
package attention

import (
	"fmt"
	"math"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/packed"
)

// Config is the shape of an attention.
type Config struct {
	Heads   int     // query heads
	KVHeads int     // key and value heads, a divisor of Heads
	Dim     int     // features of one head
	Window  int     // keys that a token sees, itself included; 0 means all before it
	Scale   float64 // of the scores; 0 means Dim^-0.5
}

// Validate reports what makes the shape impossible.
func (c Config) Validate() error {
	switch {
	case c.Heads < 1 || c.KVHeads < 1 || c.Dim < 1:
		return fmt.Errorf("attention: %d heads, %d key heads, head dim %d; want 1 or more of each", c.Heads, c.KVHeads, c.Dim)
	case c.Heads%c.KVHeads != 0:
		return fmt.Errorf("attention: %d heads are not a multiple of %d key heads", c.Heads, c.KVHeads)
	case c.Window < 0:
		return fmt.Errorf("attention: window is %d, want 0 (full) or more", c.Window)
	case c.Scale < 0 || math.IsNaN(c.Scale) || math.IsInf(c.Scale, 0):
		return fmt.Errorf("attention: scale is %v, want a positive number or 0 for head dim^-0.5", c.Scale)
	}
	return nil
}

// CheckCache reports a sequence that a key-value cache of capacity positions a row cannot serve: full
// attention keeps every position, a window needs the last Window−1 of them.
func (c Config) CheckCache(q packed.Sequences, capacity int) error {
	if c.Window > 0 && capacity >= c.Window-1 {
		return nil
	}
	for s := range q.Len() {
		lo, hi := q.Span(s)
		if need := q.Start(s) + hi - lo; need > capacity {
			return fmt.Errorf("attention: the cache holds %d positions, sequence %d needs %d (%d before and %d new)",
				capacity, s, need, q.Start(s), hi-lo)
		}
	}
	return nil
}

func (c Config) group() int  { return c.Heads / c.KVHeads }
func (c Config) width() int  { return c.Heads * c.Dim }
func (c Config) stride() int { return c.KVHeads * c.Dim }

func (c Config) scale() float64 {
	if c.Scale == 0 {
		return 1 / math.Sqrt(float64(c.Dim))
	}
	return c.Scale
}

// oldest returns the first position that the query at position p sees.
func (c Config) oldest(p int) int {
	if c.Window == 0 {
		return 0
	}
	return max(0, p-c.Window+1)
}

// ForwardArgs are the buffers of one forward call.
//
// With a cache, Seqs.Start(s) tokens of sequence s were consumed before and position p of it lies at slot
// p mod Cap of row Seqs.Row(s). Queries see the cached keys and the new ones; then the new keys and values
// are written into the cache in place. Without a cache a sequence begins with its first token here.
type ForwardArgs[T kernels.Float] struct {
	Config
	Seqs packed.Sequences
	Q    []T // [N, Heads, Dim]
	K, V []T // [N, KVHeads, Dim]

	KCache, VCache []T // [rows, Cap, KVHeads, Dim], or nil
	Cap            int // positions that a row of the cache holds; see CheckCache

	O   []T // result [N, Heads, Dim]
	LSE []T // result [N, Heads]: log Σ_j exp(score), for the backward; may be nil

	Scratch []float32 // ForwardScratch values; the reference needs none
}

// BackwardArgs are the buffers of one backward call. There is no cache: training reads whole sequences.
type BackwardArgs[T kernels.Float] struct {
	Config
	Seqs       packed.Sequences
	Q, O, DO   []T // [N, Heads, Dim]
	K, V       []T // [N, KVHeads, Dim]
	LSE        []T // [N, Heads], as the forward gave it
	DQ, DK, DV []T // results, shaped like Q, K, V; each may be nil

	Scratch []float32 // BackwardScratch values; the reference needs none
}

func (a *ForwardArgs[T]) tokens() int { return len(a.Q) / a.width() }

func (a *ForwardArgs[T]) cached() bool { return len(a.KCache) > 0 }

// start returns the position of the first new token of sequence s.
func (a *ForwardArgs[T]) start(s int) int {
	if !a.cached() {
		return 0
	}
	return a.Seqs.Start(s)
}

// check reports lengths that do not fit.
func (a *ForwardArgs[T]) check() error {
	if err := a.Validate(); err != nil {
		return err
	}
	n := a.tokens()
	if err := lengths(a.Config, n,
		length{"q", len(a.Q), a.width()}, length{"k", len(a.K), a.stride()}, length{"v", len(a.V), a.stride()},
		length{"o", len(a.O), a.width()}); err != nil {
		return err
	}
	if a.LSE != nil {
		if err := lengths(a.Config, n, length{"lse", len(a.LSE), a.Heads}); err != nil {
			return err
		}
	}
	rows := -1
	if a.cached() {
		row := a.Cap * a.stride()
		if len(a.VCache) != len(a.KCache) || row < 1 || len(a.KCache)%row != 0 {
			return fmt.Errorf("attention: k and v cache have %d and %d values, want the same multiple of %d (cap %d × key heads %d × dim %d)",
				len(a.KCache), len(a.VCache), row, a.Cap, a.KVHeads, a.Dim)
		}
		rows = len(a.KCache) / row
		if err := a.CheckCache(a.Seqs, a.Cap); err != nil {
			return err
		}
	}
	return a.Seqs.Validate(n, rows)
}

func (a *BackwardArgs[T]) tokens() int { return len(a.Q) / a.width() }

// check reports lengths that do not fit.
func (a *BackwardArgs[T]) check() error {
	if err := a.Validate(); err != nil {
		return err
	}
	n := a.tokens()
	if err := lengths(a.Config, n,
		length{"q", len(a.Q), a.width()}, length{"k", len(a.K), a.stride()}, length{"v", len(a.V), a.stride()},
		length{"o", len(a.O), a.width()}, length{"do", len(a.DO), a.width()}, length{"lse", len(a.LSE), a.Heads}); err != nil {
		return err
	}
	for _, r := range [...]struct {
		data []T
		length
	}{
		{a.DQ, length{"dq", len(a.DQ), a.width()}},
		{a.DK, length{"dk", len(a.DK), a.stride()}},
		{a.DV, length{"dv", len(a.DV), a.stride()}},
	} {
		if r.data != nil {
			if err := lengths(a.Config, n, r.length); err != nil {
				return err
			}
		}
	}
	return a.Seqs.Validate(n, -1)
}

// length is a buffer's name, its values and the values a token.
type length struct {
	name       string
	have, each int
}

func lengths(c Config, n int, ls ...length) error {
	for _, l := range ls {
		if l.have != n*l.each {
			return fmt.Errorf("attention: %s has %d values, want %d (%d tokens of %d; heads %d, key heads %d, dim %d)",
				l.name, l.have, n*l.each, n, l.each, c.Heads, c.KVHeads, c.Dim)
		}
	}
	return nil
}

func must(err error) {
	if err != nil {
		panic(err.Error())
	}
}
