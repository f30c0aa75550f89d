package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// configOnly is a model's folder without weights.
func configOnly(t *testing.T, config string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func planCalls(t *testing.T) []call {
	dir := configOnly(t, hybrid)
	with := func(more ...string) []string { return append([]string{"plan", dir}, more...) }
	return []call{
		{name: "forward", args: with(), parts: []string{
			"step  op ", "embedding ", "gated delta rule ", "last tokens ", "gated mlp ", "model.layers.0.mlp.down_proj.weight(8, 12)", " in place", "GFLOP a run\n", "\nvalues in between: peak "}},
		{name: "sizes", args: with("--batch", "3", "--tokens", "5"), parts: []string{"(15, 8)", "sequences(3, 4)", "(3, 256)"}},
		{name: "backward", args: with("--backward"), parts: []string{"linear cross-entropy", "gated delta rule backward", "linear backward weight"}},
		{name: "recompute", args: with("--backward", "--recompute"), parts: []string{"linear cross-entropy"}},
		{name: "decode", args: with("--decode", "--capacity", "50"), parts: []string{"model.layers.2.self_attn.k_cache(1, 50, 4)", "model.layers.1.self_attn.k_cache(1, 16, 4)"}},
		{name: "decode whole", args: with("--decode", "--batch", "2"), parts: []string{"k_cache(2, 64, 4)", "(2, 256)"}},
		{name: "summary", args: with("--summary"), parts: []string{"op  ", "\ntotal ", "parameters "}},
		{name: "json", args: with("--json"), parts: []string{`"op": "last tokens"`, `"values_peak": `}},
		{name: "summary in json", args: with("--json", "--summary"), parts: []string{`"op": "last tokens"`, `"operations": `}},

		{name: "batch 0", args: with("--batch", "0"), code: 1, err: "--batch is 0, want 1 or more"},
		{name: "tokens 0", args: with("--tokens", "0"), code: 1, err: "--tokens is 0, want 1 or more"},
		{name: "too many", args: with("--batch", "99999999999"), code: 1, err: "is too much"},
		{name: "beyond positions", args: with("--tokens", "65"), code: 1, err: "--tokens is 65, above the model's 64 positions"},
		{name: "capacity beyond positions", args: with("--decode", "--capacity", "65"), code: 1, err: "--capacity is 65, above the model's 64 positions"},
		{name: "capacity 0", args: with("--decode", "--capacity", "0"), code: 1, err: "--capacity is 0, want 1 or more"},
		{name: "capacity without decode", args: with("--capacity", "5"), code: 1, err: "--capacity goes with --decode"},
		{name: "recompute without backward", args: with("--recompute"), code: 1, err: "--recompute goes with --backward"},
		{name: "backward and decode", args: with("--backward", "--decode"), code: 1, err: "[backward decode]"},
		{name: "tokens and decode", args: with("--tokens", "5", "--decode"), code: 1, err: "[tokens decode]"},
		{name: "missing", args: []string{"plan", "/no/such"}, code: 1, err: "/no/such"},
		{name: "unknown block", args: []string{"plan", configOnly(t, strings.Replace(hybrid, `"swa", "attn"]`, `"swa", "hyena"]`, 1))}, code: 1, err: `layer type "hyena" is unknown`},
	}
}

type planReport struct {
	FLOPs  int64            `json:"flops"`
	Memory map[string]int64 `json:"memory"`
	Steps  []struct {
		Op    string `json:"op"`
		Bytes int64  `json:"bytes"`
		FLOPs int64  `json:"flops"`
	} `json:"steps"`
	Operations []operation `json:"operations"`
}

func planned(t *testing.T, args ...string) (r planReport) {
	t.Helper()
	if err := json.Unmarshal([]byte(output(t, append([]string{"plan", "--json"}, args...)...)), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestPlanNumbers holds the report to what follows from the model's sizes, and the summary to the steps.
func TestPlanNumbers(t *testing.T) {
	dir := configOnly(t, hybrid)
	forward, kept, again := planned(t, dir), planned(t, dir, "--backward"), planned(t, dir, "--backward", "--recompute")
	var inspected report
	if err := json.Unmarshal([]byte(output(t, "inspect", "--json", saved(t, hybrid))), &inspected); err != nil {
		t.Fatal(err)
	}
	if got, want := forward.Memory["parameters"], int64(4*inspected.Parameters); got != want {
		t.Errorf("parameters take %d bytes, want %d", got, want)
	}
	if got, want := planned(t, dir, "--decode").Memory["state"], int64(inspected.DecodeState.AtContext); got != want {
		t.Errorf("state takes %d bytes, want %d", got, want)
	}
	if got, want := planned(t, dir, "--decode", "--batch", "3").Memory["state"], 3*int64(inspected.DecodeState.AtContext); got != want {
		t.Errorf("the state of three takes %d bytes, want %d", got, want)
	}
	// A linear layer of m weights costs 2m operations a token; the other operations only add to these.
	least := int64(2 * 64 * (inspected.Parameters - 256*8))
	if forward.FLOPs < least || forward.FLOPs > 2*least {
		t.Errorf("forward takes %d FLOPs, want %d and not twice that", forward.FLOPs, least)
	}
	if kept.FLOPs < 3*least || again.FLOPs <= kept.FLOPs {
		t.Errorf("backward takes %d FLOPs, recomputing %d, forward at least %d", kept.FLOPs, again.FLOPs, least)
	}
	summary := planned(t, dir, "--backward", "--summary")
	var sum operation
	for _, o := range summary.Operations {
		sum.Steps, sum.Bytes, sum.FLOPs = sum.Steps+o.Steps, sum.Bytes+o.Bytes, sum.FLOPs+o.FLOPs
	}
	var want operation
	for _, s := range kept.Steps {
		want.Steps, want.Bytes, want.FLOPs = want.Steps+1, want.Bytes+s.Bytes, want.FLOPs+s.FLOPs
	}
	if sum != want || sum.FLOPs != kept.FLOPs {
		t.Errorf("the summary adds up to %+v, want %+v", sum, want)
	}
}

// TestRecomputeSavesMemory: with enough layers, keeping only what enters them takes less.
func TestRecomputeSavesMemory(t *testing.T) {
	deep := strings.NewReplacer(`"num_hidden_layers": 3`, `"num_hidden_layers": 12`,
		`["jet", "swa", "attn"]`, `["jet", "swa", "attn", "jet", "swa", "attn", "jet", "swa", "attn", "jet", "swa", "attn"]`).Replace(hybrid)
	dir := configOnly(t, deep)
	kept, again := planned(t, dir, "--backward").Memory["values_peak"], planned(t, dir, "--backward", "--recompute").Memory["values_peak"]
	if again > kept*2/3 {
		t.Errorf("recomputing takes %d bytes, keeping %d: want two thirds at most", again, kept)
	}
}
