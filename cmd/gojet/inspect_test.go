package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/checkpoints/safetensors"
	"github.com/gojet/gojet/internal/fixtures"
	"github.com/gojet/gojet/layers"
)

// hybrid is the config.json of a model of three layers, one of each kind.
const hybrid = `{
	"model_type": "jet_nemotron", "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 3, "vocab_size": 256,
	"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64, "rms_norm_eps": 1e-6,
	"rope_theta": 10000.0, "tie_word_embeddings": true, "torch_dtype": "float32", "initializer_range": 0.3,
	"hidden_act": "silu", "layer_types": ["jet", "swa", "attn"],
	"efficient_attention_config": {
		"jet": {"mode": "chunk", "expand_v": 2, "num_heads": 2, "head_dim": 4, "norm_eps": "1e-5", "conv_size": 4,
			"dconv_generator_reduction": 8, "dconv_implementation": "triton"},
		"swa": {"window_size": 16}
	}
}`

// saved writes a checkpoint of that configuration with drawn weights; edits are pairs of what to replace in it.
func saved(t *testing.T, config string, edits ...string) (dir string) {
	t.Helper()
	c, err := checkpoints.ParseConfig([]byte(strings.NewReplacer(edits...).Replace(config)))
	if err != nil {
		t.Fatal(err)
	}
	model, err := layers.NewDecoder(c)
	if err != nil {
		t.Fatal(err)
	}
	var params []checkpoints.Param
	for _, p := range model.Params() {
		params = append(params, checkpoints.Param{Name: p.Name, Shape: p.Shape, Values: safetensors.Values(p.Draw(1))})
	}
	dir = filepath.Join(t.TempDir(), "model")
	if err := checkpoints.Save(dir, c, params, checkpoints.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func inspectCalls(t *testing.T) []call {
	dir, misfit := saved(t, hybrid), saved(t, hybrid)
	path := filepath.Join(misfit, "config.json")
	config, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	config = bytes.Replace(config, []byte(`"intermediate_size": 12`), []byte(`"intermediate_size": 16`), 1)
	if err := os.WriteFile(path, config, 0o644); err != nil {
		t.Fatal(err)
	}
	return []call{
		{name: "text", args: []string{"inspect", dir}, parts: []string{
			"jet_nemotron, 3 layers, hidden 8, intermediate 12, vocabulary 256, tied embeddings\n",
			"2 heads of 4, 1 of keys and values, rope theta 10000, at most 64 positions\n",
			"jet           layers 0\n", "embedding   2048", "decode state  32 bytes a token, ",
		}},
		{name: "tensors", args: []string{"inspect", "--tensors", dir}, parts: []string{"model.layers.0.self_attn.A_log", "F32", "[256 8]"}},
		{name: "json", args: []string{"inspect", "--json", dir}, parts: []string{`"type": "jet_nemotron"`}},
		{name: "context", args: []string{"inspect", "--context", "1000", dir}, parts: []string{" bytes at 1000 tokens"}},
		{name: "context below 0", args: []string{"inspect", "--context", "-1", dir}, code: 1, err: "--context is -1"},
		{name: "misfit", args: []string{"inspect", misfit}, parts: []string{"parameters"}, code: 1, err: "9 misshapen (model.layers.0.mlp.gate_proj.weight is [12 8], want [16 8]"},
		{name: "no folder", args: []string{"inspect"}, code: 1, err: "accepts 1 arg(s), received 0"},
		{name: "missing", args: []string{"inspect", "/no/such"}, code: 1, err: "/no/such"},
	}
}

// TestInspectNumbers adds up by hand what inspect says of the hybrid model.
func TestInspectNumbers(t *testing.T) {
	_, code, out, errs := execute(t.Context(), "", "inspect", "--json", "--tensors", saved(t, hybrid))
	var r report
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v, error stream %s", code, err, errs)
	}
	attention := 8*8 + 2*4*8 + 8*8 + 8 + 2*4 // q, k and v, o, biases
	jet := 8*8 + 8*8 + 16*8 + 16*8 + 8*16 +  // q, k, v, gate, o
		2*8 + 2*8 + 2 + 2 + 8 + // beta, a, A_log, dt_bias, o_norm
		2*8 + 64*2 + 64 // generator of the convolution
	want := map[string]int{"embedding": 256 * 8, "jet": jet, "swa": attention, "attn": attention, "mlp": 3 * 3 * 8 * 12, "norm": 7 * 8}
	sum := 0
	for _, k := range r.Kinds {
		if k.Parameters != want[k.Name] {
			t.Errorf("%s: %d parameters, want %d", k.Name, k.Parameters, want[k.Name])
		}
		sum += want[k.Name]
	}
	if len(r.Kinds) != len(want) || r.Parameters != sum || r.Tensors.Bytes != 4*sum {
		t.Errorf("%d kinds, %d parameters, %d bytes, want %d, %d, %d", len(r.Kinds), r.Parameters, r.Tensors.Bytes, len(want), sum, 4*sum)
	}
	if len(r.Tensors.List) != r.Tensors.Count || r.Tensors.Types["F32"] != r.Tensors.Count {
		t.Errorf("%d tensors listed of %d, types %v", len(r.Tensors.List), r.Tensors.Count, r.Tensors.Types)
	}
	// The full layer keeps k and v of each token, the window 16 of them, the JetBlock S and the 3 inputs before.
	fixed := 4 * (2*16*4 + 2*4*8 + 3*16)
	state := decodeState{PerToken: 4 * 2 * 4, PerSequence: fixed, Context: 64, AtContext: 64*4*2*4 + fixed}
	if r.DecodeState != state {
		t.Errorf("decode state %+v, want %+v", r.DecodeState, state)
	}
}

func TestInspectFixtures(t *testing.T) {
	for _, name := range []string{"tiny-qwen2", "tiny-qwen3", "tiny-jet-nemotron"} {
		(call{args: []string{"inspect", filepath.Join(fixtures.Dir(t), name)}, parts: []string{"parameters", "decode state"}}).check(t)
	}
}
