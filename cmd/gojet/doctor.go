package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/conformance"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/vec"
)

type doctorFlags struct {
	device, filter string
	json           bool
	timeout        time.Duration
}

func newDoctor() *cobra.Command {
	var f doctorFlags
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check that every operation computes what it should on this machine",
		Long: `Check that every operation computes what it should on this machine.

Each operation runs forward and backward at awkward sizes, on random inputs and over results filled with NaN, on the CPU
and, where there is one, on the GPU in float32 and bfloat16. What comes out is compared with a plain reference in float64;
the worst relative error of an operation's results is what the table shows. The exit code is 1 if any case fails.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if f.timeout <= 0 {
				return fmt.Errorf("--timeout is %v, want more than 0", f.timeout)
			}
			return f.run(c.OutOrStdout())
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.device, "device", autograd.Auto, "check on `NAME`: cpu, cuda, or auto for the CPU and, where there is one, the GPU")
	flags.StringVar(&f.filter, "filter", "", "only operations with `TEXT` in their name")
	flags.BoolVar(&f.json, "json", false, "write JSON, with every case")
	flags.DurationVar(&f.timeout, "timeout", 2*time.Minute, "take a case on the GPU for hanging after `TIME`, compiling included")
	return c
}

// finding is a check.Verdict as JSON.
type finding struct {
	Op        string  `json:"op"`
	Size      string  `json:"size"`
	Machine   string  `json:"machine"`
	Type      string  `json:"type"`
	Worst     float64 `json:"worst_error"`
	Tolerance float64 `json:"tolerance"`
	Compile   float64 `json:"compile_s"`
	Error     string  `json:"error,omitempty"`
}

func findingOf(v check.Verdict) finding {
	r := finding{Op: v.Op, Size: v.Size, Machine: v.Machine, Type: v.Type.String(), Worst: min(v.Worst, 1e30), Tolerance: v.Tolerance, Compile: v.Seconds}
	if v.Err != nil {
		r.Error = oneLine(v.Err.Error())
	}
	return r
}

// hardware is what the operations run on.
type hardware struct {
	CPU     string `json:"cpu"`
	Threads int    `json:"threads"`
	GPU     *gpu   `json:"gpu,omitempty"`
	NoGPU   string `json:"no_gpu,omitempty"` // why there is none
}

type gpu struct {
	Name       string `json:"name"`
	Driver     string `json:"driver"`
	Capability string `json:"compute_capability"`
	Processors int    `json:"processors"`
	Memory     int64  `json:"memory_bytes"`
	Free       int64  `json:"free_bytes"`
}

// openGPU opens the device that name asks for. Where auto finds none, it says why.
func openGPU(name string) (d *device.Device, why string, err error) {
	switch name {
	case autograd.CPU:
		return nil, "not asked for", nil
	case autograd.CUDA, autograd.Auto:
	default:
		return nil, "", fmt.Errorf("--device is %q, want %s, %s or %s", name, autograd.CPU, autograd.CUDA, autograd.Auto)
	}
	d, err = device.Open(0)
	switch {
	case err == nil && d.Info().Emulated && name == autograd.Auto:
		return nil, "this build emulates one, for --device cuda", d.Close()
	case errors.Is(err, device.ErrNone) && name == autograd.Auto:
		return nil, oneLine(err.Error()), nil
	}
	return d, "", err
}

func hardwareOf(d *device.Device, why string) hardware {
	h := hardware{CPU: vec.Implementation(), Threads: runtime.GOMAXPROCS(0), NoGPU: why}
	if d != nil {
		i := d.Info()
		h.GPU = &gpu{i.Name, i.Driver, fmt.Sprintf("%d.%d", i.Major, i.Minor), i.Processors, i.Memory, i.Free}
	}
	return h
}

func (h hardware) print(out io.Writer) error {
	about := "none: " + h.NoGPU
	if g := h.GPU; g != nil {
		about = fmt.Sprintf("%s, compute capability %s, %d processors, %.1f GiB (%.1f free); %s",
			g.Name, g.Capability, g.Processors, float64(g.Memory)/(1<<30), float64(g.Free)/(1<<30), g.Driver)
	}
	_, err := fmt.Fprintf(out, "cpu  %s, %d threads\ngpu  %s\n\n", h.CPU, h.Threads, about)
	return err
}

func (f *doctorFlags) run(out io.Writer) error {
	d, why, err := openGPU(f.device)
	if err != nil {
		return err
	}
	defer func() {
		if d != nil {
			d.Close()
		}
	}()
	h := hardwareOf(d, why)
	var found []finding
	cores := cpu.New(0)
	defer cores.Close()
	asked := func(yield func(check.Case) bool) {
		for c := range conformance.Cases(d != nil && !d.Info().Emulated) {
			if strings.Contains(c.Op, f.filter) && !yield(c) {
				return
			}
		}
	}
	// runs are those of a case; a device that hangs is not asked again.
	runs := func(c *check.Case) (onCPU bool, types []device.Type) {
		onCPU, types = c.RunsOn(d)
		return onCPU && f.device != autograd.CUDA, types
	}
	for c := range check.Ahead(asked, func(c *check.Case) []device.Type {
		onCPU, types := runs(c)
		return check.References(onCPU, types)
	}) {
		onCPU, types := runs(c)
		if onCPU {
			found = append(found, examine(check.Verdict{Op: c.Op, Size: c.Size, Machine: "cpu"}, func() check.Verdict { return c.OnCPU(cores) }))
		}
		for _, t := range types {
			gpu, v := d, check.Verdict{Op: c.Op, Size: c.Size, Machine: "gpu", Type: t}
			r, hangs := within(f.timeout, v, func() finding { return examine(v, func() check.Verdict { return c.OnDevice(gpu, t) }) })
			if found = append(found, r); hangs { // and so would everything after it
				d = nil
				break
			}
			if r.Error == "" || d.Err() == nil {
				continue
			}
			// A failed launch sticks to the device: the next case gets a new one.
			d.Close()
			if d, err = device.Open(0); err != nil {
				return err
			}
		}
	}
	if len(found) == 0 {
		return fmt.Errorf("no operation has %q in its name", f.filter)
	}
	return f.report(out, h, found)
}

// within runs a case that may never end: a kernel that hangs cannot be stopped but by the end of the process.
func within(limit time.Duration, v check.Verdict, run func() finding) (r finding, hangs bool) {
	done := make(chan finding, 1)
	go func() { done <- run() }()
	select {
	case r := <-done:
		return r, false
	case <-time.After(limit):
		v.Err = fmt.Errorf("no result after %v: the kernel hangs; what comes after it was not tried", limit)
		return findingOf(v), true
	}
}

// examine runs a case; one that panics is as wrong as one that errs.
func examine(v check.Verdict, run func() check.Verdict) (r finding) {
	defer func() {
		if fault := recover(); fault != nil {
			v.Err = fmt.Errorf("panic: %v", fault)
			r = findingOf(v)
		}
	}()
	return findingOf(run())
}

func (f *doctorFlags) report(out io.Writer, h hardware, found []finding) error {
	bad := 0
	for _, r := range found {
		if r.Error != "" {
			bad++
		}
	}
	if f.json {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(map[string]any{"hardware": h, "cases": found, "failed": bad}); err != nil {
			return err
		}
	} else if err := diagnose(out, h, found); err != nil {
		return err
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d cases failed", bad, len(found))
	}
	return nil
}

// diagnose prints one line for each operation, machine and type, and what failed.
func diagnose(out io.Writer, h hardware, found []finding) error {
	if err := h.print(out); err != nil {
		return err
	}
	type key struct{ op, machine, kind string }
	type line struct {
		cases, bad int
		worst      finding
		compile    float64
	}
	var order []key
	lines := map[key]*line{}
	for _, r := range found {
		k := key{r.Op, r.Machine, r.Type}
		l := lines[k]
		if l == nil {
			l = &line{worst: r}
			lines[k] = l
			order = append(order, k)
		}
		l.cases++
		l.compile += r.Compile
		if r.Error != "" {
			l.bad++
		}
		if r.Worst > l.worst.Worst {
			l.worst = r
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "operation\ton\ttype\tcases\tworst error\ttolerance\tverdict\tcompile s")
	for _, k := range order {
		l := lines[k]
		verdict := "ok"
		if l.bad > 0 {
			verdict = fmt.Sprintf("%d WRONG", l.bad)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%.1e\t%.0e\t%s\t%.1f\n", k.op, k.machine, k.kind, l.cases, l.worst.Worst, l.worst.Tolerance, verdict, l.compile)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, r := range found {
		if r.Error != "" {
			if _, err := fmt.Fprintf(out, "\n%s (%s) on the %s in %s: %s\n", r.Op, r.Size, r.Machine, r.Type, r.Error); err != nil {
				return err
			}
		}
	}
	return nil
}
