package main

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/bf16"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/infer"
	"github.com/gojet/gojet/kernels/linearloss"
	"github.com/gojet/gojet/kernels/normal"
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
	w, err := randomWeights(d, m)
	if err != nil {
		return nil, nil, fmt.Errorf("weights: %w", err)
	}
	e, err := infer.New(d, w, m, cfg)
	return e, w, err
}

// randomWeights are made on the machine. On the CPU matrices are bfloat16 and repeat one stretch of draws: what they hold makes
// no difference to speed, and draws would take longer than what is to be measured.
func randomWeights(d *layers.Decoder, m *autograd.Machine) (layers.Weights, error) {
	if m.Device != nil {
		return d.DrawOn(m, 1, nil)
	}
	draws := make([]float64, 1<<20)
	normal.Reference(draws, d.Config.InitializerRange, 1)
	noise := make([]bf16.BF16, len(draws))
	for i, v := range draws {
		noise[i] = bf16.From(float32(v))
	}
	w := layers.Weights{}
	for _, p := range d.Params() {
		if len(p.Shape) != 2 {
			w[p.Name] = autograd.Float32s(p.Draw(1), p.Shape...)
			continue
		}
		matrix := make([]bf16.BF16, p.Size())
		for at := 0; at < len(matrix); at += len(noise) {
			copy(matrix[at:], noise)
		}
		w[p.Name] = autograd.BF16s(matrix, p.Shape...)
	}
	return w, nil
}

// benchModel is a model to be measured.
type benchModel struct {
	name string
	*layers.Decoder
	weights layers.Weights
	machine *autograd.Machine
	random  bool
	file    *checkpoints.Checkpoint // where the weights lie, if they are not random
}

// benchConfig is the shape that a name stands for, a config.json, or that of the checkpoint in a folder.
func benchConfig(name string) (c *checkpoints.Config, random bool, err error) {
	if shape := namedShapes()[name]; shape != nil {
		c, err = shape()
		return c, true, err
	}
	about, err := os.Stat(name)
	if err != nil {
		return nil, false, fmt.Errorf("model %q is no folder, no config.json, and none of %s", name, strings.Join(slices.Sorted(maps.Keys(namedShapes())), ", "))
	}
	if about.IsDir() {
		c, err = checkpoints.ReadConfig(name)
		return c, false, err
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, false, err
	}
	if c, err = checkpoints.ParseConfig(text); err != nil {
		return nil, false, fmt.Errorf("%s: %w", name, err)
	}
	return c, true, nil
}

// openBenchModel opens a folder with weights, or makes a shape with random ones.
func openBenchModel(name string, m *autograd.Machine) (*benchModel, error) {
	c, random, err := benchConfig(name)
	if err != nil {
		return nil, err
	}
	b := &benchModel{name: name, machine: m, random: random}
	if !random {
		if b.file, err = checkpoints.Open(name); err != nil {
			return nil, err
		}
		c = b.file.Config
	}
	if b.Decoder, err = layers.NewDecoder(c); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), b.close())
	}
	if random {
		b.weights, err = randomWeights(b.Decoder, m)
	} else if b.weights, err = b.Load(b.file, layers.AsStored); err == nil {
		stored := b.weights
		if b.weights, err = stored.Place(m, nil); err != nil {
			b.weights = nil
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), b.close())
	}
	return b, nil
}

// close gives the weights back.
func (b *benchModel) close() error {
	b.weights.Release(b.machine, nil)
	if b.file == nil {
		return nil
	}
	return b.file.Close()
}

// cacheBytes is what a sequence of so many tokens must take, by the shapes of the layers' states: on a device caches of keys,
// values and convolutions have the type of activations, recurrent states are float32, as everything is on a CPU.
func (b *benchModel) cacheBytes(tokens int) int64 {
	var n int64
	for _, s := range b.States(tokens) {
		each := 4
		if b.machine.Device != nil && len(s.Shape) < 3 {
			each = b.machine.Float.Size()
		}
		n += int64(s.Size() * each)
	}
	return n
}
