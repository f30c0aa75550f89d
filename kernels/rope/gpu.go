package rope

import (
	_ "embed"
	"fmt"
	"math"

	"github.com/gojet/gojet/kernels/device"
)

//go:embed rope.cu
var text string

// DeviceArgs are the buffers of DeviceForward and of DeviceBackward, which is the turn by the opposite angle: there X is dy,
// and Y is dx. Y and X are of one type.
type DeviceArgs struct {
	Y         device.Tensor // [N, H, D] result; may be X; zero for tokens outside every sequence
	X         device.Tensor // [N, H, D]
	Heads     int           // H
	Sequences device.Tensor // [3, S+1]: offsets, positions of first tokens, rows
}

// DeviceForward queues the computation of a.Y for base theta and heads of d features.
func DeviceForward(q *device.Queue, theta float64, d int, a *DeviceArgs) { turn(q, theta, d, a, 1) }

// DeviceBackward queues the computation of a.Y, the gradient of the input, from a.X, the gradient of the result.
func DeviceBackward(q *device.Queue, theta float64, d int, a *DeviceArgs) { turn(q, theta, d, a, -1) }

func turn(q *device.Queue, theta float64, d int, a *DeviceArgs, direction float64) {
	n := tokensOf(a.X.Len, a.Y.Len, a.Heads, d)
	pack := device.Width(d/2, a.Y, a.X)
	lanes := d / 2 / pack
	if lanes > 1024 {
		panic(fmt.Sprintf("rope: head of %d features is too large, want at most %d", d, 2048*pack))
	}
	threads := max(lanes, 128)
	tokens := threads / lanes
	ahead := min(a.Heads, 4)
	k := q.Kernel(&device.Source{File: "rope.cu", Text: text}, "rotate",
		device.Define{Name: "ELEMENT", Value: a.X.Type}, device.Define{Name: "FEATURES", Value: d}, device.Define{Name: "PACK", Value: pack},
		device.Define{Name: "HEADS", Value: a.Heads}, device.Define{Name: "AHEAD", Value: ahead}, device.Define{Name: "THETA_LOG", Value: fmt.Sprintf("%.17g", math.Log(theta))})
	q.Launch(k, device.Grid{X: (n + tokens - 1) / tokens, Y: (a.Heads + ahead - 1) / ahead, Threads: threads}, a.Y, a.X, a.Sequences, a.Sequences.Len/3-1, n, direction)
}
