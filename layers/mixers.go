package layers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gojet/gojet/checkpoints"
)

// Row is one kind of mixer. The table of rows is the search space: a name that may stand in layer_types, and how to
// make the block from a model's configuration.
type Row struct {
	Name    string
	Summary string
	// New reads the options of layer type name; name differs from Row.Name never, it is passed so that rows can
	// share a constructor.
	New func(c *checkpoints.Config, name string) (Mixer, error)
}

// Mixers returns the table.
func Mixers() []Row {
	return []Row{
		{"attn", "full causal attention with grouped queries", newAttention},
		{"swa", "causal attention within a sliding window", newAttention},
		{"jet", "JetBlock: gated delta rule, dynamic convolution on values", newJetBlock},
		{"gated_deltanet", "gated delta rule, static convolutions on queries, keys and values", newGatedDeltaNet},
		{"deltanet", "delta rule, static convolutions on queries, keys and values", newDeltaNet},
		{"gla", "gated linear attention: a gate for every channel of the keys", newGLA},
		{"mamba2", "Mamba-2's dual form: a decay of the token for each head, queries and keys in common", newMamba2},
		{"retnet", "retention: a constant decay for each head, rotated queries and keys", newRetNet},
		{"rwkv7", "RWKV-7: delta rule with a decay and a learning rate for every channel", newRWKV7},
	}
}

// newMixer finds the row of a layer type.
func newMixer(c *checkpoints.Config, name string) (Mixer, error) {
	var names []string
	for _, r := range Mixers() {
		if r.Name == name {
			return r.New(c, name)
		}
		names = append(names, r.Name)
	}
	slices.Sort(names)
	return nil, fmt.Errorf("layers: layer type %q is unknown, want one of %s", name, strings.Join(names, ", "))
}
