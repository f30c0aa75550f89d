package main

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gojet/gojet/datasets/tokenizer"
	"github.com/gojet/gojet/evals"
	"github.com/gojet/gojet/infer"
	"github.com/gojet/gojet/infer/sampling"
	"github.com/gojet/gojet/layers"
)

// evalFixture writes a small model that knows its end of text, two tasks, and their data.
func evalFixture(t *testing.T) (model, tasks, data string) {
	t.Helper()
	model = saved(t, hybrid, `"hidden_act"`, `"eos_token_id": 255, "hidden_act"`)
	root := t.TempDir()
	for name, text := range map[string]string{
		"tasks/pick.yaml":              "task: pick\ndataset_path: o/pick\noutput_type: multiple_choice\nvalidation_split: validation\ntraining_split: train\ndoc_to_text: \"{{q}}\"\ndoc_to_target: a\ndoc_to_choice: c\n",
		"tasks/say.yaml":               "task: say\ndataset_path: o/pick\noutput_type: generate_until\nvalidation_split: validation\ndoc_to_text: \"{{q}}\"\ndoc_to_target: a\nnum_fewshot: 0\ngeneration_kwargs: {until: [\"\\n\"], max_gen_toks: 4}\n",
		"tasks/code.yaml":              "task: code\nunsafe_code: true\ndataset_path: o/pick\noutput_type: generate_until\nvalidation_split: validation\ndoc_to_text: \"{{q}}\"\ndoc_to_target: a\nmetric_list: [{metric: pass_at_k}]\n",
		"data/o/pick/validation.jsonl": "{\"q\": \"ab\", \"c\": [\"x\", \"yz\"], \"a\": 1}\n{\"q\": \"cd\", \"c\": [\"x\", \"yz\"], \"a\": 0}\n",
		"data/o/pick/train.jsonl":      "{\"q\": \"ef\", \"c\": [\"x\", \"yz\"], \"a\": 1}\n{\"q\": \"gh\", \"c\": [\"x\", \"yz\"], \"a\": 0}\n",
	} {
		p := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return model, filepath.Join(root, "tasks"), filepath.Join(root, "data")
}

func evalCalls(t *testing.T) []call {
	model, tasks, data := evalFixture(t)
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	eval := func(args ...string) []string {
		return append([]string{"eval", "--model", model, "--tokenizer", "bytes", "--include-path", tasks, "--device", "cpu"}, args...)
	}
	out := filepath.Join(t.TempDir(), "out")
	calls := []call{
		{name: "list", args: []string{"eval", "--list"}, parts: []string{"groups", "mmlu_stem", "tags", "tasks", "arc_easy"}},
		{name: "whole", args: eval("--tasks", "pick,say", "--data", data, "--output", out, "--num-fewshot", "1", "--seed", "3", "--batch-size", "1", "--bootstrap-iters", "10", "--chunk", "16",
			"--max-length", "32", "--precision", "float32", "--threads", "1"), parts: []string{"pick", "acc_norm", "say", "exact_match"}, notes: []string{"pick (task 1 of 2): 4/4 requests"}},
		{name: "again", args: eval("--tasks", "pick", "--data", data, "--output", out, "--limit", "1", "--system-instruction", "s", "--fewshot-data", tasks), parts: []string{"pick"}, notes: []string{"2/2"}},
		{name: "settings", args: eval("--tasks", "say", "--data", data, "--gen-kwargs", "max_gen_toks=2, temperature=0.5,do_sample=true"), parts: []string{"say"}, notes: []string{"2/2"}},
		{name: "no model", args: []string{"eval", "--tasks", "pick"}, code: 1, err: "want one of --model"},
		{name: "two models", args: eval("--endpoint", server.URL, "--tasks", "pick"), code: 1, err: "want one of --model"},
		{name: "no tasks", args: eval(), code: 1, err: "--tasks is missing"},
		{name: "no such task", args: eval("--tasks", "picks"), code: 1, err: `no task, group or tag "picks": did you mean pick`},
		{name: "no data", args: eval("--tasks", "pick"), code: 1, err: "task pick needs the data set o/pick: say by --data"},
		{name: "missing data", args: eval("--tasks", "piqa", "--data", data), code: 1, err: "task piqa: records: the data set baber/piqa (split validation) is not in " + data},
		{name: "missing folder", args: eval("--tasks", "pick", "--data", "/no/such"), code: 1, err: "/no/such"},
		{name: "missing tasks", args: []string{"eval", "--list", "--include-path", "/no/such"}, code: 1, err: "/no/such"},
		{name: "code", args: eval("--tasks", "code", "--data", data), code: 1, err: "allow it by --allow-code-execution"},
		{name: "unconfined alone", args: eval("--tasks", "code", "--allow-unconfined-code"), code: 1, err: "goes with --allow-code-execution"},
		{name: "code for another task", args: eval("--tasks", "nothing", "--allow-code-execution"), code: 1, err: `"nothing"`},
		{name: "too long", args: eval("--tasks", "needle", "--lengths", "512", "--samples", "1"), code: 1, err: "lengths has 512, but the model reads 64 tokens"},
		{name: "no template", args: eval("--tasks", "pick", "--apply-chat-template", "--fewshot-as-multiturn=false"), code: 1, err: "--apply-chat-template: chat"},
		{name: "settings without value", args: eval("--tasks", "say", "--data", data, "--gen-kwargs", "greedy"), code: 1, err: `--gen-kwargs: "greedy", want key=value`},
		{name: "unknown setting", args: eval("--tasks", "say", "--data", data, "--gen-kwargs", "beams=2"), code: 1, err: `generation_kwargs: it has no option "beams"`},
		{name: "more than the model has", args: eval("--tasks", "pick", "--data", data, "--max-length", "65"), code: 1, err: "--max-length is 65, but the model has 64 positions"},
		{name: "chat without server", args: eval("--tasks", "pick", "--endpoint-chat"), code: 1, err: "go with --endpoint"},
		{name: "server without models", args: []string{"eval", "--endpoint", server.URL, "--tasks", "piqa", "--endpoint-key", "NO_SUCH_KEY", "--endpoint-concurrency", "2"}, code: 1, err: server.URL + "/models"},
		{name: "server", args: []string{"eval", "--endpoint", server.URL, "--endpoint-model", "m", "--include-path", tasks, "--tasks", "pick", "--data", data}, code: 1, notes: []string{server.URL + "/completions: 404"}},
	}
	for _, bad := range [][3]string{
		{"num-fewshot", "-2", "--num-fewshot is -2"}, {"limit", "-1", "--limit is -1"}, {"batch-size", "0", "--batch-size is 0"}, {"chunk", "0", "--chunk is 0"},
		{"max-length", "-1", "--max-length is -1"}, {"bootstrap-iters", "-1", "--bootstrap-iters is -1"}, {"samples", "0", "--samples is 0"}, {"seed", "-1", "--seed is -1"},
		{"device", "tpu", `--device is "tpu"`},
	} {
		calls = append(calls, call{name: bad[0], args: eval("--tasks", "pick", "--"+bad[0]+"="+bad[1]), code: 1, err: bad[2]})
	}
	return calls
}

// What a run writes, and that the second run finds the answers of the first.
func TestEvalFiles(t *testing.T) {
	model, tasks, data := evalFixture(t)
	out := t.TempDir()
	args := []string{"eval", "--model", model, "--tokenizer", "bytes", "--include-path", tasks, "--data", data, "--tasks", "pick,say", "--output", out, "--num-fewshot", "1", "--device", "cpu"}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	_, code, table, errs := execute(t.Context(), "", args...)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	requests := read("requests.jsonl")
	if n := strings.Count(requests, "\n"); n != 6 {
		t.Errorf("%d answers kept, want 4 of pick and 2 of say", n)
	}
	var sample struct {
		Args   [][]any `json:"arguments"`
		Target any     `json:"target"`
		Acc    float64 `json:"acc"`
	}
	samples := read("samples_pick.jsonl")
	if err := json.Unmarshal([]byte(samples[:strings.IndexByte(samples, '\n')]), &sample); err != nil || sample.Target != 1.0 || len(sample.Args) != 2 || !strings.HasSuffix(sample.Args[0][0].(string), "\n\nab") {
		t.Errorf("sample %+v, %v", sample, err)
	}
	var results struct {
		Results map[string]map[string]any
		Shots   map[string]int `json:"n-shot"`
	}
	if err := json.Unmarshal([]byte(read("results.json")), &results); err != nil || results.Results["pick"]["acc,none"] == nil || results.Shots["pick"] != 1 || results.Shots["say"] != 0 {
		t.Errorf("results %+v, %v", results, err)
	}
	_, code, again, errs := execute(t.Context(), "", args...)
	if code != 0 || again != table || read("requests.jsonl") != requests || read("samples_pick.jsonl") != samples {
		t.Errorf("the second run: exit code %d, %s, table\n%s\nwant\n%s", code, errs, again, table)
	}
}

// The adapter gives what the engine gives token by token.
func TestEvalModel(t *testing.T) {
	dir := saved(t, hybrid, `"hidden_act"`, `"eos_token_id": 255, "hidden_act"`)
	local, err := openModel(dir, layers.AsStored, machineFlags{device: "cpu", precision: "float32"})
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := tokenizer.NewBytes()
	if err != nil {
		t.Fatal(err)
	}
	m, err := newEvalModel(local, bytes, dir, 0, 2, 8)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if m.Prefix() != 255 || m.MaxLength() != 64 {
		t.Errorf("prefix %d, length %d", m.Prefix(), m.MaxLength())
	}
	plain, err := infer.New(local.Decoder, local.weights, local.machine, infer.Config{Capacity: 64, Chunk: 64, AllLogits: true})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	var rs []evals.Scored
	var ps []evals.Prompted
	for _, text := range []string{"a", "hello", "hello world, this is one that is long"} {
		rs = append(rs, evals.Scored{ContextTokens: m.Encode(text), ContinuationTokens: m.Encode(" yes")}, evals.Scored{ContextTokens: m.Encode(text), ContinuationTokens: m.Encode("n")})
		ps = append(ps, evals.Prompted{Tokens: m.Encode(text), MaxTokens: 6})
	}
	got, err := m.LogLikelihoods(context.Background(), rs)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rs {
		plain.Reset()
		logits, err := plain.Feed(append(append([]int32{}, r.ContextTokens...), r.ContinuationTokens...))
		if err != nil {
			t.Fatal(err)
		}
		want := 0.0
		for k, id := range r.ContinuationTokens {
			at := (len(r.ContextTokens) + k - 1) * plain.Vocab()
			p, err := sampling.LogProb(logits[at:at+plain.Vocab()], id)
			if err != nil {
				t.Fatal(err)
			}
			want += p
		}
		if math.Abs(got[i].LogProb-want) > 1e-5 {
			t.Errorf("request %d: %v, want %v", i, got[i].LogProb, want)
		}
	}
	texts, err := m.Generate(context.Background(), ps)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range ps {
		plain.Reset()
		ids, err := infer.Generate(context.Background(), plain, infer.Request{Prompt: p.Tokens, MaxTokens: p.MaxTokens, End: []int32{255}, Sampling: sampling.Default()})
		if want := bytes.Decode(ids); err != nil || texts[i] != want {
			t.Errorf("prompt %d: %q, %v, want %q", i, texts[i], err, want)
		}
	}
	// A stop string ends an answer, and a request that cannot be answered ends the others.
	if runes := []rune(texts[0]); len(runes) > 0 {
		stop := string(runes[len(runes)-1])
		cut, err := m.Generate(context.Background(), []evals.Prompted{{Tokens: ps[0].Tokens, MaxTokens: 6, Until: []string{"", stop}}})
		if err != nil || cut[0] != texts[0][:strings.Index(texts[0], stop)] {
			t.Errorf("until %q: %q, %v, want the beginning of %q", stop, cut, err, texts[0])
		}
	}
	ps[1].Until = []string{"\xff"}
	if _, err := m.Generate(context.Background(), ps); err == nil || strings.Contains(err.Error(), "canceled") {
		t.Errorf("error %v, want that of the stop string", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := m.Generate(ctx, ps[:1]); err == nil {
		t.Error("a cancelled context is no error")
	}
}
