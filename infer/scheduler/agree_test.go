package scheduler

import (
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/infer"
	"github.com/gojet/gojet/infer/infertest"
	"github.com/gojet/gojet/internal/fixtures"
	"github.com/gojet/gojet/layers"
)

// load opens one of the small models that others wrote.
func load(t *testing.T, name string) (*layers.Decoder, layers.Weights) {
	t.Helper()
	ckpt, err := checkpoints.Open(filepath.Join(fixtures.Dir(t), name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ckpt.Close() })
	d, err := layers.NewDecoder(ckpt.Config)
	if err != nil {
		t.Fatal(err)
	}
	w, err := d.Load(ckpt, layers.AsStored)
	if err != nil {
		t.Fatal(err)
	}
	return d, w
}

// byOne is an answer of the engine alone.
func byOne(t *testing.T, e *infer.Engine, r Request) []int32 {
	t.Helper()
	e.Reset()
	ids, err := infer.Generate(t.Context(), e, infer.Request{Prompt: r.Prompt, MaxTokens: r.MaxTokens, End: r.End, Sampling: r.Sampling})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// together asks everything at once.
func together(t *testing.T, s *Scheduler, rs []Request) []answer {
	answers := make([]answer, len(rs))
	var wait sync.WaitGroup
	for i, r := range rs {
		wait.Add(1)
		go func() {
			defer wait.Done()
			answers[i] = ask(t.Context(), s, r)
		}()
	}
	wait.Wait()
	return answers
}

func ids(ts []Token) []int32 {
	var all []int32
	for _, t := range ts {
		if !t.Prompt {
			all = append(all, t.ID)
		}
	}
	return all
}

// TestAgree: one by one, batched, from kept prefixes and in other chunks, answers are the same: on the CPU to the bit for one
// size of chunks.
func TestAgree(t *testing.T) {
	models := map[string]func() (*layers.Decoder, layers.Weights){
		"windows and linear": func() (*layers.Decoder, layers.Weights) { return infertest.Mixed(t, "swa", "jet", "attn") },
	}
	for _, name := range []string{"tiny-qwen2", "tiny-qwen3", "tiny-jet-nemotron"} {
		models[name] = func() (*layers.Decoder, layers.Weights) { return load(t, name) }
	}
	for name, open := range models {
		t.Run(name, func(t *testing.T) {
			d, w := open()
			infertest.EachMachine(t, func(t *testing.T, m *autograd.Machine) { agree(t, d, w, m) })
		})
	}
}

func agree(t *testing.T, d *layers.Decoder, w layers.Weights, m *autograd.Machine) {
	n, capacity := 24, 120
	emulated := m.Device != nil && m.Device.Info().Emulated
	if emulated {
		n, capacity = 6, 40
	}
	rs := requests(n, capacity, d.Config.VocabSize)
	rs = append(rs, rs[0], rs[2]) // prompts that are kept whole
	e, err := infer.New(d, w, m, infer.Config{Capacity: capacity, Chunk: 16})
	if err != nil {
		t.Fatal(err)
	}
	var want [][]int32
	for _, r := range rs {
		want = append(want, byOne(t, e, r))
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	exact := map[int][]answer{} // by chunk
	for _, c := range []struct {
		rows, chunk int
		cache       int64
		times       int
	}{{1, 16, 0, 1}, {5, 16, 0, 1}, {3, 16, 1 << 22, 2}, {4, 8, 1 << 22, 1}, {4, 33, 0, 1}, {9, 120, 1 << 22, 1}} {
		if emulated && c.times == 1 && c.rows != 5 {
			continue // for time
		}
		s, stop := start(t, d, w, m, infer.Config{Rows: c.rows, Capacity: capacity, Chunk: c.chunk}, Config{Queue: n + 2, CacheBytes: c.cache})
		for range c.times {
			got := together(t, s, rs)
			for i := range rs {
				if got[i].err != nil || !slices.Equal(ids(got[i].tokens), want[i]) {
					t.Errorf("%+v, request %d: %v %v, one by one %v", c, i, ids(got[i].tokens), got[i].err, want[i])
				}
				if old := exact[c.chunk]; m.Device == nil && old != nil && !same(got[i], old[i]) {
					t.Errorf("%+v, request %d: %+v, otherwise %+v", c, i, got[i], old[i])
				}
			}
			exact[c.chunk] = got
		}
		if st := s.Stats(); c.cache > 0 && st.CachedTokens == 0 {
			t.Errorf("%+v: nothing came from the cache: %+v", c, st)
		}
		stop()
	}
}

// TestPromptLogProbs: those of a prompt are what Score has, and those of an answer too.
func TestPromptLogProbs(t *testing.T) {
	d, w := infertest.Mixed(t, "attn", "jet")
	infertest.EachMachine(t, func(t *testing.T, m *autograd.Machine) {
		prompt := requests(2, 60, vocab)[0].Prompt
		s, stop := start(t, d, w, m, infer.Config{Rows: 2, Capacity: 60, Chunk: 8}, Config{CacheBytes: 1 << 20})
		ask(t.Context(), s, Request{Prompt: prompt, MaxTokens: 1, Sampling: greedy, LogProbs: -1}) // a prefix that is not to be used
		a := ask(t.Context(), s, Request{Prompt: prompt, MaxTokens: 4, Sampling: greedy, LogProbs: 3, PromptLogProbs: true})
		only := ask(t.Context(), s, Request{Prompt: prompt, Sampling: greedy, PromptLogProbs: true})
		stop()
		if a.err != nil || len(a.tokens) != len(prompt)-1+4 || a.usage.Answer != 4 || a.usage.Cached != 0 || a.finish != Length {
			t.Fatalf("%+v", a)
		}
		if !slices.EqualFunc(only.tokens, a.tokens[:len(prompt)-1], func(x, y Token) bool { return x.ID == y.ID && x.LogProb == y.LogProb && x.Prompt }) || only.finish != Length {
			t.Errorf("of the prompt alone: %+v, with an answer %+v", only, a.tokens)
		}
		e, err := infer.New(d, w, m, infer.Config{Rows: 4, Capacity: 60, Chunk: 8})
		if err != nil {
			t.Fatal(err)
		}
		text := prompt[:1:1]
		for i, tok := range a.tokens {
			got, err := e.Score(t.Context(), []infer.Scored{{Context: text, Ending: []int32{tok.ID}}})
			if err != nil {
				t.Fatal(err)
			}
			if d := float64(tok.LogProb) - got[0].LogProb; d > 1e-5 || d < -1e-5 || tok.Prompt != (i < len(prompt)-1) {
				t.Errorf("token %d: %+v, Score has %v", i, tok, got[0].LogProb)
			}
			if best := tok.Top[0].ID == tok.ID; len(tok.Top) != 3 || best != got[0].Greedy || tok.Top[0].LogProb < tok.Top[1].LogProb || best && tok.Top[0].LogProb != tok.LogProb {
				t.Errorf("token %d: %+v, the likeliest: %v", i, tok, got[0].Greedy)
			}
			text = append(text, tok.ID)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
}
