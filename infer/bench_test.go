package infer

import (
	"bytes"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/bf16"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/layers"
)

// qwenHalfBillion is the shape of Qwen2.5-0.5B.
func qwenHalfBillion() *checkpoints.Config {
	c := &checkpoints.Config{
		ModelType: checkpoints.Qwen2, HiddenSize: 896, IntermediateSize: 4864, NumLayers: 24, NumHeads: 14, NumKVHeads: 2,
		HeadDim: 64, VocabSize: 151936, MaxPositions: 32768, RMSNormEps: 1e-6, RopeTheta: 1e6, InitializerRange: 0.02,
		TieEmbeddings: true, AttentionBias: true, BOS: -1, DType: "bfloat16",
	}
	for range c.NumLayers {
		c.LayerTypes = append(c.LayerTypes, checkpoints.Attn)
	}
	return c
}

// saveRandom writes a model with random weights. Matrices repeat one stretch of normal draws, which costs no time.
func saveRandom(tb testing.TB, dir string, c *checkpoints.Config) {
	tb.Helper()
	d, err := layers.NewDecoder(c)
	if err != nil {
		tb.Fatal(err)
	}
	noise := check.To[float32](check.Normal(check.Rand(1), 1<<20, c.InitializerRange))
	for i, v := range noise { // an even last byte: readPart looks for an odd one
		noise[i] = (bf16.From(v) &^ 1).Float32()
	}
	var params []checkpoints.Param
	for _, p := range d.Params() {
		params = append(params, checkpoints.Param{Name: p.Name, Shape: p.Shape, Values: func() ([]float32, error) {
			if len(p.Shape) < 2 {
				return p.Draw(1), nil
			}
			w := make([]float32, p.Size())
			for at := 0; at < len(w); at += len(noise) {
				copy(w[at:], noise)
			}
			return w, nil
		}})
	}
	if err := checkpoints.Save(dir, c, params, checkpoints.SaveOptions{DType: "bfloat16"}); err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkDecode generates with the shape of Qwen2.5-0.5B from bfloat16 weights, beside the time that merely reading
// those weights takes on the same cores: the floor.
func BenchmarkDecode(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "model")
	saveRandom(b, dir, qwenHalfBillion())
	ckpt, err := checkpoints.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer ckpt.Close()
	d, err := layers.NewDecoder(ckpt.Config)
	if err != nil {
		b.Fatal(err)
	}
	mapped, err := d.Load(ckpt, layers.AsStored)
	if err != nil {
		b.Fatal(err)
	}
	cores := cpu.New(2)
	defer cores.Close()
	for _, form := range []struct {
		name string
		w    layers.Weights
	}{{"mapped", mapped}, {"copied", copied(mapped)}} {
		b.Run("floor/"+form.name, func(b *testing.B) {
			for b.Loop() {
				readAll(cores, form.w)
			}
			b.ReportMetric(float64(form.w.Bytes())*float64(b.N)/b.Elapsed().Seconds()/1e9, "GB/s")
		})
		b.Run("decode/"+form.name, func(b *testing.B) {
			e, err := New(d, form.w, autograd.OnCPU(cores), Config{Capacity: 4096, Chunk: 64})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := e.Feed(make([]int32, 64)); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if e.Len() == 1024 {
					e.Reset()
				}
				if _, err := e.Feed([]int32{7}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
			b.ReportMetric(float64(form.w.Bytes())*float64(b.N)/b.Elapsed().Seconds()/1e9, "GB/s")
		})
	}
}

func copied(w layers.Weights) layers.Weights {
	c := layers.Weights{}
	for name, v := range w {
		v.BF16 = append([]bf16.BF16(nil), v.BF16...)
		c[name] = v
	}
	return c
}

// readAll looks at every byte of the matrices once, on all cores.
func readAll(cores *cpu.Cores, w layers.Weights) {
	for _, v := range w {
		if v.BF16 != nil {
			j := cpu.Borrow(cores, v)
			j.For(len(v.BF16), 1<<16, readPart)
			j.Return()
		}
	}
}

func readPart(v *autograd.Value, _ *cpu.Worker, lo, hi int) {
	part := v.BF16[lo:hi]
	// A byte that does not occur: the search runs to the end at the speed of memory.
	if bytes.IndexByte(unsafe.Slice((*byte)(unsafe.Pointer(&part[0])), 2*len(part)), 0x7f) >= 0 {
		panic("infer: a byte that cannot be in the weights")
	}
}
