package supernet

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/packed"
	"github.com/gojet/gojet/layers"
	"github.com/gojet/gojet/search"
	"github.com/gojet/gojet/train"
)

// TestPathsAreModels: every path of a trained super network gives, to the bit, the residual stream of the same placement
// built as a model of its own.
func TestPathsAreModels(t *testing.T) {
	eachMachine(t, func(t *testing.T, m *autograd.Machine) {
		net := newNetOn(t, 3, m)
		tr := trained(t, net, 0, 3, nil)
		var paths []search.Placement
		for i := range 27 {
			if m.Device == nil || i%9 == 5 {
				paths = append(paths, search.Placement{search.Kind(i % 3), search.Kind(i / 3 % 3), search.Kind(i / 9)})
			}
		}
		arePlain(t, net, paths)
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
		if err := net.Close(); err != nil {
			t.Error(err)
		}
	})
}

func arePlain(t *testing.T, net *Net, paths []search.Placement) {
	t.Helper()
	n := net.Layers()
	b := batch(77, 64)
	r := newRunner(net, 64, 4)
	defer r.close()
	for _, p := range paths {
		if err := r.load(b); err != nil {
			t.Fatal(err)
		}
		room, err := r.room(n + 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.start(p[0], room[0]); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if err := r.step(p[i], i, room[i], room[i+1]); err != nil {
				t.Fatal(err)
			}
		}
		got, err := net.machine.Fetch(room[n])
		if err != nil {
			t.Fatal(err)
		}
		want := streamOf(t, net, p, b)
		for i, x := range got.F32 {
			if x != want[i] {
				t.Fatalf("path %v: value %d is %v, the plain model has %v", p, i, x, want[i])
			}
		}
	}
}

// streamOf is the residual stream after the last layer of the placement as a plain model, compiled whole.
func streamOf(t *testing.T, net *Net, p search.Placement, b train.Batch) []float32 {
	t.Helper()
	n := net.Layers()
	model, err := net.Plain(p, placed(n, p))
	if err != nil {
		t.Fatal(err)
	}
	w, err := model.Weights.Place(net.machine, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Release(net.machine, model.Weights)
	g := autograd.NewGraph(autograd.Float32)
	in := layers.Inputs{IDs: g.Ints("ids", 64), Seq: g.Sequences("sequences", 4)}
	out := model.Decoder.Forward(g, in)
	plan, err := autograd.Compile(g, out.Layers[n-1])
	if err != nil {
		t.Fatal(err)
	}
	e := autograd.NewExecutor(plan, net.machine)
	defer e.Close()
	seq := make([]int32, 15)
	autograd.SetSequences(seq, packed.Sequences{Cu: b.Cu})
	for node, v := range map[*autograd.Node]autograd.Value{in.IDs: autograd.Int32s(b.IDs, 64), in.Seq: autograd.Int32s(seq, 3, 5)} {
		if err := e.Bind(node, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Bind(e, g, ""); err != nil {
		t.Fatal(err)
	}
	if err := e.RunAll(); err != nil {
		t.Fatal(err)
	}
	v, err := e.Read(out.Layers[n-1])
	if err != nil {
		t.Fatal(err)
	}
	return v.F32
}

// eachMachine runs f on the CPU and on a device in both precisions.
func eachMachine(t *testing.T, f func(t *testing.T, m *autograd.Machine)) {
	t.Helper()
	t.Run("cpu", func(t *testing.T) {
		cores := cpu.New(2)
		defer cores.Close()
		f(t, autograd.OnCPU(cores))
	})
	for _, p := range []device.Type{device.Float32, device.BF16} {
		t.Run(p.String()+" on a device", func(t *testing.T) {
			d, err := device.Open(0)
			if errors.Is(err, device.ErrNone) {
				t.Skip(err)
			} else if err != nil {
				t.Fatal(err)
			}
			m := autograd.OnDevice(d, p, cpu.New(2))
			defer func() {
				if err := m.Close(); err != nil {
					t.Error(err)
				}
			}()
			f(t, m)
		})
	}
}

// TestScoresOnDevice: what a device measures is what the CPU measures, within its precision.
func TestScoresOnDevice(t *testing.T) {
	p := search.Placement{search.Linear, search.Full}
	var want search.Scores
	eachMachine(t, func(t *testing.T, m *autograd.Machine) {
		net := newNetOn(t, 2, m)
		e, err := NewEvaluator(net, exam(t))
		if err != nil {
			t.Fatal(err)
		}
		all, err := e.Evaluate(context.Background(), []search.Placement{p})
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = all[0]
		}
		for _, o := range []search.Objective{search.TextLoss, "recall/loss"} {
			if got := all[0][o]; math.Abs(got-want[o]) > 2e-2*want[o] {
				t.Errorf("%s is %v, want %v", o, got, want[o])
			}
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if err := net.Close(); err != nil {
			t.Error(err)
		}
	})
}
