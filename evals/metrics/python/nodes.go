package python

// node is a part of a pattern. match tries to match it at a place and calls then with every end that it can have, in
// the order of preference, until then returns true.
type node interface {
	match(m *machine, at int, then func(end int) bool) bool
	// width is the number of characters that it matches, ok false where that varies.
	width() (n int, ok bool)
}

// single is one character.
type single struct {
	is  func(rune) bool
	dot bool // it is a dot
}

func (n single) match(m *machine, at int, then func(int) bool) bool {
	return m.step() && at < len(m.text) && n.is(m.text[at]) && then(at+1)
}
func (n single) width() (int, bool) { return 1, true }

// sequence is one after the other.
type sequence []node

func (n sequence) match(m *machine, at int, then func(int) bool) bool {
	if len(n) == 0 {
		return then(at)
	}
	if len(n) == 1 {
		return n[0].match(m, at, then)
	}
	return n[0].match(m, at, func(end int) bool { return n[1:].match(m, end, then) })
}

func (n sequence) width() (int, bool) {
	sum := 0
	for _, part := range n {
		w, ok := part.width()
		if !ok {
			return 0, false
		}
		sum += w
	}
	return sum, true
}

// choice is the first of several that leads to a match.
type choice []node

func (n choice) match(m *machine, at int, then func(int) bool) bool {
	for _, part := range n {
		if part.match(m, at, then) {
			return true
		}
	}
	return false
}

func (n choice) width() (int, bool) {
	all, ok := n[0].width()
	for _, part := range n[1:] {
		w, fixed := part.width()
		ok = ok && fixed && w == all
	}
	return all, ok
}

// group is a capturing group.
type group struct {
	inner node
	index int
}

func (n group) match(m *machine, at int, then func(int) bool) bool {
	start, end := m.marks[2*n.index], m.marks[2*n.index+1]
	if n.inner.match(m, at, func(e int) bool {
		s0, e0 := m.marks[2*n.index], m.marks[2*n.index+1]
		m.marks[2*n.index], m.marks[2*n.index+1] = at, e
		if then(e) {
			return true
		}
		m.marks[2*n.index], m.marks[2*n.index+1] = s0, e0
		return false
	}) {
		return true
	}
	m.marks[2*n.index], m.marks[2*n.index+1] = start, end
	return false
}
func (n group) width() (int, bool) { return n.inner.width() }

// back is what a group matched, again.
type back struct {
	index int
	fold  bool
}

func (n back) match(m *machine, at int, then func(int) bool) bool {
	start, end := m.marks[2*n.index], m.marks[2*n.index+1]
	if start < 0 || end < 0 || at+end-start > len(m.text) {
		return false
	}
	for i := range end - start {
		a, b := m.text[start+i], m.text[at+i]
		if !m.step() || a != b && !(n.fold && SameFolded(a, b)) {
			return false
		}
	}
	return then(at + end - start)
}
func (n back) width() (int, bool) { return 0, false }

// assertion is a place.
type assertion struct {
	holds func(text []rune, at int) bool
}

func (n assertion) match(m *machine, at int, then func(int) bool) bool {
	return m.step() && n.holds(m.text, at) && then(at)
}
func (n assertion) width() (int, bool) { return 0, true }

// look matches inner ahead of the place, or up to it, without taking it.
type look struct {
	inner  node
	behind int // characters, -1 looks ahead
	not    bool
}

func (n look) match(m *machine, at int, then func(int) bool) bool {
	start, stop := at, -1
	if n.behind >= 0 {
		start, stop = at-n.behind, at
	}
	kept := append([]int(nil), m.marks...)
	found := start >= 0 && n.inner.match(m, start, func(end int) bool { return stop < 0 || end == stop })
	if n.not {
		copy(m.marks, kept)
	}
	if !m.step() || found == n.not {
		return false
	}
	if then(at) {
		return true
	}
	copy(m.marks, kept)
	return false
}
func (n look) width() (int, bool) { return 0, true }

// atomic takes inner's first match and never another.
type atomic struct{ inner node }

func (n atomic) match(m *machine, at int, then func(int) bool) bool {
	kept := append([]int(nil), m.marks...)
	end := -1
	if !n.inner.match(m, at, func(e int) bool { end = e; return true }) {
		return false
	}
	if then(end) {
		return true
	}
	copy(m.marks, kept)
	return false
}
func (n atomic) width() (int, bool) { return n.inner.width() }

// unlimited is the most of a repetition without an upper bound.
const unlimited = 1<<31 - 1

// repeat is inner least to most times.
type repeat struct {
	inner       node
	least, most int
	lazy        bool
}

func (n repeat) match(m *machine, at int, then func(int) bool) bool {
	if one, ok := n.inner.(single); ok {
		return n.run(m, one, at, then)
	}
	return n.rest(m, at, -1, 0, then)
}

// run is the repetition of one character, without recursion.
func (n repeat) run(m *machine, one single, at int, then func(int) bool) bool {
	end := at
	take := func() bool {
		if end-at < n.most && end < len(m.text) && m.step() && one.is(m.text[end]) {
			end++
			return true
		}
		return false
	}
	for end-at < n.least {
		if !take() {
			return false
		}
	}
	if n.lazy {
		for !then(end) {
			if !take() {
				return false
			}
		}
		return true
	}
	for take() {
	}
	for ; end-at >= n.least; end-- {
		if !m.step() {
			return false
		}
		if then(end) {
			return true
		}
	}
	return false
}

// maxNesting bounds the recursion of repeated groups.
const maxNesting = 200_000

// rest goes on after count repetitions, the last of which began at last. One that took nothing is the last one.
func (n repeat) rest(m *machine, at, last, count int, then func(int) bool) bool {
	if count > maxNesting {
		m.steps = maxSteps
	}
	if !m.step() {
		return false
	}
	again := func() bool {
		if count >= n.most || count >= n.least && at == last {
			return false
		}
		return n.inner.match(m, at, func(end int) bool { return n.rest(m, end, at, count+1, then) })
	}
	switch {
	case count < n.least:
		return again()
	case n.lazy:
		return then(at) || again()
	}
	return again() || then(at)
}

func (n repeat) width() (int, bool) {
	w, ok := n.inner.width()
	return w * n.least, ok && n.least == n.most
}
