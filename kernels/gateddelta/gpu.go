package gateddelta

import (
	_ "embed"
	"fmt"

	"github.com/gojet/gojet/kernels/device"
)

//go:embed gateddelta.cuh
var headerText string

//go:embed chunks.cu
var chunksText string

//go:embed pass.cuh
var passHeader string

//go:embed pass.cu
var passText string

//go:embed float.cu
var floatText string

//go:embed warpgroup.cuh
var warpgroupHeader string

//go:embed warpgroup.cu
var warpgroupText string

//go:embed warpgroup_ahead.cu
var warpgroupAheadText string

//go:embed join.cu
var joinText string

//go:embed step.cu
var stepText string

// DeviceForwardArgs are the buffers of a forward pass in the memory of a device, with the rules of ForwardArgs. T is float32 or
// bfloat16.
type DeviceForwardArgs struct {
	Config
	Sequences device.Tensor // int32 [3, S+1]: cu_seqlens, positions, rows of states
	Q, K      device.Tensor // T [N, H, K]
	V         device.Tensor // T [N, H, V]
	G, Beta   device.Tensor // float32 [N, H]; no beta where nothing is corrected
	H0        device.Tensor // float32 [rows, H, K, V]; none means zero

	O  device.Tensor // T [N, H, V]
	HT device.Tensor // float32 [rows, H, K, V]; may be H0
	// States, T of DeviceStatesLen, keeps for DeviceBackward what saves it work: the state before every chunk and the part
	// of every chunk that does not depend on the state.
	States device.Tensor

	Scratch device.Tensor // DeviceForwardScratch bytes, not needed with States
}

// DeviceForward queues Forward.
func DeviceForward(q *device.Queue, a *DeviceForwardArgs) {
	n, s := a.check()
	x := on{q, a.Config, a.V.Type}
	if a.few(n, s) && a.States.None() {
		x.step(a, n, s)
		return
	}
	var c kept
	if a.States.None() {
		c, _ = a.carve(a.Scratch, a.V.Type, n, s, false)
	} else {
		c, _ = a.carve(a.States, a.V.Type, n, s, true)
	}
	x.chunks(a, &c, n, s)
	to := x.cut(n, s)
	x.forward(a, &c, to, x.columns(to))
}

// few says whether the recurrence, token by token, is the faster way: decoding has one token of every sequence. It is right
// for any lengths.
func (f Config) few(n, s int) bool { return n <= max(s, 4) && f.KeyDim <= 512 && !f.uncorrected }

// DeviceForwardScratch returns the bytes of temporary memory of a DeviceForward without States on n tokens in s sequences.
func DeviceForwardScratch(f Config, n, s int, t device.Type) int64 {
	if f.few(n, s) {
		return 0
	}
	return f.keptBytes(n, s, t, false)
}

// DeviceStatesLen is the length of DeviceForwardArgs.States for n tokens in s sequences.
func DeviceStatesLen(f Config, n, s int, t device.Type) int {
	return int(f.keptBytes(n, s, t, true)) / t.Size()
}

// slotsOf is how many chunks there can be: see recurrent.Slot.
func slotsOf(n, s int) int { return n/Chunk + s }

// kept are the pieces of States, by slot and head; gateddelta.cuh says what is in them.
type kept struct {
	states          device.Tensor // T [slots, H, V·K], padded, in cores; this, values and gates only for the backward pass
	values          device.Tensor // T [slots, H, V·64], padded, in cores: U; not without corrections, nor the inverse
	inverse, scores device.Tensor // T [slots, H, triangle]
	coef            device.Tensor // float32 [slots, H, 65·4]
	gates           device.Tensor // float32 [slots, H, 64·4]
	segmentStates                 // of a cut batch
}

const (
	triangle = 2560            // TRI
	coefs    = 4 * (Chunk + 1) // floats of COEFS
)

func (f Config) padded() (k, v int) { return (f.KeyDim + 15) &^ 15, (f.ValueDim + 15) &^ 15 }

func (f Config) keptBytes(n, s int, t device.Type, states bool) int64 {
	heads, size := int64(slotsOf(n, s))*int64(f.Heads), int64(t.Size())
	b := device.Aligned(heads*triangle*size) + device.Aligned(heads*coefs*4) + f.segmentBytes(n, s, t)
	k, v := f.padded()
	if states {
		b += device.Aligned(heads*int64(k*v)*size) + device.Aligned(heads*4*Chunk*4)
	}
	if !f.uncorrected {
		b += device.Aligned(heads * triangle * size)
		if states {
			b += device.Aligned(heads * int64(Chunk*v) * size)
		}
	}
	return b
}

// carve divides memory of keptBytes, and returns what is left of it.
func (f Config) carve(buffer device.Tensor, t device.Type, n, s int, states bool) (c kept, rest device.Tensor) {
	heads := slotsOf(n, s) * f.Heads
	rest = buffer
	if states {
		k, v := f.padded()
		c.states, rest = rest.Carve(t, heads*k*v)
		if !f.uncorrected {
			c.values, rest = rest.Carve(t, heads*Chunk*v)
		}
		c.gates, rest = rest.Carve(device.Float32, heads*4*Chunk)
	}
	if !f.uncorrected {
		c.inverse, rest = rest.Carve(t, heads*triangle)
	}
	c.scores, rest = rest.Carve(t, heads*triangle)
	c.coef, rest = rest.Carve(device.Float32, heads*coefs)
	c.segmentStates, rest = f.carveSegments(rest, t, n, s)
	return c, rest
}

// on is a shape and type on a device.
type on struct {
	q *device.Queue
	Config
	t device.Type
}

// kernel compiles the common header and a text.
func (x on) kernel(file, text, name string, more ...device.Define) *device.Kernel {
	return x.q.Kernel(&device.Source{File: file, Text: headerText + text}, name, append([]device.Define{
		{Name: "REAL", Value: x.t}, {Name: "HEADS", Value: x.Heads}, {Name: "KEY", Value: x.KeyDim}, {Name: "VALUE", Value: x.ValueDim},
		{Name: "NORM", Value: x.NormQK}, {Name: "SCALE", Value: x.scale()}, {Name: "DELTA", Value: !x.uncorrected}}, more...)...)
}

// chunks computes what does not depend on the state.
func (x on) chunks(a *DeviceForwardArgs, c *kept, n, s int) {
	k, _ := x.padded()
	grid := device.Grid{X: slotsOf(n, s), Y: x.Heads}
	var kernel *device.Kernel
	if x.t == device.BF16 {
		kernel = x.kernel("gateddelta/chunks.cu", chunksText, "gated_delta_chunks")
		triangles := 2*(3*triangle+4*256) + 4*4*16*20
		if x.uncorrected {
			triangles = 0
		}
		grid.Threads, grid.Shared = 128, 4*4*Chunk+max(2*2*Chunk*(k+8), triangles)
	} else {
		kernel = x.kernel("gateddelta/float.cu", floatText, "gated_delta_chunks")
		grid.Threads, grid.Shared = 256, (8+3*4)*Chunk+4*Chunk*(x.KeyDim+1)+2*4*Chunk*(Chunk+1)
	}
	x.q.Launch(kernel, grid, a.Q, a.K, a.G, a.Beta, a.Sequences, n, s, a.O, c.inverse, c.scores, c.coef, c.gates)
}

// pass takes the states over the chunks.
func (x on) pass(a *DeviceForwardArgs, c *kept, to cut, by tiling) {
	args := []any{a.Q, a.K, a.V, c.inverse, c.scores, c.coef, a.Sequences, to.s, a.H0, a.HT, a.O, c.states, c.values}
	grid := device.Grid{X: ceil(x.ValueDim, by.width), Y: x.Heads, Z: to.s, Threads: by.threads(), Shared: by.shared}
	var kernel *device.Kernel
	switch {
	case x.t != device.BF16:
		kernel = x.kernel("gateddelta/float.cu", floatText, "gated_delta_pass")
		grid.X, grid.Threads, grid.Shared = ceil(x.ValueDim, 16), 256, 4*coefs+4*16*x.KeyDim+4*Chunk*(x.KeyDim+1)+2*4*16*Chunk
	case by.ring:
		kernel = x.kernel("gateddelta/warpgroup.cu", passHeader+warpgroupHeader+warpgroupText, "gated_delta_pass", by.defines()...)
		grid.Z = to.parts()
		args = append(args, to.starts(c), to.size())
	default:
		kernel = x.kernel("gateddelta/pass.cu", passHeader+passText, "gated_delta_pass", by.defines()...)
	}
	x.q.Launch(kernel, grid, args...)
}

// tiling is how a kernel in bfloat16 is cut up, which changes no result but by roundings.
type tiling struct {
	width  int  // of the value dim: columns of a block, 16 to a warp, or of a tile
	stages int  // chunks or tiles in shared memory at a time
	ring   bool // warps that only load fill those, and products are of warpgroups: see warpgroup.cuh
	away   bool // see AWAY in gradients.cu
	shared int  // bytes of shared memory
}

func (by tiling) threads() int {
	if by.ring {
		return 2*by.width + 4*32
	}
	return 2 * by.width
}

func (by tiling) defines() []device.Define {
	return []device.Define{{Name: "WARPS", Value: by.width / 16}, {Name: "STAGES", Value: by.stages}}
}

// columns chooses how pass and retreat are cut up, which need the same shared memory.
func (x on) columns(to cut) tiling {
	if x.t != device.BF16 || !x.warpgroups() {
		return x.split(to.s)
	}
	// Two groups share what they load where all processors have work anyway.
	if x.ValueDim > 64 && (to.every > 0 || to.s*x.Heads*ceil(x.ValueDim, 64) >= x.q.Info().Processors) {
		return x.ring(2)
	}
	return x.ring(1)
}

// warpgroups says whether warpgroup.cu and warpgroup_retreat.cu do the work: on a device with products of warpgroups as Hopper has
// them.
func (x on) warpgroups() bool { return x.q.Info().Major == 9 && x.fitsRing() }

// fitsRing says whether the key dim fits the tiles and registers of warpgroup.cuh.
func (f Config) fitsRing() bool {
	k, _ := f.padded()
	return k%32 == 0 && k <= 128 && f.KeyDim%8 == 0
}

// ring is the tiling of blocks with so many groups of 4 warps, 64 columns each; see Ring in warpgroup.cuh.
func (x on) ring(groups int) tiling { return x.rings(groups, 2) }

// rings adds the size of a Ring with so many of k and q in it.
func (x on) rings(groups, rows int) tiling {
	const stages = 3
	k, _ := x.padded()
	boxes := rows * (ceil(k, 64) + 1) // with a triangle to each
	if x.uncorrected {
		boxes--
	}
	stage := 2*boxes*Chunk*64 + 2*Chunk*(64*groups+8) + 4*coefs
	return tiling{width: 64 * groups, stages: stages, ring: true, shared: stages * ((stage+1023)&^1023 + 2*8)}
}

// split is how else the value dim is divided: blocks of 4 warps, of 8 where the keys of a second block would not fit beside the
// first, or of 2 where there would be fewer blocks than processors.
func (x on) split(s int) tiling {
	k, _ := x.padded()
	warps := 4
	if k > 128 {
		warps = 8
	}
	for warps > 2 && s*x.Heads*ceil(x.ValueDim, 16*warps) < x.q.Info().Processors {
		warps /= 2
	}
	by := x.apart(warps, 2)
	if by.shared > x.q.Info().SharedMax {
		by = x.apart(warps, 1)
	}
	return by
}

// apart is the tiling of blocks whose warps do their own products; see Stage in pass.cu and retreat.cu.
func (x on) apart(warps, stages int) tiling {
	k, _ := x.padded()
	triangles := 2
	if x.uncorrected {
		triangles = 1
	}
	stage := 2*(2*Chunk*(k+8)+Chunk*(16*warps+8)+triangles*triangle) + 4*coefs
	return tiling{width: 16 * warps, stages: stages, shared: stages * stage}
}

// step is the recurrence.
func (x on) step(a *DeviceForwardArgs, n, s int) {
	warps := 1
	for warps < 16 && x.KeyDim > 32*warps {
		warps *= 2
	}
	each := 4
	for x.ValueDim%each != 0 {
		each /= 2
	}
	kernel := x.kernel("gateddelta/step.cu", stepText, "gated_delta_step")
	x.q.Launch(kernel, device.Grid{X: ceil(x.ValueDim, 32*each), Y: x.Heads, Z: s, Threads: 32 * warps},
		a.Q, a.K, a.V, a.G, a.Beta, a.Sequences, n, s, a.H0, a.HT, a.O)
}

func ceil(a, b int) int { return (a + b - 1) / b }

// check panics unless the tensors fit each other; what is in Sequences cannot be checked here. It returns N and S.
func (a *DeviceForwardArgs) check() (n, s int) {
	f := a.Config
	n, s = f.deviceSizes(a.G.Len, a.Sequences)
	key, value := n*f.Heads*f.KeyDim, n*f.Heads*f.ValueDim
	states := 0
	if !a.States.None() {
		states = DeviceStatesLen(f, n, s, a.V.Type)
	}
	f.checkDevice(a.V.Type, []operand{
		{"q", a.Q, key, true, false}, {"k", a.K, key, true, false}, {"v", a.V, value, true, false},
		{"g", a.G, n * f.Heads, true, true}, {"beta", a.Beta, n * f.Heads, !f.uncorrected, true},
		{"h0", a.H0, f.StateLen(), false, true}, {"o", a.O, value, false, false}, {"hT", a.HT, f.StateLen(), false, true},
		{"states", a.States, states, false, false},
	})
	return n, s
}

// operand is a tensor to be checked. How many rows states need depends on the sequences.
type operand struct {
	name         string
	t            device.Tensor
	want         int
	needed, wide bool
}

// deviceSizes returns N and S, of N·H gates.
func (f Config) deviceSizes(gates int, sequences device.Tensor) (n, s int) {
	if f.Heads < 1 || f.KeyDim < 1 || f.ValueDim < 1 {
		panic(fmt.Sprintf("gateddelta: heads %d, key dim %d, value dim %d, want all 1 or more", f.Heads, f.KeyDim, f.ValueDim))
	}
	if sequences.Type != device.Int32 || sequences.Len < 6 || sequences.Len%3 != 0 {
		panic(fmt.Sprintf("gateddelta: sequences are %d %s, want int32 [3, S+1]", sequences.Len, sequences.Type))
	}
	return gates / f.Heads, sequences.Len/3 - 1
}

func (f Config) checkDevice(t device.Type, operands []operand) {
	if f.uncorrected && t != device.BF16 {
		panic(fmt.Sprintf("gateddelta: the uncorrected recurrence in %s, want %s", t, device.BF16))
	}
	for _, x := range operands {
		if x.t.None() && !x.needed {
			continue
		}
		want := t
		if x.wide {
			want = device.Float32
		}
		more := x.name == "h0" || x.name == "hT" || x.name == "dhT" || x.name == "dh0" || x.name == "states"
		if x.t.Type != want || x.t.Len < x.want || x.t.Len > x.want && !more {
			panic(fmt.Sprintf("gateddelta: %s has %d values of %s, want %d of %s (H %d, K %d, V %d)",
				x.name, x.t.Len, x.t.Type, x.want, want, f.Heads, f.KeyDim, f.ValueDim))
		}
		if x.t.Ptr%16 != 0 {
			panic(fmt.Sprintf("gateddelta: %s does not begin at a multiple of 16 bytes", x.name))
		}
	}
}
