package checkpoints

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gojet/gojet/internal/fixtures"
)

func readFixture(t *testing.T, name string) *Config {
	t.Helper()
	c, err := ReadConfig(filepath.Join(fixtures.Dir(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestReadConfig(t *testing.T) {
	base := Config{
		HiddenSize: 64, NumHeads: 4, NumKVHeads: 2, MaxPositions: 256, RMSNormEps: 1e-6, RopeTheta: 1e6,
		BOS: 1, EOS: []int{2}, DType: "float32", TieEmbeddings: true,
	}
	jet := base
	jet.ModelType, jet.IntermediateSize, jet.NumLayers, jet.HeadDim, jet.VocabSize = JetNemotron, 176, 4, 16, 384
	jet.MaxPositions, jet.InitializerRange, jet.AttentionBias = 512, 0.02, true
	jet.LayerTypes = []string{Jet, SWA, Attn, Jet}
	teacher := jet
	teacher.ModelType, teacher.LayerTypes = Qwen2, []string{Attn, Attn, Attn, Attn}
	qwen2 := base
	qwen2.ModelType, qwen2.IntermediateSize, qwen2.NumLayers, qwen2.HeadDim, qwen2.VocabSize = Qwen2, 160, 3, 16, 512
	qwen2.InitializerRange, qwen2.AttentionBias, qwen2.LayerTypes = 0.3, true, []string{Attn, Attn, Attn}
	qwen3 := qwen2
	qwen3.ModelType, qwen3.HeadDim, qwen3.AttentionBias, qwen3.QKNorm, qwen3.TieEmbeddings = Qwen3, 24, false, true, false

	for name, want := range map[string]Config{
		"tiny-jet-nemotron": jet, "distill/student_init": jet, "distill/teacher": teacher, "tiny-qwen2": qwen2, "tiny-qwen3": qwen3,
	} {
		got := readFixture(t, name)
		if got.ModelType == JetNemotron {
			if w, err := got.Window(); err != nil || w != 24 {
				t.Errorf("%s: window %d, %v, want 24", name, w, err)
			}
			j, err := got.Jet(Jet)
			if want := (JetConfig{2, 16, 2, 1e-5, 4, 8, "chunk", "triton", JetDesign{}}); err != nil || j != want {
				t.Errorf("%s: jet %+v, %v, want %+v", name, j, err, want)
			}
		}
		bare := *got
		bare.rest, bare.Mixers = nil, nil
		if !reflect.DeepEqual(bare, want) {
			t.Errorf("%s:\n%+v, want\n%+v", name, bare, want)
		}
	}
}

// What is written says what was read: all of it for transformers 4 and Jet-Nemotron, in the older words
// for transformers 5.
func TestWriteConfig(t *testing.T) {
	for name, change := range map[string]func(map[string]any){
		"tiny-jet-nemotron": func(map[string]any) {},
		"distill/teacher": func(m map[string]any) {
			m["layer_types"], m["use_sliding_window"] = []any{"full_attention", "full_attention", "full_attention", "full_attention"}, false
		},
		"tiny-qwen2": func(m map[string]any) { older(m) },
		"tiny-qwen3": func(m map[string]any) { older(m) },
	} {
		c := readFixture(t, name)
		raw, err := os.ReadFile(filepath.Join(fixtures.Dir(t), name, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		var want, got map[string]any
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		change(want)
		text, err := c.Format()
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: written\n%v, want\n%v", name, got, want)
		}
	}
}

func older(m map[string]any) {
	m["torch_dtype"], m["rope_theta"], m["rope_scaling"] = m["dtype"], m["rope_parameters"].(map[string]any)["rope_theta"], nil
	delete(m, "dtype")
	delete(m, "rope_parameters")
}

// small is a model of two layers; keys changes it.
func small(keys map[string]any) string {
	m := map[string]any{
		"model_type": "qwen2", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
		"num_key_value_heads": 1, "vocab_size": 32, "rope_theta": 10000.0, "torch_dtype": "bfloat16",
	}
	for key, v := range keys {
		if m[key] = v; v == absent {
			delete(m, key)
		}
	}
	text, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(text)
}

const absent = "(absent)"

type keys = map[string]any

// jetKeys make small a Jet-Nemotron model.
func jetKeys(options keys) keys {
	jet := keys{"num_heads": 2, "head_dim": 4}
	for key, v := range options {
		jet[key] = v
	}
	return keys{"model_type": "jet_nemotron", "layer_types": []string{"jet", "attn"}, mixersKey: keys{"jet": jet}}
}

func TestConfigForms(t *testing.T) {
	for _, tc := range []struct {
		name string
		text string
		is   func(c *Config) bool
	}{
		{"defaults", small(nil), func(c *Config) bool {
			return c.HeadDim == 4 && c.BOS == -1 && c.EOS == nil && c.Pad == nil && !c.TieEmbeddings && c.AttentionBias && c.MaxPositions == 32768 && c.DType == "bfloat16"
		}},
		{"several ends", small(keys{"eos_token_id": []int{3, 4}, "pad_token_id": 5}), func(c *Config) bool { return slices.Equal(c.EOS, []int{3, 4}) && *c.Pad == 5 }},
		{"head_dim", small(keys{"head_dim": 6}), func(c *Config) bool { return c.HeadDim == 6 }},
		{"qwen3's head_dim", small(keys{"model_type": "qwen3"}), func(c *Config) bool { return c.HeadDim == 128 && c.QKNorm && !c.AttentionBias }},
		{"null kv heads", small(keys{"num_key_value_heads": nil}), func(c *Config) bool { return c.NumKVHeads == 2 }},
		{"theta in rope_parameters", small(keys{"rope_theta": absent, "rope_parameters": keys{"rope_theta": 5e5, "rope_type": "default"}}), func(c *Config) bool { return c.RopeTheta == 5e5 }},
		{"default rope_scaling", small(keys{"rope_scaling": keys{"type": "default"}}), func(c *Config) bool { return c.RopeTheta == 1e4 }},
		{"sliding from a layer on", small(keys{"use_sliding_window": true, "max_window_layers": 1, "sliding_window": 7}), func(c *Config) bool {
			w, err := c.Window()
			return slices.Equal(c.LayerTypes, []string{Attn, SWA}) && w == 7 && err == nil
		}},
		{"sliding by name", small(keys{"use_sliding_window": true, "sliding_window": 7, "layer_types": []string{"sliding_attention", "full_attention"}}), func(c *Config) bool { return slices.Equal(c.LayerTypes, []string{SWA, Attn}) }},
		{"sliding's default", small(keys{"use_sliding_window": true, "max_window_layers": 0}), func(c *Config) bool { w, err := c.Window(); return w == 4096 && err == nil }},
		{"sliding not used", small(keys{"use_sliding_window": false, "max_window_layers": 0, "sliding_window": 7}), func(c *Config) bool { return slices.Equal(c.LayerTypes, []string{Attn, Attn}) }},
		{"sliding of null", small(keys{"use_sliding_window": true, "max_window_layers": 0, "sliding_window": nil}), func(c *Config) bool { return slices.Equal(c.LayerTypes, []string{Attn, Attn}) }},
		{"jet defaults", small(jetKeys(nil)), func(c *Config) bool {
			j, err := c.Jet("jet")
			return err == nil && j == JetConfig{2, 4, 2, 1e-5, 4, 8, "chunk", "triton", JetDesign{}} && j.ValueHeadDim() == 8 && j.KeyDim() == 8 && j.ValueDim() == 16 && !c.QKNorm
		}},
		{"jet of the 2B model", small(jetKeys(keys{"num_heads": 12, "head_dim": 96, "expand_v": 2.6666666667, "norm_eps": 1e-6})), func(c *Config) bool {
			j, err := c.Jet("jet")
			return err == nil && j.ValueHeadDim() == 256 && j.ValueDim() == 3072 && j.NormEps == 1e-6
		}},
		{"student of qwen3", small(func() keys { k := jetKeys(nil); k["qk_norm"], k["attention_bias"] = true, false; return k }()), func(c *Config) bool { return c.QKNorm && !c.AttentionBias }},
	} {
		c, err := ParseConfig([]byte(tc.text))
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		text, err := c.Format()
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		again, err := ParseConfig(text)
		if err != nil {
			t.Errorf("%s: written: %v", tc.name, err)
			continue
		}
		if !tc.is(c) || !tc.is(again) {
			t.Errorf("%s: read %+v, and after writing %+v", tc.name, c, again)
		}
	}
}

func TestBadConfig(t *testing.T) {
	jet := func(options keys) string { return small(jetKeys(options)) }
	layers := func(kinds ...string) string { k := jetKeys(nil); k["layer_types"] = kinds; return small(k) }
	for _, tc := range []struct{ name, text, err string }{
		{"empty", "", "found the end"},
		{"list", "[]", `is [], want an object`},
		{"null", "null", `is null, want an object`},
		{"key twice", `{"model_type":"qwen2","hidden_size":1,"hidden_size":2}`, `key "hidden_size" comes twice`},
		{"key twice, inside", strings.Replace(small(keys{"x": keys{"k": 1}}), `"k":1`, `"k":1,"k":2`, 1), `key "k" comes twice`},
		{"no model type", small(keys{"model_type": absent}), "model_type is missing"},
		{"other model", small(keys{"model_type": "llama"}), `model_type is "llama", want qwen2, qwen3 or jet_nemotron`},
		{"missing key", small(keys{"hidden_size": absent}), "hidden_size is missing"},
		{"missing kv heads", small(keys{"num_key_value_heads": absent}), "num_key_value_heads is missing"},
		{"text for number", small(keys{"hidden_size": "8"}), `hidden_size is "8", want a whole number`},
		{"fraction", small(keys{"hidden_size": 8.5}), `hidden_size is 8.5, want a whole number`},
		{"negative", small(keys{"vocab_size": -1}), `vocab_size is -1, want 1 to`},
		{"absurd", small(keys{"hidden_size": 1 << 40}), `hidden_size is 1099511627776, want 1 to 1048576`},
		{"absurd layers", small(keys{"num_hidden_layers": 1 << 40}), `num_hidden_layers is 1099511627776, want 1 to 4096`},
		{"heads that do not divide", small(keys{"num_attention_heads": 3}), `hidden_size is 8, want a multiple of num_attention_heads, 3`},
		{"kv heads that do not divide", small(keys{"num_attention_heads": 4, "num_key_value_heads": 3}), `num_attention_heads is 4, want a multiple of num_key_value_heads, 3`},
		{"no heads", small(keys{"num_attention_heads": 0}), `num_attention_heads is 0, want 1`},
		{"odd head", small(keys{"head_dim": 5}), `head_dim is 5, want it even`},
		{"eps zero", small(keys{"rms_norm_eps": 0}), `rms_norm_eps is 0, want a finite number above 0`},
		{"eps NaN", strings.Replace(small(keys{"rms_norm_eps": 7}), ":7", ":NaN", 1), `found "NaN", want a JSON number`},
		{"theta infinite", strings.Replace(small(nil), ":10000", ":1e999", 1), `rope_theta is 1e999, want a finite number`},
		{"theta tagged", small(keys{"rope_theta": keys{"__float__": "Infinity"}}), `rope_theta is {"__float__":"Infinity"}, want a finite number`},
		{"two thetas", small(keys{"rope_parameters": keys{"rope_theta": 5e5}}), `rope_theta is 10000, but rope_parameters.rope_theta 500000`},
		{"yarn", small(keys{"rope_scaling": keys{"type": "yarn", "factor": 4}}), `rope_scaling is of type "yarn", which is not supported`},
		{"yarn anew", small(keys{"rope_parameters": keys{"rope_type": "yarn", "rope_theta": 1e4}}), `rope_parameters.rope_type is "yarn", which is not supported`},
		{"part of a head", small(keys{"rope_parameters": keys{"partial_rotary_factor": 0.5}}), `partial_rotary_factor is 0.5, which is not supported`},
		{"rope by layer", small(keys{"rope_parameters": keys{"full_attention": keys{}}}), `rope_parameters.full_attention is unknown`},
		{"eos past the vocabulary", small(keys{"eos_token_id": 32}), `eos_token_id is 32, want 0 to 31`},
		{"eos null inside", small(keys{"eos_token_id": []any{1, nil}}), `eos_token_id is [1,null], want a whole number or a list`},
		{"bos", small(keys{"bos_token_id": -7}), `bos_token_id is -7`},
		{"pad", small(keys{"pad_token_id": 99}), `pad_token_id is 99`},
		{"dtype", small(keys{"torch_dtype": "int8"}), `torch_dtype is "int8", want float32`},
		{"two dtypes", small(keys{"dtype": "float32"}), `torch_dtype is "bfloat16", but dtype "float32"`},
		{"activation", small(keys{"hidden_act": "gelu"}), `hidden_act is "gelu", which is not supported`},
		{"mrope", small(keys{"use_mrope": true}), `use_mrope is true, which is not supported`},
		{"quantised", small(keys{"quantization_config": keys{"quant_method": "gptq"}}), `quantization_config is {"quant_method":"gptq"}, want null`},
		{"biased qwen3", small(keys{"model_type": "qwen3", "attention_bias": true}), `attention_bias is true, want false`},
		{"too few layer types", small(keys{"layer_types": []string{"full_attention"}}), `layer_types has 1 names, want 2`},
		{"unnamed layer", layers("jet", ""), `layer_types[1] is "", want the name of a block`},
		{"jet in qwen2", small(keys{"layer_types": []string{"jet", "full_attention"}}), `layer_types[0] is "jet", want full or sliding attention`},
		{"sliding not used", small(keys{"layer_types": []string{"sliding_attention", "full_attention"}}), `layer_types names sliding_attention, but use_sliding_window is false`},
		{"no window", layers("jet", "swa"), `efficient_attention_config.swa is missing`},
		{"window 0", small(keys{"use_sliding_window": true, "max_window_layers": 0, "sliding_window": 0}), `efficient_attention_config.swa.window_size is 0, want 1`},
		{"no layer types", small(keys{"model_type": "jet_nemotron"}), `layer_types is missing`},
		{"no jet options", small(keys{"model_type": "jet_nemotron", "layer_types": []string{"jet", "attn"}}), `efficient_attention_config.jet is missing`},
		{"jet options no object", small(keys{"model_type": "jet_nemotron", "layer_types": []string{"jet", "attn"}, mixersKey: keys{"jet": 1}}), `is 1, want an object`},
		{"unknown jet option", jet(keys{"expandv": 2}), `efficient_attention_config.jet.expandv is unknown`},
		{"jet type", jet(keys{"num_heads": "two"}), `efficient_attention_config.jet.num_heads is "two", want a whole number`},
		{"jet eps", jet(keys{"norm_eps": "small"}), `norm_eps is "small", want a finite number`},
		{"jet eps NaN", jet(keys{"norm_eps": "nan"}), `norm_eps is "nan", want a finite number`},
		{"jet heads", jet(keys{"num_heads": 0}), `efficient_attention_config.jet.num_heads is 0, want 1`},
		{"jet expand_v", jet(keys{"expand_v": 1.3}), `expand_v is 1.3, want a whole value dim: head_dim 4 times it is 5.2`},
		{"jet expand_v 0", jet(keys{"expand_v": 0}), `expand_v is 0, want above 0`},
		{"jet reduction", jet(keys{"dconv_generator_reduction": 0}), `dconv_generator_reduction is 0, want 1`},
	} {
		c, err := ParseConfig([]byte(tc.text))
		if err == nil {
			t.Errorf("%s: accepted as %+v", tc.name, c)
		} else if !strings.Contains(err.Error(), tc.err) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %q, want one line with %q", tc.name, err, tc.err)
		}
	}
}

func TestGenerationConfig(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "config.json", small(keys{"eos_token_id": 3}))
	for _, tc := range []struct {
		text string
		eos  []int
		err  string
	}{
		{`{}`, []int{3}, ""},
		{`{"eos_token_id":[4,3]}`, []int{4, 3}, ""},
		{`{"eos_token_id":99}`, nil, "generation_config.json: eos_token_id is 99"},
		{`{"eos_token_id":"x"}`, nil, `generation_config.json: eos_token_id is "x"`},
		{`{"eos_token_id":4,"eos_token_id":4}`, nil, "comes twice"},
	} {
		put(t, dir, "generation_config.json", tc.text)
		c, err := ReadConfig(dir)
		if tc.err == "" && (err != nil || !slices.Equal(c.EOS, tc.eos)) {
			t.Errorf("%s: %v, %v, want %v", tc.text, c, err, tc.eos)
		}
		if tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("%s: error %v, want one with %q", tc.text, err, tc.err)
		}
	}
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A student made from a teacher says so in official words, and shares nothing with it.
func TestStudentConfig(t *testing.T) {
	teacher, err := ParseConfig([]byte(small(keys{"use_sliding_window": false, "sliding_window": 9, "my_note": "kept"})))
	if err != nil {
		t.Fatal(err)
	}
	s := teacher.Clone()
	s.ModelType, s.LayerTypes = JetNemotron, []string{Jet, SWA}
	options := DefaultJet()
	options.NumHeads, options.HeadDim, options.NormEps = 2, 6, 1e-6
	options.JetDesign = JetDesign{StaticV: true, ConvQK: true, NoGate: true}
	if err := s.SetJet(Jet, options); err != nil {
		t.Fatal(err)
	}
	if err := s.SetWindow(5); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	text, err := s.Format()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseConfig(text)
	if err != nil {
		t.Fatal(err)
	}
	j, err := again.Jet(Jet)
	if err != nil || j != options {
		t.Errorf("jet %+v, %v, want %+v", j, err, options)
	}
	if w, err := again.Window(); err != nil || w != 5 {
		t.Errorf("window %d, %v, want 5", w, err)
	}
	for _, want := range []string{`"JetNemotronForCausalLM"`, `"my_note": "kept"`, `"expand_v": 2.0`, `"norm_eps": "1e-06"`, `"rope_theta": 10000.0`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("written without %s:\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "sliding") || len(teacher.Mixers) != 0 || teacher.LayerTypes[0] != Attn {
		t.Errorf("written as\n%s\nteacher %+v", text, teacher)
	}
	if s.SetWindow(0) == nil || s.SetJet(Jet, JetConfig{}) == nil {
		t.Error("impossible options were stored")
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(small(nil)))
	f.Add([]byte(small(jetKeys(keys{"norm_eps": "1e-5"}))))
	f.Add([]byte(small(keys{"rope_theta": nil, "rope_parameters": keys{"rope_theta": 5e5, "rope_type": "default"}, "eos_token_id": []int{1, 2}})))
	f.Add([]byte(small(keys{"use_sliding_window": true, "max_window_layers": 1, "sliding_window": 7, "model_type": "qwen3", "head_dim": 6})))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseConfig(data)
		if err != nil {
			return
		}
		text, err := c.Format()
		if err != nil {
			t.Fatalf("accepted, but cannot be written: %v\n%s", err, data)
		}
		again, err := ParseConfig(text)
		if err != nil {
			t.Fatalf("written, but cannot be read: %v\n%s", err, text)
		}
		twice, err := again.Format()
		if err != nil || string(twice) != string(text) {
			t.Fatalf("written twice it differs (%v):\n%s\n%s", err, text, twice)
		}
	})
}
