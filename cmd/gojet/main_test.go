package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write the golden files anew")

// call is one use of the command line.
type call struct {
	name  string
	args  []string
	stdin string
	code  int
	out   string   // the whole output, unless parts are given
	parts []string // of the output
	err   string   // part of the one line on the error stream
	notes []string // of the error stream of a call that succeeds
}

// execute runs the command in this process.
func execute(ctx context.Context, stdin string, args ...string) (root *cobra.Command, code int, out, errs string) {
	var o, e bytes.Buffer
	root = newRoot(&o, &e)
	root.SetIn(strings.NewReader(stdin))
	code = run(ctx, root, args)
	return root, code, o.String(), e.String()
}

// check executes the call, compares, and returns the path of the command and its flags that were set.
func (c call) check(t *testing.T) (used []string) {
	root, code, out, errs := execute(t.Context(), c.stdin, c.args...)
	if code != c.code {
		t.Errorf("exit code %d, want %d; error stream: %s", code, c.code, errs)
	}
	if c.parts == nil && out != c.out {
		t.Errorf("output:\n%s\nwant:\n%s", out, c.out)
	}
	for _, part := range c.parts {
		if !strings.Contains(out, part) {
			t.Errorf("output lacks %q:\n%s", part, out)
		}
	}
	switch {
	case c.err == "" && c.notes == nil && errs != "":
		t.Errorf("error stream: %s", errs)
	case c.err != "":
		if !strings.HasPrefix(errs, "gojet: ") || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, c.err) {
			t.Errorf("error stream %q, want one line with %q", errs, c.err)
		}
	}
	for _, note := range c.notes {
		if !strings.Contains(errs, note) {
			t.Errorf("error stream lacks %q:\n%s", note, errs)
		}
	}
	if cmd, _, err := root.Find(c.args); err == nil {
		cmd.Flags().Visit(func(f *pflag.Flag) { used = append(used, cmd.CommandPath()+" --"+f.Name) })
	}
	return used
}

// TestCommands runs every call, and asks that every flag of every command is among them.
func TestCommands(t *testing.T) {
	calls := map[string][]call{
		"root":     rootCalls(),
		"version":  versionCalls(),
		"bench":    benchCalls(t),
		"data":     dataCalls(t),
		"doctor":   doctorCalls(),
		"eval":     evalCalls(t),
		"generate": generateCalls(t),
		"report":   reportCalls(t),
		"inspect":  inspectCalls(t),
		"parity":   parityCalls(t),
		"plan":     planCalls(t),
		"recipes":  recipesCalls(t),
		"search":   searchCalls(t),
		"serve":    serveCalls(t),
		"tokenize": tokenizeCalls(t),
		"train":    trainCalls(t),
	}
	used := map[string]bool{}
	for group, list := range calls {
		for _, c := range list {
			t.Run(group+"/"+c.name, func(t *testing.T) {
				for _, f := range c.check(t) {
					used[f] = true
				}
			})
		}
	}
	each(newRoot(nil, nil), func(cmd *cobra.Command) {
		if cmd.Name() == "completion" || cmd.HasParent() && cmd.Parent().Name() == "completion" {
			return
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if name := cmd.CommandPath() + " --" + f.Name; f.Name != "help" && !used[name] {
				t.Errorf("no call uses %s", name)
			}
			if f.Usage == "" {
				t.Errorf("%s --%s is not explained", cmd.CommandPath(), f.Name)
			}
		})
	})
}

func rootCalls() []call {
	return []call{
		{name: "nothing", parts: []string{"Usage:", "generate", "inspect", "parity", "plan", "tokenize", "version"}},
		{name: "unknown command", args: []string{"versoin"}, code: 1, err: `unknown command "versoin" for "gojet" Did you mean this? version`},
		{name: "unknown flag", args: []string{"version", "--colour"}, code: 1, err: "unknown flag: --colour (gojet version --help lists the flags)"},
		{name: "completion", args: []string{"completion", "bash"}, parts: []string{"# bash completion", "__start_gojet"}},
	}
}

// each visits the command and all below it.
func each(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, c := range cmd.Commands() {
		each(c, visit)
	}
}

// TestHelp compares the help of every command with its golden file: go test ./cmd/gojet -update
func TestHelp(t *testing.T) {
	each(newRoot(nil, nil), func(cmd *cobra.Command) {
		path := strings.Fields(cmd.CommandPath())
		if len(path) > 1 && path[1] == "completion" {
			return // cobra's own
		}
		_, code, out, errs := execute(t.Context(), "", append(path[1:], "--help")...)
		if code != 0 || errs != "" {
			t.Errorf("%v --help: exit code %d, error stream: %s", path, code, errs)
		}
		golden := filepath.Join("testdata", "help", strings.Join(path, "-")+".txt")
		if *update {
			if err := os.WriteFile(golden, []byte(out), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if out != string(want) {
			t.Errorf("%v --help is not %s:\n%s", path, golden, out)
		}
	})
}

func TestInterrupted(t *testing.T) {
	var out, errs bytes.Buffer
	root := newRoot(&out, &errs)
	root.AddCommand(&cobra.Command{Use: "wait", RunE: func(c *cobra.Command, _ []string) error {
		<-c.Context().Done()
		return c.Context().Err()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if code := run(ctx, root, []string{"wait"}); code != 1 || errs.String() != "gojet: interrupted\n" {
		t.Errorf("exit code %d, error stream %q", code, errs.String())
	}
}

// broken is an output that takes nothing.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("disk full") }

// TestBrokenOutput: a command that cannot write its result fails.
func TestBrokenOutput(t *testing.T) {
	dir := saved(t, hybrid)
	for _, args := range [][]string{
		{"generate", dir, "--ids", "1"},
		{"inspect", dir},
		{"parity", dir, expectations(t, dir, nil)},
		{"plan", dir},
		{"plan", dir, "--summary"},
		{"version"},
		{"tokenize", "--tokenizer", "bytes", "x"},
		{"tokenize", "--tokenizer", "bytes", "--decode", "65"},
	} {
		var errs bytes.Buffer
		if code := run(t.Context(), newRoot(broken{}, &errs), args); code != 1 || !strings.Contains(errs.String(), "disk full") {
			t.Errorf("%v: exit code %d, error stream %q", args, code, errs.String())
		}
	}
}
