// Package infertest has what tests of engines and of what runs them share: small models with any layers, and the machines that
// there are.
package infertest

import (
	"errors"
	"strings"
	"testing"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/layers"
)

// Vocab is the vocabulary of models.
const Vocab = 50

// Mixed is a small model with layers of these kinds, its weights drawn wide so that answers vary.
func Mixed(t testing.TB, kinds ...string) (*layers.Decoder, layers.Weights) {
	t.Helper()
	c := &checkpoints.Config{
		ModelType: checkpoints.JetNemotron, HiddenSize: 48, IntermediateSize: 40, NumHeads: 4, NumKVHeads: 2, HeadDim: 12,
		VocabSize: Vocab, MaxPositions: 4096, RMSNormEps: 1e-6, RopeTheta: 1e4, InitializerRange: 0.2, TieEmbeddings: true,
		AttentionBias: true, BOS: -1, DType: "float32", LayerTypes: kinds, NumLayers: len(kinds),
	}
	jet := checkpoints.JetConfig{NumHeads: 3, HeadDim: 12, ExpandV: 2, NormEps: 1e-5, ConvSize: 4, GeneratorReduction: 4, Mode: "chunk"}
	for _, kind := range kinds { // linear blocks share their options
		if kind != checkpoints.Attn && kind != checkpoints.SWA {
			if err := c.SetJet(kind, jet); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.SetWindow(9); err != nil {
		t.Fatal(err)
	}
	d, err := layers.NewDecoder(c)
	if err != nil {
		t.Fatal(err)
	}
	w := d.Draw(1)
	for name, v := range w { // what starts at zero would hide its path
		if strings.Contains(name, "generator") || strings.HasSuffix(name, ".bias") {
			copy(v.F32, check.To[float32](check.Normal(check.Rand(uint64(len(name))), len(v.F32), 0.3)))
		}
	}
	return d, w
}

// EachMachine runs f on the CPU, and where there is a device, on that in float32, where nothing may be left.
func EachMachine(t *testing.T, f func(t *testing.T, m *autograd.Machine)) {
	t.Helper()
	cores := cpu.New(2)
	t.Cleanup(cores.Close)
	t.Run("cpu", func(t *testing.T) { f(t, autograd.OnCPU(cores)) })
	d, err := device.Open(0)
	if errors.Is(err, device.ErrNone) {
		return
	} else if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	t.Run("device", func(t *testing.T) {
		f(t, autograd.OnDevice(d, device.Float32, cores))
		if live := d.Usage().Live; live != 0 {
			t.Errorf("%d bytes are left on the device", live)
		}
	})
}
