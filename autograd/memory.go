package autograd

import "slices"

// align keeps every value on its own cache lines, and on a device on its own 16-byte vectors and memory segments.
const align = 256

// layOut gives every storage that is not bound an offset, so that storages alive at the same time do not overlap, and
// returns the size of the whole. It places the largest first, each at the lowest gap that holds it
// (https://arxiv.org/abs/2001.03288, greedy by size).
func layOut(storages []storage) int64 {
	var order []int
	for i := range storages {
		if !storages[i].bound {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case storages[a].bytes != storages[b].bytes && storages[a].bytes > storages[b].bytes:
			return -1
		case storages[a].bytes != storages[b].bytes:
			return 1
		}
		return storages[a].from - storages[b].from
	})
	var total int64
	placed := make([]int, 0, len(order)) // by offset
	for _, i := range order {
		s := &storages[i]
		s.offset = lowestGap(storages, placed, s)
		total = max(total, s.offset+padded(s.bytes))
		at, _ := slices.BinarySearchFunc(placed, s.offset, func(j int, off int64) int {
			switch {
			case storages[j].offset < off:
				return -1
			case storages[j].offset > off:
				return 1
			}
			return 0
		})
		placed = slices.Insert(placed, at, i)
	}
	return total
}

func padded(bytes int64) int64 { return (bytes + align - 1) / align * align }

// lowestGap finds the lowest offset at which s does not meet a placed storage that is alive with it.
func lowestGap(storages []storage, placed []int, s *storage) int64 {
	var at int64
	for _, j := range placed {
		o := &storages[j]
		if !overlap(o, s) {
			continue
		}
		if o.offset >= at+padded(s.bytes) {
			break
		}
		at = max(at, o.offset+padded(o.bytes))
	}
	return at
}

func overlap(a, b *storage) bool { return a.from <= b.to && b.from <= a.to }
