package datasets

import (
	"math"
	"slices"
	"testing"
)

func count(n int) []uint32 {
	x := make([]uint32, n)
	for i := range x {
		x[i] = uint32(i)
	}
	return x
}

func TestPermute(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 64, 1000} {
		x := count(n)
		permute(x, 5)
		slices.Sort(x)
		if !slices.Equal(x, count(n)) {
			t.Errorf("of %d: %v", n, x)
		}
	}
	// The order is part of what a checkpoint relies on.
	x := count(10)
	permute(x, 1)
	if want := []uint32{9, 0, 1, 4, 8, 2, 3, 7, 6, 5}; !slices.Equal(x, want) {
		t.Errorf("order of ten by key 1 is %v, was %v", x, want)
	}
}

// TestPermuteEven asks that over many keys every element is as often at every place, and that neighbours do not
// stay together: chi-squared within five standard deviations.
func TestPermuteEven(t *testing.T) {
	for _, n := range []int{3, 5, 8, 13, 100} {
		const keys = 20000
		places := make([]float64, n*n)
		gaps := make([]float64, n) // how far behind element 0 element 1 comes
		for key := range uint64(keys) {
			x := count(n)
			permute(x, derive(7, key))
			for i, at := range x {
				places[i*n+int(at)]++
			}
			gaps[(slices.Index(x, 1)-slices.Index(x, 0)+n)%n]++
		}
		within := func(what string, found []float64, want, free float64) {
			var chi float64
			for _, f := range found {
				chi += (f - want) * (f - want) / want
			}
			if math.Abs(chi-free) > 5*math.Sqrt(2*free) {
				t.Errorf("n %d: %s: chi-squared %.0f, want about %.0f", n, what, chi, free)
			}
		}
		within("places", places, keys/float64(n), float64((n-1)*(n-1)))
		within("gaps", gaps[1:], keys/float64(n-1), float64(n-2))
	}
}
