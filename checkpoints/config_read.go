package checkpoints

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
)

const (
	configName     = "config.json"
	generationName = "generation_config.json"

	maxConfig = 16 << 20 // bytes, far above any
)

// ReadConfig reads config.json of a model's folder, and the tokens to stop at from its
// generation_config.json where that names any.
func ReadConfig(dir string) (*Config, error) {
	c, err := readConfig(dir)
	if err != nil {
		return nil, fmt.Errorf("checkpoints: %s: %w", dir, err)
	}
	return c, nil
}

func readConfig(dir string) (*Config, error) {
	data, err := readSmall(dir, configName, maxConfig)
	if err != nil {
		return nil, err
	}
	c, err := parseConfig(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", configName, err)
	}
	data, err = readSmall(dir, generationName, maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	o, err := parseObject(data)
	if err == nil {
		if eos := o.ints("eos_token_id"); len(eos) > 0 {
			c.EOS = eos
		}
		if err = o.err; err == nil {
			err = c.checkTokens()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", generationName, err)
	}
	return c, nil
}

// readSmall reads a file of dir that must not be greater than most bytes.
func readSmall(dir, name string, most int64) ([]byte, error) {
	path, err := inside(dir, name)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, fmt.Errorf("%s is %v of %d bytes, want a regular file of at most %d", name, info.Mode(), info.Size(), most)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

// ParseConfig reads the text of a config.json.
func ParseConfig(data []byte) (*Config, error) {
	c, err := parseConfig(data)
	if err != nil {
		return nil, fmt.Errorf("checkpoints: config: %w", err)
	}
	return c, nil
}

func parseConfig(data []byte) (*Config, error) {
	o, err := parseObject(data)
	if err != nil {
		return nil, err
	}
	o.need("model_type")
	c := &Config{ModelType: o.string("model_type", ""), rest: o.members}
	if o.err == nil && architectures[c.ModelType] == "" {
		return nil, c.checkSizes()
	}
	o.need("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
	if !o.present("num_key_value_heads") { // null means one for each head
		o.need("num_key_value_heads")
	}
	c.HiddenSize = o.int("hidden_size", 0)
	c.IntermediateSize = o.int("intermediate_size", 0)
	c.NumLayers = o.int("num_hidden_layers", 0)
	c.NumHeads = o.int("num_attention_heads", 0)
	c.NumKVHeads = o.int("num_key_value_heads", c.NumHeads)
	c.VocabSize = o.int("vocab_size", 0)
	c.MaxPositions = o.int("max_position_embeddings", 32768)
	c.RMSNormEps = o.float("rms_norm_eps", 1e-6)
	c.InitializerRange = o.float("initializer_range", 0.02)
	c.TieEmbeddings = o.bool("tie_word_embeddings", false)
	c.BOS = o.int("bos_token_id", -1)
	c.EOS = o.ints("eos_token_id")
	if o.has("pad_token_id") {
		pad := o.int("pad_token_id", 0)
		c.Pad = &pad
	}
	c.readHeadDim(o)
	c.readAttention(o)
	c.readRope(o)
	c.readDType(o)
	c.readLayers(o)
	refuse(o)
	if o.err != nil {
		return nil, o.err
	}
	return c, c.validate()
}

func (c *Config) readHeadDim(o *object) {
	if !o.present("head_dim") && c.ModelType == Qwen3 {
		c.HeadDim = 128 // what transformers takes
		return
	}
	c.HeadDim = o.int("head_dim", 0)
	if o.has("head_dim") || c.NumHeads < 1 {
		return
	}
	if c.HiddenSize%c.NumHeads != 0 {
		o.fail(fmt.Errorf("hidden_size is %d, want a multiple of num_attention_heads, %d, where head_dim is not given", c.HiddenSize, c.NumHeads))
	}
	c.HeadDim = c.HiddenSize / c.NumHeads
}

func (c *Config) readAttention(o *object) {
	switch c.ModelType {
	case Qwen2:
		c.AttentionBias = true
	case Qwen3:
		c.AttentionBias, c.QKNorm = o.bool("attention_bias", false), true
	case JetNemotron: // both keys are gojet's own, for students of Qwen3 teachers
		c.AttentionBias, c.QKNorm = o.bool("attention_bias", true), o.bool("qk_norm", false)
	}
}

// readRope reads rope_theta where transformers 4 writes it, and where transformers 5 does.
func (c *Config) readRope(o *object) {
	c.RopeTheta = o.float("rope_theta", 10000)
	if scaling := o.object("rope_scaling"); scaling != nil {
		kind := scaling.string("rope_type", scaling.string("type", ""))
		if scaling.err == nil && kind != "default" {
			scaling.fail(fmt.Errorf("rope_scaling is of type %q, which is not supported, want null", kind))
		}
		scaling.only("rope_type", "type", "rope_theta")
		o.fail(scaling.err)
	}
	rope := o.object("rope_parameters")
	if rope == nil {
		return
	}
	if kind := rope.string("rope_type", "default"); kind != "default" {
		rope.fail(fmt.Errorf("rope_parameters.rope_type is %q, which is not supported, want \"default\"", kind))
	}
	theta := rope.float("rope_theta", c.RopeTheta)
	if o.has("rope_theta") && theta != c.RopeTheta {
		rope.fail(fmt.Errorf("rope_theta is %v, but rope_parameters.rope_theta %v", c.RopeTheta, theta))
	}
	if part := rope.float("partial_rotary_factor", 1); part != 1 {
		rope.fail(fmt.Errorf("rope_parameters.partial_rotary_factor is %v, which is not supported, want 1", part))
	}
	rope.only("rope_theta", "rope_type", "partial_rotary_factor")
	o.fail(rope.err)
	c.RopeTheta = theta
}

func (c *Config) readDType(o *object) {
	older := o.string("torch_dtype", "float32")
	c.DType = o.string("dtype", older)
	if o.has("torch_dtype") && c.DType != older {
		o.fail(fmt.Errorf("torch_dtype is %q, but dtype %q", older, c.DType))
	}
}

// layerNames are transformers' names of layer types that have another one here.
var layerNames = map[string]string{"full_attention": Attn, "sliding_attention": SWA}

func (c *Config) readLayers(o *object) {
	c.LayerTypes = value[[]string](o, "layer_types", "a list of names", nil)
	for i, kind := range c.LayerTypes {
		if ours, ok := layerNames[kind]; ok {
			c.LayerTypes[i] = ours
		}
	}
	if c.ModelType == JetNemotron {
		o.need("layer_types")
		if mixers := o.object(mixersKey); mixers != nil {
			c.Mixers = mixers.members
		}
		return
	}
	sliding := o.bool("use_sliding_window", false)
	if !o.has("layer_types") && c.NumLayers > 0 && c.NumLayers <= 1<<12 {
		first := c.NumLayers
		if sliding && (o.has("sliding_window") || !o.present("sliding_window")) { // null turns it off
			first = min(first, max(0, o.int("max_window_layers", 28)))
		}
		c.LayerTypes = append(slices.Repeat([]string{Attn}, first), slices.Repeat([]string{SWA}, c.NumLayers-first)...)
	}
	if !slices.Contains(c.LayerTypes, SWA) {
		return
	}
	if !sliding {
		o.fail(fmt.Errorf("layer_types names sliding_attention, but use_sliding_window is false"))
	}
	window := o.members["sliding_window"]
	if !o.present("sliding_window") {
		window = json.RawMessage("4096") // what transformers takes
	}
	c.Mixers = map[string]json.RawMessage{SWA: append(append([]byte(`{"window_size":`), window...), '}')}
}

// refuse reports what the model would need and is not here.
func refuse(o *object) {
	if act := o.string("hidden_act", "silu"); act != "silu" {
		o.fail(fmt.Errorf("hidden_act is %q, which is not supported, want \"silu\"", act))
	}
	if o.bool("use_mrope", false) {
		o.fail(fmt.Errorf("use_mrope is true, which is not supported, want false"))
	}
	if o.has("quantization_config") {
		o.fail(o.wrong("quantization_config", "null: quantised weights are not supported", o.members["quantization_config"]))
	}
}
