package scheduler

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/infer"
	"github.com/gojet/gojet/infer/infertest"
	"github.com/gojet/gojet/kernels/cpu"
)

// audit counts the tree anew and holds it to what it says of itself.
func (p *prefixes) audit(t *testing.T) {
	t.Helper()
	var bytes int64
	entries, leaves := 0, 0
	var visit func(x *prefix)
	visit = func(x *prefix) {
		if x != p.root {
			bytes += x.snapshot.Bytes()
			entries++
			if (len(x.children) == 0) != (x.place != nil) {
				t.Errorf("a prefix of %d children is among the leaves: %v", len(x.children), x.place != nil)
			}
			if len(x.children) == 0 {
				leaves++
			}
		}
		for k, next := range x.children {
			if next.parent != x || key(next.ids) != k || x != p.root && next.snapshot.From != x.snapshot.To {
				t.Errorf("%v stands behind %v", next.ids, x.ids)
			}
			visit(next)
		}
	}
	visit(p.root)
	if bytes != p.bytes || entries != p.entries || leaves != p.leaves.Len() || bytes > p.limit {
		t.Errorf("%d bytes of %d, %d entries, %d leaves; it says %d, %d and %d", bytes, p.limit, entries, leaves, p.bytes, p.entries, p.leaves.Len())
	}
}

// TestPrefixes takes prompts through stores of several sizes and holds each to the bound, and what it finds to what was put in.
func TestPrefixes(t *testing.T) {
	d, w := infertest.Mixed(t, "attn", "jet")
	cores := cpu.New(1)
	defer cores.Close()
	const chunk = 4
	e, err := infer.New(d, w, autograd.OnCPU(cores), infer.Config{Rows: 2, Capacity: 30, Chunk: chunk})
	if err != nil {
		t.Fatal(err)
	}
	one := e.SnapshotBytes(chunk, true)
	r := rand.New(rand.NewPCG(5, 6))
	for _, limit := range []int64{1, one, 3 * one, 8 * one, 1000 * one} {
		p := newPrefixes(e, limit)
		reused := 0
		for range 60 {
			prompt := make([]int32, 1+r.IntN(20))
			for i := range prompt {
				prompt[i] = int32(r.IntN(2))
			}
			j := &job{Request: Request{Prompt: prompt}, prefix: p.root}
			e.ResetRow(0)
			for j.at < len(prompt) {
				if found := p.find(j.prefix, prompt[j.at:], chunk); len(found) > 0 {
					if err := p.restore(0, found); err != nil {
						t.Fatal(err)
					}
					j.prefix = found[len(found)-1]
					reused += j.prefix.snapshot.To - j.at
					j.at = j.prefix.snapshot.To
					var ids []int32
					for x := j.prefix; x != p.root; x = x.parent {
						ids = slices.Concat(x.ids, ids)
					}
					if !slices.Equal(ids, prompt[:j.at]) {
						t.Fatalf("%v was found for %v", ids, prompt)
					}
					continue
				}
				n, from := e.Piece(0, len(prompt)-j.at), j.at
				last := from+n == len(prompt)
				if _, err := e.Advance([]infer.Part{{Row: 0, IDs: prompt[from : from+n], Choose: last}}); err != nil {
					t.Fatal(err)
				}
				j.at += n
				if err := p.keep(j, from, last); err != nil {
					t.Fatal(err)
				}
				p.audit(t)
			}
		}
		if (p.entries == 0) != (limit < one) || limit > 100*one && reused < 100 {
			t.Errorf("of %d bytes: %d entries, %d tokens found", limit, p.entries, reused)
		}
		p.clear()
		if p.bytes != 0 || p.entries != 0 || len(p.root.children) != 0 {
			t.Errorf("after clear: %+v", p)
		}
	}
}

// TestOldestGoesFirst: of two prompts, the one that was asked for again outlives the other.
func TestOldestGoesFirst(t *testing.T) {
	ec := infer.Config{Rows: 1, Capacity: 30, Chunk: 8}
	s := serving(t, []string{"attn"}, ec, Config{CacheBytes: 2*(3*4*2*2*12+4*vocab) + 100})
	cached := func(id int32) int {
		a := ask(t.Context(), s, Request{Prompt: []int32{id, 1, 2}, MaxTokens: 1, Sampling: greedy, LogProbs: -1})
		if a.err != nil {
			t.Fatal(a.err)
		}
		return a.usage.Cached
	}
	var got []int
	for _, id := range []int32{1, 2, 1, 3, 1, 2} {
		got = append(got, cached(id))
	}
	if want := []int{0, 0, 3, 0, 3, 0}; !slices.Equal(got, want) {
		t.Errorf("tokens found: %v, want %v", got, want)
	}
}
