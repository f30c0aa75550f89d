package autograd

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"time"
	"unsafe"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Executor runs a plan on a Machine. It implements gorgonia.VM. Memory is taken once, when it is made; a run
// allocates nothing. An Executor is not safe for concurrent use; several may share a machine one after the other.
type Executor struct {
	plan   *Plan
	env    *Env
	remote *remote // on a device
	arena  []uint64
	own    *Arena // the arena where no other executor has it
	values map[*Node]*binding
	calls  []call
	spent  []time.Duration

	// Poison fills results with NaN before they are written and again once nothing reads them any more, so
	// that tests find values used too early or too late.
	Poison bool
	// Profile measures the time of every step.
	Profile bool
}

var _ gorgonia.VM = (*Executor)(nil)

// binding is a node's buffer and every argument list that holds it.
type binding struct {
	value Value
	uses  []*Value
}

type call struct {
	op      Operation
	in, out []Value
	scratch []float32
	dead    []Value // read here for the last time
}

// NewExecutor takes the memory that the plan needs. On a device, a failure to get it is reported by the first run.
func NewExecutor(p *Plan, m *Machine) *Executor {
	own := m.NewArena()
	e := NewExecutorIn(own, p)
	e.own = own
	return e
}

// NewExecutorIn is NewExecutor with the values in between in an arena, whose machine it runs on.
func NewExecutorIn(a *Arena, p *Plan) *Executor {
	m := a.machine
	e := &Executor{env: &Env{Cores: m.Cores}, values: map[*Node]*binding{}, spent: make([]time.Duration, len(p.steps))}
	if m.Device != nil {
		p = p.on(m.Float)
		e.remote = newRemote(p, m, a.onDevice(p.arena))
	} else {
		e.arena = a.onHost(p.arena)
	}
	e.plan = p
	for n, s := range p.place {
		st := p.storages[s]
		b := &binding{}
		if !st.bound {
			b.value = e.view(st.offset, n)
		}
		e.values[n] = b
	}
	if b := e.values[p.graph.one]; b != nil {
		b.value = alloc(p.graph.float, nil)
		b.value.Set(0, 1)
		if e.remote != nil {
			b.value, e.remote.err = m.Place(Data, b.value, false)
		}
	}
	e.calls = make([]call, len(p.steps))
	for i, st := range p.steps {
		e.calls[i] = call{op: st.op, in: make([]Value, len(st.in)), out: make([]Value, len(st.out))}
		e.wire(e.calls[i].in, st.in)
		e.wire(e.calls[i].out, st.out)
		if st.scratch >= 0 && e.remote == nil {
			s := p.storages[st.scratch]
			e.calls[i].scratch = unsafe.Slice((*float32)(unsafe.Pointer(&e.arena[s.offset/8])), s.bytes/4)
		}
	}
	e.markDead()
	return e
}

func (e *Executor) wire(args []Value, nodes []*Node) {
	for k, n := range nodes {
		if n == nil {
			continue
		}
		b := e.values[n]
		args[k] = b.value
		b.uses = append(b.uses, &args[k])
	}
}

// view is the piece of the arena that belongs to n.
func (e *Executor) view(offset int64, n *Node) Value {
	shape, count := n.Shape(), size(n.Shape())
	if count == 0 {
		return Value{Shape: shape}
	}
	if e.remote != nil {
		return Value{Shape: shape, Dev: e.remote.view(offset, e.plan.stored[n].t, e.plan.stored[n].len)}
	}
	at := unsafe.Pointer(&e.arena[offset/8])
	switch n.Dtype() {
	case tensor.Float64:
		return Value{Shape: shape, F64: unsafe.Slice((*float64)(at), count)}
	case tensor.Int32:
		return Value{Shape: shape, I32: unsafe.Slice((*int32)(at), count)}
	default:
		return Value{Shape: shape, F32: unsafe.Slice((*float32)(at), count)}
	}
}

// markDead notes for each step the storages that it is the last to touch.
func (e *Executor) markDead() {
	for _, s := range e.plan.storages {
		if s.bound || s.permanent || len(s.nodes) == 0 || s.to >= len(e.calls) {
			continue
		}
		e.calls[s.to].dead = append(e.calls[s.to].dead, e.values[s.nodes[0]].value)
	}
}

// Bind gives an input its memory, which the executor reads, and in the case of state writes, at every run. The
// caller may change the contents between runs.
func (e *Executor) Bind(n *Node, v Value) error {
	b, ok := e.values[n]
	if !ok {
		if n != nil && e.plan.graph.info[n] == nil {
			return nil // an input that the outputs of this plan do not depend on
		}
		return fmt.Errorf("autograd: %v is not an input of the plan", n)
	}
	if e.plan.graph.info[n] != nil {
		return fmt.Errorf("autograd: %v is computed, not an input", n)
	}
	if err := v.fits(n); err != nil {
		return err
	}
	v.Shape = n.Shape()
	if e.remote != nil {
		var err error
		if v, err = e.remote.bind(n, v); err != nil {
			return err
		}
	}
	b.value = v
	for _, u := range b.uses {
		*u = v
	}
	return nil
}

// Read returns an input or an output on the host. On a device it waits for the run and copies, as float32; on the CPU it
// is Value.
func (e *Executor) Read(n *Node) (Value, error) {
	v := e.Value(n)
	if e.remote == nil {
		return v, nil
	}
	return e.remote.machine.Fetch(v)
}

// Scalar reads element i of an output.
func (e *Executor) Scalar(n *Node, i int) (float64, error) {
	v, err := e.Read(n)
	if err != nil {
		return 0, err
	}
	return v.At(i), nil
}

// Value returns the buffer of an input or an output. Outputs hold their results until the next run.
func (e *Executor) Value(n *Node) Value {
	b, ok := e.values[n]
	if !ok {
		return Value{}
	}
	return b.value
}

// RunAll computes the outputs. Inputs that were not bound take the value that gorgonia.Let gave their node.
func (e *Executor) RunAll() (err error) {
	for _, n := range e.plan.Inputs {
		if err := e.ready(n); err != nil {
			return err
		}
	}
	at := 0
	defer func() {
		if r := recover(); r != nil {
			err = e.failed(at, r)
		}
	}()
	if e.remote != nil {
		return e.remote.run(e, &at)
	}
	for at = range e.calls {
		e.step(at)
	}
	return nil
}

func (e *Executor) step(i int) {
	c := &e.calls[i]
	e.env.Scratch = c.scratch
	if e.Poison {
		poison(Value{F32: c.scratch})
		for k, o := range c.out {
			if !e.inPlace(i, k) {
				poison(o)
			}
		}
	}
	if e.Profile {
		start := time.Now()
		c.op.Run(e.env, c.out, c.in)
		e.spent[i] += time.Since(start)
	} else {
		c.op.Run(e.env, c.out, c.in)
	}
	if e.Poison {
		for _, v := range c.dead {
			poison(v)
		}
	}
}

// inPlace reports whether result k of step i shares memory with one of its inputs.
func (e *Executor) inPlace(i, k int) bool {
	st := e.plan.steps[i]
	if st.out[k] == nil {
		return true
	}
	for _, n := range st.in {
		if e.plan.place[n] == e.plan.place[st.out[k]] {
			return true
		}
	}
	return false
}

// failed turns a kernel's complaint about its arguments into an error; a fault of the program stays a panic.
func (e *Executor) failed(at int, r any) error {
	if fault, ok := r.(runtime.Error); ok {
		panic(fault)
	}
	return fmt.Errorf("autograd: step %d, %s: %v", at, e.calls[at].op.Name(), r)
}

func (e *Executor) ready(n *Node) error {
	if !e.values[n].value.None() {
		return nil
	}
	if n.Value() == nil {
		return fmt.Errorf("autograd: %s %s has no value", e.plan.graph.roles[n], n.Name())
	}
	v, err := fromGorgonia(n.Value())
	if err != nil {
		return err
	}
	return e.Bind(n, v)
}

// Reset forgets measured times. Values are overwritten by the next run, and state is the caller's.
func (e *Executor) Reset() { clear(e.spent) }

// Close drops the executor's memory.
func (e *Executor) Close() error {
	if e.calls == nil {
		return errors.New("autograd: executor closed twice")
	}
	if e.remote != nil {
		e.remote.close()
	}
	if e.own != nil {
		e.own.Close()
	}
	e.calls, e.arena, e.values = nil, nil, nil
	return nil
}

func poison(v Value) {
	for i := range v.F32 {
		v.F32[i] = float32(math.NaN())
	}
	for i := range v.F64 {
		v.F64[i] = math.NaN()
	}
	for i := range v.I32 {
		v.I32[i] = math.MinInt32
	}
}

// Memory returns what the executor's plan needs.
func (e *Executor) Memory() Memory { return e.plan.Memory() }

// FLOPs returns the floating-point operations of one run.
func (e *Executor) FLOPs() int64 { return e.plan.FLOPs() }
