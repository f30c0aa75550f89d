package main

import (
	"fmt"
	"math/rand/v2"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/infer"
	"github.com/gojet/gojet/kernels/linearloss"
	"github.com/gojet/gojet/kernels/packed"
	"github.com/gojet/gojet/layers"
	"github.com/gojet/gojet/train"
)

// executor compiles one block, forward or forward and backward, with random weights and input on the machine.
func (b benchBlock) executor(m *autograd.Machine) (*autograd.Executor, error) {
	n, seqs := b.batch*b.tokens, packed.Batch(b.batch, b.tokens)
	g := autograd.NewGraph(autograd.Float32)
	block, err := layers.NewBlockGraph(g, b.JetBlock, n, b.Hidden, seqs)
	if err != nil {
		return nil, err
	}
	outs := []*autograd.Node{block.Out}
	values := map[*autograd.Node]autograd.Value{block.Seq: autograd.SequenceValue(seqs)}
	random := map[*autograd.Node]float64{block.X: 1}
	wrt := []*autograd.Node{block.X}
	for i, p := range block.Params {
		if len(p.Shape()) == 2 {
			random[p] = b.InitStd
		}
		wrt = append(wrt, block.Params[i])
	}
	for _, p := range b.Params() {
		node := block.Params[p.Name]
		if random[node] == 0 {
			if values[node], err = m.Place(autograd.Parameter, autograd.Float32s(p.Draw(1), p.Shape...), false); err != nil {
				return nil, err
			}
		}
	}
	if b.backward {
		dout := g.Input("gradient", autograd.Data, n, b.Hidden)
		random[dout] = 1
		outs = append(outs, g.BackwardFrom([]*autograd.Node{block.Out}, []*autograd.Node{dout}, wrt, autograd.BackwardConfig{})...)
	}
	seed := uint64(0)
	for node, std := range random {
		seed++
		if values[node], err = m.Normal(std, seed, false, node.Shape()...); err != nil {
			return nil, err
		}
	}
	plan, err := autograd.Compile(g, outs...)
	if err != nil {
		return nil, err
	}
	e := autograd.NewExecutor(plan, m)
	for node, v := range values {
		if err := e.Bind(node, v); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// benchStep is a training step of the 2B shape to be measured, with what the Python stack takes on the same card.
type benchStep struct {
	name    string
	loss    train.Loss
	freeze  []string
	peer    float64 // ms
	goal    float64 // ms
	teacher bool
	again   int // layers whose activations are computed again in place of being kept
}

func benchSteps() []benchStep {
	return []benchStep{
		{"distillation, MLPs frozen", train.Loss{KL: 1, Temperature: 1}, []string{"*.mlp.*"}, 419, 200, true, 0},
		{"language model, all weights", train.Loss{CrossEntropy: 1, Temperature: 1}, nil, 399, 200, false, 0},
		{"distillation, all weights", train.Loss{KL: 1, Temperature: 1}, nil, 459, 225, true, 1}, // within 60 GB
	}
}

// trainer makes a trainer of two rows of 4096 random tokens, with random weights made on the machine.
func (s benchStep) trainer(m *autograd.Machine) (*train.Trainer, error) {
	stage := train.DefaultStage()
	stage.Name, stage.Model, stage.Loss, stage.Freeze = "bench", "student", s.loss, s.freeze
	stage.Steps, stage.Rows, stage.Length = 1000, 2, 4096
	stage.Recompute, stage.RecomputeLayers = s.again > 0, s.again
	t := &train.Trainer{Stage: stage, Machine: m, Data: randomTokens{rows: stage.Rows, length: stage.Length, vocab: 151936}}
	c, err := jet2B()
	if err != nil {
		return nil, err
	}
	if t.Student.Decoder, err = layers.NewDecoder(c); err != nil {
		return nil, err
	}
	if t.Student.Weights, err = t.Student.Decoder.DrawOn(m, 1, stage.Learns); err != nil || !s.teacher {
		return t, err
	}
	t.Stage.Teacher = "teacher"
	t.Teacher = &train.Net{}
	if t.Teacher.Decoder, err = layers.NewDecoder(qwen1B()); err != nil {
		return nil, err
	}
	t.Teacher.Weights, err = t.Teacher.Decoder.DrawOn(m, 2, nil)
	return t, err
}

// randomTokens are batches of one document a row.
type randomTokens struct{ rows, length, vocab int }

func (r randomTokens) MaxDocs() int { return r.rows }

func (r randomTokens) Batch(number int) (train.Batch, error) {
	rnd := rand.New(rand.NewPCG(uint64(number), 1))
	b := train.Batch{Cu: []int32{0}}
	for range r.rows {
		for k := range r.length {
			b.IDs = append(b.IDs, int32(rnd.IntN(r.vocab)))
			if k > 0 {
				b.Labels = append(b.Labels, b.IDs[len(b.IDs)-1])
			}
		}
		b.Labels = append(b.Labels, linearloss.Ignore)
		b.Cu = append(b.Cu, int32(len(b.IDs)))
	}
	return b, nil
}

// decodeEngine is a 2B-shaped model with random weights, ready to continue.
func decodeEngine(m *autograd.Machine, cfg infer.Config) (*infer.Engine, layers.Weights, error) {
	c, err := jet2B()
	if err != nil {
		return nil, nil, err
	}
	d, err := layers.NewDecoder(c)
	if err != nil {
		return nil, nil, err
	}
	w, err := d.DrawOn(m, 1, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("weights: %w", err)
	}
	e, err := infer.New(d, w, m, cfg)
	return e, w, err
}
