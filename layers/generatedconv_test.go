package layers

import (
	"testing"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/packed"
)

// TestGeneratedConv holds the operation to a product and a convolution, alone, with gradients and with history: on the CPU, the
// same bits.
func TestGeneratedConv(t *testing.T) { eachMachine(t, 0, generatedConv) }

func generatedConv(t *testing.T, m testMachine) {
	const n, d, in, taps, rows = 1030, 8, 136, 4, 3 // as many tokens as devices need to do both at once
	seqs := packed.Sequences{Cu: []int32{2, 500, 500, 1027}, Slot: []int32{2, 1, 0}}
	tol := map[string]float64{"float32 on a device": check.Device32, "bf16 on a device": check.DeviceBF16}[m.name]
	for _, way := range []string{"alone", "with gradients", "cached"} {
		var results [2][][]float32
		for i := range results {
			g := autograd.NewGraph(autograd.Float32)
			values := map[*autograd.Node]autograd.Value{}
			draw := func(name string, role autograd.Role, scale float64, shape ...int) *autograd.Node {
				size := 1
				for _, k := range shape {
					size *= k
				}
				node := g.Input(name, role, shape...)
				values[node] = autograd.Float32s(check.To[float32](check.Normal(check.Rand(uint64(len(values))), size, scale)), shape...)
				return node
			}
			x, hidden, dy := draw("x", autograd.Data, 1, n, d), draw("hidden", autograd.Data, 1, n, in), draw("dy", autograd.Data, 1, n, d)
			w, bias := draw("w", autograd.Parameter, 0.1, d*taps, in), draw("bias", autograd.Parameter, 1, d*taps)
			seq := g.Sequences("sequences", seqs.Len())
			values[seq] = autograd.SequenceValue(seqs)
			var y *autograd.Node
			switch {
			case way == "cached" && i == 0:
				y = g.CachedDynamicConv(x, g.Linear(hidden, w, bias), seq, draw("history", autograd.State, 1, rows, d, taps-1))
			case way == "cached":
				y = g.CachedGeneratedConv(x, hidden, w, bias, seq, draw("history", autograd.State, 1, rows, d, taps-1))
			case i == 0:
				y = g.DynamicConv(x, g.Linear(hidden, w, bias), seq)
			default:
				y = g.GeneratedConv(x, hidden, w, bias, seq)
			}
			outs := []*autograd.Node{y}
			if way == "with gradients" {
				wrt := []*autograd.Node{x, hidden, w, bias}
				outs = append(outs, g.BackwardFrom(outs, []*autograd.Node{dy}, wrt, autograd.BackwardConfig{})...)
			} else {
				delete(values, dy)
			}
			e := m.executor(t, g, values, outs...)
			for range 2 { // where there is history, on from what the first left
				if err := e.RunAll(); err != nil {
					t.Fatal(err)
				}
			}
			for _, o := range outs {
				results[i] = append(results[i], append([]float32(nil), read(t, e, o)...))
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
		}
		for k := range results[0] {
			check.Close(t, way, results[1][k], results[0][k], tol)
		}
	}
}
