package check

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/gojet/gojet/kernels/device"
)

// doubles are cases with y = 2x, of which every reference run is counted.
func doubles(n int, computed *atomic.Int64) []Case {
	var cases []Case
	for i := range n {
		cases = append(cases, Case{
			Op: "double", Size: fmt.Sprint(i),
			Args: []Operand{{Name: "y", Role: Result, Float: make([]float64, 1)}, {Name: "x", Float: []float64{float64(i)}}},
			Reference: func(a [][]float64) {
				computed.Add(1)
				a[0][0] = 2 * a[1][0]
			},
		})
	}
	return cases
}

func TestAhead(t *testing.T) {
	both := func(*Case) []device.Type { return []device.Type{device.Float32, device.BF16} }
	for _, n := range []int{0, 1, 100} {
		var computed atomic.Int64
		i := 0
		for c := range Ahead(slices.Values(doubles(n, &computed)), both) {
			for range 2 {
				for _, kind := range both(c) {
					if want := c.wanted(kind); c.Size != fmt.Sprint(i) || want[0][0] != float64(2*i) {
						t.Errorf("case %d of %d in %s: %s with %v", i, n, kind, c.Size, want)
					}
				}
			}
			i++
		}
		if i != n || computed.Load() != int64(2*n) {
			t.Errorf("%d cases, %d references computed, want %d and %d", i, computed.Load(), n, 2*n)
		}
	}
}

func TestAheadStopsAndPanics(t *testing.T) {
	var computed atomic.Int64
	cases := doubles(100, &computed)
	cases[3].Reference = func([][]float64) { panic("no such size") }
	seen := 0
	for c := range Ahead(slices.Values(cases), func(*Case) []device.Type { return []device.Type{device.Float32} }) {
		if seen++; seen <= 3 {
			continue
		}
		func() {
			defer func() {
				if fault := recover(); fault != "no such size" {
					t.Errorf("the reference's panic is %v", fault)
				}
			}()
			c.wanted(device.Float32)
		}()
		break
	}
	if seen != 4 {
		t.Errorf("%d cases before the break, want 4", seen)
	}
}
