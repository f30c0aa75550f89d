package harness

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gojet/gojet/evals"
	"github.com/gojet/gojet/evals/metrics"
	"github.com/gojet/gojet/evals/metrics/python"
	"github.com/gojet/gojet/evals/prompt"
	"github.com/gojet/gojet/evals/suite"
)

// value is what a metric says of one document: mostly one number. Those that are put together otherwise than by their mean have
// more: a log-likelihood and what it is spread over, a class and the predicted one, or the class and the
// probability of each.
type value []float64

// measure is a metric of a task.
type measure struct {
	name        string
	aggregation string
	higher      bool
	by          string      // a field whose value is the name
	judge       evals.Judge // of generated answers
}

const accMutualInfo = "acc_mutual_info"

// known are the metrics of other than generated answers, with their aggregations, for each output type; the first ones
// are those of a task that names none.
var known = map[string][]measure{
	suite.MultipleChoice: {
		{name: "acc", aggregation: "mean", higher: true}, {name: "acc_norm", aggregation: "mean", higher: true},
		{name: "acc_bytes", aggregation: "mean", higher: true}, {name: accMutualInfo, aggregation: "mean", higher: true},
		{name: "exact_match", aggregation: "mean", higher: true}, {name: "f1", aggregation: "f1", higher: true},
		{name: "mcc", aggregation: "matthews_corrcoef", higher: true}, {name: "brier_score", aggregation: "brier_score"},
	},
	suite.LogLikelihood: {{name: "perplexity", aggregation: "perplexity"}, {name: "acc", aggregation: "mean", higher: true}},
	suite.Rolling: {
		{name: "word_perplexity", aggregation: "weighted_perplexity"}, {name: "byte_perplexity", aggregation: "weighted_perplexity"},
		{name: "bits_per_byte", aggregation: "bits_per_byte"},
	},
}

// defaults is how many of the known metrics a task has that names none.
var defaults = map[string]int{suite.MultipleChoice: 2, suite.LogLikelihood: 2, suite.Rolling: 3}

// measures are the metrics of a task.
func measures(t *suite.Task, run metrics.Runner) ([]measure, error) {
	list := t.Metrics
	if len(list) == 0 {
		if t.Output != suite.Generate {
			return known[t.Output][:defaults[t.Output]], nil
		}
		list = suite.Metrics{{Name: "exact_match"}}
	}
	var all []measure
	for i, m := range list {
		one, err := newMeasure(t.Output, m, run)
		if err != nil {
			return nil, fmt.Errorf("metric_list[%d]: %w", i, err)
		}
		if m.Aggregation != "" {
			one.aggregation = m.Aggregation
		}
		if m.HigherIsBetter != nil {
			one.higher = *m.HigherIsBetter
		}
		one.by = m.By
		if _, ok := aggregations[one.aggregation]; !ok {
			return nil, fmt.Errorf("metric_list[%d]: aggregation is %q, want one of %s", i, one.aggregation, strings.Join(aggregationNames(), ", "))
		}
		all = append(all, one)
	}
	return all, nil
}

func newMeasure(output string, m suite.Metric, run metrics.Runner) (measure, error) {
	if output == suite.Generate {
		judge, err := metrics.Open(m.Name, m.Options, run)
		return measure{name: m.Name, aggregation: "mean", higher: true, judge: judge}, err
	}
	var names []string
	for _, k := range known[output] {
		if k.name == m.Name {
			return k, nil
		}
		names = append(names, k.name)
	}
	return measure{}, fmt.Errorf("metric is %q, want one of %s with output_type %s", m.Name, strings.Join(names, ", "), output)
}

func (j *job) measured(name string) bool {
	return slices.ContainsFunc(j.measures, func(m measure) bool { return m.name == name })
}

// judged is a document's values by metric, in the order of the metrics, for one pipeline of filters.
type judged struct {
	chain    string
	doc      map[string]any
	filtered []any // the answers after the filters
	names    []string
	values   map[string]value
	measures map[string]measure // of each name
}

func (g *judged) set(m measure, name string, v value) {
	if m.by != "" {
		name = prompt.Spell(g.doc[m.by])
	}
	if _, have := g.values[name]; !have {
		g.names = append(g.names, name)
	}
	m.name = name
	g.values[name], g.measures[name] = v, m
}

// judge gives the values of a document, for each pipeline of filters.
func (j *job) judge(ctx context.Context, it *item) ([]judged, error) {
	var all []judged
	for _, c := range j.chains {
		g := judged{chain: c.name, doc: it.doc, values: map[string]value{}, measures: map[string]measure{}}
		var err error
		switch j.Output {
		case suite.Generate:
			err = j.judgeAnswers(ctx, it, c, &g)
		case suite.MultipleChoice:
			j.judgeChoices(it, &g)
		default:
			err = j.judgeTexts(it, &g)
		}
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", it.id, err)
		}
		all = append(all, g)
		if j.Output != suite.Generate { // filters are of answers
			break
		}
	}
	return all, nil
}

func (j *job) judgeAnswers(ctx context.Context, it *item, c chain, g *judged) error {
	answers := make([]string, len(it.prompted))
	for i, p := range it.prompted {
		answers[i] = p.answer
	}
	answers, err := c.apply(answers, it.doc)
	if err != nil {
		return fmt.Errorf("filter %s: %w", c.name, err)
	}
	for _, a := range answers {
		g.filtered = append(g.filtered, a)
	}
	for _, m := range j.measures {
		values, err := m.judge(ctx, evals.Answered{Doc: it.doc, Answers: answers, Targets: it.question.Targets})
		if err != nil {
			return err
		}
		for _, name := range sortedKeys(values) {
			g.set(m, name, value{values[name]})
		}
	}
	return nil
}

// judgeTexts is of one text, whole or behind a context.
func (j *job) judgeTexts(it *item, g *judged) error {
	sum, greedy := 0.0, true
	for _, s := range it.scored {
		sum += s.LogProb
		greedy = greedy && s.Greedy
	}
	words, bytes := 0, 0
	if j.Output == suite.Rolling {
		text := it.question.Targets[0]
		if j.length != nil {
			var err error
			if text, err = j.length.Text(it.doc); err != nil {
				return err
			}
		}
		words, bytes = wordsOf(text), len(text)
		g.filtered = []any{sum}
	} else {
		g.filtered = []any{[]any{sum, greedy}}
	}
	for _, m := range j.measures {
		switch m.name {
		case "perplexity":
			g.set(m, m.name, value{sum})
		case "acc":
			g.set(m, m.name, value{truth(greedy)})
		case "word_perplexity":
			g.set(m, m.name, value{sum, float64(words)})
		default:
			g.set(m, m.name, value{sum, float64(bytes)})
		}
	}
	return nil
}

// wordsOf counts as re.split(r"\s+", text) does, which also has what is empty at the ends.
func wordsOf(text string) int {
	n := len(python.Split(text))
	if strings.TrimLeftFunc(text, python.IsSpace) != text || text == "" {
		n++
	}
	if text != "" && strings.TrimRightFunc(text, python.IsSpace) != text {
		n++
	}
	return n
}

// judgeChoices compares the likelihoods of the choices.
func (j *job) judgeChoices(it *item, g *judged) {
	n := len(it.question.Choices)
	logs, byCharacters, byBytes := make([]float64, n), make([]float64, n), make([]float64, n)
	for i, c := range it.question.Choices {
		logs[i] = it.scored[i].LogProb
		byCharacters[i], byBytes[i] = logs[i]/float64(utf8.RuneCountInString(c)), logs[i]/float64(len(c))
	}
	for _, s := range it.scored {
		g.filtered = append(g.filtered, []any{s.LogProb, s.Greedy})
	}
	right := func(logs []float64) value { return value{truth(slices.Contains(it.question.Gold, greatest(logs)))} }
	gold := it.question.Gold[0]
	for _, m := range j.measures {
		var v value
		switch m.name {
		case "acc":
			v = right(logs)
		case "acc_norm":
			v = right(byCharacters)
		case "acc_bytes":
			v = right(byBytes)
		case accMutualInfo:
			given := make([]float64, n)
			for i := range given {
				given[i] = logs[i] - it.scored[n+i].LogProb
			}
			v = right(given)
		case "exact_match":
			v = value{truth(slices.ContainsFunc(it.question.Gold, func(i int) bool { return i >= 0 && it.scored[i].Greedy }))}
		case "brier_score":
			v = append(value{float64(gold)}, softmax(logs)...)
		default: // f1, mcc
			v = value{float64(gold), float64(greatest(logs))}
		}
		g.set(m, m.name, v)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// greatest is the place of the greatest value, the first of several. What is no number counts as the greatest.
func greatest(xs []float64) int {
	best := 0
	for i, x := range xs {
		if math.IsNaN(xs[best]) {
			break
		}
		if x > xs[best] || math.IsNaN(x) {
			best = i
		}
	}
	return best
}

func softmax(logs []float64) []float64 {
	top, sum := slices.Max(logs), 0.0
	out := make([]float64, len(logs))
	for i, l := range logs {
		out[i] = math.Exp(l - top)
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

// targetOf is what a sample shows as its target: as the task has it.
func (it *item) targetOf() any {
	if it.target == nil {
		return prompt.Spell(nil)
	}
	return it.target
}
