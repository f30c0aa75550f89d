package suite_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gojet/gojet/evals"
	"github.com/gojet/gojet/evals/execute"
	"github.com/gojet/gojet/evals/harness"
	"github.com/gojet/gojet/evals/suite"
)

// replay is one task as lm-evaluation-harness asked and judged it: dev/tasks_check.py writes testdata/answers.json.
type replay struct {
	Task     string
	Files    map[string][]json.RawMessage
	Examples map[string][]json.RawMessage
	Shots    int
	Asked    []struct {
		Prompt, Answer string
		Until          []string
		MaxTokens      *int `json:"max_tokens"`
	}
	Scores map[string]float64 // by "metric,filter"
}

// scripted gives the answers that were given, in the order of the documents.
type scripted struct {
	t       *testing.T
	c       replay
	answers map[string][]string // that are left, by prompt
}

func (m *scripted) LogLikelihoods(context.Context, []evals.Scored) ([]evals.Likelihood, error) {
	return nil, errors.New("no likelihood was asked for")
}

func (m *scripted) Generate(_ context.Context, rs []evals.Prompted) ([]string, error) {
	var out []string
	for _, r := range rs {
		left := m.answers[r.Prompt]
		if len(left) == 0 {
			m.t.Errorf("%s: an unexpected prompt:\n%q\nwant:", m.c.Task, r.Prompt)
			for _, a := range m.c.Asked {
				m.t.Errorf("%q", a.Prompt)
			}
			return nil, errors.New("an unexpected prompt")
		}
		if want := m.c.Asked[0]; !slices.Equal(r.Until, want.Until) || want.MaxTokens != nil && r.MaxTokens != *want.MaxTokens {
			m.t.Errorf("%s: until %q, %d tokens, want %q, %v", m.c.Task, r.Until, r.MaxTokens, want.Until, *want.MaxTokens)
		}
		out, m.answers[r.Prompt] = append(out, left[0]), left[1:]
	}
	return out, nil
}

type silent struct{}

func (silent) Begin(string, int, int, int)         {}
func (silent) Done(int)                            {}
func (silent) Sample(string, harness.Sample) error { return nil }

func TestAnswers(t *testing.T) {
	data, err := os.ReadFile("testdata/answers.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []replay
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	own, err := suite.Open()
	if err != nil {
		t.Fatal(err)
	}
	limits := execute.Default()
	runner, noRunner := execute.New(t.Context(), limits)
	if noRunner != nil && !errors.Is(noRunner, execute.ErrConfinement) && !errors.Is(noRunner, exec.ErrNotFound) {
		t.Fatal(noRunner)
	}
	for _, c := range all {
		t.Run(c.Task, func(t *testing.T) {
			if own.Task(c.Task).UnsafeCode && noRunner != nil {
				t.Skip(noRunner)
			}
			scores := c.run(t, own, runner)
			for key, want := range c.Scores {
				got, ok := scores[renamed(key)]
				if !ok || math.Abs(got-want) > 1e-9 {
					t.Errorf("%s is %v (%v), want %v", key, got, ok, want)
				}
			}
		})
	}
}

// renamed is a score's name here: pass_at_1 and pass_at_k are one metric.
func renamed(key string) string {
	name, filter, _ := strings.Cut(key, ",")
	if name == "pass_at_1" || name == "pass_at_k" {
		name = "pass@1"
	}
	return name + "," + filter
}

func (c replay) run(t *testing.T, own *suite.Suite, runner *execute.Runner) map[string]float64 {
	m := &scripted{t: t, c: c, answers: map[string][]string{}}
	for _, a := range c.Asked {
		m.answers[a.Prompt] = append(m.answers[a.Prompt], a.Answer)
	}
	return c.runWith(t, own, runner, m)
}

func (c replay) runWith(t *testing.T, own *suite.Suite, runner *execute.Runner, m evals.Model) map[string]float64 {
	t.Helper()
	root, examples := t.TempDir(), t.TempDir()
	write := func(folder string, files map[string][]json.RawMessage) {
		for name, rows := range files {
			path := filepath.Join(folder, filepath.FromSlash(name))
			var b strings.Builder
			for _, r := range rows {
				fmt.Fprintf(&b, "%s\n", r)
			}
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(b.String()), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(root, c.Files)
	write(examples, c.Examples)
	cfg := harness.Defaults()
	cfg.Data, cfg.FewshotData, cfg.NumFewshot, cfg.Bootstrap = root, examples, c.Shots, 0
	if runner != nil {
		cfg.Runner = runner
	}
	sel, err := own.Select([]string{c.Task})
	if err != nil {
		t.Fatal(err)
	}
	h := harness.Harness{Config: cfg, Model: m, Watcher: silent{}}
	r, err := h.Run(t.Context(), sel)
	if err != nil {
		t.Fatal(err)
	}
	scores := map[string]float64{}
	for _, s := range r.Tasks[0].Scores {
		scores[s.Metric+","+s.Filter] = s.Value
	}
	return scores
}

// raw writes rows as JSON lines have them.
func raw(rows ...string) (all []json.RawMessage) {
	for _, r := range rows {
		all = append(all, json.RawMessage(r))
	}
	return all
}

// TestOwnWays: tasks that are not as in lm-evaluation-harness, in their examples or in how they are judged.
func TestOwnWays(t *testing.T) {
	own, err := suite.Open()
	if err != nil {
		t.Fatal(err)
	}
	crux := raw(`{"code":"def f(s):\n    return s + 'a'","input":"'x'","output":"'xa'"}`, `{"code":"def f(n):\n    return n","input":"17","output":"17"}`)
	const cruxInput, cruxOutput = "complete the assertion with one such input", "Do NOT output any extra information"
	var mbpp []json.RawMessage
	for i := 2; i < 5; i++ {
		mbpp = append(mbpp, json.RawMessage(fmt.Sprintf(`{"task_id":%d,"prompt":"Add %d.","code":"def add(x): return x + %d","test_list":["assert add(0) == %d","assert add(1) == %d","assert add(2) == %d"],"test":"assert add(5) == %d"}`,
			i, i, i, i, i+1, i+2, i+5)))
	}
	for _, tc := range []struct {
		task, file string
		rows       []json.RawMessage
		shots      int
		prompts    map[string][]string // parts of a prompt, by its end
		answers    map[string]string   // by the end of the prompt
		score      string
		want       float64
	}{
		{"cruxeval_input", "cruxeval-org/cruxeval/test.jsonl", crux, 1, map[string][]string{"'xa'\n[/PYTHON]": {
			cruxInput, "[PYTHON]\ndef f(n):\n    return n\nassert f(??) == 17\n[/PYTHON] \n[ANSWER]\nassert f(17) == 17\n[/ANSWER]\n\n[PYTHON]\ndef f(s):\n    return s + 'a'\nassert f(??) == 'xa'\n[/PYTHON]"}},
			map[string]string{"'xa'\n[/PYTHON]": "[ANSWER]\nassert f('x') == 'xa'\n", " 17\n[/PYTHON]": "\n[ANSWER]\nassert f(18) == 17\n"}, "pass@1,create_test", 0.5},
		{"cruxeval_output", "cruxeval-org/cruxeval/test.jsonl", crux, 1, map[string][]string{"f('x') == ??\n[/PYTHON]": {
			cruxOutput, "assert f(17) == ??\n[/PYTHON] \n[ANSWER]\nassert f(17) == 17\n[/ANSWER]\n\n"}},
			map[string]string{"f('x') == ??\n[/PYTHON]": "[ANSWER]\nassert f('x') == 'xa'\n", "f(17) == ??\n[/PYTHON]": "[ANSWER]\nassert f(17) == f(17)\n"}, "pass@1,create_test", 0.5},
		{"mbpp_plus_full", "evalplus/mbppplus/test.jsonl", mbpp, 2, map[string][]string{" == 4\n[BEGIN]\n": {
			"here is your task: Add 3. Your code", "[BEGIN]\ndef add(x): return x + 3\n[DONE]\n\nYou are", "here is your task: Add 2. Your code should pass these tests:\n\nassert add(0) == 2\nassert add(1) == 3\nassert add(2) == 4\n[BEGIN]\n"}},
			map[string]string{" == 4\n[BEGIN]\n": "def add(x): return x + 2", " == 5\n[BEGIN]\n": "def add(x): return x + 3 if x < 5 else 0", " == 6\n[BEGIN]\n": "1/0"}, "pass@1,none", 1. / 3},
	} {
		runner, err := execute.New(t.Context(), execute.Default())
		if err != nil {
			t.Skip(err)
		}
		m := &byEnd{answers: tc.answers, prompts: map[string]string{}}
		c := replay{Task: tc.task, Files: map[string][]json.RawMessage{tc.file: tc.rows}, Shots: tc.shots}
		scores := c.runWith(t, own, runner, m)
		for end, parts := range tc.prompts {
			for _, part := range parts {
				if !strings.Contains(m.prompts[end], part) {
					t.Errorf("%s asks\n%s\nwithout\n%s", tc.task, m.prompts[end], part)
				}
			}
		}
		if math.Abs(scores[tc.score]-tc.want) > 1e-12 {
			t.Errorf("%s: %v, want %s %v", tc.task, scores, tc.score, tc.want)
		}
	}
}

// byEnd answers by how a prompt ends, and keeps the prompts.
type byEnd struct{ answers, prompts map[string]string }

func (m *byEnd) LogLikelihoods(context.Context, []evals.Scored) ([]evals.Likelihood, error) {
	return nil, errors.New("no likelihood was asked for")
}

func (m *byEnd) Generate(_ context.Context, rs []evals.Prompted) ([]string, error) {
	var out []string
	for _, r := range rs {
		for end, answer := range m.answers {
			if strings.HasSuffix(r.Prompt, end) {
				out, m.prompts[end] = append(out, answer), r.Prompt
			}
		}
	}
	return out, nil
}

// TestMathExamples: those of the training split get the line that the answer is looked for in.
func TestMathExamples(t *testing.T) {
	own, err := suite.Open()
	if err != nil {
		t.Fatal(err)
	}
	c := replay{Task: "minerva_math_algebra", Shots: 3, Files: map[string][]json.RawMessage{
		"EleutherAI/hendrycks_math/algebra/train.jsonl": raw(`{"problem":"One?","solution":"So $\\boxed{\\frac{1}{2}}$."}`, `{"problem":"Two?","solution":"First $\\boxed{1}$, then $\\boxed 2$."}`,
			`{"problem":"Three?","solution":"Deep $\\boxed{\\frac{\\sqrt{\\frac{1}{2}}}{x^{3}}}$."}`),
		"EleutherAI/hendrycks_math/algebra/test.jsonl": raw(`{"problem":"Four?","solution":"$\\boxed{0.5}$"}`),
	}}
	m := &byEnd{map[string]string{"": " Final Answer: The final answer is $\\frac12$. I hope it is correct."}, map[string]string{}}
	scores := c.runWith(t, own, nil, m)
	want := `Problem:
One?

Solution: So $\boxed{\frac{1}{2}}$.
Final Answer: The final answer is $\frac{1}{2}$. I hope it is correct.

Problem:
Two?

Solution: First $\boxed{1}$, then $\boxed 2$.
Final Answer: The final answer is $2$. I hope it is correct.

Problem:
Three?

Solution: Deep $\boxed{\frac{\sqrt{\frac{1}{2}}}{x^{3}}}$.
Final Answer: The final answer is $\frac{\sqrt{\frac{1}{2}}}{x^{3}}$. I hope it is correct.

Problem:
Four?

Solution:`
	if m.prompts[""] != want || scores["exact_match,none"] != 1 {
		t.Errorf("%v, asked\n%s", scores, m.prompts[""])
	}
}

// TestExamplesMissing: BIG-Bench Hard's examples have to be given.
func TestExamplesMissing(t *testing.T) {
	own, err := suite.Open()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	path := filepath.Join(root, "SaylorTwift", "bbh", "navigate", "test.jsonl")
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(`{"input":"a","target":"b"}`), 0o644)); err != nil {
		t.Fatal(err)
	}
	cfg := harness.Defaults()
	cfg.Data, cfg.Bootstrap = root, 0
	sel, err := own.Select([]string{"bbh_cot_fewshot_navigate"})
	if err != nil {
		t.Fatal(err)
	}
	h := harness.Harness{Config: cfg, Model: &byEnd{}, Watcher: silent{}}
	if _, err := h.Run(t.Context(), sel); err == nil || !strings.Contains(err.Error(), "fewshot/navigate.jsonl") {
		t.Errorf("without examples: %v", err)
	}
}
