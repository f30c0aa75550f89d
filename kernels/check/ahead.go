package check

import (
	"iter"
	"runtime"
	"slices"

	"github.com/gojet/gojet/kernels/device"
)

// Ahead yields cases in their order while references of those that follow are computed on all processors: they are plain
// loops in float64, and take longer than what they check. types are those that a case will be run in.
func Ahead(cases iter.Seq[Case], types func(c *Case) []device.Type) iter.Seq[*Case] {
	return func(yield func(*Case) bool) {
		cores := runtime.GOMAXPROCS(0)
		busy, due := make(chan struct{}, cores), make([]*Case, 0, 2*cores)
		pass := func() bool {
			c := due[0]
			due = append(due[:0], due[1:]...)
			return yield(c)
		}
		for next := range cases {
			c := &next
			c.foreseen = map[device.Type]*foreseen{}
			for _, t := range types(c) {
				f := &foreseen{done: make(chan struct{})}
				c.foreseen[t] = f
				go func() {
					busy <- struct{}{}
					f.compute(c, t)
					<-busy
				}()
			}
			if due = append(due, c); len(due) == cap(due) && !pass() {
				return
			}
		}
		for len(due) > 0 {
			if !pass() {
				return
			}
		}
	}
}

// RunsOn tells whether the case is for the CPU, and for which types on a device, which may be nil.
func (c *Case) RunsOn(d *device.Device) (cpu bool, types []device.Type) {
	if d != nil && c.GPU != nil && !(c.large && d.Info().Emulated) {
		types = c.Types()
	}
	return c.CPU != nil && !c.large, types
}

// References are the types in which a case's reference is needed, where it runs on the CPU or not and on a device in types.
func References(onCPU bool, types []device.Type) []device.Type {
	if onCPU && !slices.Contains(types, device.Float32) {
		types = append([]device.Type{device.Float32}, types...)
	}
	return types
}

// foreseen is what a reference gives, or the panic that it ended with, once done is closed.
type foreseen struct {
	done  chan struct{}
	want  [][]float64
	fault any
}

func (f *foreseen) compute(c *Case, t device.Type) {
	defer close(f.done)
	defer func() { f.fault = recover() }()
	f.want = c.compute(t)
}

// wanted are the results of the reference, on inputs rounded to how a run of type t stores them.
func (c *Case) wanted(t device.Type) [][]float64 {
	f := c.foreseen[t]
	if f == nil {
		return c.compute(t)
	}
	<-f.done
	if f.fault != nil {
		panic(f.fault)
	}
	return f.want
}
