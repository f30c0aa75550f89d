package infer

import (
	"github.com/gojet/gojet/autograd"
	host "github.com/gojet/gojet/infer/sampling"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/sampling"
)

// choices choose on a device, where logits stay; what rows keep stays there too.
type choices struct {
	device  *device.Device
	args    sampling.DeviceArgs // for all rows
	numbers device.Tensor       // of all rows
}

func newChoices(m *autograd.Machine, rows, vocab int) (*choices, error) {
	d := m.Device
	c := &choices{device: d, numbers: d.New(device.Int32, rows), args: sampling.DeviceArgs{
		Vocab: vocab, Settings: d.New(device.Float32, sampling.SettingsLen*rows), Draws: d.New(device.Int32, 3*rows), Seen: d.New(device.Int32, rows*sampling.SeenWords(vocab)),
		IDs: d.New(device.Int32, rows), LogProb: d.New(device.Float32, rows),
		Scratch: d.New(device.Float32, int(sampling.DeviceScratch(rows, vocab, m.Float)/4)),
	}}
	all := make([]int32, rows)
	for row := range rows {
		all[row] = int32(row)
		if err := c.set(row, host.Default(), nil); err != nil {
			return nil, err
		}
	}
	device.Upload(d, c.numbers, all)
	return c, d.Err()
}

func (c *choices) set(row int, cfg host.Config, history []int32) error {
	s := sampling.Settings{Temperature: cfg.Temperature, TopP: cfg.TopP, TopK: cfg.TopK, RepetitionPenalty: cfg.RepetitionPenalty, MinP: cfg.MinP}
	device.Upload(c.device, c.args.Settings.Slice(sampling.SettingsLen*row, sampling.SettingsLen), s.Values())
	device.Upload(c.device, c.args.Draws.Slice(3*row, 3), sampling.Draws(cfg.Seed))
	seen := sampling.Seen(c.args.Vocab, history)
	device.Upload(c.device, c.args.Seen.Slice(row*len(seen), len(seen)), seen)
	return c.device.Err()
}

func (c *choices) choose(at int, ids, rows []int32, logits autograd.Value, numbers device.Tensor) error {
	a := c.args
	a.S, a.Logits, a.Rows, a.IDs, a.LogProb = len(rows), logits.Dev, numbers, a.IDs.Slice(at, len(rows)), a.LogProb.Slice(at, len(rows))
	sampling.DeviceChoose(c.device, &a)
	return device.Download(c.device, ids, a.IDs)
}

func (c *choices) again(ids []int32, row int32, logits autograd.Value) error {
	return c.choose(0, ids, []int32{row}, logits, c.numbers.Slice(int(row), 1))
}

func (c *choices) logProbs(p []float32) error {
	return device.Download(c.device, p, c.args.LogProb.Slice(0, len(p)))
}

func (c *choices) free() {
	for _, t := range []device.Tensor{c.args.Settings, c.args.Draws, c.args.Seen, c.args.IDs, c.args.LogProb, c.args.Scratch, c.numbers} {
		c.device.Free(t)
	}
}
