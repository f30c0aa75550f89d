package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/gojet/gojet/infer"
)

// mostRows is the largest batch that --fit looks at.
const mostRows = 8192

// largest finds the largest batch whose prompts and steps the device's memory holds.
func (t *throughput) largest(ctx context.Context, p batchPlan) (int, error) {
	free := t.machine.Device.Info().Free // when it was opened, without the weights
	return fitBatch(p.most, free, t.model.cacheBytes(p.prompt+p.answer), func(batch int) (int64, error) {
		p.batch = batch
		peak, err := t.try(t.flags.settled(p))
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if err != nil {
			err = errors.Join(err, t.again())
		}
		return peak, err
	})
}

// try takes one chunk of a prompt, one step of all rows and the copies of states that a round holds, and returns the peak of memory, weights included.
func (t *throughput) try(p batchPlan) (int64, error) {
	peak := peakMemory(t.machine)
	e, err := infer.New(t.model.Decoder, t.model.weights, t.machine, p.config())
	if err != nil {
		return 0, err
	}
	r := newBatchRun(e, p)
	var parts []infer.Part
	for row := range p.together {
		parts = append(parts, infer.Part{Row: row, IDs: r.ids(row)[:p.chunk], Choose: true})
	}
	if _, err = e.Advance(parts); err == nil {
		r.answer = 2
		if err = r.assume(); err == nil {
			_, err = r.decode(context.Background())
		}
		if err == nil {
			err = r.copies()
		}
	}
	n := peak()
	return n, errors.Join(err, e.Close())
}

// copies holds as many copies of states at once as a round does.
func (r *batchRun) copies() error {
	if r.fed >= r.batch {
		return nil
	}
	var held []*infer.Snapshot
	defer func() {
		for _, s := range held {
			r.engine.Drop(s)
		}
	}()
	for row := range min(r.together, r.fed) {
		s, err := r.engine.Snapshot(row, 0, false)
		if err != nil {
			return err
		}
		held = append(held, s)
	}
	return nil
}

// fitBatch finds the largest batch up to most that fits: try tells the memory that a batch takes, or why it does not fit. The first
// guess is what fills the free memory if every sequence takes each bytes more than a batch of one.
func fitBatch(most int, free, each int64, try func(batch int) (int64, error)) (int, error) {
	one, err := try(1)
	if err != nil {
		return 0, fmt.Errorf("not even one sequence fits: %w", err)
	}
	high := most
	if room := max(0, free-one) / max(each, 1); room < int64(most-1) {
		high = 1 + int(room)
	}
	if high == 1 {
		return 1, nil
	}
	// The guess leaves out what steps of many rows take beside the caches, which is little.
	for low, next := 1, high; ; {
		if _, err := try(next); err != nil {
			high = next - 1
		} else if next == high {
			return next, nil
		} else {
			low = next
		}
		if low == high {
			return low, nil
		}
		step := max(1, high/32)
		next = max(high-step, low+(high-low+1)/2)
	}
}
