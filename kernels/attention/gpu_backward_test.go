package attention

import (
	"slices"
	"testing"

	"github.com/gojet/gojet/bf16"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/packed"
)

// Gradients have the same bits every time, in whatever order blocks run.
func TestDeviceBackwardRepeats(t *testing.T) {
	d := check.OpenDevice(t)
	c, batch, length, times := Config{Heads: 6, KVHeads: 2, Dim: 128}, 3, 4000, 5
	if d.Info().Emulated {
		length, times = 140, 2
	}
	n := batch * length
	random := func(each int) device.Tensor { return check.Random(d, device.BF16, n*each, 1) }
	a := DeviceBackwardArgs{Config: c, Seqs: check.Ints(d, sequenceBuffer(packed.Batch(batch, length))), Q: random(c.width()), K: random(c.stride()), V: random(c.stride()),
		O: random(c.width()), DO: random(c.width()), LSE: check.Random(d, device.Float32, n*c.Heads, 1),
		DQ: d.New(device.BF16, n*c.width()), DK: d.New(device.BF16, n*c.stride()), DV: d.New(device.BF16, n*c.stride()),
		Scratch: d.New(device.Float32, int(DeviceBackwardScratch(c, n, batch, device.BF16)/4))}
	run := func() []bf16.BF16 {
		var all []bf16.BF16
		results := []device.Tensor{a.DQ, a.DK, a.DV}
		for _, x := range append(results, a.Scratch) {
			d.Poison(x)
		}
		DeviceBackward(d, &a)
		for _, x := range results {
			h := make([]bf16.BF16, x.Len)
			if err := device.Download(d, h, x); err != nil {
				t.Fatal(err)
			}
			all = append(all, h...)
		}
		return all
	}
	want := run()
	for range times - 1 {
		if !slices.Equal(run(), want) {
			t.Fatal("gradients differ from run to run")
		}
	}
}
