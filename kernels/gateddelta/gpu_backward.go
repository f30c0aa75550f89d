package gateddelta

import (
	_ "embed"

	"github.com/gojet/gojet/kernels/device"
)

//go:embed retreat.cu
var retreatText string

//go:embed warpgroup_retreat.cu
var warpgroupRetreatText string

//go:embed gradients.cu
var gradientsText string

//go:embed float_backward.cu
var floatBackwardText string

// DeviceBackwardArgs are the buffers of a backward pass in the memory of a device. What it needs of the values, gates and
// initial states is in States, but the values themselves where nothing is corrected. T is float32 or bfloat16.
type DeviceBackwardArgs struct {
	Config
	Sequences device.Tensor // int32 [3, S+1], as for DeviceForward
	Q, K      device.Tensor // T [N, H, K]
	V         device.Tensor // T [N, H, V], where nothing is corrected
	States    device.Tensor // T, as DeviceForward left it
	DO        device.Tensor // T [N, H, V]
	DHT       device.Tensor // float32 [rows, H, K, V]; none means zero

	DQ, DK    device.Tensor // T [N, H, K]
	DV        device.Tensor // T [N, H, V]
	DG, DBeta device.Tensor // float32 [N, H]
	DH0       device.Tensor // float32 [rows, H, K, V]; rows of no sequence become zero

	Scratch device.Tensor // DeviceBackwardScratch bytes
}

// DeviceBackward queues Backward. It goes back over the chunks of every sequence for dV and the gradients of the states
// between chunks, and then takes all chunks at once for the rest.
func DeviceBackward(q *device.Queue, args *DeviceBackwardArgs) {
	n, s := args.check()
	a := *args
	x := on{q, a.Config, a.DO.Type}
	c, _ := a.carve(a.States, x.t, n, s, true)
	if a.uncorrected {
		c.values = a.V
	}
	dStates, rest := a.Scratch.Carve(x.t, a.stateGradients(n, s))
	if !c.starts.None() { // those of the forward pass are not needed, but not this one's to change
		c.starts, rest = rest.Carve(device.Float32, c.starts.Len)
	}
	if a.DV.None() { // the second kernel needs it
		a.DV, _ = rest.Carve(x.t, a.DO.Len)
	}
	if a.DH0.Len > s*a.StateLen() {
		q.Zero(a.DH0)
	}
	to := x.cut(n, s)
	x.back(&a, &c, dStates, to, x.columns(to))
	x.gradients(&a, &c, dStates, n, s, x.tiles())
}

// DeviceBackwardScratch returns the bytes of temporary memory of a DeviceBackward on n tokens in s sequences.
func DeviceBackwardScratch(f Config, n, s int, t device.Type) int64 {
	size := int64(t.Size())
	starts, _ := f.segmentLens(n, s, t)
	return device.Aligned(int64(f.stateGradients(n, s))*size) + device.Aligned(4*int64(starts)) + device.Aligned(int64(n*f.Heads*f.ValueDim)*size)
}

// stateGradients is how many values there are in the gradients of the states after all chunks, laid out like the states.
func (f Config) stateGradients(n, s int) int {
	k, v := f.padded()
	return slotsOf(n, s) * f.Heads * k * v
}

// retreat walks back over the chunks. With ends, it only finds the gradients that segments end with; see join.
func (x on) retreat(a *DeviceBackwardArgs, c *kept, dStates, ends device.Tensor, to cut, by tiling) {
	args := []any{a.Q, a.K, a.DO, c.inverse, c.scores, c.coef, a.Sequences, to.s, a.DHT, a.DH0, a.DV, dStates}
	grid := device.Grid{X: ceil(x.ValueDim, by.width), Y: x.Heads, Z: to.s, Threads: by.threads(), Shared: by.shared}
	var kernel *device.Kernel
	switch {
	case x.t != device.BF16:
		kernel = x.kernel("gateddelta/float_backward.cu", floatBackwardText, "gated_delta_retreat")
		grid.X, grid.Threads, grid.Shared = ceil(x.ValueDim, 16), 256, 4*(coefs+16*x.KeyDim+Chunk*(x.KeyDim+1)+3*16*Chunk)
	case by.ring:
		kernel = x.kernel("gateddelta/warpgroup_retreat.cu", passHeader+warpgroupHeader+warpgroupRetreatText, "gated_delta_retreat", by.defines()...)
		grid.Z = to.parts()
		starts := to.starts(c)
		if !ends.None() {
			args[10], args[11], starts = device.Tensor{}, device.Tensor{}, device.Tensor{}
		}
		args = append(args, starts, ends, to.size())
	default:
		kernel = x.kernel("gateddelta/retreat.cu", retreatText, "gated_delta_retreat", by.defines()...)
	}
	x.q.Launch(kernel, grid, args...)
}

// gradients computes what is left.
func (x on) gradients(a *DeviceBackwardArgs, c *kept, dStates device.Tensor, n, s int, by tiling) {
	var kernel *device.Kernel
	grid := device.Grid{X: slotsOf(n, s), Y: x.Heads}
	if x.t == device.BF16 {
		kernel = x.kernel("gateddelta/gradients.cu", gradientsText, "gated_delta_gradients",
			device.Define{Name: "VT", Value: by.width}, device.Define{Name: "STAGES", Value: by.stages}, device.Define{Name: "AWAY", Value: by.away})
		grid.Threads, grid.Shared = 512, by.shared
	} else {
		kernel = x.kernel("gateddelta/float_backward.cu", floatBackwardText, "gated_delta_gradients")
		grid.Threads, grid.Shared = 256, 4*(3*Chunk*(Chunk+1)+2*Chunk)
	}
	x.q.Launch(kernel, grid, a.Q, a.K, a.DO, a.DV, c.states, dStates, c.values, c.gates, c.coef, a.Sequences, n, s, a.DQ, a.DK, a.DG, a.DBeta)
}

// tiles is how gradients is cut up: the largest that fits.
func (x on) tiles() tiling {
	var by tiling
	for _, away := range []bool{false, true} {
		for _, try := range [][2]int{{64, 2}, {32, 3}, {32, 2}, {16, 2}} {
			if by = x.tile(try[0], try[1], away); by.shared <= x.q.Info().SharedMax {
				return by
			}
		}
	}
	return by
}

// tile adds the size of Work in gradients.cu.
func (x on) tile(width, stages int, away bool) tiling {
	k, _ := x.padded()
	parts := 1
	if k > 128 {
		parts = 2
	}
	part := ceil(k/16, parts) * 16
	rows := 2 * 2 * Chunk * (parts*part + 8)
	triangles, values := 2*triangle, Chunk*(width+8)+width*Chunk // of R and L; of dV and U
	if x.uncorrected {
		triangles, values = triangle+8, Chunk*(width+8)
	}
	fixed := rows + 2*triangles + 16*Chunk + 4*(2*3*2*Chunk+2*Chunk+2*10*16+Chunk+16)
	if products := 4 * 10 * 32 * 16; away {
		fixed += products
	} else {
		fixed += max(rows, products)
	}
	tile := 2 * (Chunk*(width+8) + values + 2*width*part)
	return tiling{width: width, stages: stages, away: away, shared: fixed + max(stages*tile, 4*2*(part/16)*32*16)}
}

func (a *DeviceBackwardArgs) check() (n, s int) {
	f := a.Config
	n, s = f.deviceSizes(a.Q.Len/max(f.KeyDim, 1), a.Sequences)
	key, value := n*f.Heads*f.KeyDim, n*f.Heads*f.ValueDim
	f.checkDevice(a.DO.Type, []operand{
		{"q", a.Q, key, true, false}, {"k", a.K, key, true, false}, {"do", a.DO, value, true, false}, {"v", a.V, value, f.uncorrected, false},
		{"states", a.States, DeviceStatesLen(f, n, s, a.DO.Type), true, false}, {"dhT", a.DHT, f.StateLen(), false, true},
		{"dq", a.DQ, key, false, false}, {"dk", a.DK, key, false, false}, {"dv", a.DV, value, false, false},
		{"dg", a.DG, n * f.Heads, false, true}, {"dbeta", a.DBeta, n * f.Heads, false, true}, {"dh0", a.DH0, f.StateLen(), false, true},
	})
	return n, s
}
