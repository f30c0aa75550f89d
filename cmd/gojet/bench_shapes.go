package main

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/layers"
)

// The shapes of published models, which the benchmarks fill with random weights: Qwen2.5-0.5B, 1.5B and 3B
// (https://huggingface.co/Qwen/Qwen2.5-1.5B), Qwen3-1.7B-Base (https://huggingface.co/Qwen/Qwen3-1.7B-Base), and Jet-Nemotron-2B and 4B
// (https://arxiv.org/abs/2508.15884).

// namedShapes are those that have a name on the command line.
func namedShapes() map[string]func() (*checkpoints.Config, error) {
	qwen := func(f func() *checkpoints.Config) func() (*checkpoints.Config, error) {
		return func() (*checkpoints.Config, error) { return f(), nil }
	}
	return map[string]func() (*checkpoints.Config, error){
		"jet-nemotron-2b": jet2B, "jet-nemotron-4b": jet4B, "qwen2.5-0.5b": qwen(qwenHalfB), "qwen2.5-1.5b": qwen(qwen1B), "qwen3-1.7b": qwen(qwen3),
	}
}

// qwenShape is a Qwen2.5 model of so many layers, hidden and intermediate values, and heads of queries and of keys.
func qwenShape(layers, hidden, intermediate, heads, kvHeads, headDim int) *checkpoints.Config {
	c := &checkpoints.Config{
		ModelType: checkpoints.Qwen2, HiddenSize: hidden, IntermediateSize: intermediate, NumLayers: layers, NumHeads: heads, NumKVHeads: kvHeads,
		HeadDim: headDim, VocabSize: 151936, MaxPositions: 32768, RMSNormEps: 1e-6, RopeTheta: 1e6, InitializerRange: 0.02, TieEmbeddings: true,
		AttentionBias: true, BOS: -1, DType: "bfloat16",
	}
	c.LayerTypes = slices.Repeat([]string{checkpoints.Attn}, layers)
	return c
}

func qwenHalfB() *checkpoints.Config { return qwenShape(24, 896, 4864, 14, 2, 64) }

func qwen1B() *checkpoints.Config {
	c := qwenShape(28, 1536, 8960, 12, 2, 128)
	c.MaxPositions = 131072
	return c
}

func qwen3() *checkpoints.Config {
	c := qwenShape(28, 2048, 6144, 16, 8, 128)
	c.ModelType, c.AttentionBias, c.QKNorm = checkpoints.Qwen3, false, true
	return c
}

func jet2B() (*checkpoints.Config, error) {
	return jetShape(qwen1B(), []int{14, 19}, []int{20, 21}, 1152, checkpoints.JetConfig{NumHeads: 12, HeadDim: 96, ExpandV: 2.6666666667})
}

func jet4B() (*checkpoints.Config, error) {
	return jetShape(qwenShape(36, 2048, 11008, 16, 2, 128), []int{17, 20, 32}, []int{5, 16, 19, 21, 22, 25, 27}, 2048,
		checkpoints.JetConfig{NumHeads: 16, HeadDim: 128, ExpandV: 2})
}

// jetShape puts a JetBlock into all layers of c but those of full and of sliding-window attention.
func jetShape(c *checkpoints.Config, full, sliding []int, window int, block checkpoints.JetConfig) (*checkpoints.Config, error) {
	c.ModelType = checkpoints.JetNemotron
	for i := range c.LayerTypes {
		switch {
		case slices.Contains(full, i):
		case slices.Contains(sliding, i):
			c.LayerTypes[i] = checkpoints.SWA
		default:
			c.LayerTypes[i] = "jet"
		}
	}
	c.Mixers = map[string]json.RawMessage{}
	block.NormEps, block.ConvSize, block.GeneratorReduction, block.Mode = 1e-5, 4, 8, "chunk"
	err := c.SetJet("jet", block)
	if err == nil {
		err = c.SetWindow(window)
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
