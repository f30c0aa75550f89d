package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gojet/gojet/datasets/tokenizer"
	"github.com/gojet/gojet/internal/fixtures"
)

// output is what a call that must succeed writes.
func output(t *testing.T, args ...string) string {
	t.Helper()
	_, code, out, errs := execute(t.Context(), "", args...)
	if code != 0 {
		t.Fatalf("%v: %s", args, errs)
	}
	return out
}

// asText is what the byte tokenizer makes of an output of ids.
func asText(t *testing.T, ids string) string {
	t.Helper()
	list, err := parseIDs(ids)
	if err != nil {
		t.Fatal(err)
	}
	b, err := tokenizer.NewBytes()
	if err != nil {
		t.Fatal(err)
	}
	return b.Decode(list) + "\n"
}

func generateCalls(t *testing.T) []call {
	dir := saved(t, hybrid)
	with := func(args ...string) []string { return append([]string{"generate", dir}, args...) }
	ids := func(args ...string) []string {
		return with(append([]string{"--ids", "72 105", "--max-tokens", "12"}, args...)...)
	}
	text := func(args ...string) []string {
		return with(append([]string{"--tokenizer", "bytes", "--max-tokens", "12"}, args...)...)
	}
	greedy := output(t, ids()...)
	first := strings.Fields(greedy)
	drawn := output(t, ids("--temperature", "2", "--seed", "3")...)
	rest := output(t, "generate", dir, "--ids", strings.Join(slices.Repeat([]string{"7"}, 60), ","))

	calls := []call{
		{name: "ids", args: ids("--threads", "1", "--device", "cpu", "--precision", "bf16"), out: greedy},
		{name: "chunk", args: ids("--chunk", "1"), out: greedy},
		{name: "argument", args: text("Hi"), out: asText(t, greedy)},
		{name: "prompt", args: text("--prompt", "Hi"), out: asText(t, greedy)},
		{name: "standard input", args: text("-"), stdin: "Hi", out: asText(t, greedy)},
		{name: "fewer", args: ids("--max-tokens", "3"), out: strings.Join(first[:3], " ") + "\n"},
		{name: "seed", args: ids("--temperature", "2", "--seed", "3"), out: drawn},
		{name: "top-k", args: ids("--temperature", "2", "--top-k", "1"), out: greedy},
		{name: "top-p", args: ids("--temperature", "2", "--top-p", "1e-9"), out: greedy},
		{name: "min-p", args: ids("--temperature", "2", "--min-p", "1"), out: greedy},
		{name: "stats", args: ids("--stats"), out: greedy, notes: []string{"prompt  2 tokens, ", "decode  11 tokens, ", "tokens/s\n", "state   ", "weights "}},

		{name: "no model", args: []string{"generate"}, code: 1, err: "accepts between 1 and 2 arg(s), received 0"},
		{name: "missing model", args: []string{"generate", "/no/such", "Hi"}, code: 1, err: "/no/such"},
		{name: "no prompt", args: with("--tokenizer", "bytes"), code: 1, err: "there is no prompt"},
		{name: "two prompts", args: with("Hi", "--prompt", "Hi"), code: 1, err: "the prompt comes twice"},
		{name: "empty prompt", args: text(""), code: 1, err: "the prompt is empty, want at least one token"},
		{name: "no ids", args: with("--ids", " , "), code: 1, err: "the prompt is empty, want at least one token"},
		{name: "words for ids", args: with("--ids", "Hi"), code: 1, err: `token id "Hi" is no whole number`},
		{name: "id too great", args: with("--ids", "1 256"), code: 1, err: "token 1 has id 256, want 0 to 255"},
		{name: "id below 0", args: with("--ids", "-1"), code: 1, err: "unknown shorthand flag"},
		{name: "id below 0 behind others", args: with("--ids", "1 -1"), code: 1, err: "token 1 has id -1, want 0 to 255"},
		{name: "no tokenizer", args: with("Hi"), code: 1, err: "holds no tokenizer.json: name one by --tokenizer, or use --ids"},
		{name: "missing tokenizer", args: with("Hi", "--tokenizer", "/no/such"), code: 1, err: "/no/such"},
		{name: "ids and tokenizer", args: ids("--tokenizer", "bytes"), code: 1, err: "[ids tokenizer]"},
		{name: "ids and stop", args: ids("--stop", "x"), code: 1, err: "[ids stop]"},
		{name: "empty stop", args: text("Hi", "--stop", ""), code: 1, err: "--stop: stop string 0 is empty"},
		{name: "too many positions", args: with("--ids", "1 2", "--max-tokens", "63"), code: 1,
			err: "a prompt of 2 tokens and an answer of up to 63 exceed the model's 64 positions (max_position_embeddings)"},
		{name: "very many", args: with("--ids", "1 2", "--max-tokens", "9223372036854775807"), code: 1, err: "exceed the model's 64 positions"},
		{name: "prompt too long", args: text(strings.Repeat("x", 64), "--max-tokens", "1"), code: 1, err: "a prompt of 64 tokens"},
		{name: "default fits positions", args: []string{"generate", dir, "--ids", strings.Join(slices.Repeat([]string{"7"}, 60), " ")}, out: rest},
	}
	if n := len(strings.Fields(rest)); n != 4 {
		t.Errorf("60 of 64 positions are taken, the answer has %d tokens", n)
	}
	for _, bad := range []struct{ flag, value, err string }{
		{"max-tokens", "0", "--max-tokens is 0, want 1 or more"}, {"max-tokens", "-1", "--max-tokens is -1"},
		{"max-tokens", "9223372036854775808", "value out of range"}, {"chunk", "0", "--chunk is 0, want 1 or more"},
		{"threads", "-1", "--threads is -1"}, {"device", "tpu", "--device is \"tpu\", want cpu, cuda or auto"}, {"precision", "fp8", "--precision is \"fp8\", want bf16 or float32"}, {"threads", "1000000", "--threads is 1000000"},
		{"temperature", "-1", "--temperature is -1, want a finite number of 0 or more"}, {"temperature", "NaN", "--temperature is NaN"},
		{"temperature", "Inf", "--temperature is +Inf"}, {"temperature", "hot", "invalid argument"},
		{"top-k", "-1", "--top-k is -1"}, {"top-p", "0", "--top-p is 0"}, {"top-p", "1.5", "--top-p is 1.5, want above 0 and at most 1"},
		{"min-p", "1.5", "--min-p is 1.5, want 0 to 1"},
		{"repetition-penalty", "0", "--repetition-penalty is 0"}, {"seed", "-1", "invalid argument"},
	} {
		calls = append(calls, call{name: bad.flag + " " + bad.value, args: ids("--" + bad.flag + "=" + bad.value), code: 1, err: bad.err})
	}
	return append(append(calls, endCalls(t, first)...), tokenizerCalls(t)...)
}

// endCalls are answers cut short, given the whole one for the prompt "Hi".
func endCalls(t *testing.T, answer []string) []call {
	end := answer[4]
	before := answer[:slices.Index(answer, end)]
	dir := saved(t, hybrid, `"hidden_act"`, `"eos_token_id": [255, `+end+`], "hidden_act"`)
	if slices.Contains(before, "255") {
		t.Fatalf("the answer %v is of no use here", answer)
	}
	args := func(more ...string) []string { return append([]string{"generate", dir, "--max-tokens", "12"}, more...) }
	whole := asText(t, strings.Join(answer, " "))
	runes := []rune(strings.TrimSuffix(whole, "\n"))
	stop := string(runes[5:7])
	cut, _, _ := strings.Cut(whole, stop)
	penalised := strings.Fields(output(t, args("--ids", "72 105", "--ignore-eos", "--repetition-penalty", "1e30")...))
	slices.Sort(penalised)
	if n := len(slices.Compact(penalised)); n != 12 {
		t.Errorf("with a great penalty the answer has %d different tokens of 12", n)
	}
	return []call{
		{name: "end of text", args: args("--ids", "72 105"), out: strings.Join(before, " ") + "\n"},
		{name: "ignore end of text", args: args("--ids", "--ignore-eos", "72 105"), out: strings.Join(answer, " ") + "\n"},
		{name: "stop", args: args("Hi", "--tokenizer", "bytes", "--ignore-eos", "--stop", "no such text", "--stop", stop), out: cut + "\n"},
		{name: "no stop", args: args("Hi", "--tokenizer", "bytes", "--ignore-eos", "--stop", string(runes[len(runes)-1:])+"more"), out: whole},
		{name: "repetition penalty", args: args("--ids", "72 105", "--max-tokens", "1", "--ignore-eos", "--repetition-penalty", "1.0"), out: answer[0] + "\n"},
	}
}

// tokenizerCalls use the tokenizer in a model's folder.
func tokenizerCalls(t *testing.T) []call {
	file, err := os.ReadFile(filepath.Join("..", "..", "datasets", "tokenizer", "testdata", "tiny.json"))
	if err != nil {
		t.Fatal(err)
	}
	model := func(vocab string) string {
		dir := saved(t, hybrid, `"vocab_size": 256`, `"vocab_size": `+vocab)
		if err := os.WriteFile(filepath.Join(dir, "tokenizer.json"), file, 0o644); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	dir := model("352")
	b, err := tokenizer.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	prompt := strings.Trim(fmt.Sprint(b.Encode("the theory")), "[]")
	answer, err := parseIDs(output(t, "generate", dir, "--max-tokens", "20", "--ids", prompt))
	if err != nil {
		t.Fatal(err)
	}
	return []call{
		{name: "model's tokenizer", args: []string{"generate", dir, "--max-tokens", "20", "the theory"}, out: b.Decode(answer) + "\n"},
		{name: "tokenizer too great", args: []string{"generate", model("351"), "the theory"}, code: 1, err: "the embedding has 351 rows (the tokenizer needs 352)"},
		{name: "bytes too great", args: []string{"generate", model("200"), "--tokenizer", "bytes", "x"}, code: 1, err: `the tokenizer "bytes" has 256 tokens, but the model's embedding 200 rows`},
	}
}

// TestGenerateDraws: seeds differ, and so does greedy decoding.
func TestGenerateDraws(t *testing.T) {
	dir := saved(t, hybrid)
	seen := map[string]bool{}
	for _, more := range [][]string{{}, {"--temperature", "2"}, {"--temperature", "2", "--seed", "1"}, {"--temperature", "2", "--seed", "18446744073709551615"}} {
		args := append([]string{"generate", dir, "--ids", "1 2 3", "--max-tokens", "20"}, more...)
		seen[output(t, args...)] = true
	}
	if len(seen) != 4 {
		t.Errorf("four ways to draw gave %d answers", len(seen))
	}
}

// interrupter ends the context at the third write.
type interrupter struct {
	bytes.Buffer
	cancel func()
	writes int
}

func (i *interrupter) Write(p []byte) (int, error) {
	if i.writes++; i.writes == 3 {
		i.cancel()
	}
	return i.Buffer.Write(p)
}

// TestGenerateInterrupted keeps what was written, and ends the line.
func TestGenerateInterrupted(t *testing.T) {
	dir := saved(t, hybrid)
	args := []string{"generate", dir, "--ids", "1 2 3", "--max-tokens", "20"}
	whole := strings.Fields(output(t, args...))
	ctx, cancel := context.WithCancel(t.Context())
	out, errs := &interrupter{cancel: cancel}, &bytes.Buffer{}
	code := run(ctx, newRoot(out, errs), args)
	if want := strings.Join(whole[:3], " ") + "\n"; code != 1 || out.String() != want || errs.String() != "gojet: interrupted\n" {
		t.Errorf("exit code %d, output %q, want %q, error stream %q", code, out.String(), want, errs.String())
	}
}

// TestGenerateFixtures gives every tiny model a prompt as text and refuses it a tokenizer that is too great.
func TestGenerateFixtures(t *testing.T) {
	big := filepath.Join(fixtures.Dir(t), "..", "tokenizers", "qwen2.5")
	for _, name := range []string{"tiny-qwen2", "tiny-qwen3", "tiny-jet-nemotron"} {
		dir := filepath.Join(fixtures.Dir(t), name)
		greedy := output(t, "generate", dir, "--ids", "72 105", "--max-tokens", "9", "--ignore-eos")
		(call{args: []string{"generate", dir, "--tokenizer", "bytes", "Hi", "--max-tokens", "9", "--ignore-eos"}, out: asText(t, greedy)}).check(t)
		if _, err := os.Stat(big); err == nil {
			(call{args: []string{"generate", dir, "--tokenizer", big, "Hi"}, code: 1, err: "(the tokenizer needs 151665)"}).check(t)
		}
	}
}
