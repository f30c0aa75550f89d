package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func reportCalls(t *testing.T) []call {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	write := func(run, text string) string {
		if err := os.Mkdir(in(run), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(in(run), "metrics.jsonl"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return in(run)
	}
	a := write("a", `{"step":0,"stage":"warm","eval/loss":9}
{"step":1,"stage":"warm","loss":4,"lr":0.001,"tokens":1500,"step_seconds":0.5,"skipped":0}
{"step":2,"stage":"warm","loss":3,"lr":0.002,"tokens":1500,"step_seconds":1,"skipped":1,"eval/loss":3.5}
{"step":3,"stage":"whole","loss":"NaN"}
{"step":4,"sta`)
	b := write("b", `{"step":1,"loss":5}`+"\n")
	bad := write("bad", "{\"step\":1}\n{\"step\":x}\n")
	empty := write("empty", "")
	line := func(run, rest string) string { return fmt.Sprintf("%-*s  %s\n", len(a), run, rest) }
	return []call{
		{name: "two runs", args: []string{"report", a + "/", b}, out: "" +
			line("run", "stage  steps  loss    best       eval    best       lr     skipped  tokens  time  tokens/s") +
			line(a, "warm   2      3.0000  3.0000 @2  3.5000  3.5000 @2  0.002  1        3.00k   2s    2.00k") +
			line(a, "whole  1      NaN     -          -       -          -      -        -       -     -") +
			line(b, "-      1      5.0000  5.0000 @1  -       -          -      -        -       -     -")},
		{name: "json", args: []string{"report", "--json", a}, parts: []string{`"run": "` + a + `"`, `"stage": "warm"`, `"best_eval_loss": 3.5`,
			`"tokens_per_second": 2000`, `"loss": "NaN"`, `"tokens": null`}},
		{name: "plot", args: []string{"report", "--plot", in("two.svg"), a, b}, parts: []string{b + "  -      1"}},
		{name: "logarithmic plot", args: []string{"report", "--plot", in("one.png"), "--log", a}, parts: []string{a + "  warm"}},
		{name: "log without plot", args: []string{"report", "--log", a}, code: 1, err: "--log goes with --plot"},
		{name: "plot of an unknown kind", args: []string{"report", "--plot", "a.gif", a}, code: 1, err: "plot a.gif: want a name that ends in .svg or .png"},
		{name: "nothing", args: []string{"report"}, code: 1, err: "requires at least 1 arg(s)"},
		{name: "no such run", args: []string{"report", in("c")}, code: 1, err: "c: no such folder"},
		{name: "no run", args: []string{"report", a, dir}, code: 1, err: dir + ": not the folder of a run: it has no metrics.jsonl"},
		{name: "a file", args: []string{"report", bad + "/metrics.jsonl"}, code: 1, err: "a file, want the folder of a run"},
		{name: "a run without steps", args: []string{"report", empty}, code: 1, err: "empty: the run has no steps yet"},
		{name: "a damaged run", args: []string{"report", bad}, code: 1, err: "bad/metrics.jsonl:2: "},
	}
}

// TestReportPlot asks that the plots are there, whole.
func TestReportPlot(t *testing.T) {
	for _, c := range reportCalls(t) {
		if at := slices.Index(c.args, "--plot"); at >= 0 && c.code == 0 {
			c.check(t)
			data, err := os.ReadFile(c.args[at+1])
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(c.args[at+1], ".svg") {
				err = xml.Unmarshal(data, new(struct{}))
			} else {
				_, err = png.Decode(bytes.NewReader(data))
			}
			if err != nil {
				t.Errorf("%s: %v", c.args[at+1], err)
			}
		}
	}
}
