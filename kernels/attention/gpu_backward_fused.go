package attention

import (
	_ "embed"

	"github.com/gojet/gojet/kernels/device"
)

//go:embed attention_backward_fused.cu
var fusedText string

// fused is a launch of attention_backward_fused.cu: its sizes.
type fused struct {
	Config
	n, s  int // tokens, sequences
	tile  int // query tokens of a visit
	tiles int // at most
	items int // blocks of keys, at most
	split int // blocks that share the query heads of a key head
}

const (
	fusedKeys   = 128
	fusedBlocks = 512 // the fewest wanted: the longest has the work of half a processor, nearly
)

// fusible reports whether the fused kernel has this shape.
func (c Config) fusible() bool { return c.Dim == 64 || c.Dim == 128 }

// newFused plans a launch for n tokens of s sequences; split 0 leaves the choice here.
func newFused(c Config, n, s, split int) *fused {
	f := &fused{Config: c, n: n, s: s, tile: 8192 / c.Dim, items: tiles(n, s, fusedKeys), split: max(split, 1)}
	f.tiles = tiles(n, s, f.tile)
	if split > 0 {
		return f
	}
	for f.split < c.group() && (n/fusedKeys*c.KVHeads*f.split < fusedBlocks || c.group()%f.split != 0) {
		f.split++
	}
	return f
}

// memory is scratch memory, divided.
type memory struct{ stats, sums, turns, ticket, items, parts device.Tensor }

func (f *fused) memory(scratch device.Tensor) (m memory) {
	for _, p := range []struct {
		piece *device.Tensor
		t     device.Type
		n     int
	}{
		{&m.stats, device.Float32, f.tiles * f.Heads * 2 * f.tile},
		{&m.sums, device.Float32, f.tiles * f.Heads * f.tile * f.Dim},
		{&m.turns, device.Int32, f.tiles * f.Heads},
		{&m.ticket, device.Int32, 1},
		{&m.items, device.Int32, 4 * f.items},
		{&m.parts, device.Float32, f.partValues()},
	} {
		*p.piece, scratch = scratch.Carve(p.t, p.n)
	}
	return m
}

func (f *fused) partValues() int {
	if f.split == 1 {
		return 0
	}
	return 2 * f.split * f.n * f.stride()
}

// scratch is the bytes of memory.
func (f *fused) scratch() int64 {
	sum := int64(0)
	for _, n := range []int{f.tiles * f.Heads * 2 * f.tile, f.tiles * f.Heads * f.tile * f.Dim, f.tiles * f.Heads, 1, 4 * f.items, f.partValues()} {
		sum += device.Aligned(4 * int64(n))
	}
	return sum
}

func (f *fused) launch(q *device.Queue, a *DeviceBackwardArgs) {
	m := f.memory(a.Scratch)
	a.prepare(q, m.stats, f.tile, m.items, f.items, m.turns, m.ticket)

	describe := func(t device.Tensor, columns, rows int) device.Descriptor {
		return q.Describe(device.TensorMap{T: t, Rows: f.n, Cols: columns, BoxRows: rows, BoxCols: 64, Swizzle: 128})
	}
	src := &device.Source{File: "attention_backward_fused.cu", Text: fusedText}
	defines := append(f.defines(), device.Define{Name: "SPLIT", Value: f.split})
	grid := device.Grid{X: f.items * f.KVHeads * f.split, Threads: 384, Shared: f.shared()}
	q.Launch(q.Kernel(src, "attention_backward_fused", defines...), grid,
		describe(a.Q, f.width(), f.tile), describe(a.K, f.stride(), fusedKeys), describe(a.V, f.stride(), fusedKeys), describe(a.DO, f.width(), f.tile),
		a.DQ, a.DK, a.DV, m.parts, m.stats, m.sums, m.turns, m.ticket, m.items, f.n)
	if f.split > 1 {
		grid := device.Grid{X: (f.n*f.stride()/8 + 255) / 256, Y: 2, Threads: 256}
		q.Launch(q.Kernel(src, "attention_backward_join", defines...), grid, a.DK, a.DV, m.parts, a.Seqs, f.s, f.n)
	}
}

// shared is the bytes of the kernel's Shared.
func (f *fused) shared() int {
	tile := 8192 * 2 // bytes of a tile of queries
	return 2*fusedKeys*f.Dim*2 + 5*tile + 2*fusedKeys*f.tile*2 + 8192*4 + 3*2*f.tile*4 + 16*8
}
