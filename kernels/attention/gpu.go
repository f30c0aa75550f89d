package attention

import (
	_ "embed"
	"fmt"

	"github.com/gojet/gojet/kernels/device"
)

//go:embed attention.cuh
var commonText string

//go:embed attention_plain.cu
var plainText string

//go:embed attention_mma.cu
var mmaText string

//go:embed attention_decode.cu
var decodeText string

//go:embed attention_finish.cu
var finishText string

// Shapes of the kernels' work, constants of their text.
const (
	plainRows   = 32
	fewTokens   = 8   // FEW: sequences of so few new tokens are decoded
	leafKeys    = 512 // LEAF
	foldLeaves  = 8   // leaves of FOLD keys
	mostDim     = 256 // features of a head in bfloat16
	decodeWarps = 4
	mostRound   = 16  // folds whose results attention_finish reads together
	manyBlocks  = 256 // that keep a device busy: twice its processors, nearly
)

// DeviceForwardArgs are the buffers of one forward call on a device; see ForwardArgs for the cache. All but Seqs and LSE are of
// one type, float32 or bfloat16.
type DeviceForwardArgs struct {
	Config
	Seqs device.Tensor // int32 [3, S+1]: cu_seqlens, positions, rows of the cache
	Q    device.Tensor // [N, Heads, Dim]
	K, V device.Tensor // [N, KVHeads, Dim]

	KCache, VCache device.Tensor // [rows, Cap, KVHeads, Dim], or none
	Cap            int           // positions that a row of the cache holds; see CheckCache

	O   device.Tensor // result [N, Heads, Dim]
	LSE device.Tensor // result, float32 [N, Heads]; may be none

	Scratch device.Tensor // DeviceForwardScratch bytes

	// For tests:
	portable bool // leaves Hopper's own instructions alone
	walk     int  // replaces attention_decode's leaves of a block unless 0
}

func (a *DeviceForwardArgs) tokens() int    { return a.Q.Len / a.width() }
func (a *DeviceForwardArgs) sequences() int { return a.Seqs.Len/3 - 1 }
func (a *DeviceForwardArgs) cached() bool   { return !a.KCache.None() }

// check reports buffers that do not fit.
func (a *DeviceForwardArgs) check() error {
	if err := a.Validate(); err != nil {
		return err
	}
	t, n := a.Q.Type, a.tokens()
	if err := lengths(a.Config, n,
		length{"q", a.Q.Len, a.width()}, length{"k", a.K.Len, a.stride()}, length{"v", a.V.Len, a.stride()},
		length{"o", a.O.Len, a.width()}); err != nil {
		return err
	}
	if err := deviceTypes(a.Config, t, a.Seqs, a.Q, a.K, a.V, a.O, a.KCache, a.VCache); err != nil {
		return err
	}
	if !a.LSE.None() && (a.LSE.Type != device.Float32 || a.LSE.Len != n*a.Heads) {
		return fmt.Errorf("attention: lse is %d %s, want %d float32", a.LSE.Len, a.LSE.Type, n*a.Heads)
	}
	if a.cached() {
		if row := a.Cap * a.stride(); a.VCache.Len != a.KCache.Len || row < 1 || a.KCache.Len%row != 0 {
			return fmt.Errorf("attention: k and v cache have %d and %d values, want the same multiple of %d (cap %d × key heads %d × dim %d)",
				a.KCache.Len, a.VCache.Len, row, a.Cap, a.KVHeads, a.Dim)
		}
	}
	return nil
}

// deviceTypes reports buffers that kernels for elements of type t cannot take.
func deviceTypes(c Config, t device.Type, seqs device.Tensor, all ...device.Tensor) error {
	if t != device.Float32 && t != device.BF16 {
		return fmt.Errorf("attention: elements are %s, want float32 or bfloat16", t)
	}
	if c.Dim > mostDim {
		return fmt.Errorf("attention: head dim %d on a device, want at most %d", c.Dim, mostDim)
	}
	if seqs.Type != device.Int32 || seqs.Len%3 != 0 || seqs.Len < 6 {
		return fmt.Errorf("attention: sequences are %d %s, want int32 [3, S+1]", seqs.Len, seqs.Type)
	}
	for _, x := range all {
		if !x.None() && (x.Type != t || x.Ptr%16 != 0) {
			return fmt.Errorf("attention: a buffer of %s at %#x, want %s and a multiple of 16", x.Type, x.Ptr, t)
		}
	}
	return nil
}

// decoding is how attention_decode.cu divides its work.
type decoding struct {
	heads  int // key heads of a block
	blocks int // that share the keys of a sequence
	walk   int // leaves of a block, 1 or a multiple of foldLeaves
	kept   int // leaves of a result, 1 or foldLeaves
	spans  int // of walk leaves, the most that a token can touch
	ranges int // of kept leaves, the same
}

// decoding plans for s sequences. Blocks that walk over many leaves leave less behind to be folded, but s of them alone must keep
// the device busy: the sequences may be much shorter than the cache.
func (c Config) decoding(s, capacity, walk int) decoding {
	d := decoding{heads: 1, walk: 1}
	if c.KVHeads%2 == 0 && c.group() <= 8 && c.Dim <= 128 {
		d.heads = 2
	}
	d.blocks = c.KVHeads / d.heads * ((c.group() + 15) / 16)
	keys := capacity
	if c.Window > 0 {
		keys = min(keys, c.Window)
	}
	if blocks := s * d.blocks; blocks >= manyBlocks/4 && blocks*keys >= manyBlocks*foldLeaves*leafKeys {
		d.walk = foldLeaves
	}
	if walk > 0 {
		d.walk = walk
	}
	d.kept = min(d.walk, foldLeaves)
	d.spans, d.ranges = c.pieces(capacity, d.walk*leafKeys), c.pieces(capacity, d.kept*leafKeys)
	return d
}

// pieces is how many pieces of so many keys a token can touch at most.
func (c Config) pieces(capacity, keys int) int {
	if c.Window > 0 && capacity >= c.Window-1 {
		return (c.Window+keys-1)/keys + 1
	}
	return (capacity + keys - 1) / keys
}

// merging is how attention_finish.cu folds what a token and head left behind: EACH, ROUND, its threads and shared memory.
func (c Config) merging(d decoding) (each, round, threads, shared int) {
	const most = 96 << 10 // of shared memory, on the smallest devices
	each, round = foldLeaves/d.kept, 1
	bytes := func() int { return round * each * (4*c.padded() + 8) }
	for round < mostRound && round*foldLeaves < d.ranges*d.kept {
		round *= 2
	}
	for bytes() > most {
		round /= 2
	}
	threads = 128
	if each > 1 {
		threads = 32 * round
	}
	return each, round, threads, bytes()
}

// DeviceForwardScratch returns the bytes of scratch memory that DeviceForward needs for n tokens in s sequences, with a cache of
// capacity positions a row, or 0 for none.
func DeviceForwardScratch(c Config, n, s, capacity int, t device.Type) int64 {
	return forwardScratch(c, n, s, capacity, t, 0)
}

func forwardScratch(c Config, n, s, capacity int, t device.Type, walk int) int64 {
	if t != device.BF16 {
		return 0
	}
	counter := device.Aligned(4)
	if capacity == 0 {
		return counter
	}
	rows := int64(min(n, fewTokens*s)) * int64(c.Heads) * int64(c.decoding(s, capacity, walk).ranges)
	return counter + device.Aligned(rows*int64(c.padded())*4) + device.Aligned(2*rows*4)
}

// padded is the features of a head in shared memory.
func (c Config) padded() int { return roundUp(c.Dim, 16) }

// pitch is the bytes of a row of features in shared memory.
func (c Config) pitch() int {
	if c.padded()%64 == 0 {
		return 2 * c.padded()
	}
	return 2*c.padded() + 16
}

// kernel compiles one of the forward kernels.
func (c Config) kernel(q *device.Queue, t device.Type, cached bool, file, text string, more ...device.Define) *device.Kernel {
	defines := append([]device.Define{
		{Name: "ELEMENT", Value: t}, {Name: "D", Value: c.Dim}, {Name: "H", Value: c.Heads}, {Name: "KV", Value: c.KVHeads},
		{Name: "WINDOW", Value: c.Window}, {Name: "CACHED", Value: cached},
	}, more...)
	src := &device.Source{File: file + ".cu", Text: commonText + fmt.Sprintf("#line 1 \"%s.cu\"\n", file) + text}
	return q.Kernel(src, file, defines...)
}

// tiles returns the blocks that cover n tokens in s sequences when a block has so many query rows.
func (c Config) tiles(n, s, rows int) int {
	heads := 1
	if c.group() <= rows {
		heads = c.group()
	}
	return (n/(rows/heads) + s) * (c.Heads / heads)
}

// DeviceForward is Forward on a device. Sequences of up to 8 new tokens with a cache are decoded: their keys are read in parallel.
// A sequence's result depends on that sequence alone, to the last bit.
func DeviceForward(q *device.Queue, a *DeviceForwardArgs) {
	must(a.check())
	n := a.tokens()
	if n == 0 {
		return
	}
	switch {
	case a.Q.Type == device.Float32:
		bytes := ((plainRows+32)*(a.Dim|1) + plainRows*33) * 4
		a.rows(q, "attention_plain", plainText, plainRows, bytes)
		if a.cached() {
			a.finish(q, decoding{kept: foldLeaves}, device.Tensor{}, device.Tensor{})
		}
	case a.cached():
		how := a.decoding(a.sequences(), a.Cap, a.walk)
		counter, parts, sums := a.divide(how)
		a.decode(q, how, counter, parts, sums)
		switch {
		case n <= fewTokens:
		case a.hopper(q):
			a.wgmma(q, counter)
		default:
			a.mma(q)
		}
		a.finish(q, how, parts, sums)
	case a.hopper(q):
		counter, _ := a.Scratch.Carve(device.Int32, 1)
		q.Zero(counter)
		a.wgmma(q, counter)
	default:
		a.mma(q)
	}
}

// mma runs the kernel for tensor cores of any device.
func (a *DeviceForwardArgs) mma(q *device.Queue) {
	rows, keys := 128, 64
	if a.padded() > 128 {
		rows, keys = 64, 32
	}
	a.rows(q, "attention_mma", mmaText, rows, (rows+2*keys)*a.pitch())
}

// rows runs a kernel whose blocks have so many query rows.
func (a *DeviceForwardArgs) rows(q *device.Queue, file, text string, rows, shared int) {
	k := a.kernel(q, a.Q.Type, a.cached(), file, text, device.Define{Name: "ROWS", Value: rows})
	n, s := a.tokens(), a.sequences()
	q.Launch(k, device.Grid{X: a.tiles(n, s, rows), Threads: 128, Shared: shared},
		a.O, a.LSE, a.Q, a.K, a.V, a.KCache, a.VCache, a.Cap, a.Seqs, s, n, a.scale())
}

// divide divides the scratch memory of a call with a cache: the counter of attention_wgmma.cu, what decode leaves.
func (a *DeviceForwardArgs) divide(how decoding) (counter, parts, sums device.Tensor) {
	rows := min(a.tokens(), fewTokens*a.sequences()) * a.Heads * how.ranges
	counter, rest := a.Scratch.Carve(device.Int32, 1)
	parts, rest = rest.Carve(device.Float32, rows*a.padded())
	sums, _ = rest.Carve(device.Float32, 2*rows)
	return counter, parts, sums
}

// decode runs the kernel for sequences of few tokens, and clears the counter.
func (a *DeviceForwardArgs) decode(q *device.Queue, how decoding, counter, parts, sums device.Tensor) {
	n, s := a.tokens(), a.sequences()
	shared := func(stages int) int {
		return decodeWarps * (stages*2*16*a.pitch() + min(a.group(), 16)*(a.padded()+8)*4)
	}
	stages := 3
	if shared(stages) > 110<<10 { // two blocks share a processor
		stages = 2
	}
	k := a.kernel(q, a.Q.Type, true, "attention_decode", decodeText, device.Define{Name: "LEAF", Value: leafKeys},
		device.Define{Name: "KEYHEADS", Value: how.heads}, device.Define{Name: "STAGES", Value: stages})
	q.Launch(k, device.Grid{X: how.spans * how.blocks, Y: s, Threads: 32 * decodeWarps, Shared: shared(stages)},
		parts, sums, a.Q, a.K, a.V, a.KCache, a.VCache, a.Cap, a.Seqs, s, n, how.ranges, how.walk, a.scale(), counter)
}

// finish writes the cache and folds what decode left.
func (a *DeviceForwardArgs) finish(q *device.Queue, how decoding, parts, sums device.Tensor) {
	each, round, threads, shared := a.merging(how)
	k := a.kernel(q, a.Q.Type, true, "attention_finish", finishText, device.Define{Name: "LEAF", Value: leafKeys},
		device.Define{Name: "EACH", Value: each}, device.Define{Name: "ROUND", Value: round})
	n, s := a.tokens(), a.sequences()
	blocks := n
	if !parts.None() {
		blocks += min(n, fewTokens*s) * a.Heads
	}
	q.Launch(k, device.Grid{X: blocks, Threads: threads, Shared: shared},
		a.O, a.LSE, a.KCache, a.VCache, a.Cap, a.K, a.V, parts, sums, a.Seqs, s, n, how.ranges)
}
