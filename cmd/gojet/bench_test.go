package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/infer"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/layers"
	"github.com/gojet/gojet/train"
)

// benchCalls ask for rows that there are not, so that they end soon where there is a GPU.
func benchCalls(t *testing.T) []call {
	why := "no accelerator"
	if d, err := device.Open(0); err == nil {
		if why = `no row has "nothing" in its name`; d.Info().Emulated {
			why = "the times of an emulated one mean nothing"
		}
		d.Close()
	}
	calls := []call{
		{name: "alone", args: []string{"bench"}, parts: []string{"kernels", "block", "step", "decode", "throughput", "Run gojet doctor before"}},
		{name: "argument", args: []string{"bench", "kernels", "all"}, code: 1, err: `unknown command "all"`},
	}
	for _, name := range []string{"kernels", "block", "step", "decode"} {
		args := []string{"bench", name, "--filter", "nothing", "--json"}
		if name == "step" || name == "decode" {
			args = append(args, "--profile")
		}
		calls = append(calls, call{name: name, args: args, code: 1, err: why})
	}
	return append(calls, throughputCalls(t)...)
}

func TestBenchTable(t *testing.T) {
	b := bench{ceilings: check.Ceilings{Square: 750, Wide: 700, Copy: 3}}
	good := check.Measurement{Name: "rmsnorm", Shape: "N 1", Bytes: 3e9, Goal: 1.5, PeerMS: 3}
	good.Tokens = 5
	good.Set([]float64{4, 1, 2, 3, 2}, b.ceilings)
	if good.Median != 2 || good.P10 != 1.4 || good.TBS != 1.5 || good.Floor != 1 || good.OfFloor != 0.5 {
		t.Errorf("got %+v", good)
	}
	var out bytes.Buffer
	if err := b.table(&out, hardwareOf(nil, ""), []check.Measurement{good, {Name: "rope", Error: "out of\nmemory"}}); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"at 750 TFLOP/s", "rmsnorm  N 1    2 ", "1.50  50%", "GB moved  tokens/s", "  3.00      2500", "rope            failed: out of memory"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("no %q in:\n%s", part, &out)
		}
	}
}

func TestBenchShapes(t *testing.T) {
	for _, b := range benchBlocks() {
		if f := b.flops(); f < 1e11 || f > 1e14 {
			t.Errorf("%s takes %g operations", b.shape(), f)
		}
	}
	for _, s := range benchSteps() {
		if s.peer <= s.goal {
			t.Errorf("%s: the peer takes %v ms, the goal is %v", s.name, s.peer, s.goal)
		}
	}
}

// TestBenchRuns takes a small model through what the rows of steps and decoding do, on a device or the emulator of one.
func TestBenchRuns(t *testing.T) {
	d, err := device.Open(0)
	if err != nil {
		t.Skip(err)
	}
	defer d.Close()
	config, err := checkpoints.ParseConfig([]byte(hybrid))
	if err != nil {
		t.Fatal(err)
	}
	decoder, err := layers.NewDecoder(config)
	if err != nil {
		t.Fatal(err)
	}
	var notes strings.Builder
	b := bench{profile: true, notes: &notes, context: t.Context(), device: d, cores: cpu.New(1), ceilings: check.Ceilings{Square: 1, Wide: 1, Copy: 1}}
	defer b.cores.Close()
	step := func(m *autograd.Machine) (*train.Trainer, error) {
		s := benchStep{loss: train.Loss{CrossEntropy: 1, Temperature: 1}}
		stage := train.DefaultStage()
		stage.Name, stage.Model, stage.Loss, stage.Steps, stage.Rows, stage.Length = "bench", "student", s.loss, 1000, 2, 8
		tr := &train.Trainer{Stage: stage, Machine: m, Data: randomTokens{rows: 2, length: 8, vocab: 256}}
		tr.Student.Decoder = decoder
		var err error
		tr.Student.Weights, err = decoder.DrawOn(m, 1, stage.Learns)
		return tr, err
	}
	engine := func(m *autograd.Machine, cfg infer.Config) (*infer.Engine, layers.Weights, error) {
		w, err := decoder.DrawOn(m, 1, nil)
		if err != nil {
			return nil, nil, err
		}
		e, err := infer.New(decoder, w, m, cfg)
		return e, w, err
	}
	for name, run := range map[string]func(*check.Measurement) error{
		"step":   func(m *check.Measurement) error { return b.step(step, m) },
		"decode": func(m *check.Measurement) error { return b.generation(benchDecode{batch: 2, context: 16}, engine, m) },
		"prompt": func(m *check.Measurement) error {
			return b.generation(benchDecode{batch: 1, context: 9, prompt: true}, engine, m)
		},
	} {
		var m check.Measurement
		if err := run(&m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if m.Median <= 0 || m.FLOPs <= 0 || m.Memory <= 0 {
			t.Errorf("%s: got %+v", name, m)
		}
		if live := d.Usage().Live; live != 0 {
			t.Errorf("%s leaves %d bytes taken", name, live)
		}
	}
	if got := notes.String(); !strings.Contains(got, "linear cross-entropy") || !strings.Contains(got, "adamw") || !strings.Contains(got, "cached gated delta rule") {
		t.Errorf("the profile of a step lacks operations:\n%s", got)
	}
	small := benchBlock{JetBlock: layers.JetBlock{Hidden: 32, Heads: 2, KeyDim: 16, ExpandV: 2, ConvSize: 4, Reduction: 8, NormEps: 1e-5, InitStd: 0.02}, batch: 2, tokens: 9, backward: true}
	e, err := small.executor(b.machine())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := e.RunAll(); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
