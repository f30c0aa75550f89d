package conv

import (
	"testing"

	"github.com/gojet/gojet/kernels/check"
)

// The vectors of this processor against plain Go, at every count of features left over.
func TestFourTapsMatchGo(t *testing.T) {
	r := check.Rand(5)
	for n := range 27 {
		draw := func(n int) []float32 { return check.To[float32](check.Normal(r, n, 1)) }
		k, g := draw(4*n), draw(n)
		x := [4][]float32{draw(n), draw(n), draw(n), draw(n)}
		want := make([]float32, n)
		dot4Go(want, k, x[0], x[1], x[2], x[3])
		got := check.Poisoned[float32](n)
		dot4(got.Data, k, x[0], x[1], x[2], x[3])
		check.Written(t, "sum", got, want, check.Kernel32)

		var dx, wantDX [4]check.Out[float32]
		for w := range dx {
			dx[w], wantDX[w] = check.Poisoned[float32](n), check.Poisoned[float32](n)
			copy(dx[w].Data, x[3-w])
			copy(wantDX[w].Data, x[3-w])
		}
		dk, wantDK := check.Poisoned[float32](4*n), check.Poisoned[float32](4*n)
		spread4(g, k, dk.Data, x[0], x[1], x[2], x[3], dx[0].Data, dx[1].Data, dx[2].Data, dx[3].Data)
		spread4Go(g, k, wantDK.Data, x[0], x[1], x[2], x[3], wantDX[0].Data, wantDX[1].Data, wantDX[2].Data, wantDX[3].Data)
		check.Written(t, "dkernel", dk, wantDK.Data, check.Kernel32)
		for w := range dx {
			check.Written(t, "dx", dx[w], wantDX[w].Data, check.Kernel32)
		}
	}
}
