package sampling

import "slices"

// candidate is a token in the running.
type candidate struct {
	logit  float32
	id     int32
	weight float64
}

// before is the order of preference: the larger logit first, the lower id among equals.
func (a candidate) before(b candidate) bool {
	return a.logit > b.logit || a.logit == b.logit && a.id < b.id
}

func (a candidate) compare(b candidate) int {
	switch {
	case a.before(b):
		return -1
	case b.before(a):
		return 1
	}
	return 0
}

// sortBelow is the number of candidates that are sorted rather than split further.
const sortBelow = 32

// lastOf orders the candidates by preference as far as needed and returns the first at which the sum of the
// weights so far reaches target, or the last one if the sum never does. Top-k is the case of weights 1.
//
// It is Hoare's selection with weights: split by a pivot, keep the side where the target is reached. Expected
// O(n), without the sort of the whole vocabulary; a run of bad pivots ends in a sort, so never worse than that.
func lastOf(c []candidate, target float64) candidate {
	for splits := 0; len(c) > sortBelow && splits < 64; splits++ {
		n, mass := split(c)
		if mass >= target {
			c = c[:n]
		} else {
			target -= mass
			c = c[n:]
		}
	}
	slices.SortFunc(c, candidate.compare)
	for _, x := range c {
		if target -= x.weight; target <= 0 {
			return x
		}
	}
	return c[len(c)-1]
}

// split moves the candidates preferred to a pivot, and the pivot itself, to the front. It returns their number,
// at least 1 and less than len(c) ≥ 3, and the sum of their weights.
func split(c []candidate) (n int, mass float64) {
	pivot := median(c[0], c[len(c)/2], c[len(c)-1])
	for i, x := range c {
		if !pivot.before(x) {
			c[i], c[n] = c[n], x
			n++
			mass += x.weight
		}
	}
	return n, mass
}

func median(a, b, c candidate) candidate {
	if b.before(a) {
		a, b = b, a
	}
	if c.before(b) {
		b = c
		if b.before(a) {
			b = a
		}
	}
	return b
}
