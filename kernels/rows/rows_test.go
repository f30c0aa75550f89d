package rows

import (
	"testing"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/packed"
)

func TestLast(t *testing.T) {
	x := []float32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}
	y := check.Poisoned[float32](6)
	Last(y.Data, x, 2, packed.Sequences{Cu: []int32{1, 2, 2, 5}})
	check.Written(t, "last", y, []float32{2, 3, 0, 0, 8, 9}, 0)
}
