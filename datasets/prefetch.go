package datasets

import (
	"context"
	"sync"
)

// Prefetcher makes the batches of consecutive steps ahead of their use. How many workers it has changes nothing but time.
type Prefetcher struct {
	stop  context.CancelFunc
	done  context.Context
	order chan chan made // the batches in order, each through a channel of its own
	all   sync.WaitGroup
}

type made struct {
	batch Batch
	err   error
}

type task struct {
	step int
	to   chan made
}

// Prefetch starts making the batches from a step on with n ≥ 1 workers, up to 2n ahead. It ends with ctx or Close.
func (l *Loader) Prefetch(ctx context.Context, step, n int) *Prefetcher {
	return prefetch(ctx, l.Batch, step, max(n, 1))
}

func prefetch(ctx context.Context, batch func(step int) (Batch, error), step, n int) *Prefetcher {
	ctx, stop := context.WithCancel(ctx)
	p := &Prefetcher{stop: stop, done: ctx, order: make(chan chan made, 2*n)}
	tasks := make(chan task)
	for range n {
		p.all.Go(func() {
			for t := range tasks {
				b, err := batch(t.step)
				t.to <- made{b, err}
			}
		})
	}
	p.all.Go(func() {
		defer close(tasks)
		for ; ; step++ {
			to := make(chan made, 1) // so that a worker never waits
			select {
			case p.order <- to:
			case <-ctx.Done():
				return
			}
			select {
			case tasks <- task{step, to}:
			case <-ctx.Done():
				return
			}
		}
	})
	return p
}

// Next returns the next batch. An error is that of its step, or the context's; after Close it is context.Canceled.
func (p *Prefetcher) Next() (Batch, error) {
	if err := p.done.Err(); err != nil {
		return Batch{}, err
	}
	select {
	case to := <-p.order:
		select {
		case m := <-to:
			return m.batch, m.err
		case <-p.done.Done():
		}
	case <-p.done.Done():
	}
	return Batch{}, p.done.Err()
}

// Close ends the workers and waits for them. It may be called more than once.
func (p *Prefetcher) Close() {
	p.stop()
	p.all.Wait()
}
