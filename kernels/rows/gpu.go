package rows

import (
	_ "embed"
	"fmt"

	"github.com/gojet/gojet/kernels/device"
)

//go:embed rows.cu
var text string

// DeviceLast queues Last: y [S, D] and x [N, D] are of one type, sequences is int32 [3, S+1].
func DeviceLast(q *device.Queue, y, x, sequences device.Tensor, d int) {
	s := sequences.Len/3 - 1
	if y.Len != s*d {
		panic(fmt.Sprintf("rows: y has %d values, want %d (S %d × D %d)", y.Len, s*d, s, d))
	}
	k := q.Kernel(&device.Source{File: "rows.cu", Text: text}, "last", device.Define{Name: "TYPE", Value: x.Type}, device.Define{Name: "FEATURES", Value: d})
	q.Launch(k, device.Grid{X: s, Threads: 128}, y, x, sequences, s)
}
