package autograd

import (
	"fmt"
	"testing"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
)

// TestAddRMSNorm holds the sum with its norm to Add and RMSNorm: the same bits, forward and backward, whichever of the two
// results is read.
func TestAddRMSNorm(t *testing.T) {
	const n, d, groups = 70, 12, 2
	for _, reads := range []struct{ sum, y bool }{{true, true}, {false, true}, {true, false}} {
		var results [2][][]float32
		for i := range results {
			g := NewGraph(Float32)
			inputs := []*Node{g.Input("x", Parameter, n, d), g.Input("term", Parameter, n, d), g.Input("weight", Parameter, d/groups)}
			sum := g.Add(inputs[0], inputs[1])
			y := g.RMSNorm(sum, inputs[2], 1e-6)
			if i == 1 {
				sum, y = g.AddRMSNorm(inputs[0], inputs[1], inputs[2], 1e-6)
			}
			var outs []*Node
			wrt := inputs
			if reads.sum {
				outs = append(outs, sum)
			}
			if reads.y {
				outs = append(outs, y)
			} else {
				wrt = inputs[:2]
			}
			seeds := []*Node{g.Input("dsum", Data, n, d), g.Input("dy", Data, n, d)}
			from := seeds[2-len(outs):]
			if !reads.y {
				from = seeds[:1]
			}
			outs = append(outs, g.BackwardFrom(outs, from, wrt, BackwardConfig{})...)
			p, err := Compile(g, outs...)
			if err != nil {
				t.Fatal(err)
			}
			cores := cpu.New(2)
			e := NewExecutor(p, OnCPU(cores))
			e.Poison = true
			for _, node := range p.Inputs {
				x := check.Normal(check.Rand(uint64(len(node.Name()))), size(node.Shape()), 1)
				if err := e.Bind(node, Float32s(check.To[float32](x), node.Shape()...)); err != nil {
					t.Fatal(err)
				}
			}
			if err := e.RunAll(); err != nil {
				t.Fatal(err)
			}
			for _, o := range outs {
				results[i] = append(results[i], append([]float32(nil), e.Value(o).F32...))
			}
			cores.Close()
		}
		for k := range results[0] {
			check.Close(t, fmt.Sprintf("%+v: output %d", reads, k), results[1][k], results[0][k], 0)
		}
	}
}
