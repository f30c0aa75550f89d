package layers

import (
	"path/filepath"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/internal/fixtures"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/packed"
)

// lossGraph is a decoder with its next-token loss on two sequences.
type lossGraph struct {
	g      *autograd.Graph
	loss   *autograd.Node
	wrt    []*autograd.Node
	values map[*autograd.Node]autograd.Value
}

func newLossGraph(d *Decoder, w Weights, ids []int32, length int) lossGraph {
	g := autograd.NewGraph(autograd.Float32)
	n := len(ids)
	in := Inputs{IDs: g.Ints("ids", n), Seq: g.Sequences("sequences", n/length)}
	labels := g.Ints("labels", n)
	l := lossGraph{g: g, loss: g.LinearCrossEntropy(d.Forward(g, in).Hidden, d.Head(g, ""), labels, 1).Value}
	l.values = map[*autograd.Node]autograd.Value{
		in.IDs: autograd.Int32s(ids, n), labels: autograd.Int32s(append(ids[1:len(ids):len(ids)], -100), n),
		in.Seq: autograd.SequenceValue(packed.Batch(n/length, length)),
	}
	for _, p := range d.Params() {
		node := g.Inputs()[p.Name]
		l.wrt = append(l.wrt, node)
		l.values[node] = w[p.Name]
	}
	return l
}

// oracle computes loss and gradients with gorgonia.Grad and Gorgonia's TapeMachine.
func oracle(t *testing.T, l lossGraph) (float32, [][]float32) {
	t.Helper()
	for n, v := range l.values {
		opts := []tensor.ConsOpt{tensor.WithShape(n.Shape()...)}
		if v.I32 != nil {
			opts = append(opts, tensor.WithBacking(v.I32))
		} else {
			opts = append(opts, tensor.WithBacking(v.F32))
		}
		if err := gorgonia.Let(n, tensor.New(opts...)); err != nil {
			t.Fatal(err)
		}
	}
	grads, err := gorgonia.Grad(l.loss, l.wrt...)
	if err != nil {
		t.Fatal(err)
	}
	vm := gorgonia.NewTapeMachine(l.g.Expr())
	defer vm.Close()
	if err := vm.RunAll(); err != nil {
		t.Fatal(err)
	}
	var values [][]float32
	for _, g := range grads {
		values = append(values, g.Value().Data().([]float32))
	}
	return l.loss.Value().Data().(float32), values
}

// TestDecodersAgainstGorgonia holds whole decoders, the fixtures' and one with every mixer, to Gorgonia's own machine and
// differentiation.
func TestDecodersAgainstGorgonia(t *testing.T) {
	compare := func(t *testing.T, d *Decoder, w Weights) {
		ids := someIDs(20, d.Config.VocabSize)
		own := newLossGraph(d, w, ids, 10)
		grads := own.g.Backward(own.loss, own.wrt, autograd.BackwardConfig{})
		e := onCPU(t).executor(t, own.g, own.values, append([]*autograd.Node{own.loss}, grads...)...)
		if err := e.RunAll(); err != nil {
			t.Fatal(err)
		}
		loss, want := oracle(t, newLossGraph(d, w, ids, 10))
		if got := e.Value(own.loss).F32[0]; got != loss {
			t.Errorf("loss %v, TapeMachine says %v", got, loss)
		}
		for i, g := range grads {
			check.Close(t, own.wrt[i].Name(), e.Value(g).F32, want[i], 1e-6)
		}
	}
	t.Run("every mixer", func(t *testing.T) {
		d, err := NewDecoder(smallConfig(t))
		if err != nil {
			t.Fatal(err)
		}
		compare(t, d, livelyWeights(d))
	})
	t.Run("fixtures", func(t *testing.T) {
		for _, path := range fixtures.Glob(t, "tiny-*/config.json") {
			t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) {
				c, err := checkpoints.Open(filepath.Dir(path))
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				d, err := NewDecoder(c.Config)
				if err != nil {
					t.Fatal(err)
				}
				w, err := d.Load(c, Float32)
				if err != nil {
					t.Fatal(err)
				}
				compare(t, d, w)
			})
		}
	})
}
