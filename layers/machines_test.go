package layers

import (
	"errors"
	"testing"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
)

// testMachine is a machine and what it can hold a model to.
type testMachine struct {
	*autograd.Machine
	name string
	tol  float64
}

// eachMachine runs f on the CPU, which must hold tol, and where there is a device, on that in both types.
func eachMachine(t *testing.T, tol float64, f func(t *testing.T, m testMachine)) {
	t.Helper()
	cores := cpu.New(2)
	defer cores.Close()
	machines := []testMachine{{autograd.OnCPU(cores), "cpu", tol}}
	d, err := device.Open(0)
	switch {
	case err == nil:
		defer d.Close()
		machines = append(machines, testMachine{autograd.OnDevice(d, device.Float32, cores), "float32 on a device", max(tol, check.Model32)},
			testMachine{autograd.OnDevice(d, device.BF16, cores), "bf16 on a device", check.ModelBF16})
	case !errors.Is(err, device.ErrNone):
		t.Fatal(err)
	}
	for _, m := range machines {
		t.Run(m.name, func(t *testing.T) { f(t, m) })
	}
}

// onCPU is the machine of tests that no device takes part in.
func onCPU(t *testing.T) testMachine {
	c := cpu.New(2)
	t.Cleanup(c.Close)
	return testMachine{autograd.OnCPU(c), "cpu", check.Chunked32}
}

// executor compiles and binds values from the host, with poisoned buffers.
func (m testMachine) executor(t *testing.T, g *autograd.Graph, values map[*autograd.Node]autograd.Value, outputs ...*autograd.Node) *autograd.Executor {
	t.Helper()
	p, err := autograd.Compile(g, outputs...)
	if err != nil {
		t.Fatal(err)
	}
	e := autograd.NewExecutor(p, m.Machine)
	e.Poison = true
	for n, v := range values {
		if role := g.RoleOf(n); role != autograd.Data {
			v.Shape = n.Shape()
			if v, err = m.Place(role, v, false); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.Bind(n, v); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// read brings a result to the host.
func read(t *testing.T, e *autograd.Executor, n *autograd.Node) []float32 {
	t.Helper()
	v, err := e.Read(n)
	if err != nil {
		t.Fatal(err)
	}
	return v.F32
}

// bind gives the executor a model's weights.
func (m testMachine) bind(t *testing.T, w Weights, e *autograd.Executor, g *autograd.Graph) {
	t.Helper()
	placed, err := w.Place(m.Machine, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := placed.Bind(e, g, ""); err != nil {
		t.Fatal(err)
	}
}
