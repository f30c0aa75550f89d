package recurrent

import (
	"slices"
	"testing"

	"github.com/gojet/gojet/kernels/packed"
)

func TestProducts(t *testing.T) {
	s := []float64{1, 2, 3, 4, 5, 6} // [2, 3]
	y := make([]float64, 3)
	Times(y, s, []float64{1, 10})
	if !slices.Equal(y, []float64{41, 52, 63}) {
		t.Errorf("Sᵀx is %v", y)
	}
	if x := TimesT(s, []float64{1, 0, 2}); !slices.Equal(x, []float64{7, 16}) {
		t.Errorf("Sy is %v", x)
	}
	Outer(s, 2, []float64{1, -1}, []float64{0, 1, 2})
	if !slices.Equal(s, []float64{1, 4, 7, 4, 3, 2}) {
		t.Errorf("S + 2xyᵀ is %v", s)
	}
}

// TestSlotsNeverMeet packs sequences of awkward lengths, empty ones included.
func TestSlotsNeverMeet(t *testing.T) {
	q := packed.Sequences{Cu: []int32{3, 3, 64, 65, 193, 193, 260}}
	room, last := StatesLen(1, 300, q.Len()), -1
	for s := range q.Len() {
		lo, hi := q.Span(s)
		for c := range (hi - lo + Chunk - 1) / Chunk {
			if at := Slot(q, s, c); at <= last || at >= room {
				t.Errorf("sequence %d, chunk %d stands at %d, after %d, in room for %d", s, c, at, last, room)
			} else {
				last = at
			}
		}
	}
}
