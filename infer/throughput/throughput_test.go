package throughput

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/infer"
	"github.com/gojet/gojet/infer/infertest"
	"github.com/gojet/gojet/kernels/cpu"
)

// TestMeasure counts rounds.
func TestMeasure(t *testing.T) {
	e, p := prepared(t, Plan{Prompt: 9, Batch: 3, Answer: 4, Chunk: 4, Fed: 5}.Settled())
	if p.Fed != 3 || p.Together != 3 {
		t.Fatalf("settled as %+v, want 3 prompts, taken together", p)
	}
	if err := New(e, p).Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := Measure(t.Context(), e, p, 3, 1)
	if err != nil || len(s.Prefill) != 2 || len(s.First) != 2 || len(s.Decode) != 2 {
		t.Fatalf("%+v, %v, want two rounds of each", s, err)
	}
	for i := range 2 {
		if s.Prefill[i] <= 0 || s.First[i] <= 0 || s.Decode[i] <= 0 {
			t.Errorf("round %d: %+v", i, s)
		}
	}
	p.Fed = 0
	if s, err = Measure(t.Context(), e, p, 1, 0); err != nil || len(s.Prefill) != 0 || len(s.Decode) != 1 {
		t.Errorf("with no prompt: %+v, %v", s, err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Measure(stopped, e, p, 1, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
}

// prepared is an engine for a plan.
func prepared(t *testing.T, p Plan) (*infer.Engine, Plan) {
	t.Helper()
	d, w := infertest.Mixed(t, "jet", "swa", "attn")
	cores := cpu.New(1)
	t.Cleanup(cores.Close)
	e, err := infer.New(d, w, autograd.OnCPU(cores), p.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e, p
}

// TestCopiedRows: sequences that get copies of state answer as if they had taken the prompt themselves.
func TestCopiedRows(t *testing.T) {
	last := func(p Plan) []int32 {
		e, p := prepared(t, p)
		r := New(e, p)
		for range 2 { // a round leaves nothing behind
			if _, err := r.Round(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		ids := make([]int32, p.Batch)
		for row := range ids {
			if n := e.RowLen(row); n != p.Prompt+p.Answer-1 {
				t.Errorf("row %d has %d tokens, want %d", row, n, p.Prompt+p.Answer-1)
			}
			ids[row], _ = e.Chosen(row)
		}
		return ids
	}
	p := Plan{Prompt: 13, Batch: 5, Answer: 6, Chunk: 4, Together: 2, Fed: 5}
	whole := last(p)
	p.Fed = 2
	copied := last(p)
	if want := []int32{whole[0], whole[1], whole[0], whole[1], whole[0]}; !slices.Equal(copied, want) {
		t.Errorf("copies go on to %v, want %v", copied, want)
	}
	p.Together = 1
	if alone := last(p); !slices.Equal(alone, copied) {
		t.Errorf("prompts one by one go on to %v, together to %v", alone, copied)
	}
	p.Fed = 0
	last(p)
}
