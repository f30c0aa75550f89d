package layers

import (
	"testing"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/packed"
)

// TestParts: the parts put together compute what Forward computes, to the bit.
func TestParts(t *testing.T) { eachMachine(t, 0, partsOfModel) }

func partsOfModel(t *testing.T, m testMachine) {
	d, err := NewDecoder(smallConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	q := packed.Sequences{Cu: []int32{0, 5, 8}, Pos: []int32{0, 0}, Slot: []int32{0, 1}}
	compute := func(build func(g *autograd.Graph, in Inputs) *autograd.Node) []float32 {
		g := autograd.NewGraph(autograd.Float32)
		in := Inputs{IDs: g.Ints("ids", 8), Seq: g.Sequences("sequences", 2)}
		hidden := build(g, in)
		e := m.executor(t, g, map[*autograd.Node]autograd.Value{in.IDs: autograd.Int32s(someIDs(8, 50)), in.Seq: autograd.SequenceValue(q)}, hidden)
		m.bind(t, livelyWeights(d), e, g)
		if err := e.RunAll(); err != nil {
			t.Fatal(err)
		}
		return read(t, e, hidden)
	}
	whole := compute(func(g *autograd.Graph, in Inputs) *autograd.Node { return d.Forward(g, in).Hidden })
	parts := compute(func(g *autograd.Graph, in Inputs) *autograd.Node {
		x := d.Embed(g, in)
		for i := range d.Config.NumLayers {
			x = d.Layer(g, in, i, x)
		}
		return d.Norm(g, in, x)
	})
	check.Close(t, "hidden states", parts, whole, 0)
}
