package datasets

import (
	"math"
	"slices"
	"testing"
)

func TestMixture(t *testing.T) {
	for _, weights := range [][]float64{{1}, {1, 1}, {0.7, 0.3}, {5, 3, 1, 1}, {1e-9, 1}, {1, 1e12, 3}, slices.Repeat([]float64{2}, 17)} {
		m := newMixture(weights)
		var sum float64
		for _, w := range weights {
			sum += w
		}
		count := make([]int, len(weights))
		for i := range 3*cycle + 5 {
			s, row := m.at(i)
			if row != count[s] {
				t.Fatalf("%v: row %d is row %d of stream %d, want %d", weights, i, row, s, count[s])
			}
			if at := m.place(s, row); at != i {
				t.Fatalf("%v: row %d of stream %d is at %d, want %d", weights, row, s, at, i)
			}
			count[s]++
			for s, n := range count {
				want := float64(i+1) * weights[s] / sum
				// A share is rounded to a whole number of rows of a cycle, at least one.
				if slack := 2 + float64(len(weights))*float64(i+1)/cycle; math.Abs(float64(n)-want) > slack {
					t.Fatalf("%v: stream %d has %d of the first %d rows, want about %.1f", weights, s, n, i+1, want)
				}
			}
		}
	}
}

func TestApportion(t *testing.T) {
	for _, tc := range []struct {
		n       int
		weights []float64
		want    []int
	}{
		{10, []float64{1, 1}, []int{5, 5}},
		{10, []float64{1, 1, 1}, []int{4, 3, 3}},
		{3, []float64{1000, 1, 1}, []int{1, 1, 1}},
		{10, []float64{1000, 1, 1}, []int{8, 1, 1}},
		{4, []float64{3}, []int{4}},
	} {
		if got := apportion(tc.n, tc.weights); !slices.Equal(got, tc.want) {
			t.Errorf("%d by %v: %v, want %v", tc.n, tc.weights, got, tc.want)
		}
	}
}
