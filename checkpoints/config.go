// Package checkpoints is the model on disk: config.json, safetensors and their index, as Hugging Face
// transformers and the official Jet-Nemotron code write and read them.
package checkpoints

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Config defines a model. It is read from config.json of a Qwen2, Qwen2.5, Qwen3 or Jet-Nemotron model
// and written back so that transformers, or the official Jet-Nemotron code, loads it.
type Config struct {
	ModelType        string // qwen2, qwen3 or jet_nemotron
	HiddenSize       int
	IntermediateSize int
	NumLayers        int
	NumHeads         int
	NumKVHeads       int
	HeadDim          int
	VocabSize        int
	MaxPositions     int

	RMSNormEps       float64
	RopeTheta        float64
	InitializerRange float64

	TieEmbeddings bool
	AttentionBias bool // on the q, k and v projections
	QKNorm        bool // RMS norms over each head of q and k

	BOS int   // -1 where there is none
	EOS []int // generation stops at any of them
	Pad *int

	// LayerTypes names the mixer of each layer: attn, swa, jet, gated_deltanet or another block's name.
	LayerTypes []string
	// Mixers holds the options of blocks by layer type, as efficient_attention_config has them.
	Mixers map[string]json.RawMessage
	// DType of the weights on disk: float32, bfloat16, float16 or float64.
	DType string

	// rest holds every key of the file that was read, so that those not known here are written back.
	rest map[string]json.RawMessage
}

// Layer types of attention. Others are the names of their blocks.
const (
	Attn = "attn"
	SWA  = "swa"
)

// Model types.
const (
	Qwen2       = "qwen2"
	Qwen3       = "qwen3"
	JetNemotron = "jet_nemotron"
)

var architectures = map[string]string{
	Qwen2: "Qwen2ForCausalLM", Qwen3: "Qwen3ForCausalLM", JetNemotron: "JetNemotronForCausalLM",
}

// Clone returns a copy that shares nothing that anyone writes.
func (c *Config) Clone() *Config {
	d := *c
	d.EOS, d.LayerTypes = slices.Clone(c.EOS), slices.Clone(c.LayerTypes)
	d.Mixers, d.rest = maps.Clone(c.Mixers), maps.Clone(c.rest)
	if c.Pad != nil {
		pad := *c.Pad
		d.Pad = &pad
	}
	return &d
}

// Validate reports the first value that no model can have, by its key in config.json.
func (c *Config) Validate() error {
	if err := c.validate(); err != nil {
		return fmt.Errorf("checkpoints: config: %w", err)
	}
	return nil
}

func (c *Config) validate() error {
	for _, check := range []func() error{c.checkSizes, c.checkHeads, c.checkNumbers, c.checkTokens, c.checkAttention, c.checkLayers} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) checkSizes() error {
	if architectures[c.ModelType] == "" {
		return fmt.Errorf("model_type is %q, want qwen2, qwen3 or jet_nemotron", c.ModelType)
	}
	for _, size := range []struct {
		key     string
		value   int
		atLeast int
		atMost  int
	}{
		{"hidden_size", c.HiddenSize, 1, 1 << 20},
		{"intermediate_size", c.IntermediateSize, 1, 1 << 22},
		{"num_hidden_layers", c.NumLayers, 1, 1 << 12},
		{"num_attention_heads", c.NumHeads, 1, 1 << 14},
		{"num_key_value_heads", c.NumKVHeads, 1, 1 << 14},
		{"head_dim", c.HeadDim, 1, 1 << 14},
		{"vocab_size", c.VocabSize, 1, 1 << 26},
		{"max_position_embeddings", c.MaxPositions, 1, 1 << 30},
	} {
		if size.value < size.atLeast || size.value > size.atMost {
			return fmt.Errorf("%s is %d, want %d to %d", size.key, size.value, size.atLeast, size.atMost)
		}
	}
	return nil
}

func (c *Config) checkHeads() error {
	if c.NumHeads%c.NumKVHeads != 0 {
		return fmt.Errorf("num_attention_heads is %d, want a multiple of num_key_value_heads, %d", c.NumHeads, c.NumKVHeads)
	}
	if c.HeadDim%2 != 0 {
		return fmt.Errorf("head_dim is %d, want it even: rotary embedding turns pairs", c.HeadDim)
	}
	return nil
}

func (c *Config) checkNumbers() error {
	for _, number := range []struct {
		key   string
		value float64
	}{
		{"rms_norm_eps", c.RMSNormEps}, {"rope_theta", c.RopeTheta}, {"initializer_range", c.InitializerRange},
	} {
		if !(number.value > 0) || math.IsInf(number.value, 0) {
			return fmt.Errorf("%s is %v, want a finite number above 0", number.key, number.value)
		}
	}
	_, err := weightType(c.DType)
	return err
}

func (c *Config) checkTokens() error {
	for _, id := range c.EOS {
		if id < 0 || id >= c.VocabSize {
			return fmt.Errorf("eos_token_id is %d, want 0 to %d, below vocab_size", id, c.VocabSize-1)
		}
	}
	if c.BOS < -1 || c.BOS >= c.VocabSize {
		return fmt.Errorf("bos_token_id is %d, want 0 to %d, below vocab_size", c.BOS, c.VocabSize-1)
	}
	if c.Pad != nil && (*c.Pad < -1 || *c.Pad >= c.VocabSize) {
		return fmt.Errorf("pad_token_id is %d, want 0 to %d, below vocab_size", *c.Pad, c.VocabSize-1)
	}
	return nil
}

// checkAttention holds the model types to what their code in transformers does.
func (c *Config) checkAttention() error {
	switch {
	case c.ModelType == Qwen2 && (!c.AttentionBias || c.QKNorm):
		return fmt.Errorf("attention_bias is %v and qk_norm %v, want true and false: so it is in every qwen2 model", c.AttentionBias, c.QKNorm)
	case c.ModelType == Qwen3 && !c.QKNorm:
		return fmt.Errorf("qk_norm is false, want true: so it is in every qwen3 model")
	case c.ModelType == Qwen3 && c.AttentionBias:
		return fmt.Errorf("attention_bias is true, want false: in a qwen3 model it would put a bias on o_proj too, which is not supported")
	}
	return nil
}

func (c *Config) checkLayers() error {
	if len(c.LayerTypes) != c.NumLayers {
		return fmt.Errorf("layer_types has %d names, want %d, one for each of num_hidden_layers", len(c.LayerTypes), c.NumLayers)
	}
	for i, kind := range c.LayerTypes {
		switch {
		case kind == "" || strings.ContainsAny(kind, "/\\ \t\r\n"):
			return fmt.Errorf("layer_types[%d] is %q, want the name of a block", i, kind)
		case c.ModelType != JetNemotron && kind != Attn && kind != SWA:
			return fmt.Errorf("layer_types[%d] is %q, want full or sliding attention: model_type %s has no other", i, kind, c.ModelType)
		}
	}
	if slices.Contains(c.LayerTypes, SWA) {
		if _, err := c.window(); err != nil {
			return err
		}
	}
	if slices.Contains(c.LayerTypes, Jet) {
		if _, err := c.jet(Jet, nil); err != nil {
			return err
		}
	}
	return nil
}
