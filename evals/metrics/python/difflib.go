package python

import "slices"

// popularFrom is the length from which difflib passes over elements that make up more than a hundredth.
const popularFrom = 200

// Ratio is difflib.SequenceMatcher(None, a, b).ratio(): twice the matching characters over all, 1 for two empty texts.
// What matches is the longest common block and, recursively, what matches to its left and right. It is not symmetric.
func Ratio(a, b string) float64 {
	m := blocks{a: []rune(a), b: []rune(b)}
	if len(m.a)+len(m.b) == 0 {
		return 1
	}
	m.index()
	matched := 0
	queue := [][4]int{{0, len(m.a), 0, len(m.b)}}
	for len(queue) > 0 {
		q := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		i, j, k := m.longest(q[0], q[1], q[2], q[3])
		if k == 0 {
			continue
		}
		matched += k
		if q[0] < i && q[2] < j {
			queue = append(queue, [4]int{q[0], i, q[2], j})
		}
		if i+k < q[1] && j+k < q[3] {
			queue = append(queue, [4]int{i + k, q[1], j + k, q[3]})
		}
	}
	return 2 * float64(matched) / float64(len(m.a)+len(m.b))
}

type blocks struct {
	a, b []rune
	at   map[rune][]int // where in b each character stands, popular ones left out
}

func (m *blocks) index() {
	m.at = map[rune][]int{}
	for j, r := range m.b {
		m.at[r] = append(m.at[r], j)
	}
	if len(m.b) >= popularFrom {
		for r, where := range m.at {
			if len(where) > len(m.b)/100+1 {
				delete(m.at, r)
			}
		}
	}
}

// longest returns the longest block that is in both a[aLow:aHigh] and b[bLow:bHigh], the first such in a, and of
// those in b.
func (m *blocks) longest(aLow, aHigh, bLow, bHigh int) (besti, bestj, size int) {
	besti, bestj = aLow, bLow
	lengths := map[int]int{} // of the block that ends at a[i-1] and b[j]
	for i := aLow; i < aHigh; i++ {
		next := map[int]int{}
		where := m.at[m.a[i]]
		first, _ := slices.BinarySearch(where, bLow)
		for _, j := range where[first:] {
			if j >= bHigh {
				break
			}
			k := lengths[j-1] + 1
			next[j] = k
			if k > size {
				besti, bestj, size = i-k+1, j-k+1, k
			}
		}
		lengths = next
	}
	for besti > aLow && bestj > bLow && m.a[besti-1] == m.b[bestj-1] {
		besti, bestj, size = besti-1, bestj-1, size+1
	}
	for besti+size < aHigh && bestj+size < bHigh && m.a[besti+size] == m.b[bestj+size] {
		size++
	}
	return besti, bestj, size
}
