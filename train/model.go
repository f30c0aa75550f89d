package train

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/gojet/gojet/checkpoints"
)

// Model says where a model of a run comes from: a checkpoint, a configuration with fresh weights, or another model of the
// run with some of its mixers replaced. Exactly one of Path, Config and From is set.
type Model struct {
	// Path is a folder in Hugging Face form.
	Path string `yaml:"path"`
	// Config holds the keys of a config.json; the weights are drawn from the run's seed.
	Config map[string]any `yaml:"config"`
	// From names the model whose weights are taken over: embeddings, norms, MLPs and every mixer that stays.
	From string `yaml:"from"`

	// LayerTypes names the mixer of each layer of a model made From another.
	LayerTypes []string `yaml:"layer_types"`
	// Blocks holds the options of mixers by layer type, as efficient_attention_config of config.json does.
	Blocks map[string]map[string]any `yaml:"blocks"`
	// MapProjections starts the q, k, v and o projections of new mixers from those of the attention they replace, where
	// the shapes allow.
	MapProjections bool `yaml:"map_projections"`
}

// Validate reports contradictory or missing parts.
func (m Model) Validate() error {
	set := 0
	for _, there := range []bool{m.Path != "", m.Config != nil, m.From != ""} {
		if there {
			set++
		}
	}
	switch {
	case set != 1:
		return fmt.Errorf("%d of path, config and from are given, want exactly one", set)
	case m.From == "" && (m.LayerTypes != nil || m.Blocks != nil || m.MapProjections):
		return fmt.Errorf("layer_types, blocks and map_projections go with from")
	case m.From != "" && len(m.LayerTypes) == 0:
		return fmt.Errorf("layer_types is missing, want a mixer for each layer of %s", m.From)
	}
	return nil
}

// FreshConfig reads the keys of a config.json.
func (m Model) FreshConfig() (*checkpoints.Config, error) {
	text, err := json.Marshal(m.Config)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return checkpoints.ParseConfig(text)
}

// DerivedConfig is the configuration of base with other mixers.
func (m Model) DerivedConfig(base *checkpoints.Config) (*checkpoints.Config, error) {
	if len(m.LayerTypes) != base.NumLayers {
		return nil, fmt.Errorf("layer_types has %d names, want %d, one for each layer of %s", len(m.LayerTypes), base.NumLayers, m.From)
	}
	c := base.Clone()
	c.ModelType = checkpoints.JetNemotron
	c.LayerTypes = slices.Clone(m.LayerTypes)
	for kind, options := range m.Blocks {
		text, err := json.Marshal(options)
		if err != nil {
			return nil, fmt.Errorf("blocks.%s: %w", kind, err)
		}
		if c.Mixers == nil {
			c.Mixers = map[string]json.RawMessage{}
		}
		c.Mixers[kind] = text
	}
	return c, c.Validate()
}
