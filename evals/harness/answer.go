package harness

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gojet/gojet/evals"
)

// handed is how many batches the model is handed at once: it may put the requests of all of them into an order of its own, and a run that is
// killed loses their answers.
const handed = 16

// answer asks the model for all that the store does not know.
func (h *Harness) answer(ctx context.Context, items []*item) error {
	var rs []*scored
	var ps []*prompted
	for _, it := range items {
		rs, ps = append(rs, it.scored...), append(ps, it.prompted...)
	}
	if err := h.score(ctx, rs); err != nil {
		return err
	}
	return h.generate(ctx, ps)
}

// ask is a request that several places wait for.
type ask[T any] struct {
	key     string
	waiting []T
	size    int
	order   string
}

// open leaves the requests that the store does not answer, each once, the longest first: if the memory does not suffice that is
// seen at once, and what is left takes less time than it seems. Requests of the same context stay together.
func open[T any](all []T, key func(T) string, known func(string, T) bool, size func(T) (int, string)) []*ask[T] {
	at := map[string]*ask[T]{}
	var asks []*ask[T]
	for _, r := range all {
		k := key(r)
		if known(k, r) {
			continue
		}
		a, have := at[k]
		if !have {
			a = &ask[T]{key: k}
			a.size, a.order = size(r)
			at[k], asks = a, append(asks, a)
		}
		a.waiting = append(a.waiting, r)
	}
	slices.SortStableFunc(asks, func(a, b *ask[T]) int {
		if a.size != b.size {
			return b.size - a.size
		}
		return strings.Compare(a.order, b.order)
	})
	return asks
}

// store is the one of the run, or one that is lost with it.
func (h *Harness) store() *Store {
	if h.Store != nil {
		return h.Store
	}
	return &Store{have: map[string]answer{}}
}

func (h *Harness) score(ctx context.Context, rs []*scored) error {
	store := h.store()
	asks := open(rs, func(r *scored) string { return store.scoredKey(r.Scored) }, func(key string, r *scored) bool {
		a, ok := store.have[key]
		if ok = ok && a.Likelihood != nil; ok {
			r.Likelihood = *a.Likelihood
			h.Watcher.Done(1)
		}
		return ok
	}, func(r *scored) (int, string) {
		return size(r.ContextTokens, r.Context), r.Context
	})
	for part := range slices.Chunk(asks, h.Config.BatchSize*handed) {
		batch := make([]evals.Scored, len(part))
		for i, a := range part {
			batch[i] = a.waiting[0].Scored
		}
		got, err := h.Model.LogLikelihoods(ctx, batch)
		if err == nil && len(got) != len(batch) {
			err = fmt.Errorf("the model gave %d answers to %d requests", len(got), len(batch))
		}
		if err != nil {
			return err
		}
		for i, a := range part {
			if math.IsNaN(got[i].LogProb) || math.IsInf(got[i].LogProb, 0) {
				return fmt.Errorf("the log-likelihood of %.60q behind %q is %v", batch[i].Continuation, tail(batch[i].Context), got[i].LogProb)
			}
			for _, r := range a.waiting {
				r.Likelihood = got[i]
			}
			if err := h.keep(answer{Key: a.key, Likelihood: &got[i]}, len(a.waiting)); err != nil {
				return err
			}
		}
		if err := h.flush(); err != nil {
			return err
		}
	}
	return nil
}

func (h *Harness) generate(ctx context.Context, ps []*prompted) error {
	store := h.store()
	asks := open(ps, func(p *prompted) string { return store.promptedKey(p.Prompted) }, func(key string, p *prompted) bool {
		a, ok := store.have[key]
		if ok = ok && a.Text != nil; ok {
			p.answer = *a.Text
			h.Watcher.Done(1)
		}
		return ok
	}, func(p *prompted) (int, string) { return size(p.Tokens, p.Prompt), p.Prompt })
	for part := range slices.Chunk(asks, h.Config.BatchSize*handed) {
		batch := make([]evals.Prompted, len(part))
		for i, a := range part {
			batch[i] = a.waiting[0].Prompted
		}
		got, err := h.Model.Generate(ctx, batch)
		if err == nil && len(got) != len(batch) {
			err = fmt.Errorf("the model gave %d answers to %d requests", len(got), len(batch))
		}
		if err != nil {
			return err
		}
		for i, a := range part {
			text := before(got[i], batch[i].Until)
			for _, p := range a.waiting {
				p.answer = text
			}
			if err := h.keep(answer{Key: a.key, Text: &text}, len(a.waiting)); err != nil {
				return err
			}
		}
		if err := h.flush(); err != nil {
			return err
		}
	}
	return nil
}

func size(ids []int32, text string) int {
	if ids == nil {
		return len(text)
	}
	return len(ids)
}

func (h *Harness) keep(a answer, requests int) error {
	h.Watcher.Done(requests)
	if h.Store == nil {
		return nil
	}
	return h.Store.put(a)
}

func (h *Harness) flush() error {
	if h.Store == nil {
		return nil
	}
	return h.Store.flush()
}

// before cuts an answer before the first of each stop string.
func before(text string, until []string) string {
	for _, u := range until {
		if u != "" {
			text, _, _ = strings.Cut(text, u)
		}
	}
	return text
}
