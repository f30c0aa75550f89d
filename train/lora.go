package train

import (
	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/layers"
)

// Adapt gives a model fresh adapters, which learn while its weights stay. The weights are shared.
func Adapt(net Net, l LoRA, seed uint64) (Net, error) {
	d, err := net.Decoder.WithLoRA(layers.LoRA{Rank: l.Rank, Alpha: l.Alpha, Targets: l.Targets})
	if err != nil {
		return Net{}, err
	}
	w := layers.Weights{}
	for _, p := range d.Params() {
		if layers.IsAdapter(p.Name) {
			w[p.Name] = autograd.Float32s(p.Draw(seed), p.Shape...)
		} else {
			w[p.Name] = net.Weights[p.Name]
		}
	}
	return Net{d, w}, nil
}

// WithoutAdapters is the model as it was before Adapt.
func WithoutAdapters(net Net) (Net, error) {
	d, err := layers.NewDecoder(net.Decoder.Config)
	if err != nil {
		return Net{}, err
	}
	w := layers.Weights{}
	for _, p := range d.Params() {
		w[p.Name] = net.Weights[p.Name]
	}
	return Net{d, w}, nil
}

// Merged is the model with the adapters' updates in its matrices.
func Merged(net Net, c *cpu.Cores) (Net, error) {
	d, err := layers.NewDecoder(net.Decoder.Config)
	return Net{d, net.Decoder.Merge(c, net.Weights)}, err
}
