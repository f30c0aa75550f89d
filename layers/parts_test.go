package layers

import (
	"testing"

	"github.com/gojet/gojet/autograd"
)

// TestParts: the parts put together are the nodes of Forward.
func TestParts(t *testing.T) {
	d, err := NewDecoder(smallConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	count := func(build func(g *autograd.Graph, in Inputs)) int {
		g := autograd.NewGraph(autograd.Float32)
		build(g, Inputs{IDs: g.Ints("ids", 8), Seq: g.Sequences("sequences", 2)})
		if g.Err() != nil {
			t.Fatal(g.Err())
		}
		return g.Expr().Nodes().Len()
	}
	whole := count(func(g *autograd.Graph, in Inputs) { d.Forward(g, in) })
	parts := count(func(g *autograd.Graph, in Inputs) {
		x := d.Embed(g, in)
		for i := range d.Config.NumLayers {
			x = d.Layer(g, in, i, x)
		}
		d.Norm(g, in, x)
	})
	if whole != parts {
		t.Errorf("%d nodes in parts, want %d", parts, whole)
	}
}
