package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/conformance"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/train"
)

func newBench() *cobra.Command {
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure how fast this machine's GPU runs operations, blocks, training and decoding",
		Long: `Measure how fast this machine's GPU runs operations, blocks, training and decoding.

A row has the median of 20 repetitions after 5 that warm up: operations and blocks by the GPU's clock, with its caches
emptied in between, steps of training and decoding by the host's. What matrix products and a copy reach on the same GPU
is measured first: the floor of a row is the least time in which that speed does its arithmetic, or moves its bytes. The
peer is the best public software on an H100, the goal what gojet wants to take there. Run gojet doctor before: what is
wrong can be fast.

Weights are random. Decoding begins as if so many tokens had been fed, from caches of zeros; a prompt is fed in 3
repetitions after a short one that warms up.`,
	}
	c.AddCommand(
		newBenchRows("kernels", "Measure every operation", func(b *bench) ([]check.Measurement, error) { return b.run(conformance.Benchmarks()) }),
		newBenchRows("block", "Measure a JetBlock, forward and backward", func(b *bench) ([]check.Measurement, error) { return b.run(b.blocks()) }),
		newBenchRows("step", "Measure training steps of models of 1.5 and 2 billion parameters", (*bench).steps),
		newBenchRows("decode", "Measure the generation of tokens from long contexts by a model of 2 billion parameters", (*bench).decode),
		newBenchThroughput(),
	)
	return c
}

// newBenchRows is one of the benchmarks.
func newBenchRows(name, short string, rows func(*bench) ([]check.Measurement, error)) *cobra.Command {
	var b bench
	c := &cobra.Command{
		Use:   name,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return b.measure(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), rows)
		},
	}
	c.Flags().StringVar(&b.filter, "filter", "", "only rows with `TEXT` in their name")
	c.Flags().BoolVar(&b.json, "json", false, "write JSON")
	if name == "step" || name == "decode" {
		c.Flags().BoolVar(&b.profile, "profile", false, "tell on the error stream where the time of a step goes")
	}
	return c
}

// bench is a benchmark on its way.
type bench struct {
	filter string
	json   bool
	// profile asks for the operations of a step.
	profile bool
	notes   io.Writer

	context  context.Context
	device   *device.Device
	cores    *cpu.Cores
	ceilings check.Ceilings
}

func (b *bench) measure(ctx context.Context, out, notes io.Writer, rows func(*bench) ([]check.Measurement, error)) error {
	d, err := device.Open(0)
	if err != nil {
		return fmt.Errorf("bench measures a GPU: %w", err)
	}
	defer func() { b.device.Close() }()
	b.context, b.device, b.cores, b.notes = ctx, d, cpu.New(0), notes
	defer b.cores.Close()
	if d.Info().Emulated {
		return errors.New("bench measures a GPU: the times of an emulated one mean nothing")
	}
	h := hardwareOf(d, "")
	if b.ceilings, err = check.MeasureCeilings(d); err != nil {
		return err
	}
	list, err := rows(b)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return fmt.Errorf("no row has %q in its name", b.filter)
	}
	if b.json {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		err = enc.Encode(map[string]any{"hardware": h, "ceilings": b.ceilings, "rows": list})
	} else {
		err = b.table(out, h, list)
	}
	failed := slices.ContainsFunc(list, func(m check.Measurement) bool { return m.Error != "" })
	if err == nil && failed {
		err = errors.New("some rows could not be measured")
	}
	return err
}

func (b *bench) table(out io.Writer, h hardware, list []check.Measurement) error {
	if err := h.print(out); err != nil {
		return err
	}
	fmt.Fprintf(out, "bfloat16 product 8192·8192·8192 at %.0f TFLOP/s, 16384·1536·8960 at %.0f; copy at %.2f TB/s\n\n", b.ceilings.Square, b.ceilings.Wide, b.ceilings.Copy)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	tokens := slices.ContainsFunc(list, func(m check.Measurement) bool { return m.Tokens > 0 })
	fmt.Fprint(w, "row\tshape\tms\t10%…90%\tTFLOP/s\tTB/s\tof floor\tpeer ms\tgoal ms\tMiB")
	if tokens {
		fmt.Fprint(w, "\tGB moved\ttokens/s")
	}
	fmt.Fprintln(w)
	for _, m := range list {
		if m.Error != "" {
			fmt.Fprintf(w, "%s\t%s\tfailed: %s\n", m.Name, m.Shape, oneLine(m.Error))
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%.4g\t%.4g…%.4g\t%s\t%s\t%s\t%s\t%s\t%d", m.Name, m.Shape, m.Median, m.P10, m.P90, some("%.0f", m.TFLOPS), some("%.2f", m.TBS),
			some("%.0f%%", 100*m.OfFloor), some("%.4g", m.PeerMS), some("%.4g", m.Goal), m.Memory>>20)
		if tokens {
			fmt.Fprintf(w, "\t%.2f\t%.0f", m.Bytes/1e9, m.TokensPerSecond)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// some prints a number that is known.
func some(format string, v float64) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf(format, v)
}

// run measures the rows that are asked for, each on a device without faults.
func (b *bench) run(rows []check.Benchmark) ([]check.Measurement, error) {
	var list []check.Measurement
	for _, row := range rows {
		if !strings.Contains(row.Name, b.filter) {
			continue
		}
		if err := b.context.Err(); err != nil {
			return nil, err
		}
		m := row.Measure(b.device, b.ceilings)
		list = append(list, m)
		if err := b.again(&m); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// again opens the device anew after a row that failed. Some faults are the process's: then there is no going on.
func (b *bench) again(m *check.Measurement) error {
	if m.Error == "" {
		return nil
	}
	b.device.Close()
	d, err := device.Open(0)
	if err != nil {
		return fmt.Errorf("%s (%s): %s; after that %w", m.Name, m.Shape, oneLine(m.Error), err)
	}
	b.device = d
	return nil
}

func (b *bench) machine() *autograd.Machine { return autograd.OnDevice(b.device, device.BF16, b.cores) }

// blocks are the JetBlock rows.
func (b *bench) blocks() []check.Benchmark {
	var rows []check.Benchmark
	for _, k := range benchBlocks() {
		name := "JetBlock, forward, " + k.name
		if k.backward {
			name = "JetBlock, forward + backward, " + k.name
		}
		rows = append(rows, check.Benchmark{
			Name: name, Shape: k.shape(), Type: device.BF16, Peer: "official + fla", PeerMS: k.peer, Goal: k.goal, Replays: true, FLOPs: k.flops(),
			Setup: func(d *device.Device) (func(*device.Queue), func()) {
				e, err := k.executor(b.machine())
				if err != nil {
					d.Fail(err)
					return func(*device.Queue) {}, func() {}
				}
				run := func(q *device.Queue) {
					if err := e.RunAll(); err != nil {
						q.Fail(err)
					}
				}
				return run, func() { e.Close() }
			},
		})
	}
	return rows
}

const benchedSteps = 20

// steps measures training.
func (b *bench) steps() ([]check.Measurement, error) {
	var list []check.Measurement
	for _, s := range benchSteps() {
		if !strings.Contains(s.name, b.filter) {
			continue
		}
		m := check.Measurement{Name: s.name, Shape: "2 × 4096 tokens", Type: device.BF16.String(), Peer: "transformers + fla", PeerMS: s.peer, Goal: s.goal}
		if err := b.step(s.trainer, &m); err != nil {
			m.Error = err.Error()
		}
		list = append(list, m)
		if err := b.again(&m); err != nil {
			return nil, err
		}
	}
	return list, nil
}

var errEnough = errors.New("enough steps")

// step times the steps of one trainer, after five that warm up.
func (b *bench) step(trainer func(*autograd.Machine) (*train.Trainer, error), m *check.Measurement) error {
	b.device.ResetPeak()
	t, err := trainer(b.machine())
	if err != nil {
		return err
	}
	var ms []float64
	var last time.Time
	t.Hooks.Step = func(p train.Progress, _ train.Report) error {
		now := time.Now()
		if p.Step > 5 {
			ms = append(ms, float64(now.Sub(last))/float64(time.Millisecond))
		}
		last = now
		if len(ms) == benchedSteps {
			return errEnough
		}
		return nil
	}
	if err := t.Run(b.context, &train.Progress{}, nil); !errors.Is(err, errEnough) {
		return err
	}
	m.FLOPs, m.Memory = float64(t.Cost().FLOPs), b.device.Usage().Peak
	m.Set(ms, b.ceilings)
	if b.profile {
		const steps = 3
		list, err := t.Profile(steps)
		if err != nil {
			return err
		}
		if err := b.operations(list, steps, m.Name); err != nil {
			return err
		}
	}
	err = t.Close()
	t.Student.Weights.Release(b.machine(), nil)
	if t.Teacher != nil {
		t.Teacher.Weights.Release(b.machine(), nil)
	}
	return err
}

// operations tells where the time of steps goes: the operations of one kind and shape together, the longest first.
func (b *bench) operations(list []autograd.StepReport, steps int, name string) error {
	type kind struct {
		what         string
		count        int
		ms           float64
		flops, bytes int64
	}
	kinds := map[string]*kind{}
	var total float64
	for _, s := range list {
		key := s.Op + " → " + strings.Join(s.Out, " ")
		if strings.HasPrefix(s.Op, "linear") {
			key += " of " + strings.Join(s.In, " · ")
			key = weightNames.ReplaceAllString(key, "")
		}
		if kinds[key] == nil {
			kinds[key] = &kind{what: key}
		}
		k := kinds[key]
		k.count++
		k.ms += s.Time.Seconds() * 1e3 / float64(steps)
		k.flops += s.FLOPs
		k.bytes += s.Bytes
		total += s.Time.Seconds() * 1e3 / float64(steps)
	}
	sorted := slices.SortedFunc(maps.Values(kinds), func(a, b *kind) int { return cmp.Compare(b.ms, a.ms) })
	fmt.Fprintf(b.notes, "%s: %.1f ms in %d operations, one at a time\n", name, total, len(list))
	w := tabwriter.NewWriter(b.notes, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ms\tshare\tcount\tTFLOP/s\tTB/s\toperation")
	for _, k := range sorted {
		fmt.Fprintf(w, "%.2f\t%.1f%%\t%d\t%.0f\t%.2f\t%s\n", k.ms, 100*k.ms/total, k.count, float64(k.flops)/k.ms/1e9, float64(k.bytes)/k.ms/1e9, k.what)
	}
	return w.Flush()
}

// weightNames are taken out of what a profile calls an operation, so that layers come together.
var weightNames = regexp.MustCompile(`(teacher/)?model\.[a-z0-9_.]+`)
