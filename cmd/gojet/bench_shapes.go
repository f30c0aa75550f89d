package main

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/layers"
)

// The shapes of published models, which the benchmarks fill with random weights: Qwen2.5-1.5B
// (https://huggingface.co/Qwen/Qwen2.5-1.5B) and Jet-Nemotron-2B (https://arxiv.org/abs/2508.15884).

func qwen1B() *checkpoints.Config {
	c := &checkpoints.Config{
		ModelType: checkpoints.Qwen2, HiddenSize: 1536, IntermediateSize: 8960, NumLayers: 28, NumHeads: 12, NumKVHeads: 2, HeadDim: 128,
		VocabSize: 151936, MaxPositions: 131072, RMSNormEps: 1e-6, RopeTheta: 1e6, InitializerRange: 0.02, TieEmbeddings: true,
		AttentionBias: true, BOS: -1, DType: "bfloat16",
	}
	c.LayerTypes = slices.Repeat([]string{checkpoints.Attn}, c.NumLayers)
	return c
}

func jet2B() (*checkpoints.Config, error) {
	c := qwen1B()
	c.ModelType = checkpoints.JetNemotron
	for i := range c.LayerTypes {
		switch i {
		case 14, 19:
		case 20, 21:
			c.LayerTypes[i] = checkpoints.SWA
		default:
			c.LayerTypes[i] = "jet"
		}
	}
	c.Mixers = map[string]json.RawMessage{}
	err := c.SetJet("jet", checkpoints.JetConfig{NumHeads: 12, HeadDim: 96, ExpandV: 2.6666666667, NormEps: 1e-5, ConvSize: 4, GeneratorReduction: 8, Mode: "chunk"})
	if err == nil {
		err = c.SetWindow(1152)
	}
	return c, err
}

// benchBlock is one JetBlock to be measured, with what the official kernels take on the same card.
type benchBlock struct {
	layers.JetBlock
	name     string
	batch    int
	tokens   int
	backward bool
	peer     float64 // ms
	goal     float64 // ms
}

// benchBlocks are the JetBlock rows of the published comparison.
func benchBlocks() []benchBlock {
	block := func(hidden, heads, key int, expand float64) layers.JetBlock {
		return layers.JetBlock{Hidden: hidden, Heads: heads, KeyDim: key, ExpandV: expand, ConvSize: 4, Reduction: 8, NormEps: 1e-5, InitStd: 0.02}
	}
	b2, b4, readme := block(1536, 12, 96, 2.6666666667), block(2048, 16, 128, 2), block(1536, 6, 256, 2)
	return []benchBlock{
		{b2, "2B", 4, 4096, false, 3.68, 1.8},
		{b2, "2B", 4, 4096, true, 11.4, 5.7},
		{b4, "4B", 4, 4096, false, 4.78, 2.4},
		{b4, "4B", 4, 4096, true, 13.3, 6.6},
		{readme, "example", 16, 4096, false, 13.4, 6.7},
	}
}

func (b benchBlock) shape() string {
	return fmt.Sprintf("B%d T%d hidden %d H%d K%d V%d", b.batch, b.tokens, b.Hidden, b.Heads, b.KeyDim, int(float64(b.KeyDim)*b.ExpandV))
}

// flops is what a run cannot do without: the products with the matrices and, for each head, three passes over its state;
// backward takes twice as much again.
func (b benchBlock) flops() float64 {
	each := 3 * float64(b.Heads*b.KeyDim) * float64(b.KeyDim) * b.ExpandV
	for _, p := range b.Params() {
		if len(p.Shape) == 2 {
			each += float64(p.Shape[0]) * float64(p.Shape[1])
		}
	}
	total := 2 * float64(b.batch*b.tokens) * each
	if b.backward {
		total *= 3
	}
	return total
}
