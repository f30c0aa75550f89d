package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/spf13/cobra"

	"github.com/gojet/gojet/infer/parity"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/layers"
)

type parityFlags struct {
	parity.Config
	machineFlags
	json bool
}

func newParity() *cobra.Command {
	var f parityFlags
	c := &cobra.Command{
		Use:   "parity MODEL_DIR EXPECTED.safetensors",
		Short: "Hold a model to stored reference values",
		Long: `Hold a model to stored reference values.

The file holds input_ids [B, T] and any of: logits [B, T, vocabulary]; loss, the mean cross-entropy of the next token;
grad.NAME, its gradient with respect to each weight; greedy, rows of a prompt and its greedy continuation.
Errors are relative, |got - expected| / |expected|. Where one exceeds its tolerance, or a greedy token differs, a last line
names the worst and the command fails. With --precision bf16 on a GPU, most likely tokens are compared instead of the greedy
continuation: at most 1% may differ.

With --chunk the model runs from state as in generate: half of each row in chunks, the rest token by token; loss and
gradients are then left out.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.validate(c); err != nil {
				return err
			}
			results, err := f.run(c, args[0], args[1])
			if err != nil {
				return err
			}
			return errors.Join(f.write(c.OutOrStdout(), results), verdict(results))
		},
	}
	flags := c.Flags()
	flags.Float64Var(&f.Tol, "tol", 0, fmt.Sprintf("largest relative error of logits and gradients (default %v; on a GPU %v in float32, %v in bf16)", check.Fixture32, check.Model32, check.ModelBF16))
	flags.Float64Var(&f.LossTol, "loss-tol", 0, fmt.Sprintf("largest relative error of the loss (default %v; on a GPU as for --tol)", check.Loss32))
	flags.IntVar(&f.Chunk, "chunk", 0, "run from state, prefill in chunks of `N` tokens")
	f.add(flags, "float32")
	flags.BoolVar(&f.json, "json", false, "write JSON")
	return c
}

func (f *parityFlags) validate(c *cobra.Command) error {
	for name, tol := range map[string]float64{"tol": f.Tol, "loss-tol": f.LossTol} {
		if !(tol >= 0) || math.IsInf(tol, 0) {
			return fmt.Errorf("--%s is %v, want a finite number of 0 or more", name, tol)
		}
	}
	if c.Flags().Changed("chunk") && f.Chunk < 1 {
		return fmt.Errorf("--chunk is %d, want 1 or more", f.Chunk)
	}
	return f.machineFlags.validate()
}

func (f *parityFlags) run(c *cobra.Command, dir, path string) (results []parity.Result, err error) {
	x, err := parity.OpenExpected(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	form := layers.Float32 // which gradients need
	if f.Chunk > 0 {
		form = layers.AsStored
	}
	m, err := openModel(dir, form, f.machineFlags)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	f.complete(c, m)
	return parity.Run(c.Context(), m.Decoder, m.weights, x, m.machine, f.Config)
}

// complete fills in the tolerances that were not given: what the machine can hold.
func (f *parityFlags) complete(c *cobra.Command, m *model) {
	tol, loss := check.Fixture32, check.Loss32
	if m.machine.Device != nil {
		tol, loss = check.Model32, check.Model32
		if m.machine.Float == device.BF16 {
			tol, loss = check.ModelBF16, check.ModelBF16
			f.FirstChoices = check.FirstChoicesBF16
		}
	}
	if !c.Flags().Changed("tol") {
		f.Tol = tol
	}
	if !c.Flags().Changed("loss-tol") {
		f.LossTol = loss
	}
}

// verdict is an error that names the worst of the comparisons that fail.
func verdict(results []parity.Result) error {
	var worst parity.Result
	failed, excess := 0, -1.0
	for _, r := range results {
		if r.OK() {
			continue
		}
		failed++
		by := math.Inf(1)
		if r.Tol > 0 && r.Error == r.Error {
			by = r.Error / r.Tol
		}
		if by > excess {
			worst, excess = r, by
		}
	}
	if failed == 0 {
		return nil
	}
	of := ""
	if worst.Worst != "" {
		of = " of " + worst.Worst
	}
	return fmt.Errorf("%d of %d comparisons fail; worst %s: the error%s is %.3g, tolerance %.3g", failed, len(results), worst.What, of, worst.Error, worst.Tol)
}

// comparison is a result in JSON, where there is no Inf or NaN: the error is then null.
type comparison struct {
	parity.Result
	Error *float64 `json:"error"`
	OK    bool     `json:"ok"`
}

func (f *parityFlags) write(out io.Writer, results []parity.Result) error {
	if !f.json {
		return parity.Print(out, results)
	}
	list := make([]comparison, len(results))
	for i, r := range results {
		list[i] = comparison{Result: r, OK: r.OK()}
		if !math.IsInf(r.Error, 0) && !math.IsNaN(r.Error) {
			list[i].Error = &r.Error
		}
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(list)
}
