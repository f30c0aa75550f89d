package tokenizer

import (
	"cmp"
	"slices"
	"unicode/utf8"
)

// AddedToken is a token found in the text as a whole, before the rest is cut into words.
type AddedToken struct {
	ID      int32
	Content string
	// Special tokens steer the model (<|im_start|>); EncodeOrdinary leaves them in the text.
	Special bool
	// LStrip and RStrip make the token swallow the white space before and after it.
	LStrip, RStrip bool
	// SingleWord makes it match only where no word character touches it.
	SingleWord bool
	// Normalized tokens are looked for in the normalised text, the others in the text as it came.
	Normalized bool
}

// A matcher finds added tokens in a text: the leftmost first, of several at one place the longest.
type matcher struct {
	*classes
	tokens []AddedToken
	root   [256]int32 // node after the first byte, 0 for none
	nodes  []node     // nodes[0] is unused
}

// node is a place in the trie of contents.
type node struct {
	token int32 // index of the token that ends here, -1 for none
	edges []edge
}

type edge struct {
	b    byte
	node int32
}

// newMatcher takes tokens whose contents are neither empty nor equal.
func newMatcher(c *classes, tokens []AddedToken) *matcher {
	m := &matcher{classes: c, tokens: tokens, nodes: make([]node, 1)}
	for i, t := range tokens {
		at := &m.root[t.Content[0]]
		for k := 1; ; k++ {
			if *at == 0 {
				*at = int32(len(m.nodes))
				m.nodes = append(m.nodes, node{token: -1})
			}
			n := &m.nodes[*at]
			if k == len(t.Content) {
				n.token = int32(i)
				break
			}
			at = n.edge(t.Content[k])
		}
	}
	return m
}

// edge returns where the number of the node behind b is kept, making room for it.
func (n *node) edge(b byte) *int32 {
	i := slices.IndexFunc(n.edges, func(e edge) bool { return e.b == b })
	if i < 0 {
		i = len(n.edges)
		n.edges = append(n.edges, edge{b: b})
	}
	return &n.edges[i].node
}

// next returns the first token in text at or after byte from, nil when there is none.
func (m *matcher) next(text string, from int) (t *AddedToken, start, end int) {
	for i := from; i < len(text); i++ {
		at := m.root[text[i]]
		if at == 0 {
			continue
		}
		for k := i + 1; ; k++ {
			n := &m.nodes[at]
			if n.token >= 0 {
				t, end = &m.tokens[n.token], k
			}
			if k == len(text) {
				break
			}
			j := slices.IndexFunc(n.edges, func(e edge) bool { return e.b == text[k] })
			if j < 0 {
				break
			}
			at = n.edges[j].node
		}
		if t != nil {
			return t, i, end
		}
	}
	return nil, len(text), len(text)
}

// split calls plain for the text between tokens and token for each of them. Where ordinary is set, special
// tokens are found (so that nothing is found inside them) but count as plain text.
func (m *matcher) split(text string, ordinary bool, plain func(string), token func(*AddedToken)) {
	if len(m.tokens) == 0 {
		plain(text)
		return
	}
	done := 0 // text[:done] has been handed out
	for from := 0; ; {
		t, start, end := m.next(text, from)
		if t == nil {
			break
		}
		from = end
		if ordinary && t.Special || t.SingleWord && m.inWord(text, start, end) {
			continue
		}
		if t.LStrip {
			start = max(done, m.spaceBefore(text, start))
		}
		if t.RStrip {
			end = m.spaceAfter(text, end)
		}
		if done < start {
			plain(text[done:start])
		}
		token(t)
		done = end
	}
	if done < len(text) {
		plain(text[done:])
	}
}

// inWord reports whether a word character touches text[start:end].
func (m *matcher) inWord(text string, start, end int) bool {
	before, n := utf8.DecodeLastRuneInString(text[:start])
	if n > 0 && m.isWord(before) {
		return true
	}
	after, n := utf8.DecodeRuneInString(text[end:])
	return n > 0 && m.isWord(after)
}

// spaceBefore returns where the white space that ends at byte i starts.
func (m *matcher) spaceBefore(text string, i int) int {
	for i > 0 {
		r, n := utf8.DecodeLastRuneInString(text[:i])
		if !m.isSpace(r) {
			break
		}
		i -= n
	}
	return i
}

// spaceAfter returns where the white space that starts at byte i ends.
func (m *matcher) spaceAfter(text string, i int) int {
	for i < len(text) {
		r, n := utf8.DecodeRuneInString(text[i:])
		if !m.isSpace(r) {
			break
		}
		i += n
	}
	return i
}

// byID sorts tokens by their ids.
func byID(a, b AddedToken) int { return cmp.Compare(a.ID, b.ID) }
