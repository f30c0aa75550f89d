package layers

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/packed"
)

// designs are the variations of a JetBlock that its paper compares, with the published block first.
func designs() []checkpoints.JetDesign {
	return []checkpoints.JetDesign{{}, {StaticV: true}, {ConvQK: true}, {NoGate: true}, {StaticV: true, ConvQK: true, NoGate: true}}
}

// designConfig is a model of two JetBlocks.
func designConfig(t *testing.T, design checkpoints.JetDesign, reduction int) *checkpoints.Config {
	t.Helper()
	c := smallConfig(t)
	c.LayerTypes, c.NumLayers = []string{"jet", "jet"}, 2
	o, err := c.Jet("jet")
	if err != nil {
		t.Fatal(err)
	}
	o.JetDesign, o.GeneratorReduction = design, reduction
	if err := c.SetJet("jet", o); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDesignsOfJetBlock(t *testing.T) {
	for _, design := range designs() {
		c := designConfig(t, design, 4)
		d, err := NewDecoder(c)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, p := range d.Mixer(0).Params() {
			names = append(names, p.Name)
		}
		for name, want := range map[string]bool{
			"g_proj.weight": !design.NoGate, "q_conv1d.weight": design.ConvQK, "k_conv1d.weight": design.ConvQK, "v_conv1d.weight": design.StaticV,
			"dynamic_conv1d.kernel_generator.w1.weight": !design.StaticV, "o_norm.weight": true,
		} {
			if slices.Contains(names, name) != want {
				t.Errorf("%+v: %s is there: %v", design, name, !want)
			}
		}
		gradientsOfMixer(t, c, d.Mixer(0))

		w, ids := livelyWeights(d), someIDs(140, c.VocabSize)
		m := onCPU(t)
		want := run(t, m, d, w, ids, packed.Batch(2, 70))
		for _, chunk := range []int{1, 7} {
			check.Close(t, "state continues", feed(t, m, d, w, ids, 70, chunk), want, m.tol)
		}
	}
}

// TestStaticDesignIsDynamicAtStart: generated kernels that do not depend on the token are a static convolution.
func TestStaticDesignIsDynamicAtStart(t *testing.T) {
	dynamic, err := NewDecoder(designConfig(t, checkpoints.JetDesign{}, 4))
	if err != nil {
		t.Fatal(err)
	}
	static, err := NewDecoder(designConfig(t, checkpoints.JetDesign{StaticV: true}, 4))
	if err != nil {
		t.Fatal(err)
	}
	w, s := dynamic.Draw(1), Weights{}
	for _, p := range static.Params() {
		name := strings.Replace(p.Name, "v_conv1d.weight", "dynamic_conv1d.kernel_generator.w2.bias", 1)
		s[p.Name] = autograd.Float32s(w[name].F32, p.Shape...)
	}
	ids, m := someIDs(70, dynamic.Config.VocabSize), onCPU(t)
	q := packed.Batch(1, 70)
	check.Close(t, "logits", run(t, m, static, s, ids, q), run(t, m, dynamic, w, ids, q), check.Kernel32)
}

// The width of the generator is an option of the published block.
func TestGeneratorWidth(t *testing.T) {
	for reduction, width := range map[int]int{1: 24, 4: 6, 24: 1} {
		d, err := NewDecoder(designConfig(t, checkpoints.JetDesign{}, reduction))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range d.Mixer(0).Params() {
			if strings.HasSuffix(p.Name, "w1.weight") && p.Shape[0] != width {
				t.Errorf("a reduction of %d gives a width of %d, want %d", reduction, p.Shape[0], width)
			}
		}
	}
}

func TestOptionsOfBlocks(t *testing.T) {
	for _, tc := range []struct{ kind, more, want string }{
		{"jet", `"v_conv": "none"`, `efficient_attention_config.jet.v_conv is "none", want dynamic or static`},
		{"jet", `"output_gate": 3`, "efficient_attention_config.jet.output_gate is 3, want true or false"},
		{"gated_deltanet", `"v_conv": "static"`, "efficient_attention_config.gated_deltanet.v_conv is unknown"},
		{"gla", `"gate_low_rank_dim": 0`, "efficient_attention_config.gla.gate_low_rank_dim is 0, want 1 to"},
		{"mamba2", `"n_groups": 3`, "layers: mamba2: n_groups is 3, want a divisor of the 2 heads"},
		{"mamba2", `"n_groups": 2`, ""},
		{"retnet", `"n_groups": 1`, "efficient_attention_config.retnet.n_groups is unknown"},
		{"rwkv7", `"a_low_rank_dim": 1.5`, "efficient_attention_config.rwkv7.a_low_rank_dim is 1.5, want a whole number"},
	} {
		c := smallConfig(t)
		o := checkpoints.DefaultJet()
		o.NumHeads, o.HeadDim = 2, 6
		if err := c.SetJet(tc.kind, o); err != nil {
			t.Fatal(err)
		}
		c.Mixers[tc.kind] = json.RawMessage(strings.TrimSuffix(string(c.Mixers[tc.kind]), "}") + ", " + tc.more + "}")
		m, err := newMixer(c, tc.kind)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s with %s: %v", tc.kind, tc.more, err)
		case tc.want == "":
			gradientsOfMixer(t, c, m)
		case err == nil || !strings.Contains(err.Error(), tc.want):
			t.Errorf("%s with %s: got error %v, want %q", tc.kind, tc.more, err, tc.want)
		}
	}
}
