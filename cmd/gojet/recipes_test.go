package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/gojet/gojet/recipes"
)

func recipesCalls(t *testing.T) []call {
	dir := t.TempDir()
	quickstart, err := recipes.Text("quickstart")
	if err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(dir, "text.txt")
	bad := filepath.Join(dir, "bad.yaml")
	for path, content := range map[string]string{text: "text", bad: "name: bad\nstages: []\nthreads: -1\nmodels: {a: {path: /no/such/model}}\n" + "data: {path: " + text + ", tokenizer: bytes}\n"} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	with := func(args ...string) []string { return append([]string{"recipes"}, args...) }
	to := func(name string) string { return filepath.Join(dir, name) }
	return []call{
		{name: "nothing", args: with(), parts: []string{"Usage:", "ls", "show", "copy", "validate"}},
		{name: "unknown", args: with("list"), code: 1, err: `unknown command "list" for "gojet recipes"`},
		{name: "ls", args: with("ls"), parts: []string{"RECIPE", "TOKENS", "quickstart", "distill-stage2", "600 M", "jet-nemotron-2b-stage1", "50 B", "jet-nemotron-4b-stage2", "350 B", "lora", "sft"}},
		{name: "ls argument", args: with("ls", "x"), code: 1, err: `unknown command "x" for "gojet recipes ls"`},
		{name: "show", args: with("show", "quickstart"), out: string(quickstart)},
		{name: "show file", args: with("show", bad), parts: []string{"name: bad\n"}},
		{name: "show resolved", args: with("show", "--resolved", "quickstart", "stages.align.steps=3", "data.path="+text), parts: []string{"steps: 3\n", "path: " + text, "beta2: 0.95\n"}},
		{name: "show change", args: with("show", "quickstart", "seed=2"), code: 1, err: "key=value goes with --resolved"},
		{name: "show unknown", args: with("show", "quikstart"), code: 1, err: "did you mean quickstart?"},
		{name: "show resolved unknown", args: with("show", "--resolved", "quickstart", "sed=2"), code: 1, err: "override sed=2: sed is unknown, did you mean seed?"},
		{name: "show nothing", args: with("show"), code: 1, err: "requires at least 1 arg(s)"},
		{name: "copy", args: with("copy", "lora", to("mine.yaml"))},
		{name: "copy over", args: with("copy", "lora", bad), code: 1, err: "bad.yaml exists, want the name of a new file"},
		{name: "copy unknown", args: with("copy", "lroa", to("new.yaml")), code: 1, err: "no recipe of that name, did you mean lora?"},
		{name: "copy nowhere", args: with("copy", "lora", to("no/such/folder.yaml")), code: 1, err: "no/such/folder.yaml"},
		{name: "validate", args: with("validate", "quickstart", "data.path="+text, "output="+to("run")),
			parts: []string{"quickstart: ", " tokens in 3 stages (teacher, align, distill), hash "}},
		{name: "validate one problem", args: with("validate", "quickstart", "data.path="+text, "output="+text), code: 1, err: "output is " + text + ", a file, want a folder"},
		{name: "validate several", args: with("validate", bad), code: 1, parts: []string{"bad.yaml:2: stages is empty", "bad.yaml:3: threads is -1", "bad.yaml:4: models.a.path is /no/such/model, which does not exist\n"},
			err: "bad.yaml has 3 problems"},
		{name: "validate unknown", args: with("validate", to("none.yaml")), code: 1, err: "none.yaml: no file, and no recipe of that name"},
	}
}

// TestRecipesCopied: a copy is the recipe.
func TestRecipesCopied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "copy.yaml")
	_, code, out, errs := execute(t.Context(), "", "recipes", "copy", "quickstart", path)
	got, err := os.ReadFile(path)
	want, err2 := recipes.Text("quickstart")
	if code != 0 || out != "" || errs != "" || err != nil || err2 != nil || string(got) != string(want) {
		t.Errorf("exit code %d, output %q, error stream %q, %v, %v, copied %d bytes of %d", code, out, errs, err, err2, len(got), len(want))
	}
}
