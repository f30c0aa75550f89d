package linearloss

import (
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
)

// bench is Qwen2.5-1.5B's head over two sequences of 4096 tokens.
const benchTokens, benchVocab, benchFeatures = 8192, 151936, 1536

// Benchmarks are the losses of a language model and of its distillation, forward and backward in one.
func Benchmarks() []check.Benchmark {
	const product = 2. * benchTokens * benchVocab * benchFeatures
	const bytes = 2. * (2*benchTokens*benchFeatures + 2*benchVocab*benchFeatures)
	rows := []check.Benchmark{
		{Name: "linear + KL, forward + backward", FLOPs: 4 * product, Bytes: bytes + bytes/2, PeerMS: 100.2, Goal: 30, Setup: benchLoss(true, true)},
		{Name: "linear + KL, head frozen", FLOPs: 3 * product, Bytes: bytes, Setup: benchLoss(true, false)},
		{Name: "linear + cross-entropy, forward + backward", FLOPs: 3 * product, Bytes: bytes, PeerMS: 97, Goal: 24, Setup: benchLoss(false, true)},
	}
	for i := range rows {
		rows[i].Shape, rows[i].Type = "N 8192, D 1536, Vocab 151936", device.BF16
		if rows[i].PeerMS > 0 {
			rows[i].Peer = "flash-linear-attention's fused kernel"
		}
	}
	return rows
}

func benchLoss(teacher, head bool) func(d *device.Device) (func(*device.Queue), func()) {
	return func(d *device.Device) (func(*device.Queue), func()) {
		const n, vocab, features = benchTokens, benchVocab, benchFeatures
		var held []device.Tensor
		keep := func(t device.Tensor) device.Tensor {
			held = append(held, t)
			return t
		}
		random := func(n int, std float64) device.Tensor { return keep(check.Random(d, device.BF16, n, std)) }
		h, w := random(n*features, 1), random(vocab*features, 0.05)
		labels := make([]int32, n)
		r := check.Rand(n)
		for i := range labels {
			labels[i] = int32(r.IntN(vocab))
		}
		which := keep(check.Ints(d, labels))
		loss, counts, token := keep(d.New(device.Float32, 1)), keep(d.New(device.Float32, 2)), keep(d.New(device.Float32, n))
		var dw device.Tensor
		if head {
			dw = keep(d.New(device.BF16, vocab*features))
		}
		dh := keep(d.New(device.BF16, n*features))
		scratch := keep(d.New(device.Float32, int(DeviceScratch(n, vocab, features, teacher, device.BF16)/4)))
		free := func() {
			for _, t := range held {
				d.Free(t)
			}
		}
		if teacher {
			a := &DeviceKLArgs{N: n, Vocab: vocab, DStudent: features, DTeacher: features, Temperature: 1, Weight: 1, Labels: which,
				HStudent: h, WStudent: w, HTeacher: random(n*features, 1), WTeacher: random(vocab*features, 0.05),
				Loss: loss, Counts: counts, Token: token, DH: dh, DW: dw, Scratch: scratch}
			return func(q *device.Queue) { DeviceKL(q, a) }, free
		}
		a := &DeviceCrossEntropyArgs{N: n, Vocab: vocab, D: features, Weight: 1, Labels: which, H: h, W: w,
			Loss: loss, Counts: counts, Token: token, DH: dh, DW: dw, Scratch: scratch}
		return func(q *device.Queue) { DeviceCrossEntropy(q, a) }, free
	}
}
