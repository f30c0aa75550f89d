package recipes

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/layers"
	"github.com/gojet/gojet/train"
)

// shapes checks that the models can be built and that each stage fits its models. Nothing is loaded.
func (c *checker) shapes() {
	decoders := map[string]*layers.Decoder{}
	for _, name := range slices.Sorted(maps.Keys(c.Models)) {
		if decoders[name] = c.decoder(name, 0); decoders[name] != nil {
			c.vocabulary(name, decoders[name].Config)
		}
	}
	for i, s := range c.Stages {
		model, teacher := decoders[s.Model], decoders[s.Teacher]
		if model == nil || s.Validate() != nil {
			continue
		}
		c.fits(c.stagePath(i), s, model)
		if teacher != nil && s.Teacher != s.Model {
			c.compare(c.stagePath(i), s, model.Config, teacher.Config)
		}
	}
}

// decoder makes the model of that name, of which others may be made; nil where something is wrong with it.
func (c *checker) decoder(name string, depth int) *layers.Decoder {
	m, ok := c.Models[name]
	if !ok || m.Validate() != nil || depth > len(c.Models) {
		return nil
	}
	path := []string{"models", name}
	config, err := c.configs[name], error(nil)
	switch {
	case config != nil:
	case m.Config != nil:
		path = append(path, "config")
		config, err = m.FreshConfig()
	case m.From != "":
		base := c.decoder(m.From, depth+1)
		if base == nil {
			return nil
		}
		config, err = m.DerivedConfig(base.Config)
	default:
		return nil // a path that cannot be read, which is reported
	}
	var d *layers.Decoder
	if err == nil {
		d, err = layers.NewDecoder(config)
	}
	if err != nil {
		if depth == 0 { // else it is reported where it is the model itself
			c.report(path, "%s", modelMessage(err))
		}
		return nil
	}
	return d
}

// modelMessage speaks of a configuration in the recipe's words.
func modelMessage(err error) string {
	text := strings.TrimPrefix(err.Error(), "checkpoints: config: ")
	return strings.Replace(text, "efficient_attention_config.", "blocks.", 1)
}

// vocabulary checks that a model has a row for every byte.
func (c *checker) vocabulary(name string, config *checkpoints.Config) {
	if c.Data.Tokens == nil && c.Data.Tokenizer == bytesTokenizer && config.VocabSize < 256 {
		c.report([]string{"data"}, "tokenizer is %s, of 256 tokens at least, but models.%s has a vocabulary of %d", bytesTokenizer, name, config.VocabSize)
	}
}

// fits checks that the stage trains weights that its model has.
func (c *checker) fits(at []string, s train.Stage, d *layers.Decoder) {
	if most := d.Config.MaxPositions; s.Length > most {
		c.report(at, "length is %d, want at most %d, max_position_embeddings of %s", s.Length, most, s.Model)
	}
	if s.LoRA.Rank > 0 {
		adapted, err := d.WithLoRA(layers.LoRA{Rank: s.LoRA.Rank, Alpha: s.LoRA.Alpha, Targets: s.LoRA.Targets})
		if err != nil {
			c.report(append(at, "lora"), "%s, %s", strings.TrimPrefix(err.Error(), "layers: "), s.Model)
			return
		}
		d = adapted
	}
	var weights []string
	for _, p := range d.Params() {
		weights = append(weights, p.Name)
	}
	for _, list := range []struct {
		key      string
		patterns []string
	}{{"train", s.Train}, {"freeze", s.Freeze}} {
		for _, pattern := range list.patterns {
			if !slices.ContainsFunc(weights, func(w string) bool { ok, _ := path.Match(pattern, w); return ok }) {
				c.report(at, "%s has %q, which matches no weight of %s (%d layers; weights such as %s)", list.key, pattern, s.Model, d.Config.NumLayers, weights[len(weights)/2])
			}
		}
	}
	if !slices.ContainsFunc(weights, s.Learns) {
		c.report(at, "no weight of %s is left to learn by train and freeze", s.Model)
	}
}

// compare checks that a student can learn from a teacher.
func (c *checker) compare(at []string, s train.Stage, student, teacher *checkpoints.Config) {
	if student.VocabSize != teacher.VocabSize {
		c.report(at, "teacher is %s with a vocabulary of %d, but %s has %d, want the same", s.Teacher, teacher.VocabSize, s.Model, student.VocabSize)
	}
	if s.Loss.Hidden > 0 && (student.HiddenSize != teacher.HiddenSize || student.NumLayers != teacher.NumLayers) {
		c.report(at, "loss.hidden is %v, but %s has %d layers of width %d and %s %d of %d, want the same", s.Loss.Hidden,
			s.Teacher, teacher.NumLayers, teacher.HiddenSize, s.Model, student.NumLayers, student.HiddenSize)
	}
}
