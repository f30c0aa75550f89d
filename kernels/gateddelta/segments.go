package gateddelta

import "github.com/gojet/gojet/kernels/device"

// A long sequence is cut into segments where there would be less work at a time than processors: see warpgroup.cuh. What a segment
// does to the states that it begins with is a product with a matrix [K, K], which costs a first run over the chunks, with K more
// columns than V (and without corrections nothing: the matrix is a number); the second run, for all results, is then as many times shorter as there are segments.

// cut is how the sequences of a batch are cut: into segments of `every` tokens, a multiple of Chunk, or not at all where it is 0.
type cut struct{ n, s, every int }

// cut chooses how a batch is cut on this device.
func (x on) cut(n, s int) cut {
	if x.t != device.BF16 || !x.warpgroups() {
		return cut{n: n, s: s}
	}
	return cut{n, s, x.segment(n, s)}
}

// segment chooses the length of segments, 0 for none. It takes all sequences of a batch for equally long; so what else is in a batch
// can change roundings.
func (f Config) segment(n, s int) int {
	if f.every > 0 {
		return f.every
	}
	const (
		processors = 132 // of the devices that this is for
		most       = 16  // segments
		narrow     = 0.8 // time of a chunk in blocks of one group of warps, where that in blocks of two is 1,
		ahead      = 0.7 // and in the first run
		more       = 4   // that of two more kernels
		worth      = 0.8 // of the time there would be otherwise
	)
	chunks, heads := ceil(n, Chunk*max(s, 1)), s*f.Heads
	values, keys := ceil(f.ValueDim, 128), ceil(f.KeyDim, 128)
	if f.uncorrected {
		keys = 0
	}
	times := func(blocks int) float64 { return float64(ceil(blocks, processors)) }
	best, segments := worth*narrow*float64(chunks)*times(heads*ceil(f.ValueDim, 64)), 1
	for m := 2; m <= most; m++ {
		first, second := heads*(values*(m-1)+keys*(m-2)), heads*values*m
		if t := float64(ceil(chunks, m))*(ahead*times(first)+times(second)) + float64(more+m); t < best {
			best, segments = t, m
		}
	}
	if segments == 1 {
		return 0
	}
	return Chunk * ceil(chunks, segments)
}

// parts is how many numbers segments have, see part_of in gateddelta.cuh.
func (to cut) parts() int { return to.n/to.size() + to.s }

// size is what kernels take for the tokens of a segment.
func (to cut) size() int {
	if to.every == 0 {
		return 1 << 30
	}
	return to.every
}

// starts are the states that segments begin with, none without segments.
func (to cut) starts(c *kept) device.Tensor {
	if to.every == 0 {
		return device.Tensor{}
	}
	return c.starts
}

// segmentStates are the states between segments.
type segmentStates struct {
	starts      device.Tensor // float32 [parts, H, K, V]: the state that a segment begins with, or backwards the gradient that it ends with
	transitions device.Tensor // float32 [2, parts, H, K, K]: how the state at its end depends on that; first transposed. Or [parts, H]
}

// segmentLens are the lengths of segmentStates, 0 where a batch is never cut.
func (f Config) segmentLens(n, s int, t device.Type) (starts, transitions int) {
	if t != device.BF16 || !f.fitsRing() {
		return 0, 0
	}
	to := cut{n, s, f.segment(n, s)}
	if to.every == 0 {
		return 0, 0
	}
	if f.uncorrected {
		return to.parts() * f.StateLen(), to.parts() * f.Heads
	}
	return to.parts() * f.StateLen(), 2 * to.parts() * f.Heads * f.KeyDim * f.KeyDim
}

func (f Config) segmentBytes(n, s int, t device.Type) int64 {
	starts, transitions := f.segmentLens(n, s, t)
	return device.Aligned(4*int64(starts)) + device.Aligned(4*int64(transitions))
}

func (f Config) carveSegments(buffer device.Tensor, t device.Type, n, s int) (c segmentStates, rest device.Tensor) {
	rest = buffer
	if starts, transitions := f.segmentLens(n, s, t); starts > 0 {
		c.starts, rest = rest.Carve(device.Float32, starts)
		c.transitions, rest = rest.Carve(device.Float32, transitions)
	}
	return c, rest
}

// forward takes the states over the chunks, segment by segment if the batch is cut.
func (x on) forward(a *DeviceForwardArgs, c *kept, to cut, by tiling) {
	if to.every > 0 {
		x.ahead(a, c, to, x.rings(min(2, ceil(x.ValueDim, 64)), 1))
		x.join(a.Sequences, c, a.H0, to, false)
	}
	x.pass(a, c, to, by)
}

// back takes their gradients back over them.
func (x on) back(a *DeviceBackwardArgs, c *kept, dStates device.Tensor, to cut, by tiling) {
	if to.every > 0 {
		x.retreat(a, c, device.Tensor{}, c.starts, to, by)
		x.join(a.Sequences, c, a.DHT, to, true)
	}
	x.retreat(a, c, dStates, device.Tensor{}, to, by)
}

// ahead finds what segments end with, and what that depends on.
func (x on) ahead(a *DeviceForwardArgs, c *kept, to cut, by tiling) {
	kernel := x.kernel("gateddelta/warpgroup_ahead.cu", passHeader+warpgroupHeader+warpgroupAheadText, "gated_delta_ahead",
		append(by.defines(), device.Define{Name: "QUERIED", Value: false})...)
	blocks := ceil(x.ValueDim, by.width)
	if !x.uncorrected {
		blocks += ceil(x.KeyDim, by.width)
	}
	grid := device.Grid{X: blocks, Y: x.Heads, Z: to.parts(), Threads: by.threads(), Shared: by.shared}
	x.q.Launch(kernel, grid, a.K, a.V, c.inverse, c.coef, a.Sequences, to.s, a.H0, c.starts, c.transitions, to.size())
}

// join turns what segments end with, in c.starts, into what they begin with, from outer states on; or backwards.
func (x on) join(sequences device.Tensor, c *kept, outer device.Tensor, to cut, backwards bool) {
	kernel := x.kernel("gateddelta/join.cu", joinText, "gated_delta_join")
	const columns = 16
	transitions, shared := c.transitions, 0
	direction, half := 0, c.transitions.Len/2
	if backwards {
		direction = 1
	}
	if !x.uncorrected {
		transitions, shared = transitions.Slice(direction*half, half), 4*(2*x.KeyDim*x.KeyDim+x.KeyDim*columns)
	}
	grid := device.Grid{X: ceil(x.ValueDim, columns), Y: x.Heads, Z: to.s, Threads: (x.KeyDim/8*columns + 31) &^ 31, Shared: shared}
	x.q.Launch(kernel, grid, c.starts, transitions, outer, sequences, to.s, to.size(), direction)
}
