package linear

import (
	"fmt"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/swiglu"
)

func gatedCases() []check.Case {
	return gatedProductCases([][3]int{{1, 8, 8}, {65, 72, 136}, {130, 24, 264}, {200, 320, 520}, {7, 5, 3}})
}

func largeGatedCases() []check.Case { return gatedProductCases([][3]int{{1500, 520, 1064}}) }

// gatedProductCases are the halves of a gated feed-forward layer, by products of our own where a device has them, of N tokens,
// In and F features.
func gatedProductCases(sizes [][3]int) []check.Case {
	how := tuning{always: true}
	var cases []check.Case
	for _, size := range sizes {
		n, k, f := size[0], size[1], size[2]
		add := func(c check.Case) {
			c.Size = fmt.Sprintf("N %d, In %d, F %d", n, k, f)
			cases = append(cases, c)
		}
		kept := func(c check.Case) {
			c.Op += ", products not kept"
			c.Args = c.Args[:4]
			add(c)
		}
		forward := check.Case{
			Op:      "gated product",
			Args:    []check.Operand{empty("y", n*f), drawn("x", 1, n*k), drawn("wg", 2, f*k), drawn("wu", 3, f*k), empty("gate", n*f), empty("up", n*f)},
			Scratch: func(t device.Type) int64 { return GatedForwardScratch(n, f, t) },
			Reference: func(a [][]float64) {
				gate, up := make([]float64, n*f), make([]float64, n*f)
				ReferenceForward(gate, a[1], a[2], nil, n, k, f)
				ReferenceForward(up, a[1], a[3], nil, n, k, f)
				swiglu.ReferenceForward(&swiglu.ForwardArgs[float64]{Y: a[0], Gate: gate, Up: up})
				if len(a) > 4 {
					copy(a[4], gate)
					copy(a[5], up)
				}
			},
			GPU: func(q *device.Queue, a []device.Tensor, scratch device.Tensor) {
				args := GatedForwardArgs{N: n, In: k, F: f, Y: a[0], X: a[1], WGate: a[2], WUp: a[3], Scratch: scratch, tuning: how}
				if len(a) > 4 {
					args.Gate, args.Up = a[4], a[5]
				}
				DeviceGated(q, &args)
			},
		}
		add(forward)
		kept(forward)
		add(check.Case{
			Op: "gated product backward",
			Args: []check.Operand{
				empty("dgate", n*f), empty("dup", n*f), drawn("dy", 4, n*k), drawn("w", 5, k*f), drawn("gate", 6, n*f), drawn("up", 7, n*f), empty("y", n*f),
			},
			Reference: func(a [][]float64) {
				d := make([]float64, n*f)
				ReferenceBackwardInput(d, a[2], a[3], n, f, k)
				swiglu.ReferenceBackward(&swiglu.BackwardArgs[float64]{DGate: a[0], DUp: a[1], DY: d, Gate: a[4], Up: a[5]})
				swiglu.ReferenceForward(&swiglu.ForwardArgs[float64]{Y: a[6], Gate: a[4], Up: a[5]})
			},
			GPU: func(q *device.Queue, a []device.Tensor, _ device.Tensor) {
				DeviceGatedBackward(q, &GatedBackwardArgs{N: n, F: f, Out: k, DGate: a[0], DUp: a[1], DY: a[2], W: a[3], Gate: a[4], Up: a[5], Y: a[6], tuning: how})
			},
		})
	}
	return cases
}
