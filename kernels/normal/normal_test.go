package normal

import (
	"math"
	"testing"

	"github.com/gojet/gojet/kernels/check"
)

func TestConformance(t *testing.T) { check.Battery(t, Conformance()) }

// TestReference knows the generator by published vectors of its authors' test suite, and the draws by their moments.
func TestReference(t *testing.T) {
	if got, want := philox([2]uint32{}, [4]uint32{}), [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}; got != want {
		t.Errorf("philox of zeros is %x, want %x", got, want)
	}
	y := make([]float64, 1<<16)
	Reference(y, 2, 7)
	var mean, square, fourth float64
	for _, v := range y {
		mean += v / float64(len(y))
		square += v * v / float64(len(y))
		fourth += v * v * v * v / float64(len(y))
	}
	if math.Abs(mean) > 0.03 || math.Abs(square-4) > 0.1 || math.Abs(fourth-48) > 3 {
		t.Errorf("mean %v, second moment %v, fourth %v; want 0, 4, 48", mean, square, fourth)
	}
}
