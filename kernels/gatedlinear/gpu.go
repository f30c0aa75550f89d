package gatedlinear

import (
	_ "embed"
	"fmt"

	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/sums"
)

//go:embed gatedlinear.cu
var text string

// DeviceForwardArgs are the buffers of a forward pass in the memory of a device, with the rules of ForwardArgs. T is float32 or
// bfloat16.
type DeviceForwardArgs struct {
	Config
	Sequences device.Tensor // int32 [3, S+1]: cu_seqlens, positions, rows of states
	Q, K      device.Tensor // T [N, H, K]
	V         device.Tensor // T [N, H, V]
	G         device.Tensor // float32 [N, H, C]
	A, B      device.Tensor // T [N, H, K], with LowRank
	H0        device.Tensor // float32 [rows, H, K, V]; none means zero

	O      device.Tensor // T [N, H, V]
	HT     device.Tensor // float32 [rows, H, K, V]; may be H0
	States device.Tensor // float32, StatesLen values for DeviceBackward
}

// DeviceBackwardArgs are the buffers of a backward pass in the memory of a device, with the rules of BackwardArgs.
type DeviceBackwardArgs struct {
	Config
	Sequences  device.Tensor
	Q, K, V    device.Tensor
	G, A, B    device.Tensor
	DO         device.Tensor // T [N, H, V]
	DHT        device.Tensor // float32 [rows, H, K, V]; none means zero
	States     device.Tensor // as DeviceForward left it
	DQ, DK, DV device.Tensor // T
	DG         device.Tensor // float32 [N, H, C]
	DA, DB     device.Tensor // T
	DH0        device.Tensor // float32 [rows, H, K, V]

	Scratch device.Tensor // DeviceBackwardScratch bytes
}

// tiling is how a kernel cuts a state: so many columns to a block, and so many threads to a column.
type tiling struct{ columns, lanes int }

// forwardTiling keeps at most 32 rows of a column in the registers of a thread, and 128 threads in a block.
func (f Config) forwardTiling() tiling {
	lanes := 4
	for lanes < 32 && f.KeyDim > 32*lanes {
		lanes *= 2
	}
	return tiling{128 / lanes, lanes}
}

// backwardTiling keeps at most 16 rows, of three states, and makes blocks as wide as the value dim needs, of up to 512 threads.
func (f Config) backwardTiling() tiling {
	lanes := 8
	for lanes < 32 && f.KeyDim > 16*lanes {
		lanes *= 2
	}
	columns := 32 / lanes
	for columns < f.ValueDim && columns < 512/lanes {
		columns *= 2
	}
	return tiling{columns, lanes}
}

func (t tiling) threads() int       { return t.columns * t.lanes }
func (t tiling) rows(f Config) int  { return (f.KeyDim + t.lanes - 1) / t.lanes }
func (t tiling) parts(f Config) int { return (f.ValueDim + t.columns - 1) / t.columns }
func (t tiling) pitch(f Config) int { return t.rows(f) * t.lanes }
func (t tiling) stage(f Config) int {
	return 4 * (batch*(3*t.pitch(f)+2*t.columns) + 2*f.corrected(batch)*t.pitch(f))
}
func (t tiling) sums(f Config) int { return 4 * f.vectors() * t.threads() / 32 * t.pitch(f) }
func (t tiling) room(f Config, s int) int {
	return s * f.Heads * t.parts(f) * 2 * batch * t.rows(f) * t.threads()
}

// batch is how many tokens the kernels stage at a time: BATCH.
const batch = 8

// corrected is n with LowRank, else 1.
func (f Config) corrected(n int) int {
	if f.LowRank {
		return n
	}
	return 1
}

// vectors is how many gradients add up over the columns.
func (f Config) vectors() int {
	if f.LowRank {
		return 5
	}
	return 3
}

func (f Config) kernel(q *device.Queue, name string, t device.Type, by tiling, more ...device.Define) *device.Kernel {
	return q.Kernel(&device.Source{File: "gatedlinear.cu", Text: text}, name, append([]device.Define{
		{Name: "REAL", Value: t}, {Name: "HEADS", Value: f.Heads}, {Name: "KEY", Value: f.KeyDim}, {Name: "VALUE", Value: f.ValueDim},
		{Name: "CHANNELS", Value: f.Channels}, {Name: "LOWRANK", Value: f.LowRank}, {Name: "SCALE", Value: f.scale()},
		{Name: "COLUMNS", Value: by.columns}, {Name: "LANES", Value: by.lanes}}, more...)...)
}

// DeviceForward queues Forward.
func DeviceForward(q *device.Queue, a *DeviceForwardArgs) {
	f, by := a.Config, a.forwardTiling()
	n, s := f.deviceCheck(a.V, a.Sequences, a.States, []operand{
		{"q", a.Q, f.KeyDim, a.V.Type}, {"k", a.K, f.KeyDim, a.V.Type}, {"g", a.G, f.Gates(), device.Float32},
		{"a", a.A, f.lowRank(f.KeyDim), a.V.Type}, {"b", a.B, f.lowRank(f.KeyDim), a.V.Type},
	}, []operand{{"o", a.O, f.ValueDim, a.V.Type}})
	q.Launch(f.kernel(q, "forward", a.V.Type, by), device.Grid{X: by.parts(f), Y: f.Heads, Z: s, Threads: by.threads(), Shared: by.stage(f)},
		a.Q, a.K, a.V, a.G, a.A, a.B, a.Sequences, n, s, a.H0, a.HT, a.O, a.States)
}

// partial are the sums over columns that a backward pass of several parts leaves.
type partial struct{ sum, whole device.Tensor }

// DeviceBackwardScratch returns the bytes of temporary memory of a DeviceBackward on n tokens in s sequences.
func DeviceBackwardScratch(f Config, n, s int, _ device.Type) int64 {
	by := f.backwardTiling()
	b := device.Aligned(4 * int64(by.room(f, s)))
	if parts := int64(by.parts(f)); parts > 1 {
		heads := parts * int64(n) * int64(f.Heads) * 4
		b += int64(f.vectors()-1)*device.Aligned(heads*int64(f.KeyDim)) + device.Aligned(heads*int64(f.Gates()))
	}
	return b
}

// DeviceBackward queues Backward.
func DeviceBackward(q *device.Queue, a *DeviceBackwardArgs) {
	f, by, t := a.Config, a.backwardTiling(), a.V.Type
	low := f.lowRank(f.KeyDim)
	n, s := f.deviceCheck(a.V, a.Sequences, a.States, []operand{
		{"q", a.Q, f.KeyDim, t}, {"k", a.K, f.KeyDim, t}, {"g", a.G, f.Gates(), device.Float32},
		{"a", a.A, low, t}, {"b", a.B, low, t}, {"do", a.DO, f.ValueDim, t},
	}, []operand{
		{"dq", a.DQ, f.KeyDim, t}, {"dk", a.DK, f.KeyDim, t}, {"dv", a.DV, f.ValueDim, t}, {"dg", a.DG, f.Gates(), device.Float32},
		{"da", a.DA, low, t}, {"db", a.DB, low, t},
	})
	if a.States.None() {
		panic("gatedlinear: the backward pass needs the states that the forward pass kept")
	}
	shared := by.stage(f) + by.sums(f)
	if most := q.Info().SharedMax; shared > most {
		panic(fmt.Sprintf("gatedlinear: the backward pass of key dim %d needs %d bytes of shared memory, this device has %d", f.KeyDim, shared, most))
	}
	q.Zero(a.DH0)
	room, rest := a.Scratch.Carve(device.Float32, by.room(f, s))
	results := [5]device.Tensor{a.DQ, a.DK, a.DG, a.DA, a.DB}
	var left []partial
	if parts := by.parts(f); parts > 1 {
		for i := range f.vectors() {
			if whole := results[i]; !whole.None() {
				results[i], rest = rest.Carve(device.Float32, parts*whole.Len)
				left = append(left, partial{results[i], whole})
			}
		}
	}
	kernel := f.kernel(q, "backward", t, by, device.Define{Name: "PARTS", Value: by.parts(f)})
	q.Launch(kernel, device.Grid{X: by.parts(f), Y: f.Heads, Z: s, Threads: by.threads(), Shared: shared},
		a.Q, a.K, a.V, a.G, a.A, a.B, a.Sequences, n, s, a.States, a.DO, a.DHT, results[0], results[1], a.DV, results[2], results[3], results[4], a.DH0, room)
	for _, p := range left {
		sums.DeviceForward(q, p.whole, p.sum)
	}
}

// operand is a tensor of width values a head.
type operand struct {
	name  string
	t     device.Tensor
	width int
	kind  device.Type
}

// deviceCheck panics unless the tensors fit each other; what is in the sequences cannot be checked here. It returns N and S.
func (f Config) deviceCheck(v, sequences, states device.Tensor, needed, wanted []operand) (n, s int) {
	if f.Heads < 1 || f.KeyDim < 1 || f.ValueDim < 1 || f.KeyDim > 512 {
		panic(fmt.Sprintf("gatedlinear: heads %d, key dim %d, value dim %d, want all 1 or more and on a device a key dim of at most 512",
			f.Heads, f.KeyDim, f.ValueDim))
	}
	if sequences.Type != device.Int32 || sequences.Len < 6 || sequences.Len%3 != 0 {
		panic(fmt.Sprintf("gatedlinear: sequences are %d %s, want int32 [3, S+1]", sequences.Len, sequences.Type))
	}
	n, s = v.Len/(f.Heads*f.ValueDim), sequences.Len/3-1
	for i, x := range append(needed, wanted...) {
		if want := n * f.Heads * x.width; (i < len(needed) || !x.t.None()) && (x.t.Len != want || want > 0 && x.t.Type != x.kind) {
			panic(fmt.Sprintf("gatedlinear: %s has %d values of %s, want %d of %s", x.name, x.t.Len, x.t.Type, want, x.kind))
		}
	}
	if want := StatesLen(f, n, s); !states.None() && (states.Len < want || states.Type != device.Float32) {
		panic(fmt.Sprintf("gatedlinear: states has %d values of %s, want %d of float32", states.Len, states.Type, want))
	}
	return n, s
}
