package checkpoints

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strconv"
)

// Jet is the layer type of a JetBlock.
const Jet = "jet"

const mixersKey = "efficient_attention_config"

// JetConfig holds the options of a JetBlock and of its kin: H heads of key dim K. Kin without convolutions or without a
// generator take these options too, and leave unused what they have no use for.
type JetConfig struct {
	NumHeads           int     // H
	HeadDim            int     // K
	ExpandV            float64 // V over K
	NormEps            float64
	ConvSize           int // W
	GeneratorReduction int // value dim over the width of the kernel generator's hidden layer

	// Mode and Implementation choose GPU kernels in the official code. They are kept for it.
	Mode, Implementation string

	JetDesign
}

// JetDesign are the choices in the design of a JetBlock that its paper compares; the zero value is the published block. The
// width of the kernel generator is GeneratorReduction.
type JetDesign struct {
	StaticV bool // v_conv is "static": one kernel for all tokens instead of generated ones
	ConvQK  bool // qk_conv: static convolutions on queries and keys too
	NoGate  bool // output_gate is false
}

// Option is a whole number among a block's options that others do not have: its key, the value where it is absent, which is
// replaced by what is there, and the largest that makes sense.
type Option struct {
	Key    string
	Value  *int
	AtMost int
}

// DefaultJet returns the options that the official code takes where config.json has none.
func DefaultJet() JetConfig {
	return JetConfig{
		NumHeads: 6, HeadDim: 256, ExpandV: 2, NormEps: 1e-5, ConvSize: 4, GeneratorReduction: 8,
		Mode: "chunk", Implementation: "triton",
	}
}

// ValueHeadDim is V, the value dim of a head.
func (j JetConfig) ValueHeadDim() int { return int(float64(j.HeadDim) * j.ExpandV) }

// KeyDim is H·K, ValueDim the value dim of all heads.
func (j JetConfig) KeyDim() int   { return j.NumHeads * j.HeadDim }
func (j JetConfig) ValueDim() int { return int(float64(j.KeyDim()) * j.ExpandV) }

// Validate reports the first option that no block can have, by its key in config.json.
func (j JetConfig) Validate() error {
	for _, size := range []struct {
		key    string
		value  int
		atMost int
	}{
		{"num_heads", j.NumHeads, 1 << 14}, {"head_dim", j.HeadDim, 1 << 14},
		{"conv_size", j.ConvSize, 1 << 10}, {"dconv_generator_reduction", j.GeneratorReduction, 1 << 20},
	} {
		if size.value < 1 || size.value > size.atMost {
			return fmt.Errorf("%s is %d, want 1 to %d", size.key, size.value, size.atMost)
		}
	}
	if !(j.NormEps > 0) || math.IsInf(j.NormEps, 0) {
		return fmt.Errorf("norm_eps is %v, want a finite number above 0", j.NormEps)
	}
	if !(j.ExpandV > 0) || j.ExpandV > 1<<10 {
		return fmt.Errorf("expand_v is %v, want above 0 and at most %d", j.ExpandV, 1<<10)
	}
	// The official code asks the same of both products.
	whole := func(x float64) bool { return x-math.Floor(x) <= 1e-5*x }
	exact := float64(j.HeadDim) * j.ExpandV
	if j.ValueHeadDim() < 1 || !whole(exact) || !whole(float64(j.KeyDim())*j.ExpandV) || j.ValueDim() != j.NumHeads*j.ValueHeadDim() {
		return fmt.Errorf("expand_v is %v, want a whole value dim: head_dim %d times it is %v", j.ExpandV, j.HeadDim, exact)
	}
	return nil
}

// Jet reads the options of a layer type whose block takes those of a JetBlock, and more of its own. Only a JetBlock itself
// has the choices of JetDesign.
func (c *Config) Jet(layerType string, more ...Option) (JetConfig, error) {
	j, err := c.jet(layerType, more)
	if err != nil {
		return JetConfig{}, fmt.Errorf("checkpoints: config: %w", err)
	}
	return j, nil
}

func (c *Config) jet(layerType string, more []Option) (JetConfig, error) {
	o, err := c.mixer(layerType)
	if err != nil {
		return JetConfig{}, err
	}
	j := DefaultJet()
	j = JetConfig{
		NumHeads:           o.int("num_heads", j.NumHeads),
		HeadDim:            o.int("head_dim", j.HeadDim),
		ExpandV:            o.float("expand_v", j.ExpandV),
		NormEps:            o.floatOrText("norm_eps", j.NormEps),
		ConvSize:           o.int("conv_size", j.ConvSize),
		GeneratorReduction: o.int("dconv_generator_reduction", j.GeneratorReduction),
		Mode:               o.string("mode", j.Mode),
		Implementation:     o.string("dconv_implementation", j.Implementation),
	}
	keys := []string{"num_heads", "head_dim", "expand_v", "norm_eps", "conv_size", "dconv_generator_reduction", "mode", "dconv_implementation"}
	if layerType == Jet {
		j.JetDesign = o.design()
		keys = append(keys, "v_conv", "qk_conv", "output_gate")
	}
	for _, m := range more {
		*m.Value = o.int(m.Key, *m.Value)
		if *m.Value < 1 || *m.Value > m.AtMost {
			o.fail(fmt.Errorf("%sis %d, want 1 to %d", o.path(m.Key), *m.Value, m.AtMost))
		}
		keys = append(keys, m.Key)
	}
	o.only(keys...)
	if o.err != nil {
		return JetConfig{}, o.err
	}
	if err := j.Validate(); err != nil {
		return JetConfig{}, fmt.Errorf("%s.%w", o.name, err)
	}
	return j, nil
}

// design reads the choices of JetDesign.
func (o *object) design() JetDesign {
	conv := o.string("v_conv", "dynamic")
	if conv != "dynamic" && conv != "static" {
		o.fail(fmt.Errorf("%sis %q, want dynamic or static", o.path("v_conv"), conv))
	}
	return JetDesign{StaticV: conv == "static", ConvQK: o.bool("qk_conv", false), NoGate: !o.bool("output_gate", true)}
}

// SetJet stores the options of a layer type as the official code reads them.
func (c *Config) SetJet(layerType string, j JetConfig) error {
	if err := j.Validate(); err != nil {
		return fmt.Errorf("checkpoints: config: %s.%s.%w", mixersKey, layerType, err)
	}
	options := map[string]any{
		"num_heads": j.NumHeads, "head_dim": j.HeadDim, "expand_v": number(j.ExpandV),
		"norm_eps": strconv.FormatFloat(j.NormEps, 'g', -1, 64), "conv_size": j.ConvSize,
		"dconv_generator_reduction": j.GeneratorReduction, "mode": j.Mode, "dconv_implementation": j.Implementation,
	}
	if j.StaticV {
		options["v_conv"] = "static"
	}
	if j.ConvQK {
		options["qk_conv"] = true
	}
	if j.NoGate {
		options["output_gate"] = false
	}
	return c.setMixer(layerType, options)
}

// Window is the number of tokens that a token of a sliding-window layer sees, itself included.
func (c *Config) Window() (int, error) {
	w, err := c.window()
	if err != nil {
		return 0, fmt.Errorf("checkpoints: config: %w", err)
	}
	return w, nil
}

func (c *Config) window() (int, error) {
	const most = 1 << 30
	o, err := c.mixer(SWA)
	if err != nil {
		return 0, err
	}
	o.need("window_size")
	w := o.int("window_size", 0)
	if o.err == nil && (w < 1 || w > most) {
		o.fail(fmt.Errorf("%sis %d, want 1 to %d", o.path("window_size"), w, most))
	}
	return w, o.err
}

// SetWindow stores the window of sliding-window layers.
func (c *Config) SetWindow(w int) error {
	if w < 1 {
		return fmt.Errorf("checkpoints: config: %s.%s.window_size is %d, want at least 1", mixersKey, SWA, w)
	}
	return c.setMixer(SWA, map[string]any{"window_size": w})
}

func (c *Config) mixer(layerType string) (*object, error) {
	raw, ok := c.Mixers[layerType]
	if !ok {
		return nil, fmt.Errorf("%s.%s is missing: it holds the options of layers of that type", mixersKey, layerType)
	}
	o, err := parseObject(raw)
	if err != nil {
		return nil, fmt.Errorf("%s.%s: %w", mixersKey, layerType, err)
	}
	o.name = mixersKey + "." + layerType
	return o, nil
}

func (c *Config) setMixer(layerType string, options map[string]any) error {
	raw, err := json.Marshal(options)
	if err != nil {
		return fmt.Errorf("checkpoints: config: %s.%s: %w", mixersKey, layerType, err)
	}
	mixers := maps.Clone(c.Mixers)
	if mixers == nil {
		mixers = map[string]json.RawMessage{}
	}
	mixers[layerType] = raw
	c.Mixers = mixers
	return nil
}
