// Package conv is the short causal convolution over time, feature by feature, of W taps:
//
//	y_t = act( Σ_w x_{t−W+1+w} · kernel_w + bias )       act: SiLU or nothing
//
// Static, the kernel is [D, W], the same for every token, as in Mamba and Gated DeltaNet
// (https://arxiv.org/abs/2412.06464). Dynamic, every token brings its own: [N, D, W], as in JetBlock
// (Jet-Nemotron, https://arxiv.org/abs/2508.15884). Otherwise they are one operation.
//
// Inputs before the first token of a sequence are those of its cache row [D, W−1], oldest first, or zero.
//
// N tokens, S sequences, D features, W taps.
package conv

import (
	"fmt"

	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/packed"
)

// Config is the shape of the operation.
type Config struct {
	Dim, Taps int
	// Dynamic means a kernel for every token.
	Dynamic bool
	// SiLU applies x·sigmoid(x) to the sum.
	SiLU bool
}

// CacheLen is the length of one sequence's cache, D·(W−1).
func (f Config) CacheLen() int { return f.Dim * (f.Taps - 1) }

// ForwardArgs are the buffers of a forward pass. Cache rows are those of Seqs.Row. The cache of an empty
// sequence passes through; rows of NewCache that belong to no sequence are left alone.
type ForwardArgs[T kernels.Float] struct {
	Config
	Seqs   packed.Sequences
	X      []T // [N, D]
	Kernel []T // [D, W], or [N, D, W] if Dynamic
	Bias   []T // [D], static only; nil means zero
	Cache  []T // [rows, D, W−1]; nil means zero

	Y        []T // [N, D]; zero outside every sequence
	NewCache []T // [rows, D, W−1], the last inputs; may be Cache, which is then advanced in place
}

// BackwardArgs are the buffers of a backward pass. Cache must hold what it held before the forward pass;
// rows of DCache that belong to no sequence are zero, as is DKernel outside every sequence.
type BackwardArgs[T kernels.Float] struct {
	Config
	Seqs   packed.Sequences
	X      []T
	Kernel []T
	Bias   []T
	Cache  []T
	DY     []T // [N, D]

	DX      []T // [N, D]
	DKernel []T // like Kernel
	DBias   []T // [D]
	DCache  []T // [rows, D, W−1]
}

type buffer struct {
	name   string
	length int
	want   int
	needed bool
	shape  string
}

// check panics unless every buffer that is given or needed has its length.
func (f Config) check(seqs packed.Sequences, n, rows int, buffers []buffer) {
	if f.Dim < 1 || f.Taps < 1 {
		panic(fmt.Sprintf("conv: %d features and %d taps, want both 1 or more", f.Dim, f.Taps))
	}
	if err := seqs.Validate(n, rows); err != nil {
		panic("conv: " + err.Error())
	}
	f.checkBuffers(n, rows, buffers)
}

func (f Config) checkBuffers(n, rows int, buffers []buffer) {
	for _, b := range buffers {
		if (b.needed || b.length > 0) && b.length != b.want {
			panic(fmt.Sprintf("conv: %s has %d values, want %d (%s; N %d, D %d, W %d, rows %d)",
				b.name, b.length, b.want, b.shape, n, f.Dim, f.Taps, max(rows, 0)))
		}
	}
}

// rowsOf is the number of cache rows in the first buffer that is given, or -1.
func (f Config) rowsOf(caches ...int) int {
	for _, n := range caches {
		if n > 0 {
			return n / max(f.CacheLen(), 1)
		}
	}
	return -1
}

// kernelLen is the length of the kernels for n tokens, and biasLen that of the bias.
func (f Config) kernelLen(n int) (int, string) {
	if f.Dynamic {
		return n * f.Dim * f.Taps, "[N, D, W]"
	}
	return f.Dim * f.Taps, "[D, W]"
}

func (f Config) biasLen() (int, string) {
	if f.Dynamic {
		return 0, "a dynamic convolution has none"
	}
	return f.Dim, "[D]"
}

func (a *ForwardArgs[T]) check() {
	n := len(a.X) / max(a.Dim, 1)
	rows := a.rowsOf(len(a.Cache), len(a.NewCache))
	kernel, kernelShape := a.kernelLen(n)
	bias, biasShape := a.biasLen()
	cache := max(rows, 0) * a.CacheLen()
	a.Config.check(a.Seqs, n, rows, []buffer{
		{"x", len(a.X), n * a.Dim, true, "[N, D]"},
		{"kernel", len(a.Kernel), kernel, true, kernelShape},
		{"bias", len(a.Bias), bias, false, biasShape},
		{"cache", len(a.Cache), cache, false, "[rows, D, W−1]"},
		{"y", len(a.Y), n * a.Dim, false, "[N, D]"},
		{"new cache", len(a.NewCache), cache, false, "[rows, D, W−1]"},
	})
}

func (a *BackwardArgs[T]) check() {
	n := len(a.X) / max(a.Dim, 1)
	rows := a.rowsOf(len(a.Cache), len(a.DCache))
	kernel, kernelShape := a.kernelLen(n)
	bias, biasShape := a.biasLen()
	cache := max(rows, 0) * a.CacheLen()
	a.Config.check(a.Seqs, n, rows, []buffer{
		{"x", len(a.X), n * a.Dim, true, "[N, D]"},
		{"kernel", len(a.Kernel), kernel, true, kernelShape},
		{"bias", len(a.Bias), bias, false, biasShape},
		{"cache", len(a.Cache), cache, false, "[rows, D, W−1]"},
		{"dy", len(a.DY), n * a.Dim, true, "[N, D]"},
		{"dx", len(a.DX), n * a.Dim, false, "[N, D]"},
		{"dkernel", len(a.DKernel), kernel, false, kernelShape},
		{"dbias", len(a.DBias), bias, false, biasShape},
		{"dcache", len(a.DCache), cache, false, "[rows, D, W−1]"},
	})
}

// clearUnwritten zeroes what no sequence will write.
func (a *BackwardArgs[T]) clearUnwritten() {
	packed.ClearOutside(a.DX, a.Dim, a.Seqs)
	if a.Dynamic {
		packed.ClearOutside(a.DKernel, a.Dim*a.Taps, a.Seqs)
	}
	clear(a.DCache)
}

// row is the cache of sequence s.
func (f Config) row(cache []float32, seqs packed.Sequences, s int) []float32 {
	return cache[seqs.Row(s)*f.CacheLen():][:f.CacheLen()]
}
