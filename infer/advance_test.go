package infer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/infer/infertest"
	"github.com/gojet/gojet/infer/sampling"
	"github.com/gojet/gojet/kernels/check"
)

// text is a sequence that is fed piece by piece, and the logits after each of its tokens.
type text struct {
	row    int
	ids    []int32
	fed    int
	logits []float32
}

// advanceAll feeds the texts together, as many pieces a call as there is room for, with tokens of some one by one from a point on,
// and collects all logits.
func advanceAll(t *testing.T, e *Engine, texts []*text, single int) {
	t.Helper()
	for {
		var parts []Part
		var of []*text
		room := e.Chunk()
		for _, x := range texts {
			n := e.Piece(x.row, len(x.ids)-x.fed)
			if x.fed >= single {
				n = min(n, 1)
			}
			if n == 0 || n > 1 && n > room {
				continue
			}
			if n > 1 {
				room -= n
			}
			parts = append(parts, Part{Row: x.row, IDs: x.ids[x.fed : x.fed+n], Asked: n})
			of = append(of, x)
		}
		if len(parts) == 0 {
			return
		}
		if _, err := e.Advance(parts); err != nil {
			t.Fatal(err)
		}
		for i, x := range of {
			logits, err := e.Logits(i)
			if err != nil {
				t.Fatal(err)
			}
			x.logits = append(x.logits, logits...)
			x.fed += len(parts[i].IDs)
		}
	}
}

// TestAnyCompany: pieces of prompts and steps of several rows together have the logits that each row has alone: on the CPU to
// the bit, and everywhere those of the model without state.
func TestAnyCompany(t *testing.T) {
	d, w := infertest.Mixed(t, deviceKinds()...)
	r := rand.New(rand.NewPCG(1, 1))
	var ids [][]int32
	for _, n := range []int{1, 40, 7, 2, 33, 16, 25} {
		x := make([]int32, n)
		for i := range x {
			x[i] = int32(r.IntN(vocab))
		}
		ids = append(ids, x)
	}
	infertest.EachMachine(t, func(t *testing.T, m *autograd.Machine) {
		for _, chunk := range []int{16, 40} {
			cfg := Config{Rows: 7, Capacity: 40, Chunk: chunk}
			run(t, m, w, d, cfg, func(e *Engine) {
				var all []*text
				for i, x := range ids {
					all = append(all, &text{row: 6 - i, ids: x})
				}
				advanceAll(t, e, all, 30)
				for i, x := range all {
					name := fmt.Sprintf("chunks of %d, text %d", chunk, i)
					check.Close(t, name, x.logits, whole(t, d, w, x.ids), check.Chunked32)
					if m.Device != nil {
						continue
					}
					e.Reset()
					alone := &text{row: 3, ids: x.ids}
					advanceAll(t, e, []*text{alone}, 30)
					if !slices.Equal(alone.logits, x.logits) {
						t.Errorf("%s: logits differ from those alone by %.3g", name, check.RelErr(alone.logits, x.logits))
					}
				}
			})
		}
	})
}

// TestLongCompany is TestAnyCompany on the CPU for sequences so long that attention reads their keys in pieces, with weights in
// bfloat16 and more rows than few-row products take.
func TestLongCompany(t *testing.T) {
	d, w := everyMixer(t)
	w = w.Half()
	const rows = 20
	e := engine(t, d, w, Config{Rows: rows, Capacity: 1500, Chunk: 256})
	ids := someIDs(1400)
	lens := []int{1300, 2, 700, 31, 1100}
	var step []int
	for row := range rows {
		if err := e.Skip(row, ids[:lens[row%len(lens)]+row]); err != nil {
			t.Fatal(err)
		}
		step = append(step, row)
	}
	next := someIDs(rows)
	together, err := e.Step(step, next)
	if err != nil {
		t.Fatal(err)
	}
	together = slices.Clone(together)
	for _, row := range []int{0, 1, 7, 10, 13, 19} {
		one := engine(t, d, w, Config{Capacity: 1500, Chunk: 256})
		if err := one.Skip(0, ids[:lens[row%len(lens)]+row]); err != nil {
			t.Fatal(err)
		}
		if alone := feed(t, one, next[row]); !slices.Equal(alone, together[row*vocab:(row+1)*vocab]) {
			t.Errorf("row %d: a step differs from the same alone by %.3g", row, check.RelErr(alone, together[row*vocab:(row+1)*vocab]))
		}
	}
}

func TestAdvanceRefused(t *testing.T) {
	d, w := infertest.Mixed(t, "attn")
	e := engine(t, d, w, Config{Rows: 3, Capacity: 20, Chunk: 4})
	for want, parts := range map[string][]Part{
		"no tokens to feed":              {{Row: 1}},
		"row 3, want 0 to 2":             {{Row: 3, IDs: []int32{1}}},
		"row 1 comes twice":              {{Row: 1, IDs: []int32{1}}, {Row: 1, IDs: []int32{1}}},
		"token 1 has id 50":              {{Row: 1, IDs: []int32{1, vocab}}},
		"logits after 3 of 2 tokens":     {{Row: 1, IDs: []int32{1, 2}, Asked: 3}},
		"logits after -1 of 1 tokens":    {{Row: 1, IDs: []int32{1}, Asked: -1}},
		"pieces of 6 tokens in one step": {{Row: 1, IDs: make([]int32, 3)}, {Row: 0, IDs: make([]int32, 3)}},
		"exceed the capacity of 20":      {{Row: 0, IDs: make([]int32, 21)}},
	} {
		if _, err := e.Advance(parts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if e.RowLen(0) != 0 || e.RowLen(1) != 0 {
		t.Error("a refused call changed a sequence")
	}
}

// TestSnapshots: a row goes on from a copy of its state, whole or in pieces that follow each other, as if it had consumed the
// tokens, in any row and beside others; and the copy lasts while its row goes on.
func TestSnapshots(t *testing.T) {
	kinds := deviceKinds()
	d, w := infertest.Mixed(t, kinds...)
	ids := someIDs(40)
	settings := sampling.Config{Temperature: 1, TopP: 1, RepetitionPenalty: 1, Seed: 9}
	infertest.EachMachine(t, func(t *testing.T, m *autograd.Machine) {
		run(t, m, w, d, Config{Rows: 3, Capacity: 44, Chunk: 8}, func(e *Engine) {
			snap := func(row, from int, logits bool) *Snapshot {
				t.Helper()
				s, err := e.Snapshot(row, from, logits)
				if err != nil {
					t.Fatal(err)
				}
				if s.Bytes() != e.SnapshotBytes(s.To-from, logits) || s.Chooses() != logits {
					t.Errorf("%d bytes, want %d; logits: %v", s.Bytes(), e.SnapshotBytes(s.To-from, logits), s.Chooses())
				}
				return s
			}
			var chain []*Snapshot
			var early *Snapshot
			for at := 0; at < 24; at += 8 {
				if err := e.Skip(1, ids[at:at+8]); err != nil {
					t.Fatal(err)
				}
				chain = append(chain, snap(1, at, false))
				if at == 8 {
					early = snap(1, 0, false)
				}
			}
			want, err := e.FeedRow(1, ids[24:])
			if err != nil {
				t.Fatal(err)
			}
			want = slices.Clone(want)
			chain = append(chain, snap(1, 24, true))
			goOn := func(name string, row int, from int) {
				t.Helper()
				if e.RowLen(row) != from {
					t.Errorf("%s: %d tokens, want %d", name, e.RowLen(row), from)
				}
				for at := from; at < 24; at += 8 {
					if err := e.Skip(row, ids[at:at+8]); err != nil {
						t.Fatal(err)
					}
				}
				got, err := e.FeedRow(row, ids[24:])
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s: logits differ by %.3g", name, check.RelErr(got, want))
				}
			}
			restore := func(row int, parts ...*Snapshot) {
				t.Helper()
				if err := e.Restore(row, parts...); err != nil {
					t.Fatal(err)
				}
			}
			restore(0, chain[:3]...)
			goOn("a chain", 0, 24)
			restore(2, early)
			goOn("a whole one", 2, 16)
			restore(0, early)
			restore(0, chain[2])
			goOn("a whole one and its continuation", 0, 24)

			// The same draw of the same seed, computed and from the copy.
			first := func(choose func() (int32, error)) int32 {
				t.Helper()
				if err := e.Sample(2, settings, nil); err != nil {
					t.Fatal(err)
				}
				id, err := choose()
				if err != nil {
					t.Fatal(err)
				}
				return id
			}
			restore(2, chain[:3]...)
			computed := first(func() (int32, error) { return e.First(2, ids[24:]) })
			p1, err1 := e.LogProbs()
			next1, _ := e.Next([]int{2})
			after1 := next1[0]
			restore(2, chain...)
			kept := first(func() (int32, error) { return e.Choose(2) })
			p2, err2 := e.LogProbs()
			z, err3 := e.LastLogits(2)
			if computed != kept || err1 != nil || err2 != nil || err3 != nil || !slices.Equal(p1, p2) || !slices.Equal(z, want) {
				t.Errorf("chosen %d %v, from the copy %d %v (%v %v %v)", computed, p1, kept, p2, err1, err2, err3)
			}
			if next2, err := e.Next([]int{2}); err != nil || next2[0] != after1 {
				t.Errorf("then %d, from the copy %v %v", after1, next2, err)
			}
			for _, bad := range []struct {
				want string
				f    func() error
			}{
				{"row 2 has no logits", func() error { _, err := e.Choose(2); return err }},
				{"a snapshot of row 3", func() error { _, err := e.Snapshot(3, 0, false); return err }},
				{"of row 1 from token 41 on", func() error { _, err := e.Snapshot(1, 41, false); return err }},
				{"of row 2 are not at hand", func() error { e.ResetRow(2); _, err := e.Snapshot(2, 0, true); return err }},
				{"0 snapshots for row 1", func() error { return e.Restore(1) }},
				{"from token 8 on after 0 tokens", func() error { return e.Restore(2, chain[1]) }},
				{"from token 16 on after 8 tokens", func() error { return e.Restore(2, chain[0], chain[2]) }},
			} {
				if err := bad.f(); err == nil || !strings.Contains(err.Error(), bad.want) {
					t.Errorf("error %v, want %q", err, bad.want)
				}
			}
			for _, s := range append(chain, early) {
				e.Drop(s)
			}
		})
	})
}

// TestForkedRows: rows that go on from one state in their own ways do not disturb each other.
func TestForkedRows(t *testing.T) {
	d, w := infertest.Mixed(t, deviceKinds()...)
	ids := someIDs(20)
	answers := func(e *Engine, seeds []uint64, fork bool) [][]int32 {
		var rows []int
		all := make([][]int32, len(seeds))
		var s *Snapshot
		for i, seed := range seeds {
			var id int32
			if err := e.Sample(i, sampling.Config{Temperature: 2, TopP: 1, RepetitionPenalty: 1, Seed: seed}, nil); err != nil {
				t.Fatal(err)
			}
			var err error
			if fork && i > 0 {
				if err = e.Restore(i, s); err == nil {
					id, err = e.Choose(i)
				}
			} else if id, err = e.First(i, ids); err == nil && fork {
				s, err = e.Snapshot(i, 0, true)
			}
			if err != nil {
				t.Fatal(err)
			}
			rows, all[i] = append(rows, i), append(all[i], id)
		}
		if fork {
			e.Drop(s)
		}
		for range 10 {
			next, err := e.Next(rows)
			if err != nil {
				t.Fatal(err)
			}
			for i, id := range next {
				all[i] = append(all[i], id)
			}
		}
		return all
	}
	infertest.EachMachine(t, func(t *testing.T, m *autograd.Machine) {
		run(t, m, w, d, Config{Rows: 3, Capacity: 40, Chunk: 8}, func(e *Engine) {
			seeds := []uint64{1, 2, 3}
			want := answers(e, seeds, false)
			e.Reset()
			if got := answers(e, seeds, true); !slices.EqualFunc(got, want, func(a, b []int32) bool { return slices.Equal(a, b) }) {
				t.Errorf("%v, without copies %v", got, want)
			}
		})
	})
}
