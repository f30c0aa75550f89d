package infer

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/infer/infertest"
	"github.com/gojet/gojet/infer/sampling"
	"github.com/gojet/gojet/layers"
)

// exam is requests as evaluations make them: a long beginning that all have, questions, and endings of one token and of more.
func exam(t *testing.T) []Scored {
	t.Helper()
	r := rand.New(rand.NewPCG(3, 4))
	draw := func(n int) []int32 {
		ids := make([]int32, n)
		for i := range ids {
			ids[i] = int32(r.IntN(vocab))
		}
		return ids
	}
	var rs []Scored
	shots := draw(21)
	for _, n := range []int{1, 3, 8, 20} {
		question := slices.Concat(shots, draw(n))
		for _, k := range []int{1, 1, 2, 12} {
			rs = append(rs, Scored{question, draw(k)})
		}
	}
	rs = append(rs, Scored{shots, draw(1)}, Scored{shots[:16], draw(3)}, Scored{draw(1), draw(60)}, Scored{draw(70), draw(1)}, rs[3])
	r.Shuffle(len(rs), func(i, j int) { rs[i], rs[j] = rs[j], rs[i] })
	return rs
}

// plainly is Score by the model without state.
func plainly(t *testing.T, d *layers.Decoder, w layers.Weights, r Scored) Likelihood {
	t.Helper()
	logits := whole(t, d, w, slices.Concat(r.Context, r.Ending[:len(r.Ending)-1]))
	l := Likelihood{Greedy: true, N: len(r.Ending)}
	for i, id := range r.Ending {
		at := len(r.Context) - 1 + i
		z := logits[at*vocab : (at+1)*vocab]
		p, err := sampling.LogProb(z, id)
		if err != nil {
			t.Fatal(err)
		}
		l.LogProb += p
		l.Greedy = l.Greedy && int(id) == slices.Index(z, slices.Max(z))
	}
	return l
}

// TestScore: all together, one by one, in any order and with any number of rows, as the model without state has it.
func TestScore(t *testing.T) {
	d, w := infertest.Mixed(t, deviceKinds()...)
	rs := exam(t)
	var greedy Scored // one that the model agrees with
	greedy.Context = rs[0].Context
	for range 5 {
		z := whole(t, d, w, slices.Concat(greedy.Context, greedy.Ending))
		z = z[len(z)-vocab:]
		greedy.Ending = append(greedy.Ending, int32(slices.Index(z, slices.Max(z))))
	}
	rs = append(rs, greedy)
	var want []Likelihood
	for _, r := range rs {
		want = append(want, plainly(t, d, w, r))
	}
	if !want[len(rs)-1].Greedy {
		t.Fatal("the greedy ending is none")
	}
	infertest.EachMachine(t, func(t *testing.T, m *autograd.Machine) {
		var first []Likelihood
		for _, cfg := range []Config{{Rows: 1, Chunk: 16}, {Rows: 5, Chunk: 16}, {Rows: 16, Chunk: 16}, {Rows: 3, Chunk: 40}, {Rows: 2, Chunk: 1}} {
			cfg.Capacity = 70
			run(t, m, w, d, cfg, func(e *Engine) {
				got, err := e.Score(t.Context(), rs)
				if err != nil {
					t.Fatal(err)
				}
				for i := range rs {
					if math.Abs(got[i].LogProb-want[i].LogProb) > 1e-4 || got[i].Greedy != want[i].Greedy || got[i].N != want[i].N {
						t.Errorf("%+v, request %d: %+v, want %+v", cfg, i, got[i], want[i])
					}
				}
				if m.Device != nil {
					return
				}
				if first == nil {
					for _, r := range rs {
						alone, err := e.Score(t.Context(), []Scored{r})
						if err != nil {
							t.Fatal(err)
						}
						first = append(first, alone[0])
					}
				}
				if cfg.Chunk == 16 && !slices.Equal(got, first) {
					t.Errorf("%+v: %+v, one by one %+v", cfg, got, first)
				}
			})
		}
	})
}

func TestScoreRefused(t *testing.T) {
	d, w := infertest.Mixed(t, "attn", "jet")
	e := engine(t, d, w, Config{Rows: 2, Capacity: 10, Chunk: 4})
	for want, r := range map[string]Scored{
		"request 1: a context of 0 tokens": {nil, []int32{1}},
		"an ending of 0":                   {[]int32{1}, nil},
		"a context of 10 tokens and an ending of 2 exceed the capacity of 11": {make([]int32, 10), make([]int32, 2)},
		"request 1: embedding: token 1 has id 50":                             {[]int32{1, vocab}, []int32{1}},
		"request 1: embedding: token 0 has id -1":                             {[]int32{1}, []int32{-1}},
	} {
		if _, err := e.Score(t.Context(), []Scored{{[]int32{1}, []int32{1}}, r}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if got, err := e.Score(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("nothing: %v, %v", got, err)
	}
	ctx := &countdown{Context: t.Context(), left: 2}
	same := []Scored{{someIDs(9), []int32{1, 2}}, {someIDs(9), []int32{2, 3}}, {someIDs(9), []int32{3, 4}}}
	if _, err := e.Score(ctx, same); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	if _, err := e.Score(t.Context(), same); err != nil {
		t.Errorf("after an end before its time: %v", err)
	}
}
