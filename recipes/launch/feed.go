package launch

import (
	"context"

	"github.com/gojet/gojet/datasets"
	"github.com/gojet/gojet/train"
)

// feed gives a loader's batches to the trainer. Where the steps come in order they are prepared ahead by workers;
// which number gives which batch does not depend on that.
type feed struct {
	loader  *datasets.Loader
	workers int
	ahead   *datasets.Prefetcher
	next    int
}

func newFeed(l *datasets.Loader, workers int) *feed { return &feed{loader: l, workers: workers} }

func (f *feed) MaxDocs() int {
	s := f.loader.Shape()
	return datasets.MaxDocs(s.Rows, s.Length)
}

func (f *feed) Batch(number int) (train.Batch, error) {
	b, err := f.read(number)
	return train.Batch{IDs: b.IDs, Labels: b.Labels, Cu: b.Cu}, err
}

func (f *feed) read(number int) (datasets.Batch, error) {
	if f.workers == 0 {
		return f.loader.Batch(number)
	}
	if f.ahead == nil || f.next != number {
		f.Close()
		f.ahead, f.next = f.loader.Prefetch(context.Background(), number, f.workers), number
	}
	f.next++
	return f.ahead.Next()
}

// Close ends the workers.
func (f *feed) Close() {
	if f.ahead != nil {
		f.ahead.Close()
		f.ahead = nil
	}
}
