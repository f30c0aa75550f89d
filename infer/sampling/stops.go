package sampling

import (
	"fmt"
	"unicode/utf8"
)

// MaxStopBytes bounds the stop strings of one request, all together.
const MaxStopBytes = 1 << 20

// Stops is a set of stop strings, compiled to an Aho-Corasick automaton
// (https://doi.org/10.1145/360825.360855). It is not written after NewStops, so that streams may share it.
type Stops struct {
	strings []string
	states  []state
	first   [256]int32 // edges of the root, where most of any text is spent
}

// state is a node of the trie of all stop strings: a prefix of one or more of them. Edges to children are a
// linked list of siblings, as few nodes have more than one child; the root, which may, has a table too.
type state struct {
	child, sibling int32 // 0 is none: the root is nobody's child
	fail           int32 // the longest proper suffix that is a state too
	stop           int32 // 1 + index of the longest stop string that is a suffix; 0 is none
	depth          int32 // length in bytes
	label          byte  // of the edge from the parent
}

// NewStops compiles stop strings, each non-empty and valid UTF-8.
func NewStops(stops []string) (*Stops, error) {
	total := 0
	for i, s := range stops {
		if s == "" {
			return nil, fmt.Errorf("stop string %d is empty", i)
		}
		if !utf8.ValidString(s) {
			return nil, fmt.Errorf("stop string %d (%q) is not valid UTF-8", i, s)
		}
		if total += len(s); total > MaxStopBytes {
			return nil, fmt.Errorf("stop strings have more than %d bytes together", MaxStopBytes)
		}
	}
	p := &Stops{strings: append([]string(nil), stops...), states: make([]state, 1, total+1)}
	for i, s := range stops {
		p.add(s, int32(i+1))
	}
	p.link()
	return p, nil
}

func (p *Stops) add(s string, stop int32) {
	at := int32(0)
	for i := range len(s) {
		next := p.edge(at, s[i])
		if next == 0 {
			next = int32(len(p.states))
			p.states = append(p.states, state{label: s[i], sibling: p.states[at].child, depth: int32(i + 1)})
			p.states[at].child = next
			if at == 0 {
				p.first[s[i]] = next
			}
		}
		at = next
	}
	if p.states[at].stop == 0 {
		p.states[at].stop = stop
	}
}

// link sets fail and stop of every state, the shallow ones first.
func (p *Stops) link() {
	queue := make([]int32, 1, len(p.states))
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for c := p.states[at].child; c != 0; c = p.states[c].sibling {
			st := &p.states[c]
			if at != 0 {
				st.fail = p.step(p.states[at].fail, st.label)
			}
			if st.stop == 0 {
				st.stop = p.states[st.fail].stop
			}
			queue = append(queue, c)
		}
	}
}

func (p *Stops) edge(at int32, b byte) int32 {
	if at == 0 {
		return p.first[b]
	}
	c := p.states[at].child
	for c != 0 && p.states[c].label != b {
		c = p.states[c].sibling
	}
	return c
}

// step returns the state of the longest suffix of (at, b) that begins a stop string.
func (p *Stops) step(at int32, b byte) int32 {
	for {
		if c := p.edge(at, b); c != 0 {
			return c
		}
		if at == 0 {
			return 0
		}
		at = p.states[at].fail
	}
}

// StopStream looks for stop strings in one text that comes in pieces, whatever their borders. The time is O(1)
// a byte, amortised, for any number of stop strings.
type StopStream struct {
	stops   *Stops
	at      int32
	matched int32  // 1 + index of the stop string that ended the text; 0 is none
	text    []byte // the text not yet shown is text[shown:]
	shown   int
}

// Stream starts a text.
func (p *Stops) Stream() *StopStream { return &StopStream{stops: p} }

// Push takes the next piece of the text and appends to dst what may be shown: all but the longest suffix that
// begins a stop string. At the first place where a stop string ends, stopped is true and the text ends before
// the longest stop string that ends there; later pieces are ignored.
func (t *StopStream) Push(dst []byte, piece string) (out []byte, stopped bool) {
	for i := 0; i < len(piece) && t.matched == 0; i++ {
		t.text = append(t.text, piece[i])
		t.at = t.stops.step(t.at, piece[i])
		t.matched = t.stops.states[t.at].stop
	}
	hold := int(t.stops.states[t.at].depth)
	if t.matched != 0 {
		hold = len(t.stops.strings[t.matched-1])
	}
	dst = t.show(dst, len(t.text)-hold)
	return dst, t.matched != 0
}

// Flush ends the text and appends what was held back; after a stop string there is nothing to add.
func (t *StopStream) Flush(dst []byte) []byte {
	if t.matched != 0 {
		return dst
	}
	t.at = 0
	return t.show(dst, len(t.text))
}

// show appends the text up to end. The buffer is moved down only when most of it was shown.
func (t *StopStream) show(dst []byte, end int) []byte {
	dst = append(dst, t.text[t.shown:end]...)
	t.shown = end
	if 2*t.shown >= len(t.text) {
		t.text = t.text[:copy(t.text, t.text[t.shown:])]
		t.shown = 0
	}
	return dst
}

// Matched returns the stop string that ended the text, and whether one did.
func (t *StopStream) Matched() (string, bool) {
	if t.matched == 0 {
		return "", false
	}
	return t.stops.strings[t.matched-1], true
}
