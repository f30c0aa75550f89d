package supernet

import (
	"context"
	"strings"
	"testing"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/layers"
	"github.com/gojet/gojet/search"
	"github.com/gojet/gojet/search/placement"
	"github.com/gojet/gojet/train"
)

// benchNet is a super network of the shape of Qwen2.5-1.5B with JetBlocks as in Jet-Nemotron-2B on a GPU, and a small one on the
// CPU, with batches of tokens tokens.
func benchNet(b *testing.B) (net *Net, rows, length int) {
	b.Helper()
	c := &checkpoints.Config{
		ModelType: checkpoints.Qwen2, HiddenSize: 128, IntermediateSize: 384, NumLayers: 6, NumHeads: 4, NumKVHeads: 2, HeadDim: 32,
		VocabSize: 256, MaxPositions: 4096, RMSNormEps: 1e-6, RopeTheta: 1e4, InitializerRange: 0.02, TieEmbeddings: true,
		AttentionBias: true, BOS: -1, DType: "float32",
	}
	jet := map[string]any{"num_heads": 4, "head_dim": 16, "expand_v": 2.0}
	rows, length = 4, 256
	m := autograd.OnCPU(cpu.New(0))
	if d, err := device.Open(0); err == nil && !d.Info().Emulated {
		m = autograd.OnDevice(d, device.BF16, m.Cores)
		c.HiddenSize, c.IntermediateSize, c.NumLayers, c.NumHeads, c.NumKVHeads, c.HeadDim, c.VocabSize = 1536, 8960, 28, 12, 2, 128, 151936
		jet = map[string]any{"num_heads": 12, "head_dim": 96, "expand_v": 2.6666666667}
		length = 2048
	}
	b.Cleanup(func() {
		if err := m.Close(); err != nil {
			b.Error(err)
		}
	})
	c.LayerTypes = search.Uniform(c.NumLayers, search.Full).LayerTypes("")
	d, err := layers.NewDecoder(c)
	if err != nil {
		b.Fatal(err)
	}
	w, noise := layers.Weights{}, uint32(1)
	for _, p := range d.Params() {
		v := make([]float32, p.Size())
		norm := strings.HasSuffix(p.Name, "norm.weight")
		for i := range v { // quick, where a billion draws would take minutes
			noise = noise*1664525 + 1013904223
			v[i] = (float32(noise>>8)/(1<<24) - 0.5) * 0.07
			if norm {
				v[i] = 1
			}
		}
		w[p.Name] = autograd.Float32s(v, p.Shape...)
	}
	teacher := train.Net{Decoder: d, Weights: w}
	body, err := Body(teacher, train.Model{From: "teacher", LayerTypes: search.Uniform(c.NumLayers, search.Linear).LayerTypes("jet"),
		Blocks: map[string]map[string]any{"jet": jet}}, 1)
	if err != nil {
		b.Fatal(err)
	}
	if net, err = New(m, teacher, map[search.Kind]train.Net{search.Linear: body}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := net.Close(); err != nil {
			b.Error(err)
		}
	})
	return net, rows, length
}

// BenchmarkStep is one step of the super network, all kinds of paths in turn.
func BenchmarkStep(b *testing.B) {
	net, rows, length := benchNet(b)
	c := config()
	c.Rows, c.Length, c.Steps = rows, length, 1<<20
	tr, err := NewTrainer(net, c, 4, 2, 0, 1)
	if err != nil {
		b.Fatal(err)
	}
	defer tr.Close()
	text := batch(1, rows*length)
	for step := range 3 {
		if _, err := tr.Step(step, text); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	var flops int64
	for i := range b.N {
		r, err := tr.Step(3+i, text)
		if err != nil {
			b.Fatal(err)
		}
		flops += r.FLOPs
	}
	b.ReportMetric(float64(flops)/b.Elapsed().Seconds()/1e12, "TFLOP/s")
	b.ReportMetric(float64(b.N*rows*length)/b.Elapsed().Seconds(), "tokens/s")
}

// BenchmarkEvaluate measures 16 placements of two full layers on one batch of text; a placement is the unit.
func BenchmarkEvaluate(b *testing.B) {
	net, rows, length := benchNet(b)
	e, err := NewEvaluator(net, Exam{Text: []train.Batch{batch(1, rows*length)}, Tokens: rows * length, Docs: 4})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	paths := placement.Draw(net.Layers(), 2, 0, 16, 1)
	if _, err := e.Evaluate(context.Background(), paths); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		if _, err := e.Evaluate(context.Background(), paths); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N*len(paths)), "ms/placement")
	b.ReportMetric(float64(e.Cost.Shared)/float64(e.Cost.Shared+e.Cost.Layers), "shared")
}
