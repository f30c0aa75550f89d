// Package normal draws random weights on a device, from a generator without state: Philox4x32-10 (Salmon et al.,
// "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011) and the transform of Box and Muller.
package normal

import (
	_ "embed"
	"math"

	"github.com/gojet/gojet/kernels/device"
)

//go:embed normal.cu
var text string

// Fill queues draws from N(0, std²) over y. Where full, of as many float32 values, is given, it gets the same draws before
// they are rounded to y's type. The same seed gives the same draws.
func Fill(q *device.Queue, y, full device.Tensor, std float64, seed uint64) {
	const threads = 256
	k := q.Kernel(&device.Source{File: "normal.cu", Text: text}, "fill", device.Define{Name: "REAL", Value: y.Type})
	blocks := min((y.Len+4*threads-1)/(4*threads), 8*max(q.Info().Processors, 1))
	q.Launch(k, device.Grid{X: blocks, Threads: threads}, y, full, int64(y.Len), std, int32(uint32(seed)), int32(uint32(seed>>32)))
}

// Reference computes the same draws on the host.
func Reference(y []float64, std float64, seed uint64) {
	for i := 0; i < len(y); i += 4 {
		bits := philox([2]uint32{uint32(seed), uint32(seed >> 32)}, [4]uint32{uint32(i >> 2), uint32(uint64(i) >> 34)})
		for k := 0; k < 4 && i+k < len(y); k++ {
			r := std * math.Sqrt(-2*math.Log(unit(bits[k&^1])))
			sin, cos := math.Sincos(2 * math.Pi * unit(bits[k|1]))
			y[i+k] = r * cos
			if k%2 == 1 {
				y[i+k] = r * sin
			}
		}
	}
}

func philox(key [2]uint32, c [4]uint32) [4]uint32 {
	for range 10 {
		a, b := 0xD2511F53*uint64(c[0]), 0xCD9E8D57*uint64(c[2])
		c = [4]uint32{uint32(b>>32) ^ c[1] ^ key[0], uint32(b), uint32(a>>32) ^ c[3] ^ key[1], uint32(a)}
		key[0] += 0x9E3779B9
		key[1] += 0xBB67AE85
	}
	return c
}

// unit is the middle of one of 2^23 equal pieces of (0, 1).
func unit(bits uint32) float64 { return (float64(bits>>9) + 0.5) / (1 << 23) }
