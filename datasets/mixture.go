package datasets

import (
	"math"
	"slices"
)

// cycle is the number of rows after which the order of the streams repeats: shares are exact to 1/cycle.
const cycle = 4096

// mixture deals the rows of training to streams by weight. Row i of the whole is row j of one stream; both are found
// by arithmetic, and in any run of rows no stream is ahead of its share by more than a few rows.
type mixture struct {
	turns  [cycle]uint16 // the stream of each row of the cycle
	before [cycle]uint16 // how many rows that stream had earlier in the cycle
	quota  []int         // rows of each stream in a cycle
	places [][]uint16    // where in the cycle each stream has them
}

// newMixture takes the streams' weights, each above 0. Every stream gets at least one row of a cycle.
func newMixture(weights []float64) *mixture {
	m := &mixture{quota: apportion(cycle, weights)}
	m.places = make([][]uint16, len(weights))
	given := make([]int, len(weights))
	for i := range cycle {
		// The stream that lags furthest behind its share of the first i+1 rows.
		best, lag := 0, math.MinInt
		for s, q := range m.quota {
			if l := q*(i+1) - given[s]*cycle; given[s] < q && l > lag {
				best, lag = s, l
			}
		}
		m.turns[i], m.before[i] = uint16(best), uint16(given[best])
		m.places[best] = append(m.places[best], uint16(i))
		given[best]++
	}
	return m
}

// at returns the stream and its row that row i of the whole is.
func (m *mixture) at(i int) (stream, row int) {
	stream = int(m.turns[i%cycle])
	return stream, i/cycle*m.quota[stream] + int(m.before[i%cycle])
}

// place is the row of the whole that a row of a stream is.
func (m *mixture) place(stream, row int) int {
	q := m.quota[stream]
	return row/q*cycle + int(m.places[stream][row%q])
}

// apportion shares n whole things by weight, at least one each, by largest remainders; ties go to the first.
// N must be at least the number of weights.
func apportion(n int, weights []float64) []int {
	var sum float64
	for _, w := range weights {
		sum += w
	}
	shares := make([]int, len(weights))
	rest := make([]float64, len(weights))
	left := n
	for i, w := range weights {
		exact := float64(n) * (w / sum)
		shares[i] = max(1, int(exact))
		rest[i] = exact - float64(shares[i])
		left -= shares[i]
	}
	for ; left != 0; left -= sign(left) {
		at := 0
		if left > 0 {
			at = slices.Index(rest, slices.Max(rest))
		} else {
			// Streams rounded up to one took too much: the greatest share gives.
			at = slices.Index(shares, slices.Max(shares))
		}
		shares[at] += sign(left)
		rest[at] -= float64(sign(left))
	}
	return shares
}

func sign(n int) int {
	if n < 0 {
		return -1
	}
	return 1
}
