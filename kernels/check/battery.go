package check

import (
	"fmt"
	"math"

	"github.com/gojet/gojet/bf16"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
)

// Tolerances of a GPU's kernels.
const (
	// Device32 is a float32 kernel on a GPU against its reference in float64.
	Device32 = 1e-5
	// DeviceBF16 is a bfloat16 kernel against the reference on the same rounded inputs.
	DeviceBF16 = 1e-2
)

// Role says what a kernel does with an operand.
type Role uint8

// Roles.
const (
	Input  Role = iota // only read
	Result             // written in full; handed over poisoned
	State              // advanced in place
)

// Operand is a buffer of a Case.
type Operand struct {
	Name string
	Role Role
	// Float holds the contents of float operands; for results it has the length, and its contents do not matter.
	Float []float64
	// Int holds the contents of int32 operands.
	Int []int32
	// Wide operands stay float32 where others are bfloat16: states, gates, statistics, gradients of parameters.
	Wide bool
	// Tolerance replaces the table's for a result; 0 is the table's. It needs its reason in a comment.
	Tolerance float64
}

// Case is one operation at one size, with a way to compute it for each machine. The three functions get the operands in
// the order of Args; integers are nil in float slices.
type Case struct {
	Op   string // the noun, and "backward" for gradients
	Size string // "N 65, D 96"
	Args []Operand
	// Only restricts the types that a GPU runs; nil is float32 and bfloat16.
	Only []device.Type

	large bool // not for the emulator and the CPU, where it would take too long

	Reference func(a [][]float64)
	CPU       func(c *cpu.Cores, a [][]float32) // nil where the CPU has no kernel of its own
	// GPU queues the kernel. Scratch has what Scratch asks for, with undefined contents.
	GPU     func(q *device.Queue, a []device.Tensor, scratch device.Tensor)
	Scratch func(t device.Type) int64 // bytes; nil for none

	foreseen map[device.Type]*foreseen // by Ahead
}

// Verdict is what a run of a Case found.
type Verdict struct {
	Op, Size, Machine string
	Type              device.Type
	Worst             float64 // of the results' relative errors over their tolerances, times the table's tolerance
	Tolerance         float64
	Seconds           float64 // compiling
	Err               error   // nil is a pass
}

// OnCPU runs the case on the CPU in float32.
func (c *Case) OnCPU(cores *cpu.Cores) Verdict {
	v := Verdict{Op: c.Op, Size: c.Size, Machine: "cpu", Tolerance: Kernel32}
	want := c.wanted(device.Float32)
	outs := make([]Out[float32], len(c.Args))
	args := make([][]float32, len(c.Args))
	for i, a := range c.Args {
		outs[i] = Poisoned[float32](len(a.Float))
		args[i] = outs[i].Data
		if a.Role != Result {
			copy(args[i], To[float32](a.Float))
		}
		if a.Float == nil {
			args[i] = nil
		}
	}
	c.CPU(cores, args)
	for i, a := range c.Args {
		if a.Float == nil {
			continue
		}
		if err := outs[i].Whole(); err != nil {
			v.fail("%s: %v", a.Name, err)
			continue
		}
		v.judge(a, args[i], want[i])
	}
	return v
}

// OnDevice runs the case on a GPU with operands of type t.
func (c *Case) OnDevice(d *device.Device, t device.Type) Verdict {
	v := Verdict{Op: c.Op, Size: c.Size, Machine: "gpu", Type: t, Tolerance: Device32}
	if t == device.BF16 {
		v.Tolerance = DeviceBF16
	}
	want := c.wanted(t)
	known := map[*device.Kernel]bool{}
	for _, k := range d.Kernels() {
		known[k] = true
	}
	whole := make([]device.Tensor, len(c.Args))
	args := make([]device.Tensor, len(c.Args))
	for i, a := range c.Args {
		whole[i], args[i] = place(d, a, a.Type(t))
	}
	var scratch device.Tensor
	if c.Scratch != nil {
		if n := c.Scratch(t); n > 0 {
			scratch = d.New(device.Float32, int(device.Aligned(n)/4))
			d.Poison(scratch)
			defer d.Free(scratch)
		}
	}
	c.GPU(d, args, scratch)
	for i, a := range c.Args {
		got, err := fetch(d, whole[i], a)
		d.Free(whole[i])
		switch {
		case err != nil:
			v.fail("%s: %v", a.Name, err)
		case a.Float != nil:
			v.judge(a, got, want[i])
		}
	}
	for _, k := range d.Kernels() {
		if !known[k] {
			v.Seconds += k.Resources.Seconds
		}
	}
	return v
}

// Type is how the operand is stored in a run of type t.
func (a *Operand) Type(t device.Type) device.Type {
	switch {
	case a.Float == nil:
		return device.Int32
	case a.Wide:
		return device.Float32
	}
	return t
}

// compute runs the reference.
func (c *Case) compute(t device.Type) [][]float64 {
	a := make([][]float64, len(c.Args))
	for i, o := range c.Args {
		if o.Float == nil {
			continue
		}
		a[i] = make([]float64, len(o.Float))
		for k, x := range o.Float {
			switch {
			case o.Role == Result:
				x = math.NaN()
			case o.Type(t) == device.BF16:
				x = float64(bf16.From(float32(x)).Float32())
			default:
				x = float64(float32(x))
			}
			a[i][k] = x
		}
	}
	c.Reference(a)
	return a
}

const margin = 128 // elements around each operand that nobody may write

// place uploads an operand between guard words; results are poisoned.
func place(d *device.Device, a Operand, t device.Type) (whole, inner device.Tensor) {
	n := max(len(a.Float), len(a.Int))
	whole = d.New(t, n+2*margin)
	if d.Err() != nil {
		return whole, whole
	}
	inner = whole.Slice(margin, n)
	switch t {
	case device.Int32:
		h := make([]int32, n+2*margin)
		copy(h[margin:], a.Int)
		device.Upload(d, whole, h)
		return whole, inner
	case device.BF16:
		device.Upload(d, whole, guarded(a, func(x float64) bf16.BF16 { return bf16.From(float32(x)) }))
	default:
		device.Upload(d, whole, guarded(a, func(x float64) float32 { return float32(x) }))
	}
	if a.Role == Result {
		d.Poison(inner)
	}
	return whole, inner
}

func guarded[E any](a Operand, to func(float64) E) []E {
	h := make([]E, len(a.Float)+2*margin)
	for i := range h {
		h[i] = to(sentinel)
	}
	for i, x := range a.Float {
		h[margin+i] = to(x)
	}
	return h
}

// fetch downloads an operand and checks the guard words and, for results, that every element was written.
func fetch(d *device.Device, whole device.Tensor, a Operand) ([]float32, error) {
	h := make([]float32, whole.Len)
	switch whole.Type {
	case device.Int32:
		return nil, d.Wait()
	case device.BF16:
		raw := make([]bf16.BF16, whole.Len)
		if err := device.Download(d, raw, whole); err != nil {
			return nil, err
		}
		for i, x := range raw {
			h[i] = x.Float32()
		}
	default:
		if err := device.Download(d, h, whole); err != nil {
			return nil, err
		}
	}
	o := Out[float32]{Data: h[margin : len(h)-margin], whole: h}
	mark := float32(sentinel)
	if whole.Type == device.BF16 {
		mark = bf16.From(mark).Float32()
	}
	for i := range margin {
		if h[i] != mark || h[len(h)-1-i] != mark {
			return nil, fmt.Errorf("wrote outside the result, near its %s", map[bool]string{true: "start", false: "end"}[h[i] != mark])
		}
	}
	for i, x := range o.Data {
		if x != x {
			return nil, fmt.Errorf("element %d of %d is NaN or was never written", i, len(o.Data))
		}
	}
	return o.Data, nil
}

func (v *Verdict) fail(format string, args ...any) {
	if v.Err == nil {
		v.Err = fmt.Errorf(format, args...)
	}
	v.Worst = math.Inf(1)
}

// judge compares one operand after the run: results with the reference's, inputs with themselves.
func (v *Verdict) judge(a Operand, got []float32, want []float64) {
	e := RelErr(got, want)
	if a.Role == Input && e > 1e-6 && v.Type == device.Float32 || a.Role == Input && e > 0 && v.Type == device.BF16 {
		v.fail("input %s was changed", a.Name)
		return
	}
	if a.Role == Input {
		return
	}
	tol := v.Tolerance
	if a.Tolerance > 0 {
		tol = a.Tolerance
	}
	if !(e <= tol) {
		v.fail("%s: relative error %.3g, tolerance %.3g", a.Name, e, tol)
	}
	v.Worst = max(v.Worst, e*v.Tolerance/tol)
}

// Types lists what a GPU runs the case in.
func (c *Case) Types() []device.Type {
	if c.Only != nil {
		return c.Only
	}
	return []device.Type{device.Float32, device.BF16}
}
