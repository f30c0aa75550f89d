package device

// Width is how many neighbouring elements a kernel takes at a time, 8, 4, 2 or 1: as many as divide rows of d elements,
// make accesses of 16 bytes in the narrowest type, and are aligned in every tensor. Tensors that are none do not count.
func Width(d int, tensors ...Tensor) int {
	w := 4
	for _, t := range tensors {
		if !t.None() && t.Type == BF16 {
			w = 8
		}
	}
	for w > 1 && !packs(w, d, tensors) {
		w /= 2
	}
	return w
}

// packs says whether rows of d elements are whole packs of w, aligned in every tensor.
func packs(w, d int, tensors []Tensor) bool {
	for _, t := range tensors {
		if t.Ptr%uintptr(min(16, w*t.Type.Size())) != 0 {
			return false
		}
	}
	return d%w == 0
}

// Rows is how a kernel that keeps rows in registers shares them out to threads: Row in cuda/rows.cuh.
type Rows struct {
	Features int // of a row
	Pack     int // neighbouring features that a thread takes at a time
	Lanes    int // threads of a row, a power of two
	Threads  int // of a block
}

// NewRows gives a thread about most of a row's d features at most.
func NewRows(d, most int, tensors ...Tensor) Rows {
	r := Rows{Features: d, Pack: Width(d, tensors...), Lanes: 1}
	for r.Lanes < 32 && r.Lanes*r.Pack < d {
		r.Lanes *= 2
	}
	for r.Lanes < 1024 && (d+r.Lanes-1)/r.Lanes > most {
		r.Lanes *= 2
	}
	r.Threads = max(r.Lanes, 256)
	return r
}

// Grid is enough blocks for n rows, one after the other.
func (r Rows) Grid(n int) Grid {
	each := r.Threads / r.Lanes
	return Grid{X: (n + each - 1) / each, Threads: r.Threads}
}

// Defines are the constants FEATURES, PACK and LANES, and those given.
func (r Rows) Defines(others ...Define) []Define {
	return append([]Define{{"FEATURES", r.Features}, {"PACK", r.Pack}, {"LANES", r.Lanes}}, others...)
}
