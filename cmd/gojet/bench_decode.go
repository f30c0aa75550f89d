package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/infer"
	"github.com/gojet/gojet/infer/sampling"
	"github.com/gojet/gojet/infer/throughput"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/layers"
)

// benchDecode is generation to be measured: the feeding of a prompt of context tokens, or steps after so many.
type benchDecode struct {
	batch, context int
	prompt         bool
	peer, goal     float64 // tokens a second
}

func benchDecodes() []benchDecode {
	return []benchDecode{{batch: 1, context: 4096}, {batch: 128, context: 4096}, {batch: 1, context: 65536},
		{batch: 128, context: 65536, peer: 2885, goal: 8600}, {batch: 1, context: 65536, prompt: true}}
}

const (
	benchedChunk = 2048 // tokens of a prompt that are taken at a time
	profiled     = 3    // steps
)

func (k benchDecode) name() string {
	if k.prompt {
		return fmt.Sprintf("prompt of %d tokens, batch %d", k.context, k.batch)
	}
	return fmt.Sprintf("decode, batch %d, context %d", k.batch, k.context)
}

func (k benchDecode) config() infer.Config {
	return infer.Config{Rows: k.batch, Capacity: k.context + 64, Chunk: benchedChunk}
}

// decode measures generation.
func (b *bench) decode() ([]check.Measurement, error) {
	var list []check.Measurement
	for _, k := range benchDecodes() {
		m := check.Measurement{Name: k.name(), Shape: "2B", Type: device.BF16.String()}
		if !strings.Contains(m.Name, b.filter) {
			continue
		}
		if k.goal > 0 {
			m.Peer, m.PeerMS, m.Goal = "paper", 1e3*float64(k.batch)/k.peer, 1e3*float64(k.batch)/k.goal
		}
		if err := b.generation(k, decodeEngine, &m); err != nil {
			m.Error = err.Error()
		}
		list = append(list, m)
		if err := b.again(&m); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// generation measures with one engine. The bytes and operations counted are those of every weight and all state once a step,
// and for a prompt those of the products with the layers' matrices.
func (b *bench) generation(k benchDecode, engine func(*autograd.Machine, infer.Config) (*infer.Engine, layers.Weights, error), m *check.Measurement) error {
	b.device.ResetPeak()
	e, w, err := engine(b.machine(), k.config())
	if err != nil {
		return err
	}
	run := b.stepped
	if k.prompt {
		run = b.prompted
	}
	ms, err := run(k, e, m.Name)
	if err != nil {
		return err
	}
	m.Tokens = float64(k.batch)
	if k.prompt {
		m.Tokens *= float64(k.context)
	} else {
		m.Bytes = float64(e.StepBytes())
	}
	for name, v := range w {
		if !k.prompt {
			m.Bytes += float64(v.Dev.Bytes())
		}
		if !k.prompt || strings.Contains(name, ".layers.") {
			m.FLOPs += 2 * m.Tokens * float64(v.Dev.Len)
		}
	}
	m.Memory = b.device.Usage().Peak
	m.Set(ms, b.ceilings)
	err = e.Close()
	w.Release(b.machine(), nil)
	return err
}

// stepped times steps of all rows, after five that warm up. Tokens are drawn as models of this kind are used.
func (b *bench) stepped(k benchDecode, e *infer.Engine, name string) ([]float64, error) {
	const warm, timed = 5, 20
	rows := make([]int, k.batch)
	for i := range rows {
		rows[i] = i
		if err := e.Assume(i, k.context); err != nil {
			return nil, err
		}
		if err := e.Sample(i, sampling.Config{Temperature: 0.7, TopK: 20, TopP: 0.8, RepetitionPenalty: 1, Seed: uint64(i)}, nil); err != nil {
			return nil, err
		}
		if _, err := e.First(i, []int32{int32(i)}); err != nil {
			return nil, err
		}
	}
	var ms []float64
	for i := range warm + timed {
		if err := b.context.Err(); err != nil {
			return nil, err
		}
		start := time.Now()
		if _, err := e.Next(rows); err != nil {
			return nil, err
		}
		if i >= warm {
			ms = append(ms, float64(time.Since(start))/float64(time.Millisecond))
		}
	}
	if !b.profile {
		return ms, nil
	}
	list, err := e.Profile(rows, profiled)
	if err != nil {
		return nil, err
	}
	return ms, b.operations(list, profiled, name)
}

// prompted times whole prompts, up to the first token of the answer, after one that warms up.
func (b *bench) prompted(k benchDecode, e *infer.Engine, _ string) ([]float64, error) {
	var ms []float64
	for _, n := range []int{min(k.context, 4*benchedChunk), k.context, k.context, k.context} {
		r := throughput.New(e, throughput.Plan{Prompt: n, Batch: k.batch, Answer: 1, Chunk: min(benchedChunk, k.context), Together: 1, Fed: k.batch})
		t, err := r.Round(b.context)
		if err != nil {
			return nil, err
		}
		ms = append(ms, float64(t.Prefill)/float64(time.Millisecond))
	}
	return ms[1:], nil
}
