package sampling

import (
	"fmt"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
)

// Benchmarks are Qwen2.5's vocabulary for a batch of 128 sequences, and for one.
func Benchmarks() []check.Benchmark {
	var rows []check.Benchmark
	for _, s := range []int{1, 128} {
		for _, c := range []struct {
			name string
			Settings
		}{
			{"sampling, greedy", Settings{TopP: 1, RepetitionPenalty: 1}},
			{"sampling, temperature", Settings{Temperature: 1, TopP: 1, RepetitionPenalty: 1}},
			{"sampling, top-k 20, top-p 0.8", Settings{Temperature: 0.7, TopK: 20, TopP: 0.8, RepetitionPenalty: 1}},
		} {
			rows = append(rows, check.Benchmark{Name: c.name, Shape: fmt.Sprintf("S %d, Vocab 151936", s), Type: device.BF16, Bytes: float64(s) * 151936 * 2, Setup: c.bench(s)})
		}
	}
	return rows
}

func (c Settings) bench(s int) func(d *device.Device) (func(*device.Queue), func()) {
	return func(d *device.Device) (func(*device.Queue), func()) {
		const vocab = 151936
		values := make([]float32, 0, SettingsLen*s)
		for range s {
			values = append(values, c.Values()...)
		}
		settings := d.New(device.Float32, SettingsLen*s)
		device.Upload(d, settings, values)
		a := &DeviceArgs{S: s, Vocab: vocab, Logits: check.Random(d, device.BF16, s*vocab, 3), Settings: settings,
			Draws: check.Ints(d, make([]int32, 3*s)), IDs: d.New(device.Int32, s), LogProb: d.New(device.Float32, s),
			Scratch: d.New(device.Float32, int(DeviceScratch(s, vocab, device.BF16)/4))}
		return func(q *device.Queue) { DeviceChoose(q, a) }, func() {
			for _, t := range []device.Tensor{a.Logits, a.Settings, a.Draws, a.IDs, a.LogProb, a.Scratch} {
				d.Free(t)
			}
		}
	}
}
