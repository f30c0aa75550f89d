package harness

import (
	"maps"
	"math"
	"slices"

	"github.com/gojet/gojet/evals/metrics"
	"github.com/gojet/gojet/evals/suite"
)

// aggregation puts the values of all documents together, and tells how sure the result is: by a formula, by drawing
// documents again, or not at all.
type aggregation struct {
	of    func(all []value) float64
	exact func(all []value) float64
	drawn bool
}

var aggregations = map[string]aggregation{
	"mean":                {of: of(metrics.Mean), exact: of(metrics.MeanError)},
	"nanmean":             {of: of(nanMean), drawn: true},
	"median":              {of: of(metrics.Median), drawn: true},
	"perplexity":          {of: of(metrics.Perplexity), drawn: true},
	"weighted_perplexity": {of: weighted(metrics.WeightedPerplexity)},
	"bits_per_byte":       {of: weighted(metrics.BitsPerByte)},
	"f1":                  {of: labelled(metrics.BinaryF1), drawn: true},
	"matthews_corrcoef":   {of: labelled(metrics.Matthews), drawn: true},
	"brier_score":         {of: brier},
}

func aggregationNames() []string { return slices.Sorted(maps.Keys(aggregations)) }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func of(f func([]float64) float64) func([]value) float64 {
	return func(all []value) float64 {
		xs := make([]float64, len(all))
		for i, v := range all {
			xs[i] = v[0]
		}
		return f(xs)
	}
}

func weighted(f func([]metrics.Weighted) float64) func([]value) float64 {
	return func(all []value) float64 {
		xs := make([]metrics.Weighted, len(all))
		for i, v := range all {
			xs[i] = metrics.Weighted{Value: v[0], Weight: v[1]}
		}
		return f(xs)
	}
}

func labelled(f func([]metrics.Labelled) float64) func([]value) float64 {
	return func(all []value) float64 {
		xs := make([]metrics.Labelled, len(all))
		for i, v := range all {
			xs[i] = metrics.Labelled{Gold: int(v[0]), Predicted: int(v[1])}
		}
		return f(xs)
	}
}

func nanMean(xs []float64) float64 {
	return metrics.Mean(slices.DeleteFunc(slices.Clone(xs), math.IsNaN))
}

// brier is the mean square distance of the probabilities of the classes from the truth.
func brier(all []value) float64 {
	sum := 0.0
	for _, v := range all {
		for class, p := range v[1:] {
			d := p - truth(class == int(v[0]))
			sum += d * d
		}
	}
	return sum / float64(len(all))
}

// Score is a metric of a task or a group after one pipeline of filters.
type Score struct {
	Metric, Filter string
	Value          float64
	Error          *float64 // the standard error, nil where there is none
	HigherIsBetter bool
	documents      int
}

// scores puts together the values of all documents of a task, in the order in which they came first.
func (c Config) scores(all [][]judged) []Score {
	type key struct{ metric, filter string }
	var order []key
	values, of := map[key][]value{}, map[key]measure{}
	for _, doc := range all {
		for _, g := range doc {
			for _, name := range g.names {
				k := key{name, g.chain}
				if _, have := of[k]; !have {
					order, of[k] = append(order, k), g.measures[name]
				}
				values[k] = append(values[k], g.values[name])
			}
		}
	}
	var scores []Score
	for _, k := range order {
		m, vs := of[k], values[k]
		a := aggregations[m.aggregation]
		s := Score{Metric: k.metric, Filter: k.filter, Value: a.of(vs), HigherIsBetter: m.higher, documents: len(vs)}
		if c.Bootstrap > 0 && len(vs) > 1 {
			switch {
			case a.exact != nil:
				s.Error = new(a.exact(vs))
			case a.drawn:
				s.Error = new(metrics.Bootstrap(a.of, vs, c.Bootstrap))
			}
		}
		scores = append(scores, s)
	}
	return scores
}

// together is a group's score from those of its tasks. Tasks without the metric do not count.
func together(a suite.Aggregate, filter string, tasks []TaskResult) (Score, bool) {
	s := Score{Metric: a.Metric, Filter: filter}
	sum, weight, sure := 0.0, 0.0, true
	var parts []metrics.Part
	for _, t := range tasks {
		i := slices.IndexFunc(t.Scores, func(s Score) bool { return s.Metric == a.Metric && s.Filter == filter })
		if i < 0 {
			continue
		}
		w := 1.0
		if a.Weighted() {
			w = float64(t.Documents)
		}
		sum, weight = sum+w*t.Scores[i].Value, weight+w
		s.documents += t.Documents
		s.HigherIsBetter = t.Scores[i].HigherIsBetter
		if e := t.Scores[i].Error; e != nil {
			parts = append(parts, metrics.Part{Error: *e, Size: t.Documents})
		} else {
			sure = false
		}
	}
	if weight == 0 {
		return s, false
	}
	s.Value = sum / weight
	switch {
	case !sure:
	case a.Weighted():
		s.Error = new(metrics.PooledError(parts))
	default:
		s.Error = new(metrics.UnweightedError(parts))
	}
	return s, true
}

// spelledOut puts every metric that tasks have in the place of "*".
func spelledOut(from []suite.Aggregate, tasks []TaskResult) []suite.Aggregate {
	var all []suite.Aggregate
	for _, a := range from {
		if a.Metric != "*" {
			all = append(all, a)
			continue
		}
		seen := map[string]bool{}
		for _, t := range tasks {
			for _, s := range t.Scores {
				if !seen[s.Metric] {
					seen[s.Metric] = true
					a.Metric = s.Metric
					all = append(all, a)
				}
			}
		}
	}
	return all
}

// filtersOf lists the pipelines after which tasks have a metric.
func filtersOf(metric string, tasks []TaskResult) []string {
	found := map[string]bool{}
	for _, t := range tasks {
		for _, s := range t.Scores {
			if s.Metric == metric {
				found[s.Filter] = true
			}
		}
	}
	return sortedKeys(found)
}
