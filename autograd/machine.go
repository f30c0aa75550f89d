package autograd

import (
	"errors"
	"fmt"

	"github.com/gojet/gojet/bf16"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/normal"
	"github.com/gojet/gojet/kernels/vec"
)

// Machine is what executors run on: the cores of the CPU, or a device. Values that live across runs are made by it and
// can be read by its executors only.
type Machine struct {
	Cores *cpu.Cores
	// Device is nil where executors run on the CPU.
	Device *device.Device
	// Float is the type of activations and matrices on a device: bfloat16, or float32 for checks.
	Float device.Type
}

// OnCPU is a machine that runs everything on cores.
func OnCPU(cores *cpu.Cores) *Machine { return &Machine{Cores: cores} }

// OnDevice is a machine that runs plans on d with activations of type t. What remains for the host runs on cores.
func OnDevice(d *device.Device, t device.Type, cores *cpu.Cores) *Machine {
	return &Machine{Cores: cores, Device: d, Float: t}
}

// Names of machines.
const (
	CPU  = "cpu"
	CUDA = "cuda"
	Auto = "auto" // a device where the build and the machine have one, the CPU elsewhere
)

// OpenMachine opens the machine of that name, with so many threads on the host, 0 for one a processor. On a device,
// activations are of type t.
func OpenMachine(name string, t device.Type, threads int) (*Machine, error) {
	m := &Machine{Float: t}
	var err error
	switch name {
	case CPU:
	case CUDA:
		m.Device, err = device.Open(0)
	case Auto:
		m.Device, err = device.Open(0)
		switch {
		case errors.Is(err, device.ErrNone):
			err = nil
		case err == nil && m.Device.Info().Emulated: // for tests that ask for it
			m.Device, err = nil, m.Device.Close()
		}
	default:
		err = fmt.Errorf("device is %q, want %s, %s or %s", name, CPU, CUDA, Auto)
	}
	if err != nil {
		return nil, err
	}
	m.Cores = cpu.New(threads)
	return m, nil
}

// Name is CPU or CUDA.
func (m *Machine) Name() string {
	if m.Device == nil {
		return CPU
	}
	return CUDA
}

// With is the same machine with activations of type t.
func (m *Machine) With(t device.Type) *Machine {
	return &Machine{Cores: m.Cores, Device: m.Device, Float: t}
}

// Close ends the threads and gives the device back.
func (m *Machine) Close() error {
	m.Cores.Close()
	if m.Device == nil {
		return nil
	}
	return m.Device.Close()
}

// Place returns v where the machine's executors read it: v itself on the CPU, a copy on a device. A parameter that learns
// gets a float32 master where it is stored as bfloat16.
func (m *Machine) Place(role Role, v Value, learns bool) (Value, error) {
	if m.Device == nil || !v.Dev.None() {
		return v, nil
	}
	if v.F64 != nil {
		return Value{}, fmt.Errorf("autograd: float64 values run on the CPU only")
	}
	p := m.room(role, v.Shape, v.Len(), learns)
	m.write(p, v)
	return p, m.Device.Err()
}

// room takes memory for a value of n elements.
func (m *Machine) room(role Role, shape Shape, n int, learns bool) Value {
	t := storedAs(role, shape, m.Float)
	p := Value{Shape: shape, Dev: m.Device.New(t, n)}
	if learns && t == device.BF16 {
		p.Master = m.Device.New(device.Float32, n)
	}
	return p
}

// write copies a host value over a placed one.
func (m *Machine) write(p, v Value) {
	d := m.Device
	full := func(t device.Tensor) {
		if v.BF16 != nil {
			device.Upload(d, t, m.widened(v.BF16))
		} else {
			device.Upload(d, t, v.F32)
		}
	}
	if !p.Master.None() {
		full(p.Master)
	}
	switch {
	case v.I32 != nil:
		device.Upload(d, p.Dev, v.I32)
	case p.Dev.Type == device.BF16 && v.BF16 != nil:
		device.Upload(d, p.Dev, v.BF16)
	case p.Dev.Type == device.BF16:
		device.Upload(d, p.Dev, m.rounded(v.F32))
	default:
		full(p.Dev)
	}
}

// converted is a part of a conversion's size: enough to be worth a core's while.
const converted = 1 << 16

// rounded is bf16.Rounded on all cores.
func (m *Machine) rounded(xs []float32) []bf16.BF16 {
	type args struct {
		ys []bf16.BF16
		xs []float32
	}
	j := cpu.Borrow(m.Cores, args{make([]bf16.BF16, len(xs)), xs})
	defer j.Return()
	j.For(len(xs), converted, func(a *args, _ *cpu.Worker, lo, hi int) { vec.ToBF16(a.ys[lo:hi], a.xs[lo:hi]) })
	return j.Args.ys
}

// widened is bf16.Floats on all cores.
func (m *Machine) widened(xs []bf16.BF16) []float32 {
	type args struct {
		ys []float32
		xs []bf16.BF16
	}
	j := cpu.Borrow(m.Cores, args{make([]float32, len(xs)), xs})
	defer j.Return()
	j.For(len(xs), converted, func(a *args, _ *cpu.Worker, lo, hi int) { vec.FromBF16(a.ys[lo:hi], a.xs[lo:hi]) })
	return j.Args.ys
}

// Zeros makes a value of zeros that lives across runs.
func (m *Machine) Zeros(p Precision, role Role, shape ...int) (Value, error) {
	if m.Device == nil {
		return Zeros(p, shape...), nil
	}
	v := m.room(role, shape, size(shape), false)
	m.Device.Zero(v.Dev)
	return v, m.Device.Err()
}

// Normal makes a parameter of draws from N(0, std²), on the device itself where there is one.
func (m *Machine) Normal(std float64, seed uint64, learns bool, shape ...int) (Value, error) {
	if m.Device == nil {
		draws := make([]float64, size(shape))
		normal.Reference(draws, std, seed)
		v := Zeros(Float32, shape...)
		for i, x := range draws {
			v.F32[i] = float32(x)
		}
		return v, nil
	}
	v := m.room(Parameter, shape, size(shape), learns)
	normal.Fill(m.Device, v.Dev, v.Master, std, seed)
	return v, m.Device.Err()
}

// Clear queues zeros over a placed value.
func (m *Machine) Clear(v Value) {
	if v.Dev.None() {
		v.Clear()
		return
	}
	m.Device.Zero(v.Dev)
}

// ClearRow queues zeros over one row of a placed value [rows, …].
func (m *Machine) ClearRow(v Value, row int) {
	n := size(v.Shape) / v.Shape[0]
	m.Clear(v.Piece(row*n, n))
}

// Like makes a value of n elements as v's are stored, that lives across runs. Its contents are undefined.
func (m *Machine) Like(v Value, n int) (Value, error) {
	if m.Device == nil {
		return Value{F32: make([]float32, n)}, nil
	}
	return Value{Dev: m.Device.New(v.Dev.Type, n)}, m.Device.Err()
}

// Copy queues a copy of one placed value over another of the same size.
func (m *Machine) Copy(to, from Value) {
	if m.Device != nil {
		m.Device.Copy(to.Dev, from.Dev)
		return
	}
	copy(to.F32, from.F32)
	copy(to.F64, from.F64)
}

// Fetch waits and returns v on the host: in full precision where it has a master, and float32 in any case. On the CPU
// that is v itself.
func (m *Machine) Fetch(v Value) (Value, error) {
	if v.Dev.None() {
		return v, nil
	}
	from := v.Dev
	if !v.Master.None() {
		from = v.Master
	}
	switch from.Type {
	case device.Int32:
		h := make([]int32, from.Len)
		return Value{Shape: v.Shape, I32: h}, device.Download(m.Device, h, from)
	case device.BF16:
		h := make([]bf16.BF16, from.Len)
		err := device.Download(m.Device, h, from)
		return Value{Shape: v.Shape, F32: m.widened(h)}, err
	}
	h := make([]float32, from.Len)
	return Value{Shape: v.Shape, F32: h}, device.Download(m.Device, h, from)
}

// Free gives the memory of a placed value back.
func (m *Machine) Free(v Value) {
	if m.Device != nil {
		m.Device.Free(v.Dev)
		m.Device.Free(v.Master)
	}
}
