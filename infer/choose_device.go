package infer

import (
	"fmt"

	"github.com/gojet/gojet/autograd"
	host "github.com/gojet/gojet/infer/sampling"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/sampling"
)

// choices choose on a device, where logits stay; what rows keep stays there too.
type choices struct {
	device *device.Device
	args   sampling.DeviceArgs // for all rows
}

func newChoices(m *autograd.Machine, rows, vocab int) (*choices, error) {
	d := m.Device
	c := &choices{d, sampling.DeviceArgs{
		Vocab: vocab, Settings: d.New(device.Float32, 4*rows), Draws: d.New(device.Int32, 3*rows), Seen: d.New(device.Int32, rows*sampling.SeenWords(vocab)),
		IDs: d.New(device.Int32, rows), LogProb: d.New(device.Float32, rows),
		Scratch: d.New(device.Float32, int(sampling.DeviceScratch(rows, vocab, m.Float)/4)),
	}}
	for row := range rows {
		if err := c.set(row, host.Default(), nil); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *choices) set(row int, cfg host.Config, history []int32) error {
	s := sampling.Settings{Temperature: cfg.Temperature, TopP: cfg.TopP, TopK: cfg.TopK, RepetitionPenalty: cfg.RepetitionPenalty}
	device.Upload(c.device, c.args.Settings.Slice(4*row, 4), s.Values())
	device.Upload(c.device, c.args.Draws.Slice(3*row, 3), sampling.Draws(cfg.Seed))
	seen := sampling.Seen(c.args.Vocab, history)
	device.Upload(c.device, c.args.Seen.Slice(row*len(seen), len(seen)), seen)
	return c.device.Err()
}

func (c *choices) choose(ids []int32, rows []int, logits autograd.Value, numbers device.Tensor) error {
	a := c.args
	a.S, a.Logits, a.Rows, a.IDs, a.LogProb = len(rows), logits.Dev, numbers, a.IDs.Slice(0, len(rows)), a.LogProb.Slice(0, len(rows))
	sampling.DeviceChoose(c.device, &a)
	if err := device.Download(c.device, ids, a.IDs); err != nil {
		return err
	}
	for i, id := range ids {
		if id < 0 {
			return fmt.Errorf("infer: the logits of row %d allow no token: one is NaN or +Inf, or all are -Inf", rows[i])
		}
	}
	return nil
}

func (c *choices) logProbs(p []float32) error {
	return device.Download(c.device, p, c.args.LogProb.Slice(0, len(p)))
}

func (c *choices) free() {
	for _, t := range []device.Tensor{c.args.Settings, c.args.Draws, c.args.Seen, c.args.IDs, c.args.LogProb, c.args.Scratch} {
		c.device.Free(t)
	}
}
