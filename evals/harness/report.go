package harness

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
)

// Sample is one document after one pipeline of filters, as it is written to a file.
type Sample struct {
	DocID    int            `json:"doc_id"`
	Doc      map[string]any `json:"doc"`
	Target   any            `json:"target"`
	Args     [][]any        `json:"arguments"`
	Answers  []any          `json:"resps"`
	Filtered []any          `json:"filtered_resps"`
	Filter   string         `json:"filter"`
	Metrics  []string       `json:"metrics"`
	Prompt   string         `json:"prompt_hash"`

	values map[string]value
}

// Value is the sample's first score, if it is one number.
func (s Sample) Value() (score float64, ok bool) {
	if len(s.Metrics) == 0 || len(s.values[s.Metrics[0]]) != 1 {
		return 0, false
	}
	return s.values[s.Metrics[0]][0], true
}

// MarshalJSON puts the values of the metrics beside the other keys.
func (s Sample) MarshalJSON() ([]byte, error) {
	type plain Sample
	data, err := json.Marshal(plain(s))
	if err != nil {
		return nil, err
	}
	for _, name := range s.Metrics {
		var v any = s.values[name]
		if len(s.values[name]) == 1 {
			v = s.values[name][0]
		}
		one, err := json.Marshal(map[string]any{name: v})
		if err != nil {
			return nil, err
		}
		data = append(append(data[:len(data)-1], ','), one[1:]...)
	}
	return data, nil
}

func (it *item) sample(g judged) Sample {
	s := Sample{
		DocID: it.id, Doc: it.doc, Target: it.targetOf(), Filtered: g.filtered, Filter: g.chain, Metrics: g.names, values: g.values,
		Prompt: newHash(it.context).key(),
	}
	for _, r := range it.scored {
		s.Args = append(s.Args, []any{r.Context, r.Continuation})
		s.Answers = append(s.Answers, []any{r.LogProb, r.Greedy})
	}
	for _, p := range it.prompted {
		kwargs := map[string]any{"until": p.Until, "max_gen_toks": p.MaxTokens, "temperature": p.Temperature, "do_sample": p.Temperature > 0}
		s.Args = append(s.Args, []any{p.Prompt, kwargs})
		s.Answers = append(s.Answers, p.answer)
	}
	return s
}

// number is a float in JSON, null where JSON has none.
type number float64

// MarshalJSON writes the shortest decimal that is the number.
func (n number) MarshalJSON() ([]byte, error) {
	if f := float64(n); math.IsNaN(f) || math.IsInf(f, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// notAvailable stands for a standard error that there is none of.
const notAvailable = "N/A"

// JSON is what results.json holds. The keys are those of lm-evaluation-harness; run is put under config.
func (r *Results) JSON(run map[string]any) map[string]any {
	results, groups, subtasks := map[string]any{}, map[string]any{}, map[string]any{}
	configs, versions, shots, higher, counts := map[string]any{}, map[string]any{}, map[string]any{}, map[string]any{}, map[string]any{}
	for _, t := range r.Tasks {
		name := t.Task.Name
		results[name] = entry(name, t.Task.Alias, t.Documents, t.Scores)
		configs[name], versions[name], shots[name], higher[name] = t.config(), t.Task.Version(), t.Shots, better(t.Scores)
		counts[name] = map[string]any{"original": t.Available, "effective": t.Documents}
	}
	for _, g := range r.Groups {
		one := entry(g.Name, g.Alias, g.Documents, g.Scores)
		results[g.Name], subtasks[g.Name], versions[g.Name] = one, g.Children, g.Version()
		if len(g.Aggregates) > 0 {
			groups[g.Name], higher[g.Name] = one, better(g.Scores)
		}
		if n, same := r.shotsOf(g.Leaves); same {
			shots[g.Name] = n
		}
	}
	all := map[string]any{
		"results": results, "group_subtasks": subtasks, "configs": configs, "versions": versions,
		"n-shot": shots, "higher_is_better": higher, "n-samples": counts, "config": run,
	}
	if len(groups) > 0 {
		all["groups"] = groups
	}
	return all
}

func entry(name, alias string, documents int, scores []Score) map[string]any {
	if alias == "" {
		alias = name
	}
	e := map[string]any{"name": name, "alias": alias, "sample_len": documents}
	for _, s := range scores {
		e[s.Metric+","+s.Filter] = number(s.Value)
		if s.Error == nil {
			e[s.Metric+"_stderr,"+s.Filter] = notAvailable
		} else {
			e[s.Metric+"_stderr,"+s.Filter] = number(*s.Error)
		}
	}
	return e
}

func better(scores []Score) map[string]bool {
	m := map[string]bool{}
	for _, s := range scores {
		m[s.Metric] = s.HigherIsBetter
	}
	return m
}

// shotsOf is the number of examples that tasks have in common.
func (r *Results) shotsOf(tasks []string) (n int, same bool) {
	n = -1
	for _, t := range r.Tasks {
		if !slices.Contains(tasks, t.Task.Name) {
			continue
		}
		if n >= 0 && t.Shots != n {
			return 0, false
		}
		n = t.Shots
	}
	return n, n >= 0
}

// config is the task's file as it was run.
func (t TaskResult) config() map[string]any {
	c := map[string]any{
		"task": t.Task.Name, "dataset_path": t.Task.Repository, "output_type": t.Task.Output, "num_fewshot": t.Shots,
		"description": t.Task.Description, "doc_to_text": t.Task.Text, "doc_to_target": t.Task.Target, "metadata": t.Task.Metadata,
	}
	for key, v := range map[string]string{
		"task_alias": t.Task.Alias, "dataset_name": t.Task.Configuration, "test_split": t.Task.Test, "validation_split": t.Task.Validation,
		"training_split": t.Task.Training, "fewshot_split": t.Task.ExampleSplit(),
	} {
		if v != "" {
			c[key] = v
		}
	}
	if t.Task.Choice != nil {
		c["doc_to_choice"] = t.Task.Choice
	}
	if len(t.Task.Generation) > 0 {
		c["generation_kwargs"] = t.Task.Generation
	}
	return c
}

// Table writes the scores of groups, each with its tasks below it, and of the other tasks.
func (r *Results) Table(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "task\tversion\tfilter\tn-shot\tmetric\t\tvalue\t\tstderr")
	shown := map[string]bool{}
	var row func(name string, depth int)
	row = func(name string, depth int) {
		if shown[name] {
			return
		}
		shown[name] = true
		for _, g := range r.Groups {
			if g.Name != name {
				continue
			}
			shots := ""
			if n, same := r.shotsOf(g.Leaves); same {
				shots = fmt.Sprint(n)
			}
			write(w, label(g.Name, g.Alias, depth), g.Version(), shots, g.Scores)
			for _, child := range g.Children {
				row(child, depth+1)
			}
		}
		for _, t := range r.Tasks {
			if t.Task.Name == name {
				write(w, label(name, t.Task.Alias, depth), t.Task.Version(), fmt.Sprint(t.Shots), t.Scores)
			}
		}
	}
	for _, g := range r.Groups {
		row(g.Name, 0)
	}
	for _, t := range r.Tasks {
		row(t.Task.Name, 0)
	}
	return w.Flush()
}

func label(name, alias string, depth int) string {
	if alias != "" {
		name = alias
	}
	if depth > 0 {
		return strings.Repeat(" ", depth) + "- " + name
	}
	return name
}

func write(w io.Writer, name, version, shots string, scores []Score) {
	if len(scores) == 0 {
		fmt.Fprintf(w, "%s\t%s\t\t\t\t\t\t\t\n", name, version)
	}
	for _, s := range scores {
		arrow, sure := "↓", notAvailable
		if s.HigherIsBetter {
			arrow = "↑"
		}
		if s.Error != nil {
			sure = fmt.Sprintf("%.4f", *s.Error)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%.4f\t±\t%s\n", name, version, s.Filter, shots, s.Metric, arrow, s.Value, sure)
		name, version = "", ""
	}
}
