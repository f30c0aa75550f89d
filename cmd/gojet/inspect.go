package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/layers"
)

type inspectFlags struct {
	json    bool
	tensors bool
	context int
}

func newInspect() *cobra.Command {
	var f inspectFlags
	c := &cobra.Command{
		Use:   "inspect DIR",
		Short: "Show a checkpoint's configuration, tensors, parameters by kind and decode state",
		Long: `Show a checkpoint's configuration, tensors, parameters by kind and decode state.

The decode state is what one sequence keeps between tokens, in float32 as gojet keeps it on a CPU.
Where tensors do not fit the configuration, a last line names them and the command fails.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if f.context < 0 {
				return fmt.Errorf("--context is %d, want 0 or more", f.context)
			}
			r, misfit, err := inspect(args[0], f)
			if err != nil {
				return err
			}
			return errors.Join(r.write(c.OutOrStdout(), f.json), misfit)
		},
	}
	flags := c.Flags()
	flags.BoolVar(&f.json, "json", false, "write JSON")
	flags.BoolVar(&f.tensors, "tensors", false, "list every tensor with its type and shape")
	flags.IntVar(&f.context, "context", 0, "sum the decode state at `N` tokens (default the model's most positions)")
	return c
}

// report is what inspect finds.
type report struct {
	Model struct {
		Type             string  `json:"type"`
		Layers           int     `json:"layers"`
		HiddenSize       int     `json:"hidden_size"`
		IntermediateSize int     `json:"intermediate_size"`
		VocabSize        int     `json:"vocab_size"`
		TiedEmbeddings   bool    `json:"tied_embeddings"`
		Heads            int     `json:"heads"`
		KVHeads          int     `json:"kv_heads"`
		HeadDim          int     `json:"head_dim"`
		RopeTheta        float64 `json:"rope_theta"`
		MaxPositions     int     `json:"max_positions"`
	} `json:"model"`
	Blocks      []block      `json:"blocks"`
	Tensors     tensorReport `json:"tensors"`
	Parameters  int          `json:"parameters"`
	Kinds       []kind       `json:"parameters_by_kind"`
	DecodeState decodeState  `json:"decode_state"`
}

// block is a layer type and the layers of it.
type block struct {
	Name   string `json:"name"`
	Layers []int  `json:"layers"`
}

// kind is a group of tensors and its number of parameters.
type kind struct {
	Name       string `json:"name"`
	Parameters int    `json:"parameters"`
}

type tensorReport struct {
	Count int            `json:"count"`
	Bytes int            `json:"bytes"`
	Types map[string]int `json:"types"` // tensors of each
	List  []tensor       `json:"list,omitempty"`
}

type tensor struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Shape []int  `json:"shape"`
}

// decodeState is the memory of one sequence, in bytes: what each token adds, what every sequence holds whatever its
// length, and both together for a sequence of Context tokens.
type decodeState struct {
	PerToken    int `json:"bytes_per_token"`
	PerSequence int `json:"bytes_per_sequence"`
	Context     int `json:"context"`
	AtContext   int `json:"bytes_at_context"`
}

// inspect opens the checkpoint and describes it; misfit says which tensors the model would not take.
func inspect(dir string, f inspectFlags) (r *report, misfit, err error) {
	m, err := checkpoints.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	model, err := layers.NewDecoder(m.Config)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", dir, err)
	}
	var specs []checkpoints.Spec
	for _, p := range model.Params() {
		specs = append(specs, checkpoints.Spec{Name: p.Name, Shape: p.Shape})
	}
	c := m.Config
	r = &report{Tensors: tensorReport{Types: map[string]int{}}}
	r.Model.Type, r.Model.Layers, r.Model.HiddenSize, r.Model.IntermediateSize = c.ModelType, c.NumLayers, c.HiddenSize, c.IntermediateSize
	r.Model.VocabSize, r.Model.TiedEmbeddings, r.Model.MaxPositions = c.VocabSize, c.TieEmbeddings, c.MaxPositions
	r.Model.Heads, r.Model.KVHeads, r.Model.HeadDim, r.Model.RopeTheta = c.NumHeads, c.NumKVHeads, c.HeadDim, c.RopeTheta
	for i, name := range c.LayerTypes {
		at := slices.IndexFunc(r.Blocks, func(b block) bool { return b.Name == name })
		if at < 0 {
			at = len(r.Blocks)
			r.Blocks = append(r.Blocks, block{Name: name})
		}
		r.Blocks[at].Layers = append(r.Blocks[at].Layers, i)
	}
	r.countTensors(m, f.tensors)
	r.countParameters(model)
	r.DecodeState = stateOf(model, cmp.Or(f.context, c.MaxPositions))
	return r, m.Match(specs), nil
}

func (r *report) countTensors(m *checkpoints.Checkpoint, list bool) {
	for _, name := range m.Names() {
		t, _ := m.Tensor(name)
		r.Tensors.Count++
		r.Tensors.Bytes += len(t.Data)
		r.Tensors.Types[t.DType.String()]++
		if list {
			r.Tensors.List = append(r.Tensors.List, tensor{name, t.DType.String(), t.Shape})
		}
	}
}

// countParameters adds up by kind: the layer type for what is a block's own, else the place in the model.
func (r *report) countParameters(model *layers.Decoder) {
	for _, p := range model.Params() {
		name := kindOf(p.Name, model.Config.LayerTypes)
		at := slices.IndexFunc(r.Kinds, func(k kind) bool { return k.Name == name })
		if at < 0 {
			at = len(r.Kinds)
			r.Kinds = append(r.Kinds, kind{Name: name})
		}
		r.Kinds[at].Parameters += p.Size()
		r.Parameters += p.Size()
	}
}

func kindOf(param string, layerTypes []string) string {
	if in, ok := strings.CutPrefix(param, "model.layers."); ok {
		index, rest, _ := strings.Cut(in, ".")
		i, err := strconv.Atoi(index)
		switch {
		case err == nil && i < len(layerTypes) && strings.HasPrefix(rest, "self_attn."):
			return layerTypes[i]
		case strings.HasPrefix(rest, "mlp."):
			return "mlp"
		}
	}
	switch param {
	case "model.embed_tokens.weight":
		return "embedding"
	case "lm_head.weight":
		return "head"
	}
	return "norm"
}

// stateOf adds up what the blocks keep of a sequence of so many tokens.
func stateOf(model *layers.Decoder, context int) decodeState {
	const size = 4 // bytes of a float32
	d := decodeState{Context: context}
	for _, s := range model.States(context) {
		bytes := s.Size() * size
		d.AtContext += bytes
		if s.PerToken {
			d.PerToken += bytes / context
		} else {
			d.PerSequence += bytes
		}
	}
	return d
}

func (r *report) write(out io.Writer, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	m, d := &r.Model, &r.DecodeState
	tied := ""
	if m.TiedEmbeddings {
		tied = ", tied embeddings"
	}
	fmt.Fprintf(w, "model\t%s, %d layers, hidden %d, intermediate %d, vocabulary %d%s\n", m.Type, m.Layers, m.HiddenSize, m.IntermediateSize, m.VocabSize, tied)
	fmt.Fprintf(w, "attention\t%d heads of %d, %d of keys and values, rope theta %g, at most %d positions\n", m.Heads, m.HeadDim, m.KVHeads, m.RopeTheta, m.MaxPositions)
	for _, b := range r.Blocks {
		fmt.Fprintf(w, "%s\tlayers %s\n", b.Name, strings.Trim(fmt.Sprint(b.Layers), "[]"))
	}
	fmt.Fprintf(w, "tensors\t%d, %d bytes", r.Tensors.Count, r.Tensors.Bytes)
	for _, name := range slices.Sorted(maps.Keys(r.Tensors.Types)) {
		fmt.Fprintf(w, ", %d %s", r.Tensors.Types[name], name)
	}
	fmt.Fprintf(w, "\nparameters\t%d\n", r.Parameters)
	for _, k := range r.Kinds {
		fmt.Fprintf(w, "  %s\t%d\t%5.1f %%\n", k.Name, k.Parameters, 100*float64(k.Parameters)/float64(r.Parameters))
	}
	fmt.Fprintf(w, "decode state\t%d bytes a token, %d bytes a sequence, %d bytes at %d tokens\n", d.PerToken, d.PerSequence, d.AtContext, d.Context)
	for _, t := range r.Tensors.List {
		fmt.Fprintf(w, "%s\t%s\t%v\n", t.Name, t.Type, t.Shape)
	}
	return w.Flush()
}
