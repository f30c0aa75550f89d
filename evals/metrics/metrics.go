// Package metrics scores a model's answers as lm-evaluation-harness, LongBench and the authors of the data sets do,
// and says how sure a score is.
//
// Open finds a metric by the name that it has in a task file. What is said of a whole set (means, perplexities,
// standard errors) takes the scores of its samples in the order of the set.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gojet/gojet/evals"
	"github.com/gojet/gojet/evals/metrics/python"
)

// pair scores an answer against one target, from 0 to 1.
type pair func(answer, target string) (float64, error)

func sure(f func(answer, target string) float64) pair {
	return func(a, t string) (float64, error) { return f(a, t), nil }
}

func truth(f func(answer, target string) bool) pair {
	return sure(func(a, t string) float64 {
		if f(a, t) {
			return 1
		}
		return 0
	})
}

// trimmed is LongBench's way with all answers but code.
func trimmed(f pair) pair {
	return func(a, t string) (float64, error) { return f(python.Strip(a), t) }
}

// pairs are the metrics without options that look at one target at a time.
var pairs = map[string]pair{
	"token_f1":        sure(TokenF1),
	"contains":        truth(Contains),
	"rouge_l":         sure(RougeL),
	"code_similarity": sure(CodeSimilarity),
	"edit_similarity": sure(EditSimilarity),
	"math_equivalent": truth(MathEquivalent),
}

// longBench are those of LongBench. Each is also called score, which is what groups of different metrics share.
var longBench = map[string]pair{
	"qa_f1_score":        trimmed(sure(TokenF1)),
	"qa_f1_zh_score":     trimmed(sure(CharacterF1)),
	"rouge_score":        trimmed(sure(RougeL)),
	"rouge_zh_score":     trimmed(sure(CharacterRougeL)),
	"count_score":        trimmed(sure(Count)),
	"retrieval_score":    trimmed(Retrieval),
	"retrieval_zh_score": trimmed(RetrievalChinese),
	"code_sim_score":     sure(CodeSimilarity),
}

// Names of the metrics that Open knows, sorted.
func Names() []string {
	names := []string{"exact_match", "classification_score", "minerva_math", "pass_at_k", "string_match_all", "string_match_part"}
	names = slices.AppendSeq(names, maps.Keys(pairs))
	names = slices.AppendSeq(names, maps.Keys(longBench))
	slices.Sort(names)
	return names
}

// Open returns the metric of that name. Options are its own keys in the task file; one that it does not have is an
// error. Where a document has several targets, the best score counts. run may be nil where no code is to be run:
// pass_at_k is an error then.
func Open(name string, options map[string]any, run Runner) (evals.Judge, error) {
	o := reader{options: maps.Clone(options)}
	var judge evals.Judge
	switch name {
	case "exact_match":
		m := Match{
			IgnoreCase: o.truth("ignore_case"), IgnorePunctuation: o.truth("ignore_punctuation"),
			IgnoreNumbers: o.truth("ignore_numbers"), Ignore: o.regexps("regexes_to_ignore"),
		}
		judge = best(name, m.Score)
	case "classification_score":
		judge = classification
	case "minerva_math":
		judge = best("exact_match", truth(Minerva))
	case "pass_at_k":
		ks := o.numbers("k")
		if run == nil {
			o.fail(ErrNoExecution)
		}
		judge = passAtK(run, ks)
	case "string_match_all":
		judge = matches(name, StringMatchAll)
	case "string_match_part":
		judge = matches(name, StringMatchPart)
	default:
		if p, ok := pairs[name]; ok {
			judge = best(name, p)
		} else if p, ok := longBench[name]; ok {
			judge = scored(name, best(name, p))
		} else {
			return nil, fmt.Errorf("metrics: %q is no metric, want one of %s", name, strings.Join(Names(), ", "))
		}
	}
	if err := o.rest(); err != nil {
		return nil, fmt.Errorf("metrics: %s: %w", name, err)
	}
	return judge, nil
}

// best judges one answer by the target that suits it most.
func best(name string, p pair) evals.Judge {
	return func(_ context.Context, a evals.Answered) (map[string]float64, error) {
		if len(a.Answers) != 1 || len(a.Targets) == 0 {
			return nil, fmt.Errorf("metrics: %s: %d answers and %d targets, want one answer (take_first?) and at least one target", name, len(a.Answers), len(a.Targets))
		}
		top := 0.0
		for _, t := range a.Targets {
			s, err := p(a.Answers[0], t)
			if err != nil {
				return nil, fmt.Errorf("metrics: %s: %w", name, err)
			}
			top = max(top, s)
		}
		return map[string]float64{name: top}, nil
	}
}

// scored gives the value of a judge under the name score too.
func scored(name string, j evals.Judge) evals.Judge {
	return func(ctx context.Context, a evals.Answered) (map[string]float64, error) {
		values, err := j(ctx, a)
		if err == nil {
			values["score"] = values[name]
		}
		return values, err
	}
}

// matches judges one answer by all targets together.
func matches(name string, f func(answer string, targets []string) float64) evals.Judge {
	return func(_ context.Context, a evals.Answered) (map[string]float64, error) {
		if len(a.Answers) != 1 || len(a.Targets) == 0 {
			return nil, fmt.Errorf("metrics: %s: %d answers and %d targets, want one answer and at least one target", name, len(a.Answers), len(a.Targets))
		}
		return map[string]float64{name: f(a.Answers[0], a.Targets)}, nil
	}
}

// classification is LongBench's: the classes that there are stand in the document as all_classes.
func classification(ctx context.Context, a evals.Answered) (map[string]float64, error) {
	list, ok := a.Doc["all_classes"].([]any)
	if !ok {
		return nil, errors.New("metrics: classification_score: the document has no list all_classes")
	}
	classes := make([]string, len(list))
	for i, c := range list {
		if classes[i], ok = c.(string); !ok {
			return nil, fmt.Errorf("metrics: classification_score: all_classes[%d] is %v, want a text", i, c)
		}
	}
	const name = "classification_score"
	return scored(name, best(name, trimmed(sure(func(answer, target string) float64 {
		return Classification(answer, target, classes)
	}))))(ctx, a)
}
