package attention

import (
	"fmt"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/packed"
)

// Benchmarks are the measured rows of attention, in bfloat16.
func Benchmarks() []check.Benchmark {
	small := Config{Heads: 12, KVHeads: 2, Dim: 128} // a Jet-Nemotron-2B
	whole := problemSize{Config: small, batch: 4, length: 4096}
	older := whole
	older.portable = true
	windowed := whole
	windowed.Window = 1152
	narrow := problemSize{Config: Config{Heads: 24, KVHeads: 4, Dim: 64}, batch: 4, length: 4096}

	fwd, old := whole.forward(), older.forward()
	fwd.Peer, fwd.PeerMS, fwd.Goal = "cuDNN", 0.415, 0.42
	old.Name += ", without wgmma"
	old.Peer, old.PeerMS = "flash-attention 2", 0.756
	decode := cachedSize{small, 64, 1, 65535}.benchmark("attention decode")
	decode.Peer, decode.PeerMS, decode.Goal = "PyTorch SDPA", 1.42, 1.42
	rows := []check.Benchmark{
		fwd, old, windowed.forward(), narrow.forward(), decode,
		cachedSize{small, 1, 1, 65535}.benchmark("attention decode"),
		cachedSize{small, 128, 1, 4095}.benchmark("attention decode"),
		cachedSize{small, 1, 4096, 28672}.benchmark("attention prefill with a cache"),
	}
	return append(rows, backwardBenchmarks()...)
}

// problemSize is a batch of whole sequences.
type problemSize struct {
	Config
	batch, length int
	portable      bool
}

// keys is how many keys all queries of a sequence of length new tokens see, when before tokens lie before them.
func (c Config) keys(before, length int) float64 {
	var n float64
	for p := before; p < before+length; p++ {
		n += float64(p - c.oldest(p) + 1)
	}
	return n
}

func (p problemSize) name() string {
	if p.Window > 0 {
		return fmt.Sprintf("causal attention, window %d", p.Window)
	}
	return "causal attention"
}

func (p problemSize) forward() check.Benchmark {
	n := float64(p.batch * p.length)
	return check.Benchmark{
		Name:  p.name() + ", forward",
		Shape: p.shape(), Type: device.BF16,
		FLOPs: 4 * float64(p.batch) * p.keys(0, p.length) * float64(p.width()),
		Bytes: n * (4*float64(p.width()+p.stride()) + 4*float64(p.Heads)),
		Setup: func(d *device.Device) (func(*device.Queue), func()) {
			b := p.buffers(d)
			return func(q *device.Queue) { DeviceForward(q, &b.forward) }, b.free
		},
	}
}

func (p problemSize) shape() string {
	return fmt.Sprintf("B %d, T %d, %d/%d heads, D %d", p.batch, p.length, p.Heads, p.KVHeads, p.Dim)
}

// benchBuffers are a benchmark's tensors.
type benchBuffers struct {
	d       *device.Device
	all     []device.Tensor
	forward DeviceForwardArgs
}

func (b *benchBuffers) keep(t device.Tensor) device.Tensor {
	b.all = append(b.all, t)
	return t
}

func (b *benchBuffers) random(width, n int) device.Tensor {
	return b.keep(check.Random(b.d, device.BF16, n*width, 1))
}
func (b *benchBuffers) empty(t device.Type, n int) device.Tensor { return b.keep(b.d.New(t, n)) }
func (b *benchBuffers) bytes(n int64) device.Tensor {
	return b.empty(device.Float32, int(max(device.Aligned(n), 256)/4))
}

func (b *benchBuffers) free() {
	for _, t := range b.all {
		b.d.Free(t)
	}
}

func (p problemSize) buffers(d *device.Device) *benchBuffers {
	b := &benchBuffers{d: d}
	n := p.batch * p.length
	b.forward = DeviceForwardArgs{Config: p.Config, portable: p.portable, Q: b.random(p.width(), n), K: b.random(p.stride(), n), V: b.random(p.stride(), n),
		Seqs: b.keep(check.Ints(d, sequenceBuffer(packed.Batch(p.batch, p.length)))),
		O:    b.empty(device.BF16, n*p.width()), LSE: b.empty(device.Float32, n*p.Heads),
		Scratch: b.bytes(DeviceForwardScratch(p.Config, n, p.batch, 0, device.BF16))}
	return b
}

// cachedSize is a batch of sequences of length new tokens after `before` others.
type cachedSize struct {
	Config
	batch, length, before int
}

func (p cachedSize) benchmark(name string) check.Benchmark {
	n, keys := p.batch*p.length, p.before+p.length
	return check.Benchmark{
		Name: name, Type: device.BF16,
		Shape: fmt.Sprintf("B %d, %d new of %d keys, %d/%d heads, D %d", p.batch, p.length, keys, p.Heads, p.KVHeads, p.Dim),
		FLOPs: 4 * float64(p.batch) * p.keys(p.before, p.length) * float64(p.width()),
		Bytes: 4*float64(p.batch)*float64(keys)*float64(p.stride()) + 4*float64(n)*float64(p.width()+p.stride()),
		Setup: func(d *device.Device) (func(*device.Queue), func()) {
			b := &benchBuffers{d: d}
			seqs := packed.Batch(p.batch, p.length)
			for range p.batch {
				seqs.Pos = append(seqs.Pos, int32(p.before))
			}
			a := DeviceForwardArgs{Config: p.Config, Q: b.random(p.width(), n), K: b.random(p.stride(), n), V: b.random(p.stride(), n),
				Seqs:   b.keep(check.Ints(d, sequenceBuffer(seqs))),
				KCache: b.random(p.stride(), p.batch*keys), VCache: b.random(p.stride(), p.batch*keys), Cap: keys,
				O: b.empty(device.BF16, n*p.width()), Scratch: b.bytes(DeviceForwardScratch(p.Config, n, p.batch, keys, device.BF16))}
			return func(q *device.Queue) { DeviceForward(q, &a) }, b.free
		},
	}
}
