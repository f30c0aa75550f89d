package embedding

import (
	_ "embed"
	"fmt"

	"github.com/gojet/gojet/kernels/device"
)

//go:embed embedding.cu
var text string

// DeviceForwardArgs are a lookup in the memory of a device.
type DeviceForwardArgs struct {
	N, Vocab, D int
	Y           device.Tensor // result [N, D]
	W           device.Tensor // [Vocab, D], of any type of float
	IDs         device.Tensor // int32 [N]; one that is no row gives NaN
}

// DeviceForward queues Forward.
func DeviceForward(q *device.Queue, a *DeviceForwardArgs) {
	sizes(a.Y.Len, a.IDs.Len, a.W.Len, a.N, a.Vocab, a.D)
	k := kernel(q, "gather", a.D, a.Y.Type, a.W.Type)
	q.Launch(k, device.Grid{X: (a.N*columns(a.D, a.Y.Type) + 255) / 256, Threads: 256}, a.Y, a.W, a.IDs, a.N, a.Vocab)
}

// DeviceBackwardArgs are the gradient of a table in the memory of a device.
type DeviceBackwardArgs struct {
	N, Vocab, D int
	DW          device.Tensor // result [Vocab, D]
	DY          device.Tensor // [N, D], of the type of DW
	IDs         device.Tensor // int32 [N]; one that is no row is left out

	Scratch device.Tensor // DeviceBackwardScratch bytes
}

const placeWords = 4 // of a Place in embedding.cu

// DeviceBackwardScratch returns the bytes of temporary memory that DeviceBackward takes for n tokens.
func DeviceBackwardScratch(n int) int64 {
	return device.Aligned(int64(n)*4*placeWords) + device.Aligned(int64(n)*4)
}

// DeviceBackward queues Backward: tokens are put in the order of their ids, without a sort, by counting for each those
// that come before it; then each id's rows are added by one group of blocks, always in the same order.
func DeviceBackward(q *device.Queue, a *DeviceBackwardArgs) {
	sizes(a.DY.Len, a.IDs.Len, a.DW.Len, a.N, a.Vocab, a.D)
	places, rest := a.Scratch.Carve(device.Int32, a.N*placeWords)
	list, _ := rest.Carve(device.Int32, a.N)
	q.Zero(a.DW)
	if a.N == 0 {
		return
	}
	t := a.DW.Type
	q.Launch(kernel(q, "rank", a.D, t, t), device.Grid{X: (a.N + 63) / 64, Threads: 256, Shared: 4*1024 + 256*4*placeWords}, places, a.IDs, a.N)
	q.Launch(kernel(q, "order", a.D, t, t), device.Grid{X: 1, Threads: 1024}, list, places, a.N)
	q.Launch(kernel(q, "sum_rows", a.D, t, t), device.Grid{X: a.N, Y: (columns(a.D, t) + 31) / 32, Threads: 256}, a.DW, a.DY, a.IDs, list, places, a.Vocab)
}

// columns is how many accesses of a thread make a row.
func columns(d int, t device.Type) int {
	if w := 16 / t.Size(); d%w == 0 {
		return d / w
	}
	return d
}

func kernel(q *device.Queue, name string, d int, t, table device.Type) *device.Kernel {
	return q.Kernel(&device.Source{File: "embedding.cu", Text: text}, name, device.Define{Name: "FEATURES", Value: d},
		device.Define{Name: "TYPE", Value: t}, device.Define{Name: "TABLE", Value: table})
}

func sizes(rows, ids, table, n, vocab, d int) {
	if rows != n*d || ids != n || table != vocab*d {
		panic(fmt.Sprintf("embedding: rows, ids and table have %d, %d and %d values, want %d, %d and %d (N %d, Vocab %d, D %d)",
			rows, ids, table, n*d, n, vocab*d, n, vocab, d))
	}
}
