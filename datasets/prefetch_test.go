package datasets

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"
)

// TestPrefetch: one, two and four workers give the batches that Batch does, also from the middle on.
func TestPrefetch(t *testing.T) {
	d := memory(t, config(func(c *Config) { c.HeldOut = 0.1 }), invent(1, lengths(1, 300, 60)...))
	l := train(t, d, Shape{Rows: 3, Length: 64})
	for _, workers := range []int{1, 2, 4} {
		for _, from := range []int{0, 37} {
			p := l.Prefetch(t.Context(), from, workers)
			for step := from; step < from+100; step++ {
				got, err := p.Next()
				if err != nil {
					t.Fatal(err)
				}
				if want := batch(t, l, step); !reflect.DeepEqual(got, want) {
					t.Fatalf("%d workers, step %d is not that of Batch", workers, step)
				}
			}
			p.Close()
			if _, err := p.Next(); !errors.Is(err, context.Canceled) {
				t.Errorf("after Close: %v", err)
			}
			p.Close()
		}
	}
}

// TestPrefetchOrder: batches that take different times still come in order, and no more of them are made than agreed.
func TestPrefetchOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		most := 0
		p := prefetch(t.Context(), func(step int) (Batch, error) {
			time.Sleep(time.Duration(step*7919%5) * time.Millisecond)
			return Batch{Docs: step}, nil
		}, 0, 4)
		defer p.Close()
		for step := range 50 {
			b, err := p.Next()
			if err != nil || b.Docs != step {
				t.Fatalf("batch %d, error %v, want %d", b.Docs, err, step)
			}
			synctest.Wait()
			most = max(most, len(p.order))
		}
		if most > 8 {
			t.Errorf("%d batches were under way, want at most 8", most)
		}
	})
}

func TestPrefetchErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		p := prefetch(ctx, func(step int) (Batch, error) {
			if step == 3 {
				return Batch{}, fmt.Errorf("step %d is broken", step)
			}
			return Batch{}, nil
		}, 0, 2)
		for step := range 3 {
			if _, err := p.Next(); err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
		}
		if _, err := p.Next(); err == nil || err.Error() != "step 3 is broken" {
			t.Errorf("error %v, want that of step 3", err)
		}
		cancel()
		if _, err := p.Next(); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		p.Close() // synctest fails if a goroutine is left
	})
}
