package main

import (
	"testing"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/infer"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/train"
)

// TestBenchRehearsed: with a compiler for GPUs and none to run on, the kernels of blocks, training steps and decoding at their full
// shapes compile, and their launches keep within the limits.
func TestBenchRehearsed(t *testing.T) {
	if d, err := device.Open(0); err == nil {
		d.Close()
		t.Skip("there is a device: gojet bench measures on it")
	}
	d, err := device.Rehearse(9, 0)
	if err != nil {
		t.Skip(err)
	}
	defer d.Close()
	m := autograd.OnDevice(d, device.BF16, cpu.New(1))
	for _, b := range benchBlocks() {
		e, err := b.executor(m)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.RunAll(); err != nil {
			t.Fatalf("%s: %v", b.name, err)
		}
	}
	for _, s := range benchSteps() {
		tr, err := s.trainer(m)
		if err != nil {
			t.Fatal(err)
		}
		tr.Hooks.Step = func(train.Progress, train.Report) error { return errEnough }
		if err := tr.Run(t.Context(), &train.Progress{}, nil); err != errEnough {
			t.Fatalf("%s: %v", s.name, err)
		}
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, k := range benchDecodes() {
		d.ResetPeak()
		before := d.Usage().Live // what training left
		e, w, err := decodeEngine(m, k.config())
		if err != nil {
			t.Fatal(err)
		}
		if k.prompt {
			err = e.Skip(0, make([]int32, benchedChunk))
		} else {
			err = stepAll(e)
		}
		if err != nil {
			t.Fatalf("%s: %v", k.name(), err)
		}
		if peak := d.Usage().Peak - before; peak > 40<<30 {
			t.Errorf("%s takes %d MiB", k.name(), peak>>20)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		w.Release(m, nil)
	}
}

// stepAll begins every row with a token and takes one step.
func stepAll(e *infer.Engine) error {
	rows := make([]int, e.Rows())
	for i := range rows {
		rows[i] = i
		if _, err := e.First(i, []int32{1}); err != nil {
			return err
		}
	}
	_, err := e.Next(rows)
	return err
}
