package autograd

import (
	"reflect"
	"slices"

	"gorgonia.org/tensor"

	"github.com/gojet/gojet/kernels/device"
)

// Launcher is an operation with kernels for a device.
type Launcher interface {
	Operation
	// Launch queues the computation of the results that are wanted. It must neither wait nor take memory: what it
	// queues is recorded once and replayed.
	Launch(env *DeviceEnv, out, in []Value)
}

// DeviceScratcher is an operation that needs temporary memory on a device while it runs, in bytes, where float
// activations are of type t.
type DeviceScratcher interface {
	DeviceScratch(in []Shape, t device.Type) int64
}

// Typed is an operation whose results are not stored on a device as policy says. It gets the types of the inputs.
type Typed interface {
	ResultTypes(in []device.Type, t device.Type) []device.Type
}

// Opaque is an operation with results in a layout of its own, which only its gradient reads: it says how many elements they
// have on a device, 0 for as many as their shape.
type Opaque interface {
	DeviceLens(in []Shape, t device.Type) []int
}

// Sparing is an operation that on a device does without some of its inputs: what the kernels read of the forward pass is less
// than what its gradient is written with. Their memory is not kept for it.
type Sparing interface {
	// Spares lists inputs that Launch does not read.
	Spares() []int
}

// Grouped is an operation whose neighbours in a plan can be queued together with it: all updates of an optimiser are
// one launch.
type Grouped interface {
	Launcher
	// Group prepares steps that follow each other in a plan, all of the same Go type, or a single one. It may take
	// memory and upload, and is called anew when bindings change; launch may not. free gives the memory back.
	Group(env *DeviceEnv, steps []GroupStep) (launch, free func())
}

// GroupStep is one step of a group.
type GroupStep struct {
	Op      Operation
	Out, In []Value
}

// DeviceEnv is what operations are queued on.
type DeviceEnv struct {
	Queue   *device.Queue
	Scratch device.Tensor // what the operation's DeviceScratch asked for
	Float   device.Type   // of activations and matrices
}

// storedAs is the policy for values on a device: activations, matrices, caches of keys and values and the last inputs of
// convolutions are of type t; what is summed over many tokens or steps stays float32: vectors of parameters, losses,
// moments of an optimiser, recurrent states [rows, H, K, V].
func storedAs(role Role, shape Shape, t device.Type) device.Type {
	switch {
	case role == Accumulator:
		return device.Float32
	case role == State && len(shape) == 3 || len(shape) == 2:
		return t
	}
	return device.Float32
}

// stored says how a node lies in the memory of a device.
type stored struct {
	t   device.Type
	len int // elements
}

// storage decides how every node of a plan is stored on a device.
func (p *Plan) storage(t device.Type) map[*Node]stored {
	all := map[*Node]stored{}
	for _, n := range p.Inputs {
		s := stored{storedAs(p.graph.roles[n], n.Shape(), t), size(n.Shape())}
		if n.Dtype() == tensor.Int32 {
			s.t = device.Int32
		}
		all[n] = s
	}
	for _, st := range p.steps {
		in := make([]device.Type, len(st.in))
		for i, n := range st.in {
			in[i] = all[n].t
		}
		var types []device.Type
		if op, ok := st.op.(Typed); ok {
			types = op.ResultTypes(in, t)
		}
		var lens []int
		if op, ok := st.op.(Opaque); ok {
			lens = op.DeviceLens(shapes(st.in), t)
		}
		for i, n := range st.out {
			if n == nil {
				continue
			}
			s := stored{storedAs(0, n.Shape(), t), size(n.Shape())}
			if types != nil {
				s.t = types[i]
			}
			if lens != nil && lens[i] > 0 {
				s.len = lens[i]
			}
			all[n] = s
		}
	}
	return all
}

// on returns the plan laid out for a device.
func (p *Plan) on(t device.Type) *Plan {
	q := *p
	q.stored = p.storage(t)
	q.place, q.storages = map[*Node]int{}, nil
	q.bytes = func(n *Node) int64 { return int64(q.stored[n].len) * int64(q.stored[n].t.Size()) }
	q.scratch = func(st step) int64 {
		if s, ok := st.op.(DeviceScratcher); ok {
			return s.DeviceScratch(shapes(st.in), t)
		}
		return 0
	}
	q.steps = slices.Clone(p.steps)
	q.reads = func(st step) []*Node {
		op, ok := st.op.(Sparing)
		if !ok {
			return st.in
		}
		in := slices.Clone(st.in)
		for _, i := range op.Spares() {
			in[i] = nil
		}
		return in
	}
	q.assign()
	q.joinGroups()
	q.arena = layOut(q.storages)
	return &q
}

// groupEnd returns the end of the group of steps that begins at step i: those that are queued together.
func (p *Plan) groupEnd(i int) int {
	end := i + 1
	if _, ok := p.steps[i].op.(Grouped); ok {
		for end < len(p.steps) && reflect.TypeOf(p.steps[end].op) == reflect.TypeOf(p.steps[i].op) {
			end++
		}
	}
	return end
}

// joinGroups makes everything that the steps of a group read and write live as long as the whole group runs.
func (p *Plan) joinGroups() {
	for i := 0; i < len(p.steps); {
		end := p.groupEnd(i)
		for k := range p.storages {
			s := &p.storages[k]
			if s.from > i && s.from < end {
				s.from = i
			}
			if s.to >= i && s.to < end {
				s.to = end - 1
			}
		}
		i = end
	}
}
