package attention

import (
	_ "embed"
	"fmt"

	"github.com/gojet/gojet/kernels/device"
)

//go:embed attention_backward_prepare.cu
var prepareText string

//go:embed attention_backward.cu
var backwardText string

//go:embed attention_backward_plain.cu
var plainBackwardText string

// DeviceBackwardArgs are the buffers of one backward call on a device. All but the statistics are of one type, float32
// or bfloat16.
type DeviceBackwardArgs struct {
	Config
	Seqs       device.Tensor // int32 [3, S+1]: see packed.Sequences
	Q, O, DO   device.Tensor // [N, Heads, Dim]
	K, V       device.Tensor // [N, KVHeads, Dim]
	LSE        device.Tensor // float32 [N, Heads], as the forward gave it
	DQ, DK, DV device.Tensor // results, shaped like Q, K, V; each may be none

	Scratch device.Tensor // DeviceBackwardScratch bytes

	// For tests:
	portable bool // leaves Hopper's own instructions alone
	split    int  // replaces the fused kernel's choice unless 0
}

func (a *DeviceBackwardArgs) tokens() int    { return a.Q.Len / a.width() }
func (a *DeviceBackwardArgs) sequences() int { return a.Seqs.Len/3 - 1 }

// check reports buffers that do not fit.
func (a *DeviceBackwardArgs) check() error {
	if err := a.Validate(); err != nil {
		return err
	}
	n := a.tokens()
	ls := []length{{"q", a.Q.Len, a.width()}, {"k", a.K.Len, a.stride()}, {"v", a.V.Len, a.stride()},
		{"o", a.O.Len, a.width()}, {"do", a.DO.Len, a.width()}, {"lse", a.LSE.Len, a.Heads}}
	if !a.DQ.None() {
		ls = append(ls, length{"dq", a.DQ.Len, a.width()})
	}
	if !a.DK.None() {
		ls = append(ls, length{"dk", a.DK.Len, a.stride()})
	}
	if !a.DV.None() {
		ls = append(ls, length{"dv", a.DV.Len, a.stride()})
	}
	if a.LSE.Type != device.Float32 {
		return fmt.Errorf("attention: lse is %s, want float32", a.LSE.Type)
	}
	if err := deviceTypes(a.Config, a.Q.Type, a.Seqs, a.Q, a.K, a.V, a.O, a.DO, a.DQ, a.DK, a.DV); err != nil {
		return err
	}
	return lengths(a.Config, n, ls...)
}

// deviceTile is the tokens of a tile of statistics; a block of the kernels without fusion owns one.
const deviceTile = 64

// tiles is how many tiles of size tokens n tokens of s sequences have at most.
func tiles(n, s, size int) int { return n/size + s }

// DeviceBackwardScratch returns the bytes of scratch memory that DeviceBackward needs for n tokens of s sequences with
// activations of type t.
func DeviceBackwardScratch(c Config, n, s int, t device.Type) int64 {
	return backwardScratch(c, n, s, 0, t)
}

func backwardScratch(c Config, n, s, split int, t device.Type) int64 {
	if t == device.BF16 && c.fusible() {
		return newFused(c, n, s, split).scratch()
	}
	return device.Aligned(int64(tiles(n, s, deviceTile)) * int64(c.Heads) * 2 * deviceTile * 4)
}

// DeviceBackward is Backward on a device.
//
// In bfloat16 the scores' gradients and the probabilities are rounded to bfloat16 before they are multiplied; sums are
// float32. Results do not depend on the order in which blocks run.
func DeviceBackward(q *device.Queue, a *DeviceBackwardArgs) {
	must(a.check())
	if a.tokens() == 0 {
		return
	}
	if a.Q.Type == device.BF16 && a.fusible() && q.Info().Major == 9 && !a.portable {
		newFused(a.Config, a.tokens(), a.sequences(), a.split).launch(q, a)
		return
	}
	deviceBackwardSeparate(q, a)
}

// deviceBackwardSeparate computes the gradients of keys and values and those of queries in a kernel each.
func deviceBackwardSeparate(q *device.Queue, a *DeviceBackwardArgs) {
	n, s := a.tokens(), a.sequences()
	blocks := tiles(n, s, deviceTile)
	stats, _ := a.Scratch.Carve(device.Float32, blocks*a.Heads*2*deviceTile)
	a.prepare(q, stats, deviceTile, device.Tensor{}, 0, device.Tensor{}, device.Tensor{})

	src, grid := &device.Source{File: "attention_backward.cu", Text: backwardText}, a.tensorGrid()
	if a.Q.Type == device.Float32 {
		src, grid = &device.Source{File: "attention_backward_plain.cu", Text: plainBackwardText}, a.plainGrid()
	}
	grid.X *= blocks
	if !a.DK.None() || !a.DV.None() {
		grid.Y = a.KVHeads
		q.Launch(q.Kernel(src, "attention_backward_keys", a.defines()...), grid, a.DK, a.DV, a.Q, a.K, a.V, a.DO, stats, a.Seqs, s)
	}
	if !a.DQ.None() {
		grid.Y = a.Heads
		q.Launch(q.Kernel(src, "attention_backward_queries", a.defines()...), grid, a.DQ, a.Q, a.K, a.V, a.DO, stats, a.Seqs, s)
	}
}

// prepare queues the kernel of attention_backward_prepare.cu.
func (a *DeviceBackwardArgs) prepare(q *device.Queue, stats device.Tensor, tile int, items device.Tensor, count int, turns, ticket device.Tensor) {
	src := &device.Source{File: "attention_backward_prepare.cu", Text: prepareText}
	k := q.Kernel(src, "attention_backward_prepare", append(a.defines(), device.Define{Name: "ELEMENT", Value: a.Q.Type}, device.Define{Name: "TILE", Value: tile})...)
	q.Launch(k, device.Grid{X: tiles(a.tokens(), a.sequences(), tile), Y: tile / 16, Threads: 256},
		stats, a.O, a.DO, a.LSE, a.Seqs, a.sequences(), a.tokens(), a.DQ, a.DK, a.DV, items, count, turns, ticket)
}

// tensorGrid is the blocks for a tile, the threads and the shared memory of the kernels of attention_backward.cu.
func (c Config) tensorGrid() device.Grid {
	dim, columns, threads := (c.Dim+63)/64*64, 64, 128
	if dim > 128 {
		columns, threads = 32, 256
	}
	return device.Grid{X: 1, Threads: threads, Shared: (2*deviceTile+2*columns)*dim*2 + 2*deviceTile*4}
}

// plainGrid is the same for attention_backward_plain.cu.
func (c Config) plainGrid() device.Grid {
	rows := 32
	if c.Dim > 128 {
		rows = 16
	}
	pitch := (c.Dim+15)/16*16 + 4
	return device.Grid{X: deviceTile / rows, Threads: 256, Shared: (4*rows*pitch + 2*rows*(rows+1) + 2*rows) * 4}
}

// defines are the constants of the kernels.
func (c Config) defines() []device.Define {
	return []device.Define{{Name: "H", Value: c.Heads}, {Name: "KV", Value: c.KVHeads}, {Name: "D", Value: c.Dim},
		{Name: "WINDOW", Value: c.Window}, {Name: "SCALE", Value: c.scale()}}
}
