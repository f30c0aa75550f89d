package server

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/gojet/gojet/infer/scheduler"
)

// run generates the answers side by side. sink gets what each step adds, from the goroutine of its answer; if it returns
// false the answer ends. The first failure ends all.
func (s *Server) run(ctx context.Context, answers []*answer, sink func(context.Context, delta) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	for _, a := range answers {
		group.Go(func() {
			if err := s.generate(ctx, a, sink); err != nil {
				cancel(err)
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// generate produces one answer.
func (s *Server) generate(ctx context.Context, a *answer, sink func(context.Context, delta) bool) error {
	var first time.Time
	count := 0
	why, usage, err := s.generator.Generate(ctx, a.request, func(t scheduler.Token) bool {
		d, more := a.token(t)
		if t.Prompt {
			return more
		}
		if count++; count == 1 {
			first = time.Now()
		}
		if (d.text != "" || len(d.tokens) > 0) && !sink(ctx, d) {
			return false
		}
		return more
	})
	a.usage = usage
	s.metrics.count(usage)
	if count > 0 {
		s.metrics.firstToken.Observe(usage.FirstToken.Seconds())
	}
	if count > 1 {
		s.metrics.perToken.Observe(time.Since(first).Seconds() / float64(count-1))
	}
	if err != nil {
		return err
	}
	sink(ctx, a.end(why))
	return nil
}

// collected is a whole answer.
type collected struct {
	text   strings.Builder
	tokens []scored
	finish scheduler.Finish
}

// collect runs the answers to their ends.
func (s *Server) collect(ctx context.Context, answers []*answer) ([]collected, error) {
	all := make([]collected, len(answers))
	err := s.run(ctx, answers, func(_ context.Context, d delta) bool {
		c := &all[d.index]
		c.text.WriteString(d.text)
		c.tokens = append(c.tokens, d.tokens...)
		c.finish = d.finish
		return true
	})
	return all, err
}

// usage is what a request has cost, in tokens.
type usage struct {
	Prompt  int `json:"prompt_tokens"`
	Answer  int `json:"completion_tokens"`
	Total   int `json:"total_tokens"`
	Details struct {
		Cached int `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
}

// total adds up answers, of which each n have one prompt.
func total(answers []*answer, n int) *usage {
	u := new(usage)
	for i, a := range answers {
		u.Answer += a.usage.Answer
		if i%n == 0 {
			u.Prompt += len(a.request.Prompt)
			u.Details.Cached += a.usage.Cached
		}
	}
	u.Total = u.Prompt + u.Answer
	return u
}
