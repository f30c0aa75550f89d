package checkpoints

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/gojet/gojet/checkpoints/internal/commit"
)

// Write writes config.json into dir, in the words of transformers 4, which its successors read too.
func (c *Config) Write(dir string) error {
	text, err := c.Format()
	if err != nil {
		return err
	}
	return writeText(filepath.Join(dir, configName), text)
}

// Format is the text of config.json: what was read, with every key that Config knows set anew.
func (c *Config) Format() ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	m := map[string]any{"attention_dropout": number(0), "hidden_act": "silu", "use_cache": true}
	for key, raw := range c.rest {
		m[key] = raw
	}
	for _, newer := range []string{"dtype", "rope_parameters"} { // torch_dtype and rope_theta say it
		delete(m, newer)
	}
	maps.Copy(m, map[string]any{
		"architectures": []string{architectures[c.ModelType]}, "model_type": c.ModelType, "torch_dtype": c.DType,
		"hidden_size": c.HiddenSize, "intermediate_size": c.IntermediateSize, "num_hidden_layers": c.NumLayers,
		"num_attention_heads": c.NumHeads, "num_key_value_heads": c.NumKVHeads, "vocab_size": c.VocabSize,
		"max_position_embeddings": c.MaxPositions, "rms_norm_eps": number(c.RMSNormEps),
		"rope_theta": number(c.RopeTheta), "rope_scaling": nil, "initializer_range": number(c.InitializerRange),
		"tie_word_embeddings": c.TieEmbeddings, "eos_token_id": oneOrMany(c.EOS),
	})
	m["bos_token_id"] = nil
	if c.BOS >= 0 {
		m["bos_token_id"] = c.BOS
	}
	if _, there := m["pad_token_id"]; there || c.Pad != nil {
		m["pad_token_id"] = c.Pad
	}
	setOr(m, "head_dim", c.HeadDim, c.ModelType == Qwen3 || c.HeadDim*c.NumHeads != c.HiddenSize)
	if err := c.formatLayers(m); err != nil {
		return nil, err
	}
	return formatJSON(m)
}

// formatLayers sets the keys of layers and attention.
func (c *Config) formatLayers(m map[string]any) error {
	delete(m, "attention_bias")
	if c.ModelType == JetNemotron {
		for _, qwens := range []string{"use_sliding_window", "sliding_window"} {
			delete(m, qwens)
		}
		setOr(m, "attention_bias", false, !c.AttentionBias)
		setOr(m, "qk_norm", true, c.QKNorm) // gojet's own, as attention_bias is here
		m["layer_types"] = c.LayerTypes
		m[mixersKey] = c.Mixers
		if c.Mixers == nil {
			m[mixersKey] = struct{}{}
		}
		return nil
	}
	if c.ModelType == Qwen3 {
		m["attention_bias"] = false
	}
	names := slices.Clone(c.LayerTypes)
	for i, kind := range names {
		for theirs, ours := range layerNames {
			if kind == ours {
				names[i] = theirs
			}
		}
	}
	m["layer_types"] = names
	first := slices.Index(c.LayerTypes, SWA)
	m["use_sliding_window"] = first >= 0
	if first < 0 {
		return nil
	}
	w, err := c.Window()
	m["sliding_window"], m["max_window_layers"] = w, first
	return err
}

// setOr sets key, or removes it where it need not be said.
func setOr(m map[string]any, key string, value any, said bool) {
	delete(m, key)
	if said {
		m[key] = value
	}
}

func oneOrMany(ids []int) any {
	switch len(ids) {
	case 0:
		return nil
	case 1:
		return ids[0]
	}
	return ids
}

// number is written so that Python reads a float, whole or not.
type number float64

// MarshalJSON writes what reads back as the same number.
func (x number) MarshalJSON() ([]byte, error) {
	v := math.Abs(float64(x))
	if v != 0 && (v < 1e-4 || v >= 1e16) {
		return strconv.AppendFloat(nil, float64(x), 'e', -1, 64), nil
	}
	b := strconv.AppendFloat(nil, float64(x), 'f', -1, 64)
	if !bytes.Contains(b, []byte(".")) {
		b = append(b, ".0"...)
	}
	return b, nil
}

// formatJSON writes a document as transformers does: keys in order, indented by two.
func formatJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("checkpoints: config: %w", err)
	}
	return b.Bytes(), nil
}

func writeText(path string, text []byte) error {
	err := commit.File(path, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
	if err != nil {
		return fmt.Errorf("checkpoints: writing %s: %w", path, err)
	}
	return nil
}
