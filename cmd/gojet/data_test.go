package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gojet/gojet/datasets"
	"github.com/gojet/gojet/datasets/tokenizer"
)

func dataCalls(t *testing.T) []call {
	dir, cache := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{"a.txt": "hello", "b.txt": "world, hello", "c.md": "# c", "chats.jsonl": `{"text": "one"}`, "empty.txt": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	with := func(args ...string) []string { return append([]string{"data", "--cache", cache}, args...) }
	texts := filepath.Join(dir, "*.txt")
	return []call{
		{name: "counts", args: with("--path", texts, "--tokenizer", "bytes", "--length", "8"), out: "" +
			"source" + strings.Repeat(" ", len(texts)-4) + "documents  empty  tokens  not learned  shortest  mean  longest  bytes/token\n" +
			texts + "  2          1      17      0            5         8     12       1.00\n" +
			"\ntokens in a document\n4 to 7   1  ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇\n8 to 15  1  ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇\n" +
			"\ntraining   2 documents, 17 tokens: 3 rows of 8, 70.8% filled\nheld out   0 documents, 0 tokens\n"},
		{name: "held out", args: with("--path", texts, "--held-out", "1"), parts: []string{"held out   1 documents"}},
		{name: "sample", args: with("--path", filepath.Join(dir, "a.txt"), "--sample", "2"), parts: []string{"\n--- row 0, document 0, 5 tokens\nhello\n"}},
		{name: "include", args: with("--path", dir, "--include", "*.md", "--sample", "1"), parts: []string{"\n# c\n"}},
		{name: "format", args: with("--path", filepath.Join(dir, "chats.jsonl"), "--format", "text", "--sample", "1"), parts: []string{`{"text": "one"}`}},
		{name: "recipe", args: with("quickstart", "data.path="+texts, "data.held_out=0", "--sample", "1"), parts: []string{"17 tokens", "rows of 256", "--- row 0"}},
		{name: "no data", args: with(), code: 1, err: "want a recipe or --path"},
		{name: "both", args: with("quickstart", "--path", texts), code: 1, err: `found the recipe "quickstart" and --path`},
		{name: "no such recipe", args: with("quickstrat"), code: 1, err: "quickstrat"},
		{name: "below 0", args: with("--path", texts, "--sample", "-1"), code: 1, err: "--sample is -1"},
		{name: "no such path", args: with("--path", filepath.Join(dir, "nowhere")), code: 1, err: "nowhere"},
		{name: "no text", args: with("--path", filepath.Join(dir, "empty.txt")), code: 1, err: "is empty: 1 documents in 1 files, none with text"},
		{name: "no such tokenizer", args: with("--path", texts, "--tokenizer", filepath.Join(dir, "nowhere")), code: 1, err: "data.tokenizer"},
	}
}

func TestDecodeMarked(t *testing.T) {
	b, err := tokenizer.NewBytes()
	if err != nil {
		t.Fatal(err)
	}
	ids := b.Encode("askanswer!")
	const no = datasets.Ignored
	learn := func(from, to int) []int32 {
		labels := make([]int32, len(ids))
		for i := range labels {
			labels[i] = no
			if i+1 >= from && i+1 < to {
				labels[i] = ids[i+1]
			}
		}
		return labels
	}
	for _, tc := range []struct {
		labels   []int32
		terminal bool
		want     string
	}{
		{learn(3, 9), false, "[[ask]]answer[[!]]"},
		{learn(3, 10), true, "\x1b[2mask\x1b[0manswer!"},
		{learn(1, 10), false, "askanswer!"},
		{learn(0, 0), false, "[[askanswer!]]"},
	} {
		if got := decodeMarked(b, ids, tc.labels, tc.terminal); got != tc.want {
			t.Errorf("%q, want %q", got, tc.want)
		}
	}
	if got := decodeMarked(b, ids[:1], []int32{no}, false); got != "a" {
		t.Errorf("one token: %q, want it unmarked", got)
	}
}
