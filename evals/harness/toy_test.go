package harness

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gojet/gojet/evals"
	"github.com/gojet/gojet/evals/suite"
)

// toy is a model that reads bytes. A byte is the more likely the nearer it is to the letter m.
type toy struct {
	most  int
	asked int // requests so far
	fail  int // after so many requests, if above 0
	text  func(prompt string) string
}

func (m *toy) Encode(text string) []int32 {
	ids := make([]int32, len(text))
	for i := range ids {
		ids[i] = int32(text[i])
	}
	return ids
}
func (m *toy) Prefix() int32  { return 0 }
func (m *toy) MaxLength() int { return m.most }

var errKilled = errors.New("killed")

func (m *toy) LogLikelihoods(_ context.Context, rs []evals.Scored) ([]evals.Likelihood, error) {
	var out []evals.Likelihood
	for _, r := range rs {
		if m.asked++; m.fail > 0 && m.asked > m.fail {
			return nil, errKilled
		}
		l := evals.Likelihood{Greedy: true}
		for _, id := range r.ContinuationTokens {
			d := float64(id - 'm')
			l.LogProb -= max(d, -d) / 64
			l.Greedy = l.Greedy && id == 'm'
		}
		out = append(out, l)
	}
	return out, nil
}

func (m *toy) Generate(_ context.Context, rs []evals.Prompted) ([]string, error) {
	var out []string
	for _, r := range rs {
		if m.asked++; m.fail > 0 && m.asked > m.fail {
			return nil, errKilled
		}
		out = append(out, m.text(r.Prompt))
	}
	return out, nil
}

// watch keeps samples.
type watch struct {
	requests, done int
	samples        map[string][]Sample
}

func (w *watch) Begin(_ string, _, _, requests int) { w.requests += requests }
func (w *watch) Done(n int)                         { w.done += n }
func (w *watch) Sample(task string, s Sample) error {
	if w.samples == nil {
		w.samples = map[string][]Sample{}
	}
	w.samples[task] = append(w.samples[task], s)
	return nil
}

// data writes the rows of splits as JSON lines: "repository/configuration/split" to rows.
func data(t *testing.T, sets map[string][]map[string]any) string {
	t.Helper()
	root := t.TempDir()
	for name, rows := range sets {
		path := filepath.Join(root, filepath.FromSlash(name)+".jsonl")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, r := range rows {
			line, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(append(line, '\n'))
		}
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// own opens the suite with tasks of the test's own beside those that come with gojet.
func own(t *testing.T, files map[string]string) *suite.Suite {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, err := suite.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func selection(t *testing.T, s *suite.Suite, names ...string) suite.Selection {
	t.Helper()
	sel, err := s.Select(names)
	if err != nil {
		t.Fatal(err)
	}
	return sel
}

func config(root string) Config {
	c := Defaults()
	c.Data, c.BatchSize, c.Bootstrap = root, 2, 100
	return c
}
