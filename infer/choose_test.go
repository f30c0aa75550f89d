package infer

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/infer/infertest"
	"github.com/gojet/gojet/infer/sampling"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/layers"
)

// deviceKinds are layers with kernels for devices.
func deviceKinds() []string { return []string{"attn", "swa", "jet", "gated_deltanet"} }

// run makes an engine for the length of f.
func run(t *testing.T, m *autograd.Machine, w layers.Weights, d *layers.Decoder, cfg Config, f func(e *Engine)) {
	t.Helper()
	e, err := New(d, w, m, cfg)
	if err != nil {
		t.Fatal(err)
	}
	f(e)
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// TestNext continues three rows of different settings together, some of them at a time, and holds each to the most likely
// token of the model without state, with its log-probability.
func TestNext(t *testing.T) {
	d, w := infertest.Mixed(t, deviceKinds()...)
	ids, rows, lens := someIDs(30), []int{3, 0, 2}, []int{1, 5, 9}
	settings := []sampling.Config{sampling.Default(), {TopP: 1, RepetitionPenalty: 1e30}, {Temperature: 1, TopK: 1, TopP: 1, RepetitionPenalty: 1, Seed: 5}}
	infertest.EachMachine(t, func(t *testing.T, m *autograd.Machine) {
		run(t, m, w, d, Config{Rows: 4, Capacity: 20, Chunk: 4}, func(e *Engine) {
			var texts [][]int32
			judge := func(k int, id int32, p float32) {
				all := whole(t, d, w, texts[k])
				z := slices.Clone(all[len(all)-vocab:])
				want, err := sampling.LogProb(z, id)
				if err != nil {
					t.Fatal(err)
				}
				check.Close(t, fmt.Sprintf("log-probability after %d tokens of row %d", len(texts[k]), rows[k]), []float32{p}, []float64{want}, check.Chunked32)
				if k == 1 { // what was seen cannot come again
					for _, s := range texts[k] {
						z[s] = -1e30
					}
				}
				if best := int32(slices.Index(z, slices.Max(z))); id != best {
					t.Errorf("row %d: token %d after %d tokens, want %d", rows[k], id, len(texts[k]), best)
				}
				texts[k] = append(texts[k], id)
			}
			for k, row := range rows {
				texts = append(texts, slices.Clone(ids[:lens[k]]))
				if err := e.Sample(row, settings[k], texts[k]); err != nil {
					t.Fatal(err)
				}
				id, err := e.First(row, texts[k])
				if err != nil {
					t.Fatal(err)
				}
				p, err := e.LogProbs()
				if err != nil {
					t.Fatal(err)
				}
				judge(k, id, p[0])
			}
			for _, active := range [][]int{{0, 1, 2}, {2, 1}, {0}, {1, 2, 0}} {
				var numbers []int
				for _, k := range active {
					numbers = append(numbers, rows[k])
				}
				next, err := e.Next(numbers)
				if err != nil {
					t.Fatal(err)
				}
				p, err := e.LogProbs()
				if err != nil {
					t.Fatal(err)
				}
				for i, k := range active {
					judge(k, next[i], p[i])
				}
			}
			for _, bad := range []struct {
				rows []int
				want string
			}{{[]int{1}, "row 1 has no token to go on from"}, {[]int{0, 4}, "row 4, want 0 to 3"}, {[]int{0, 0}, "row 0 comes twice"}, {nil, "at least one"}} {
				if _, err := e.Next(bad.rows); err == nil || !strings.Contains(err.Error(), bad.want) {
					t.Errorf("rows %v: got %v, want %q", bad.rows, err, bad.want)
				}
			}
			e.ResetRow(3)
			if _, err := e.Next([]int{3}); err == nil {
				t.Error("a row without tokens goes on")
			}
		})
	})
}

// TestGenerate: greedy answers are the same on every machine, and a seed gives the same answer alone and beside others.
func TestGenerate(t *testing.T) {
	d, w := infertest.Mixed(t, deviceKinds()...)
	prompt := someIDs(9)
	greedy := Request{Prompt: prompt, MaxTokens: 5, Sampling: sampling.Default()}
	drawn := sampling.Config{Temperature: 1.5, TopK: 20, TopP: 0.9, RepetitionPenalty: 1.1, Seed: 3}
	want := generate(t, engine(t, d, w, Config{Capacity: 14, Chunk: 4}), greedy)
	infertest.EachMachine(t, func(t *testing.T, m *autograd.Machine) {
		for _, all := range []bool{false, true} {
			run(t, m, w, d, Config{Rows: 3, Capacity: 14, Chunk: 4, AllLogits: all}, func(e *Engine) {
				if got := generate(t, e, greedy); !slices.Equal(got, want) {
					t.Errorf("%v, on the CPU %v", got, want)
				}
				if all {
					return
				}
				alone := generate(t, e, Request{Prompt: prompt, MaxTokens: 5, Sampling: drawn})
				e.Reset()
				beside := make([][]int32, 3)
				for row := range beside {
					c := drawn
					c.Seed += uint64(row+1) % 3
					if err := e.Sample(row, c, prompt); err != nil {
						t.Fatal(err)
					}
					id, err := e.First(row, prompt)
					if err != nil {
						t.Fatal(err)
					}
					beside[row] = append(beside[row], id)
				}
				for range 4 {
					next, err := e.Next([]int{0, 1, 2})
					if err != nil {
						t.Fatal(err)
					}
					for row, id := range next {
						beside[row] = append(beside[row], id)
					}
				}
				if !slices.Equal(beside[2], alone) || slices.Equal(beside[0], alone) || slices.Equal(beside[1], beside[0]) {
					t.Errorf("beside others %v, want the last to be %v and the others not", beside, alone)
				}
			})
		}
	})
}

// TestNoToken: logits that are no numbers are an error on every machine, and so is a history of tokens that there are not.
func TestNoToken(t *testing.T) {
	d, w := infertest.Mixed(t, deviceKinds()...)
	w["model.norm.weight"].F32[0] = float32(math.NaN())
	infertest.EachMachine(t, func(t *testing.T, m *autograd.Machine) {
		run(t, m, w, d, Config{Capacity: 4, Chunk: 1}, func(e *Engine) {
			if _, err := e.First(0, []int32{1}); err == nil || !strings.Contains(err.Error(), "NaN") {
				t.Errorf("error %v, want one about NaN", err)
			}
			if p, err := e.LogProbs(); err != nil || len(p) != 0 {
				t.Errorf("log-probabilities %v, %v of no token", p, err)
			}
			if err := e.Sample(0, sampling.Default(), []int32{vocab}); err == nil {
				t.Error("a history of no tokens is taken")
			}
			if err := e.Sample(1, sampling.Default(), nil); err == nil {
				t.Error("a row that there is not is taken")
			}
		})
	})
}
