package scheduler

import (
	"sync"
	"testing"
	"time"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/infer"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/layers"
)

// BenchmarkSteps is eight answers of a model whose step takes some 80 µs through the scheduler, and the same steps by Next alone,
// in turns: the overhead is what the scheduler adds to a step.
func BenchmarkSteps(b *testing.B) {
	const rows, answer, rounds = 8, 200, 40
	c := &checkpoints.Config{
		ModelType: checkpoints.Qwen2, HiddenSize: 64, IntermediateSize: 64, NumLayers: 2, NumHeads: 1, NumKVHeads: 1,
		HeadDim: 64, VocabSize: 64, MaxPositions: 1024, RMSNormEps: 1e-6, RopeTheta: 1e6, InitializerRange: 0.02,
		TieEmbeddings: true, AttentionBias: true, BOS: -1, DType: "float32", LayerTypes: []string{checkpoints.Attn, checkpoints.Attn},
	}
	d, err := layers.NewDecoder(c)
	if err != nil {
		b.Fatal(err)
	}
	w := d.Draw(1)
	cores := cpu.New(2)
	defer cores.Close()
	ec := infer.Config{Rows: rows, Capacity: answer + 8, Chunk: 8}
	bare, err := infer.New(d, w, autograd.OnCPU(cores), ec)
	if err != nil {
		b.Fatal(err)
	}
	prompt := []int32{1, 2, 3}
	steps := func() time.Duration {
		all := make([]int, rows)
		for row := range rows {
			all[row] = row
			bare.ResetRow(row)
			if _, err := bare.First(row, prompt); err != nil {
				b.Fatal(err)
			}
		}
		begin := time.Now()
		for range answer - 1 {
			if _, err := bare.Next(all); err != nil {
				b.Fatal(err)
			}
		}
		return time.Since(begin)
	}
	s, stop := start(b, d, w, autograd.OnCPU(cores), ec, Config{CacheBytes: 1 << 24})
	defer stop()
	served := func() time.Duration {
		var wait, ready sync.WaitGroup
		for range rows {
			wait.Add(1)
			ready.Add(1)
			go func() {
				defer wait.Done()
				var once sync.Once
				if _, _, err := s.Generate(b.Context(), Request{Prompt: prompt, MaxTokens: answer, Sampling: greedy, LogProbs: -1}, func(Token) bool {
					once.Do(ready.Done)
					return true
				}); err != nil {
					b.Error(err)
				}
			}()
		}
		ready.Wait()
		begin := time.Now()
		wait.Wait()
		return time.Since(begin)
	}
	steps()
	served()
	for b.Loop() {
		var alone, with time.Duration = 1 << 62, 1 << 62
		for range rounds { // the machine is not ours alone: the least of several
			alone, with = min(alone, steps()), min(with, served())
		}
		b.ReportMetric(float64(alone.Microseconds())/(answer-1), "µs/step-bare")
		b.ReportMetric(float64(with.Microseconds())/(answer-1), "µs/step")
		b.ReportMetric(100*(float64(with)/float64(alone)-1), "%overhead")
	}
}
