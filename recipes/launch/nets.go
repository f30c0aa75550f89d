package launch

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/checkpoints/run"
	"github.com/gojet/gojet/layers"
	"github.com/gojet/gojet/recipes"
	"github.com/gojet/gojet/train"
)

// modelsDir holds, in a run directory, each model as its last finished stage left it.
const modelsDir = "models"

// nets makes the recipe's models when they are first needed.
type nets struct {
	recipe *recipes.Recipe
	dir    string
	made   map[string]*train.Net
}

// get returns a model with float32 weights: as an earlier stage left it, or as the recipe says it starts.
func (n *nets) get(name string) (*train.Net, error) {
	if net := n.made[name]; net != nil {
		return net, nil
	}
	m, ok := n.recipe.Models[name]
	if !ok {
		return nil, fmt.Errorf("models.%s is missing from the recipe", name)
	}
	net, err := n.start(name, m)
	if err != nil {
		return nil, fmt.Errorf("models.%s: %w", name, err)
	}
	n.made[name] = net
	return net, nil
}

func (n *nets) start(name string, m train.Model) (*train.Net, error) {
	left := filepath.Join(n.dir, name)
	if _, err := os.Stat(left); err == nil {
		return load(left)
	}
	switch {
	case m.Path != "":
		return load(m.Path)
	case m.Config != nil:
		c, err := m.FreshConfig()
		if err != nil {
			return nil, err
		}
		d, err := layers.NewDecoder(c)
		if err != nil {
			return nil, err
		}
		net := train.Fresh(d, n.recipe.Seed)
		return &net, nil
	}
	base, err := n.get(m.From)
	if err != nil {
		return nil, err
	}
	c, err := m.DerivedConfig(base.Decoder.Config)
	if err != nil {
		return nil, err
	}
	d, err := layers.NewDecoder(c)
	if err != nil {
		return nil, err
	}
	w, err := d.From(base.Decoder, base.Weights, n.recipe.Seed, m.MapProjections)
	return &train.Net{Decoder: d, Weights: w}, err
}

func load(dir string) (*train.Net, error) {
	c, err := checkpoints.Open(dir)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return loadFrom(c)
}

func loadFrom(c *checkpoints.Checkpoint) (*train.Net, error) {
	d, err := layers.NewDecoder(c.Config)
	if err != nil {
		return nil, err
	}
	w, err := d.Load(c, layers.Float32)
	return &train.Net{Decoder: d, Weights: w}, err
}

// resume puts the checkpoint's model in place of the one that its stage trains, and returns the optimiser's state.
func (n *nets) resume(s train.Stage, saved *run.Saved) ([]train.Moments, error) {
	c, err := saved.Model()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	net, err := loadFrom(c)
	if err != nil {
		return nil, err
	}
	if s.LoRA.Rank > 0 {
		adapted, err := train.Adapt(*net, s.LoRA, n.recipe.Seed)
		if err != nil {
			return nil, err
		}
		if err := readAdapters(adapted, saved); err != nil {
			return nil, err
		}
		net = &adapted
	}
	n.made[s.Model] = net
	return readMoments(*net, saved)
}

func readMoments(net train.Net, saved *run.Saved) ([]train.Moments, error) {
	o, err := saved.Optimizer()
	if err != nil {
		return nil, err
	}
	defer o.Close()
	var ms []train.Moments
	for _, name := range o.Names() {
		size := net.Weights[name].Len()
		m := train.Moments{Name: name, M: make([]float32, size), V: make([]float32, size)}
		if err := o.Read(name, m.M, m.V); err != nil {
			return nil, err
		}
		ms = append(ms, m)
	}
	return ms, nil
}

// keep writes a model as its stage left it, so that later stages and processes find it.
func (n *nets) keep(name string, net train.Net) error {
	return checkpoints.Save(filepath.Join(n.dir, name), net.Decoder.Config, params(net), checkpoints.SaveOptions{
		DType: "float32", Tokenizer: n.recipe.TokenizerDir(),
	})
}

func params(net train.Net) []checkpoints.Param {
	var ps []checkpoints.Param
	for _, p := range net.Decoder.Params() {
		v := net.Weights[p.Name]
		ps = append(ps, checkpoints.Param{Name: p.Name, Shape: p.Shape, Values: func() ([]float32, error) { return v.F32, nil }})
	}
	return ps
}
