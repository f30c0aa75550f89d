package prompt

import (
	"fmt"
	"reflect"

	"github.com/gojet/gojet/evals/metrics/python"
)

// Sampler chooses examples for the documents of a task, which are asked for in their order.
type Sampler interface {
	// Sample returns n examples. Where but is not nil it is not among them.
	Sample(n int, but map[string]any) ([]map[string]any, error)
}

// Drawn draws examples as random.sample of Python does, from one seed for all documents of a task.
type Drawn struct {
	from   []map[string]any
	random *python.Random
}

// NewDrawn returns a sampler of the documents.
func NewDrawn(from []map[string]any, seed int64) *Drawn {
	return &Drawn{from: from, random: python.NewRandom(seed)}
}

// Sample draws. Where a document is to be left out one more is drawn, so that n are left.
func (d *Drawn) Sample(n int, but map[string]any) ([]map[string]any, error) {
	draw := n
	if but != nil {
		draw++
	}
	if n == 0 {
		return nil, nil
	}
	if draw > len(d.from) {
		return nil, tooFew(n, len(d.from), but)
	}
	drawn := make([]map[string]any, draw)
	for i, at := range d.random.Sample(len(d.from), draw) {
		drawn[i] = d.from[at]
	}
	if but == nil {
		return drawn, nil
	}
	if drawn = without(drawn, but); len(drawn) >= n {
		return drawn[:n], nil
	}
	// The document was there more than once, and so drawn more than once.
	others := without(d.from, but)
	if len(others) < n {
		return nil, tooFew(n, len(d.from), but)
	}
	for i, at := range d.random.Sample(len(others), n) {
		drawn = append(drawn[:i], others[at])
	}
	return drawn, nil
}

// First takes the first examples that there are.
type First []map[string]any

// Sample returns the first n.
func (f First) Sample(n int, but map[string]any) ([]map[string]any, error) {
	from := []map[string]any(f)
	if but != nil {
		from = without(from, but)
	}
	if n > len(from) {
		return nil, tooFew(n, len(f), but)
	}
	return from[:n], nil
}

func without(docs []map[string]any, but map[string]any) []map[string]any {
	var left []map[string]any
	for _, d := range docs {
		if !reflect.DeepEqual(d, but) {
			left = append(left, d)
		}
	}
	return left
}

func tooFew(n, have int, but map[string]any) error {
	beside := ""
	if but != nil {
		beside = " beside the question itself"
	}
	return fmt.Errorf("num_fewshot is %d, but there are %d documents to take examples from%s", n, have, beside)
}
