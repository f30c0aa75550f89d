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
		e, _, err := decodeEngine(m, infer.Config{Rows: k.batch, Capacity: k.context + 64, Chunk: 2048})
		if err != nil {
			t.Fatal(err)
		}
		rows, ids := make([]int, k.batch), make([]int32, k.batch)
		for i := range rows {
			rows[i] = i
		}
		if _, err := e.Step(rows, ids); err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}
