package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/gojet/gojet/internal/fixtures"
)

func tokenizeCalls(t *testing.T) []call {
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "vectors.jsonl")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	with := func(args ...string) []string { return append([]string{"tokenize", "--tokenizer", "bytes"}, args...) }
	good := `{"text":"Hi","ids":[72,105],"decoded":"Hi"}`
	return []call{
		{name: "arguments", args: with("é", "b"), out: "195\t\"\\xc3\"\n169\t\"\\xa9\"\n98\t\"b\"\n"},
		{name: "ids", args: with("--ids-only", "Hi", ""), out: "72 105\n\n"},
		{name: "standard input", args: with("--ids-only"), stdin: "Hi\n", out: "72 105 10\n"},
		{name: "ordinary", args: with("--ids-only", "--ordinary", "<"), out: "60\n"},
		{name: "decode", args: with("--decode", "72", "105,10"), out: "Hi\n"},
		{name: "decode standard input", args: with("--decode"), stdin: "[72, 105]\n", out: "Hi"},
		{name: "decode without special tokens", args: with("--decode", "--skip-special", "72"), out: "H"},
		{name: "skip without decode", args: with("--skip-special", "72"), code: 1, err: "--skip-special goes with --decode"},
		{name: "decode a word", args: with("--decode", "x"), code: 1, err: `token id "x" is no whole number`},
		{name: "decode an unknown id", args: with("--decode", "99999"), code: 1, err: "99999"},
		{name: "vectors", args: with("--vectors", file("\ufeff"+good+"\r\n\n"+good)), out: "2 vectors, 0 mismatches\n"},
		{name: "vectors differ", args: with("--vectors", file(good+"\n"+`{"text":"Hi","ids":[72,106],"decoded":"Hi"}`)), code: 1,
			out: "line 2: ids [72 105], want [72 106], the first difference at 1\nline 2: decoded \"Hj\", want \"Hi\"\n" +
				"line 2: decoded token by token \"Hj\", want \"Hi\"\n2 vectors, 1 mismatches\n", err: "1 of 2 vectors do not match"},
		{name: "vectors cut off", args: with("--vectors", file(good+"\n"+good[:9])), code: 1, err: "vectors.jsonl:2: "},
		{name: "vectors lack a field", args: with("--vectors", file(`{"text":"a","ids":[97]}`)), code: 1, err: "vectors.jsonl:1: want the fields"},
		{name: "no vectors", args: with("--vectors", file("\n")), code: 1, out: "0 vectors, 0 mismatches\n", err: "holds no vectors"},
		{name: "vectors and text", args: with("--vectors", "f", "text"), code: 1, err: "--vectors takes no arguments"},
		{name: "vectors missing", args: with("--vectors", "/no/such"), code: 1, err: "/no/such"},
		{name: "vectors and decode", args: with("--vectors", "f", "--decode"), code: 1, err: "[decode vectors ids-only]"},
		{name: "no tokenizer", args: []string{"tokenize", "x"}, code: 1, err: `required flag(s) "tokenizer" not set`},
		{name: "tokenizer missing", args: []string{"tokenize", "--tokenizer", "/no/such", "x"}, code: 1, err: "/no/such"},
	}
}

// TestQwenVectors is every text of the reference vectors through the command.
func TestQwenVectors(t *testing.T) {
	vectors := fixtures.Glob(t, "tokenizer/qwen2_5_vectors.jsonl")[0]
	model := filepath.Join(fixtures.Dir(t), "..", "tokenizers", "qwen2.5")
	if _, err := os.Stat(model); err != nil {
		t.Skipf("no tokenizer beside the reference values: %v", err)
	}
	for _, path := range []string{model, filepath.Join(model, "tokenizer.json")} {
		_, code, out, errs := execute(t.Context(), "", "tokenize", "--tokenizer", path, "--vectors", vectors)
		if code != 0 || out != "331 vectors, 0 mismatches\n" {
			t.Errorf("%s: exit code %d, error stream %q, output:\n%s", path, code, errs, out)
		}
	}
	for _, c := range []call{
		{name: "special", args: []string{"--ids-only", "a<|im_end|>"}, out: "64 151645\n"},
		{name: "ordinary", args: []string{"--ids-only", "--ordinary", "<|im_end|>"}, out: "27 91 318 6213 91 29\n"},
		{name: "decode", args: []string{"--decode", "64 151645"}, out: "a<|im_end|>"},
		{name: "skip special", args: []string{"--decode", "--skip-special", "64 151645"}, out: "a"},
	} {
		c.args = append([]string{"tokenize", "--tokenizer", model}, c.args...)
		t.Run(c.name, func(t *testing.T) { c.check(t) })
	}
}
