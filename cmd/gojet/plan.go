package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/layers"
)

type planFlags struct {
	batch, tokens, capacity     int
	backward, recompute, decode bool
	json, summary               bool
}

func newPlan() *cobra.Command {
	var f planFlags
	c := &cobra.Command{
		Use:   "plan MODEL_DIR",
		Short: "Show the operations and the memory that running a model takes",
		Long: `Show the operations and the memory that running a model takes.

The folder needs a config.json only: weights are not read and nothing is run. The plan is that of the forward pass up to
the logits of each sequence's last token; with --backward that of the mean cross-entropy and its gradients with respect
to all weights; with --decode that of one more token of each sequence, from state.
Weights count as float32. Offsets are places in the memory that all values in between share, in bytes.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.validate(c); err != nil {
				return err
			}
			config, err := checkpoints.ReadConfig(args[0])
			if err != nil {
				return err
			}
			plan, err := f.plan(config)
			if err != nil {
				return err
			}
			return f.write(c.OutOrStdout(), plan)
		},
	}
	flags := c.Flags()
	flags.IntVar(&f.batch, "batch", 1, "run `N` sequences")
	flags.IntVar(&f.tokens, "tokens", 64, "run `N` tokens of each")
	flags.BoolVar(&f.backward, "backward", false, "loss and gradients")
	flags.BoolVar(&f.recompute, "recompute", false, "with --backward, compute each layer's values again in place of keeping them")
	flags.BoolVar(&f.decode, "decode", false, "one token of each sequence, from state")
	flags.IntVar(&f.capacity, "capacity", 0, "with --decode, room for `N` tokens in each sequence's state (default the model's most positions)")
	flags.BoolVar(&f.json, "json", false, "write JSON")
	flags.BoolVar(&f.summary, "summary", false, "sums by operation in place of every step")
	c.MarkFlagsMutuallyExclusive("backward", "decode")
	c.MarkFlagsMutuallyExclusive("tokens", "decode")
	return c
}

func (f *planFlags) validate(c *cobra.Command) error {
	switch {
	case f.batch < 1:
		return fmt.Errorf("--batch is %d, want 1 or more", f.batch)
	case f.tokens < 1:
		return fmt.Errorf("--tokens is %d, want 1 or more", f.tokens)
	case f.batch > math.MaxInt32/f.tokens:
		return fmt.Errorf("--batch %d times --tokens %d is too much, want at most %d", f.batch, f.tokens, math.MaxInt32)
	case f.recompute && !f.backward:
		return fmt.Errorf("--recompute goes with --backward")
	case c.Flags().Changed("capacity") && !f.decode:
		return fmt.Errorf("--capacity goes with --decode")
	case c.Flags().Changed("capacity") && f.capacity < 1:
		return fmt.Errorf("--capacity is %d, want 1 or more", f.capacity)
	}
	return nil
}

// plan compiles the graph that the flags ask for.
func (f *planFlags) plan(config *checkpoints.Config) (*autograd.Plan, error) {
	d, err := layers.NewDecoder(config)
	if err != nil {
		return nil, err
	}
	for name, n := range map[string]int{"tokens": f.tokens, "capacity": f.capacity} {
		if n > config.MaxPositions {
			return nil, fmt.Errorf("--%s is %d, above the model's %d positions (max_position_embeddings)", name, n, config.MaxPositions)
		}
	}
	g := autograd.NewGraph(autograd.Float32)
	in := layers.Inputs{}
	n := f.batch * f.tokens
	if f.decode {
		n, in.Rows, in.Capacity = f.batch, f.batch, f.capacity
		if in.Capacity == 0 {
			in.Capacity = config.MaxPositions
		}
	}
	in.IDs, in.Seq = g.Ints("ids", n), g.Sequences("sequences", f.batch)
	h := d.Forward(g, in).Hidden
	if f.backward {
		return f.planBackward(g, d, h)
	}
	return autograd.Compile(g, d.Logits(g, g.LastTokens(h, in.Seq)))
}

func (f *planFlags) planBackward(g *autograd.Graph, d *layers.Decoder, h *autograd.Node) (*autograd.Plan, error) {
	loss := g.LinearCrossEntropy(h, d.Head(g, ""), g.Ints("labels", f.batch*f.tokens), 1).Value
	if g.Err() != nil {
		return nil, g.Err()
	}
	var weights []*autograd.Node
	for _, p := range d.Params() {
		weights = append(weights, g.Inputs()[p.Name])
	}
	grads := g.Backward(loss, weights, autograd.BackwardConfig{Recompute: f.recompute})
	return autograd.Compile(g, append([]*autograd.Node{loss}, grads...)...)
}

// operation is the sum of all steps of one kind.
type operation struct {
	Op    string `json:"op"`
	Steps int    `json:"steps"`
	Bytes int64  `json:"bytes"`
	FLOPs int64  `json:"flops"`
}

func (f *planFlags) write(out io.Writer, p *autograd.Plan) error {
	switch {
	case f.json:
		return writePlanJSON(out, p, f.summary)
	case f.summary:
		return writeSummary(out, p)
	}
	return p.Print(out)
}

// operations sums the steps up, the greatest number of FLOPs first.
func operations(p *autograd.Plan) []operation {
	var ops []operation
	for _, s := range p.Steps() {
		at := slices.IndexFunc(ops, func(o operation) bool { return o.Op == s.Op })
		if at < 0 {
			at = len(ops)
			ops = append(ops, operation{Op: s.Op})
		}
		ops[at].Steps++
		ops[at].Bytes += s.Bytes
		ops[at].FLOPs += s.FLOPs
	}
	slices.SortStableFunc(ops, func(a, b operation) int { return cmp.Compare(b.FLOPs, a.FLOPs) })
	return ops
}

func writeSummary(out io.Writer, p *autograd.Plan) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "op\tsteps\tbytes\tFLOPs")
	total := operation{Op: "total"}
	for _, o := range operations(p) {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\n", o.Op, o.Steps, o.Bytes, o.FLOPs)
		total.Steps, total.Bytes, total.FLOPs = total.Steps+o.Steps, total.Bytes+o.Bytes, total.FLOPs+o.FLOPs
	}
	fmt.Fprintf(w, "%s\t%d\t%d\t%d\n", total.Op, total.Steps, total.Bytes, total.FLOPs)
	if err := w.Flush(); err != nil {
		return err
	}
	m := p.Memory()
	_, err := fmt.Fprintf(out, "\nparameters %d bytes, state %d, data %d\nvalues in between: peak %d bytes shared, %d unshared\n",
		m.Parameters, m.State, m.Data, m.Arena, m.Unshared)
	return err
}

func writePlanJSON(out io.Writer, p *autograd.Plan, summary bool) error {
	m := p.Memory()
	report := map[string]any{
		"flops": p.FLOPs(),
		"memory": map[string]int64{
			"parameters": m.Parameters, "state": m.State, "data": m.Data, "values_peak": m.Arena, "values_unshared": m.Unshared,
		},
	}
	if summary {
		report["operations"] = operations(p)
	} else {
		report["steps"] = p.Steps()
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(report)
}
