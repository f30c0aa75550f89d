package gatedlinear

import (
	_ "embed"
	"fmt"

	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/gateddelta"
	"github.com/gojet/gojet/kernels/sums"
)

//go:embed gatedlinear.cu
var text string

//go:embed gradients.cu
var gradientsText string

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
	States device.Tensor // float32, DeviceStatesLen values for DeviceBackward

	Scratch device.Tensor // DeviceForwardScratch bytes, not needed with States
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

// batch is how many tokens kernels stage in shared memory at a time.
func (f Config) batch() int {
	n := 8
	for k := 128; k < f.KeyDim; k *= 2 {
		n /= 2
	}
	return n
}

// lanes is how many threads share a column of a state in gatedlinear.cu.
func (f Config) lanes() int {
	if f.KeyDim > 256 {
		return 32
	}
	return 16
}

// grid is that of gatedlinear.cu, with the size of Stage.
func (f Config) grid(s int) device.Grid {
	const threads, each = 128, 4 // THREADS, EACH
	lanes, batch, low := f.lanes(), f.batch(), f.corrected(f.batch())
	columns, pitch := threads/lanes*each, ceil(f.KeyDim, lanes)*lanes
	return device.Grid{X: ceil(f.ValueDim, columns), Y: f.Heads, Z: s, Threads: threads,
		Shared: 4 * (columns*(2*batch+low) + pitch*(3*batch+2*low))}
}

// patch is how gradients.cu cuts a state: so many columns to a thread and warps to a block, for so many tokens at a time.
type patch struct{ each, warps, batch int }

// patch keeps at most 64 values in the registers of a thread, and in shared memory what fits all devices.
func (f Config) patch() patch {
	rows := ceil(f.KeyDim, 32)
	p := patch{16, 16, f.batch()}
	for rows*p.each > 64 {
		p.each /= 2
	}
	if f.LowRank {
		p.warps = 8
	}
	p.warps = min(p.warps, ceil(f.ValueDim, p.each))
	return p
}

// parts is how many blocks share a head.
func (p patch) parts(f Config) int { return ceil(f.ValueDim, p.each*p.warps) }

// shared is the size of Work.
func (p patch) shared(f Config) int {
	pitch, columns, low := ceil(f.KeyDim, 32)*32, p.each*p.warps, f.corrected(p.batch)
	return 4 * (f.vectors()*p.batch*p.warps*(pitch+1) + (3*p.batch+2*low+1)*pitch + 2*(p.batch+low)*columns)
}

func ceil(a, b int) int { return (a + b - 1) / b }

// corrected is n with LowRank, else 1.
func (f Config) corrected(n int) int {
	if f.LowRank {
		return n
	}
	return 1
}

// vectors is how many gradients gradients.cu adds up over the columns at a time.
func (f Config) vectors() int {
	if f.LowRank {
		return 2
	}
	return 1
}

// kernel compiles a kernel of gatedlinear.cu.
func (f Config) kernel(q *device.Queue, name string, t device.Type) *device.Kernel {
	return q.Kernel(&device.Source{File: "gatedlinear.cu", Text: text}, name,
		append(f.defines(t), device.Define{Name: "LANES", Value: f.lanes()}, device.Define{Name: "BATCH", Value: f.batch()})...)
}

func (f Config) defines(t device.Type) []device.Define {
	return []device.Define{{Name: "REAL", Value: t}, {Name: "HEADS", Value: f.Heads}, {Name: "KEY", Value: f.KeyDim}, {Name: "VALUE", Value: f.ValueDim},
		{Name: "CHANNELS", Value: f.Channels}, {Name: "LOWRANK", Value: f.LowRank}, {Name: "SCALE", Value: f.scale()}}
}

// DeviceForward queues Forward.
func DeviceForward(q *device.Queue, a *DeviceForwardArgs) {
	f := a.Config
	n, s := f.deviceCheck(a.V, a.Sequences, a.States, []operand{
		{"q", a.Q, f.KeyDim, a.V.Type}, {"k", a.K, f.KeyDim, a.V.Type}, {"g", a.G, f.Gates(), device.Float32},
		{"a", a.A, f.lowRank(f.KeyDim), a.V.Type}, {"b", a.B, f.lowRank(f.KeyDim), a.V.Type},
	}, []operand{{"o", a.O, f.ValueDim, a.V.Type}})
	switch {
	case a.States.None() && few(n, s):
		a.step(q, n, s)
		return
	case f.chunked(a.V.Type):
		a.chunks(q)
		return
	}
	q.Launch(f.kernel(q, "forward", a.V.Type), f.grid(s),
		a.Q, a.K, a.V, a.G, a.A, a.B, a.Sequences, n, s, a.H0, a.HT, a.O, a.States)
}

// partial are the sums over columns that a backward pass of several parts leaves.
type partial struct{ sum, whole device.Tensor }

// DeviceBackwardScratch returns the bytes of temporary memory of a DeviceBackward on n tokens in s sequences.
func DeviceBackwardScratch(f Config, n, s int, t device.Type) int64 {
	if f.chunked(t) {
		return gateddelta.DeviceBackwardScratch(f.uncorrected(), n, s, t)
	}
	values, keys := int64(n*f.Heads*f.ValueDim), int64(n*f.Heads*f.KeyDim)
	parts := int64(f.patch().parts(f))
	b := device.Aligned(4*int64(StatesLen(f, n, s))) + device.Aligned(4*parts*int64(f.vectors())*keys)
	if f.LowRank {
		b += 2 * device.Aligned(4*values)
	}
	if parts > 1 {
		b += int64(2*f.vectors())*device.Aligned(4*parts*keys) + device.Aligned(4*parts*int64(n*f.Heads*f.Gates()))
	}
	return b
}

// DeviceBackward queues Backward. The recurrence goes back over every sequence for dV and the gradients of the states between
// chunks, and then all chunks are taken at once for the rest.
func DeviceBackward(q *device.Queue, a *DeviceBackwardArgs) {
	f, t := a.Config, a.V.Type
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
	if f.chunked(t) {
		a.chunks(q)
		return
	}
	by := f.patch()
	if most := q.Info().SharedMax; by.shared(f) > most {
		panic(fmt.Sprintf("gatedlinear: the backward pass of key dim %d needs %d bytes of shared memory, this device has %d", f.KeyDim, by.shared(f), most))
	}
	q.Zero(a.DH0)
	parts := by.parts(f)
	dStates, rest := a.Scratch.Carve(device.Float32, StatesLen(f, n, s))
	along, rest := rest.Carve(device.Float32, parts*f.vectors()*a.K.Len)
	var u, du device.Tensor
	if f.LowRank {
		u, rest = rest.Carve(device.Float32, a.V.Len)
		du, rest = rest.Carve(device.Float32, a.V.Len)
	}
	results := [5]device.Tensor{a.DQ, a.DK, a.DG, a.DA, a.DB}
	var left []partial
	if parts > 1 {
		for i, whole := range results {
			if whole.Len > 0 {
				results[i], rest = rest.Carve(device.Float32, parts*whole.Len)
				left = append(left, partial{results[i], whole})
			}
		}
	}
	q.Launch(f.kernel(q, "retreat", t), f.grid(s),
		a.Q, a.K, a.G, a.A, a.B, a.Sequences, n, s, a.DO, a.DHT, a.DV, a.DH0, dStates, du)
	kernel := q.Kernel(&device.Source{File: "gatedlinear/gradients.cu", Text: gradientsText}, "gradients", append(f.defines(t),
		device.Define{Name: "EACH", Value: by.each}, device.Define{Name: "WARPS", Value: by.warps}, device.Define{Name: "BATCH", Value: by.batch},
		device.Define{Name: "PARTS", Value: parts})...)
	q.Launch(kernel, device.Grid{X: n/Chunk + s, Y: f.Heads, Z: parts, Threads: 32 * by.warps, Shared: by.shared(f)},
		a.Q, a.K, a.V, a.G, a.A, a.B, a.Sequences, n, s, a.States, dStates, a.DO, du,
		results[0], results[1], results[2], results[3], results[4], along, u)
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
	if want := DeviceStatesLen(f, n, s, v.Type); !states.None() && (states.Len < want || states.Type != device.Float32) {
		panic(fmt.Sprintf("gatedlinear: states has %d values of %s, want %d of float32", states.Len, states.Type, want))
	}
	return n, s
}
