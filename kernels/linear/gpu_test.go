package linear

import (
	"testing"

	"github.com/gojet/gojet/kernels/check"
)

// TestCut: tiles in excess of whole rounds are cut where that is faster, and there is room.
func TestCut(t *testing.T) {
	for _, c := range []struct{ processors, tiles, steps, most, whole, pieces int }{
		{132, 420, 128, 200, 396, 5}, {132, 396, 128, 200, 396, 1}, {132, 420, 128, 20, 420, 1}, {132, 500, 128, 1000, 500, 1},
		{132, 420, 8, 200, 420, 1}, {4, 6, 18, 4, 4, 2}, {132, 8, 64, 25, 0, 3},
	} {
		if whole, pieces := cut(c.processors, c.tiles, c.steps, c.most); whole != c.whole || pieces != c.pieces {
			t.Errorf("%+v: %d whole, %d pieces", c, whole, pieces)
		}
	}
}

func TestConformance(t *testing.T) { check.Battery(t, Conformance(), Large) }
