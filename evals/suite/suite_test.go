package suite

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func open(t *testing.T, files map[string]string) (*Suite, error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Open(dir)
}

const minimal = "dataset_path: o/n\noutput_type: loglikelihood\ntest_split: test\ndoc_to_text: \"{{a}}\"\ndoc_to_target: b\n"

func names(tasks []*Task) string {
	var all []string
	for _, t := range tasks {
		all = append(all, t.Name)
	}
	return strings.Join(all, " ")
}

// The tasks that come with gojet.
func TestOwn(t *testing.T) {
	s, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	for name, leaves := range map[string]int{"mmlu": 57, "mmlu_stem": 19, "mmlu_other": 13, "mmlu_social_sciences": 12, "mmlu_humanities": 13, "ruler": 13} {
		sel, err := s.Select([]string{name})
		if err != nil {
			t.Fatal(err)
		}
		if len(sel.Tasks) != leaves || len(sel.Groups[0].Leaves) != leaves {
			t.Errorf("%s has %d tasks and %d leaves, want %d", name, len(sel.Tasks), len(sel.Groups[0].Leaves), leaves)
		}
	}
	sel, err := s.Select([]string{"commonsense"})
	if got := names(sel.Tasks); err != nil || got != "arc_challenge arc_easy boolq hellaswag openbookqa piqa social_iqa winogrande" {
		t.Errorf("commonsense: %s, %v", got, err)
	}
	if task := s.Task("mmlu_us_foreign_policy"); task.Description != "The following are multiple choice questions (with answers) about us foreign policy.\n\n" || task.Version() != "1.0" || task.ExampleSplit() != "dev" {
		t.Errorf("mmlu_us_foreign_policy: %q, version %s, examples from %s", task.Description, task.Version(), task.ExampleSplit())
	}
}

func TestSelect(t *testing.T) {
	_, err := open(t, map[string]string{
		"_base":      minimal + "tag: [letters, all]\nnum_fewshot: 2\n",
		"a.yaml":     "include: _base\ntask: a\nmetadata: {version: 2}\n",
		"sub/b.yaml": "include: ../_base\n",
		"c.yaml":     minimal + "tasks:\n  - {task: c1, tag: all}\n  - {task: c2, num_fewshot: 3}\n",
		"g.yaml":     "group: g\ntask: [letters, h]\naggregate_metric_list:\n  - {metric: acc, filter_list: none, weight_by_size: false}\n",
		"h.yaml":     "group: h\ntask: [c1]\n",
		"_x.yaml":    "not: read\n",
	})
	if err == nil || !strings.Contains(err.Error(), "sub/b.yaml") || !strings.Contains(err.Error(), "task is missing") {
		t.Errorf("error %v, want that b.yaml has no task", err)
	}
	s, err := open(t, map[string]string{
		"_base":   minimal + "tag: [letters, all]\nnum_fewshot: 2\n",
		"a.yaml":  "include: _base\ntask: a\nmetadata: {version: 2}\n",
		"c.yaml":  minimal + "tasks:\n  - {task: c1, tag: all}\n  - {task: c2, num_fewshot: 3}\n",
		"g.yaml":  "group: g\ntask: [letters, h]\naggregate_metric_list:\n  - {metric: acc, filter_list: none, weight_by_size: false}\n",
		"h.yaml":  "group: h\ntask: [c1]\n",
		"i.yaml":  "group: i\ntask: i\n",
		"_x.yaml": "not: read\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	if a := s.Task("a"); *a.NumFewshot != 2 || a.Version() != "2" || a.Text != "{{a}}" {
		t.Errorf("a: %+v", a)
	}
	for wanted, want := range map[string]string{"a": "a", "all": "a c1", "c?": "c1 c2", "g": "a c1", "c2,g,a": "c2 a c1"} {
		sel, err := s.Select(strings.Split(wanted, ","))
		if got := names(sel.Tasks); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", wanted, got, err, want)
		}
	}
	sel, _ := s.Select([]string{"g"})
	if g := sel.Groups[0]; strings.Join(g.Children, " ") != "a h" || strings.Join(g.Leaves, " ") != "a c1" || g.Aggregates[0].Weighted() || sel.Groups[1].Name != "h" {
		t.Errorf("g: %+v", g)
	}
	for wanted, want := range map[string]string{"arc_": "did you mean arc_easy", "zzz": "--list", "z*": `as "z*" says`, "i": "contains itself"} {
		if _, err := s.Select([]string{wanted}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", wanted, err, want)
		}
	}
}

func TestErrors(t *testing.T) {
	for text, want := range map[string]string{
		"task: [":                                                "line 1",
		"- a":                                                    "is no mapping",
		minimal + "task: a\ntask: b":                             "line 7: the key \"task\" comes twice",
		minimal + "task: a\nshots: 2":                            "line 7: \"shots\" is no key",
		minimal + "task: a b":                                    `task is "a b"`,
		"task: a\ndoc_to_text: !function u.f":                    "doc_to_text: line 2: !function u.f is a function of Python",
		"task: &x a\nalias: *x":                                  "aliases are not supported",
		minimal + "task: a\ninclude: none":                       "include none:",
		minimal + "task: a\ninclude: ../x":                       `include is "../x"`,
		minimal + "task: a\nnum_fewshot: -1":                     "num_fewshot is -1",
		minimal + "task: a\nnum_fewshot: two":                    "line 7: cannot unmarshal",
		minimal + "task: a\nfewshot_config: {sampler: best}":     `sampler is "best"`,
		minimal + "task: a\nfewshot_config: {shots: 3}":          `fewshot_config has no key "shots"`,
		minimal + "task: a\ndataset_kwargs: {data_dir: x}":       "dataset_files",
		minimal + "task: a\ngenerated: {ruler: x, recall: true}": "want one of ruler",
		minimal + "task: a\nmetric_list: [{metric: 3}]":          "metric is 3",
		"task: a\noutput_type: guess":                            `output_type is "guess"`,
		"task: a\noutput_type: multiple_choice\ndataset_path: o/n\ntest_split: test\ndoc_to_text: a\ndoc_to_target: b": "doc_to_choice is missing",
		"group: g": "task is missing",
		"group: g\ntask: a\naggregate_metric_list: [{metric: acc, aggregation: max}]": `aggregation is "max"`,
	} {
		_, err := open(t, map[string]string{"x.yaml": text})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "x.yaml") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %v, want one line with %q", text, err, want)
		}
	}
	if _, err := Open("/no/such"); err == nil {
		t.Error("a folder that is not there is no error")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{minimal + "task: a", "group: g\ntask: [a]", "a: &x [*x]", "task: !function x", "fewshot_config: {samples: [{a: 1}]}", "process_docs: {fields: {a: b}}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parse([]byte(text))
		if err != nil {
			return
		}
		task, group := &Task{}, &Group{}
		if decode(all, task) == nil {
			_ = task.Validate() // whatever it says, it must not panic
		}
		if decode(all, group) == nil {
			_ = group.validate()
		}
	})
}
