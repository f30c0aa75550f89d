package check

import (
	"fmt"
	"slices"

	"github.com/gojet/gojet/bf16"
	"github.com/gojet/gojet/kernels/device"
)

// Benchmark is one row of measurements: an operation at one size on a device.
type Benchmark struct {
	Name  string // "gated delta rule, forward, 2B"
	Shape string // "B 4, T 4096, H 12, K 96, V 256"
	Type  device.Type
	// FLOPs and Bytes are what the operation cannot do without: every input read once, every result written once. They
	// give the floor that a measurement is held against.
	FLOPs, Bytes float64
	// Peer names the best public software for the row and PeerMS the milliseconds it takes; Goal is what we want to take. 0 is unknown.
	Peer         string
	PeerMS, Goal float64
	// Replays says that what queues the operation replays a recording of its own from the third time on. Anything else is
	// recorded by Measure.
	Replays bool
	// Setup makes the operands and returns what queues the operation once, and what gives the memory back.
	Setup func(d *device.Device) (run func(q *device.Queue), cleanup func())
}

// Measurement is what a Benchmark took.
type Measurement struct {
	Name   string  `json:"name"`
	Shape  string  `json:"shape"`
	Type   string  `json:"type"`
	Median float64 `json:"ms"`
	P10    float64 `json:"ms_p10"`
	P90    float64 `json:"ms_p90"`
	FLOPs  float64 `json:"flops"`
	Bytes  float64 `json:"bytes"`
	TFLOPS float64 `json:"tflops"` // 10^12 operations a second
	TBS    float64 `json:"tbs"`    // 10^12 bytes a second
	Floor  float64 `json:"floor_ms,omitempty"`
	// OfFloor is the floor over the median: 1 is as fast as the device goes.
	OfFloor float64 `json:"of_floor,omitempty"`
	Peer    string  `json:"peer,omitempty"`
	PeerMS  float64 `json:"peer_ms,omitempty"`
	Goal    float64 `json:"goal_ms,omitempty"`
	Memory  int64   `json:"memory"` // bytes of tensors at the most
	Error   string  `json:"error,omitempty"`
	// Tokens are what one repetition of generating text gives or takes.
	Tokens          float64 `json:"tokens,omitempty"`
	TokensPerSecond float64 `json:"tokens_per_second,omitempty"`
}

// Ceilings are the fastest that the device was seen to do the two things that bound a kernel.
type Ceilings struct {
	Square float64 `json:"gemm_8192_tflops"`            // bfloat16 product 8192·8192·8192
	Wide   float64 `json:"gemm_16384x1536x8960_tflops"` // as in a language model
	Copy   float64 `json:"copy_tbs"`                    // bytes read plus bytes written
}

// Floor is the least time in milliseconds for so much work.
func (c Ceilings) Floor(flops, bytes float64) float64 {
	if c.Copy == 0 || max(c.Square, c.Wide) == 0 {
		return 0
	}
	return max(flops/(max(c.Square, c.Wide)*1e9), bytes/(c.Copy*1e9))
}

const (
	warmUps     = 5
	repetitions = 20
	flushBytes  = 256 << 20 // several times the largest cache
)

const copyText = `#include "gojet.cuh"
extern "C" __global__ void copy(uint4* to, const uint4* from) {
  size_t at = (size_t)blockIdx.x * 1024 + threadIdx.x;
  Vec<unsigned, 4> v[4];
#pragma unroll
  for (int i = 0; i < 4; i++) v[i] = loadv_once<4>((const unsigned*)(from + at + 256 * i));
#pragma unroll
  for (int i = 0; i < 4; i++) storev_once((unsigned*)(to + at + 256 * i), v[i]);
}
`

// MeasureCeilings measures a device's Ceilings.
func MeasureCeilings(d *device.Device) (Ceilings, error) {
	product := func(m, n, k int) Benchmark {
		return Benchmark{FLOPs: 2 * float64(m) * float64(n) * float64(k), Setup: func(d *device.Device) (func(*device.Queue), func()) {
			a, b, c := Random(d, device.BF16, m*k, 1), Random(d, device.BF16, k*n, 1), d.New(device.BF16, m*n)
			run := func(q *device.Queue) { q.Product(device.Product{M: m, N: n, K: k, A: a, B: b, C: c, TransB: true}) }
			return run, func() { d.Free(a); d.Free(b); d.Free(c) }
		}}
	}
	const copied = 1 << 30
	transfer := Benchmark{Bytes: 2 * copied, Setup: func(d *device.Device) (func(*device.Queue), func()) {
		from, to := Random(d, device.BF16, copied/2, 1), d.New(device.BF16, copied/2)
		// A kernel, as what is measured against it: a recorded copy may be left to a slower engine.
		k := d.Kernel(&device.Source{File: "copy.cu", Text: copyText}, "copy")
		run := func(q *device.Queue) { q.Launch(k, device.Grid{X: copied / 16 / 1024, Threads: 256}, to, from) }
		return run, func() { d.Free(from); d.Free(to) }
	}}
	square, wide := product(8192, 8192, 8192), product(16384, 8960, 1536)
	c := Ceilings{Square: square.Measure(d, Ceilings{}).TFLOPS, Wide: wide.Measure(d, Ceilings{}).TFLOPS, Copy: transfer.Measure(d, Ceilings{}).TBS}
	return c, d.Err()
}

// Measure times the benchmark: after warm-ups, repetitions captured as a graph, each behind a write that pushes its operands out of
// the cache. A failure is in the Error of what it returns, and sticks to the device.
func (b *Benchmark) Measure(d *device.Device, c Ceilings) Measurement {
	m := Measurement{Name: b.Name, Shape: b.Shape, Type: b.Type.String(), FLOPs: b.FLOPs, Bytes: b.Bytes, Peer: b.Peer, PeerMS: b.PeerMS, Goal: b.Goal}
	ms, err := b.times(d, &m.Memory)
	if err != nil {
		m.Error = err.Error()
		return m
	}
	m.Set(ms, c)
	return m
}

// Set fills in what follows from the milliseconds of the repetitions.
func (m *Measurement) Set(ms []float64, c Ceilings) {
	m.P10, m.Median, m.P90 = quantiles(ms)
	m.TFLOPS, m.TBS, m.TokensPerSecond = m.FLOPs/(m.Median*1e9), m.Bytes/(m.Median*1e9), m.Tokens/(m.Median*1e-3)
	if m.Floor = c.Floor(m.FLOPs, m.Bytes); m.Floor > 0 {
		m.OfFloor = m.Floor / m.Median
	}
}

// times returns the milliseconds of each repetition.
func (b *Benchmark) times(d *device.Device, memory *int64) ([]float64, error) {
	d.ResetPeak()
	before := d.Usage().Live
	run, cleanup := b.Setup(d)
	defer cleanup()
	flush := d.New(device.Float32, flushBytes/4)
	defer d.Free(flush)
	run(d) // compiles
	if err := d.Wait(); err != nil {
		return nil, err
	}
	replay := func() { run(d) }
	if b.Replays {
		replay()
	} else {
		g, err := d.Capture(replay)
		if err != nil {
			return nil, err
		}
		defer g.Close()
		replay = g.Launch
	}
	*memory = d.Usage().Peak - before - flushBytes
	starts, ends := make([]*device.Event, repetitions), make([]*device.Event, repetitions)
	for i := range repetitions {
		starts[i], ends[i] = d.NewEvent(), d.NewEvent()
	}
	for i := -warmUps; i < repetitions; i++ {
		d.Zero(flush)
		if i < 0 {
			replay()
			continue
		}
		starts[i].Record()
		replay()
		ends[i].Record()
	}
	ms := make([]float64, repetitions)
	for i := range ms {
		ms[i] = starts[i].Milliseconds(ends[i])
		starts[i].Close()
		ends[i].Close()
	}
	return ms, d.Err()
}

// quantiles returns the 10th, 50th and 90th percentile.
func quantiles(ms []float64) (p10, p50, p90 float64) {
	s := slices.Sorted(slices.Values(ms))
	n := len(s) - 1
	at := func(q float64) float64 {
		x := q * float64(n)
		i := min(int(x), n-1)
		return s[i] + (x-float64(i))*(s[i+1]-s[i])
	}
	return at(.1), at(.5), at(.9)
}

// Random is a new tensor of draws from N(0, std²), of which so many are different as do not matter for speed.
func Random(d *device.Device, t device.Type, n int, std float64) device.Tensor {
	out := d.New(t, n)
	if d.Err() != nil {
		return out
	}
	block := Normal(Rand(uint64(n)), min(n, 1<<20-3), std)
	switch t {
	case device.BF16:
		h := make([]bf16.BF16, len(block))
		for i, x := range block {
			h[i] = bf16.From(float32(x))
		}
		device.Upload(d, out.Slice(0, len(h)), h)
	case device.Float32:
		device.Upload(d, out.Slice(0, len(block)), To[float32](block))
	default:
		d.Fail(fmt.Errorf("check: no random tensors of %s", t))
	}
	for have := len(block); have < n; {
		more := min(have, n-have)
		d.Copy(out.Slice(have, more), out.Slice(0, more))
		have += more
	}
	return out
}

// Ints is a new tensor with these contents.
func Ints(d *device.Device, v []int32) device.Tensor {
	out := d.New(device.Int32, len(v))
	device.Upload(d, out, v)
	return out
}
