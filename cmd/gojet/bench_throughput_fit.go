package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/gojet/gojet/infer"
	"github.com/gojet/gojet/infer/throughput"
)

// mostRows is the largest batch that --fit looks at.
const mostRows = 8192

// largest finds the largest batch whose prompts and steps the device's memory holds.
func (t *measurement) largest(ctx context.Context, p batchPlan) (int, error) {
	free := t.machine.Device.Info().Free // when it was opened, without the weights
	return fitBatch(p.most, free, t.model.cacheBytes(p.Prompt+p.Answer), func(batch int) (int64, error) {
		p.Batch = batch
		peak, err := t.try(ctx, p)
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if err != nil {
			err = errors.Join(err, t.again())
		}
		return peak, err
	})
}

// try returns the peak of memory of a plan, weights included.
func (t *measurement) try(ctx context.Context, p batchPlan) (int64, error) {
	p.Plan = p.Settled()
	peak := peakMemory(t.machine)
	e, err := infer.New(t.model.Decoder, t.model.weights, t.machine, p.Config())
	if err != nil {
		return 0, err
	}
	err = throughput.New(e, p.Plan).Probe(ctx)
	n := peak()
	return n, errors.Join(err, e.Close())
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
