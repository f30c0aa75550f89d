package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/layers"
)

// throughputCalls measure a small model, and ask for what cannot be.
func throughputCalls(t *testing.T) []call {
	dir := saved(t, hybrid)
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, []byte(hybrid), 0o644); err != nil {
		t.Fatal(err)
	}
	on := func(args ...string) []string {
		return append([]string{"bench", "throughput", "--device", "cpu", "--threads", "1", "--precision", "bf16"}, args...)
	}
	small := func(args ...string) []string {
		return on(append([]string{"--prompt-len", "9", "--max-new-tokens", "3", "--rounds", "3", "--warmup", "2"}, args...)...)
	}
	plot := filepath.Join(t.TempDir(), "speeds.svg")
	return []call{
		{name: "throughput", args: small("--model", dir, "--batch-size", "5", "--prefill-rows", "2", "--prefill-batch", "2", "--prefill-chunk-size", "4", "--plot", plot),
			parts: []string{"decode tokens/s", "2 of 5 sequences took a prompt; the others began their answers from copies of the state of the 2 that did", "3 tokens an answer, 1 rounds after 2"}},
		{name: "throughput of zeros", args: small("--model", file, "--prefill-rows", "0", "--json"), parts: []string{`"prefill_rows": 0`, `"random_weights": true`}},
		{name: "throughput compared", args: on("--model", file, "--compare", dir, "--sweep", "--prompt-len", "5,12", "--batch-size", "2", "--max-new-tokens", "2", "--rounds", "1", "--warmup", "0"),
			parts: []string{"config.json against ", "paper"}},
		{name: "throughput that does not fit", args: small("--model", file, "--fit"), code: 1, err: "--fit wants a GPU"},
		{name: "throughput argument", args: []string{"bench", "throughput", "x"}, code: 1, err: `unknown command "x"`},
		{name: "throughput of nothing", args: on("--model", "nothing"), code: 1, err: `model "nothing" is no folder, no config.json, and none of jet-nemotron-2b, jet-nemotron-4b, qwen2.5-0.5b, qwen2.5-1.5b, qwen3-1.7b`},
		{name: "throughput batch", args: on("--batch-size", "0"), code: 1, err: "--batch-size is 0, want 1 or more"},
		{name: "throughput answer", args: on("--max-new-tokens", "1"), code: 1, err: "--max-new-tokens is 1, want 2 or more"},
		{name: "throughput chunk", args: on("--prefill-chunk-size", "0"), code: 1, err: "--prefill-chunk-size is 0, want 1 or more"},
		{name: "throughput rounds", args: on("--rounds", "3"), code: 1, err: "--rounds is 3, want 4 or more"},
		{name: "throughput warmup", args: on("--warmup", "-1"), code: 1, err: "--warmup is -1, want 0 or more"},
		{name: "throughput prompt", args: on("--prompt-len", "8,0"), code: 1, err: "--prompt-len is 0, want 1 to 16777216"},
		{name: "throughput together", args: on("--prefill-batch", "0"), code: 1, err: "--prefill-batch is 0, want 1 or more"},
		{name: "throughput fed", args: on("--prefill-rows", "-2"), code: 1, err: "--prefill-rows is -2, want 0 or more"},
		{name: "throughput plot", args: on("--plot", "x.pdf"), code: 1, err: `--plot is "x.pdf", want a name that ends in .svg or .png`},
		{name: "throughput device", args: []string{"bench", "throughput", "--device", "tpu"}, code: 1, err: `--device is "tpu", want cpu, cuda or auto`},
	}
}

// TestThroughputCounts holds what a measurement says of a small model to what can be counted by hand.
func TestThroughputCounts(t *testing.T) {
	dir := saved(t, hybrid)
	_, code, out, errs := execute(t.Context(), "", "bench", "throughput", "--device", "cpu", "--threads", "1", "--model", dir, "--batch-size", "3", "--prompt-len", "7",
		"--max-new-tokens", "4", "--rounds", "4", "--warmup", "1", "--prefill-batch", "2", "--prefill-chunk-size", "3", "--json")
	if code != 0 {
		t.Fatal(errs)
	}
	var r throughputReport
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	m := r.Rows[0]
	c, err := checkpoints.ParseConfig([]byte(hybrid))
	if err != nil {
		t.Fatal(err)
	}
	d, err := layers.NewDecoder(c)
	if err != nil {
		t.Fatal(err)
	}
	var cache, weights int64
	for _, s := range d.States(11) {
		cache += int64(4 * s.Size())
	}
	for _, p := range d.Params() {
		weights += int64(4 * p.Size())
	}
	if m.CacheBytes != cache || m.CacheBytesComputed != cache || m.WeightBytes != weights || m.Random || m.Batch != 3 || m.PrefillRows != 3 || m.PrefillBatch != 2 {
		t.Errorf("got %+v, want a cache of %d bytes and weights of %d", m, cache, weights)
	}
	for name, s := range map[string]*spread{"prefill": m.Prefill, "first token": m.FirstToken, "decode": m.Decode} {
		if s == nil || s.Mean <= 0 || s.Min > s.Mean || s.Max < s.Mean || s.Min == s.Max {
			t.Errorf("%s: %+v", name, s)
		}
	}
	if _, err := os.Stat("/proc/self/status"); err == nil && m.PeakBytes < weights {
		t.Errorf("the peak is %d bytes, less than the weights", m.PeakBytes)
	}
}

// TestFitBatch looks for the largest batch in memories whose sequences take some more than their caches.
func TestFitBatch(t *testing.T) {
	const fixed, cache = 100, 100
	for _, c := range []struct{ most, holds, extra, want int }{
		{100, 1000, 0, 9}, {5, 1000, 0, 5}, {100, 1000, 5, 8}, {5000, 100_000, 7, 933}, {100, 299, 0, 1}, {1, 1000, 0, 1},
	} {
		tries := 0
		got, err := fitBatch(c.most, int64(c.holds), cache, func(batch int) (int64, error) {
			tries++
			n := fixed + batch*(cache+c.extra)
			if n > c.holds {
				return 0, errors.New("out of memory")
			}
			return int64(n), nil
		})
		if err != nil || got != c.want || tries > 20 {
			t.Errorf("%+v: got %d, %v after %d tries", c, got, err, tries)
		}
	}
	if _, err := fitBatch(4, 10, cache, func(int) (int64, error) { return 0, errors.New("out of memory") }); err == nil || !strings.Contains(err.Error(), "not even one sequence fits: out of memory") {
		t.Errorf("got %v", err)
	}
}

func TestNamedShapes(t *testing.T) {
	billions := map[string]string{"jet-nemotron-2b": "1.96", "jet-nemotron-4b": "3.96", "qwen2.5-0.5b": "0.49", "qwen2.5-1.5b": "1.54", "qwen3-1.7b": "1.72"}
	for name, shape := range namedShapes() {
		c, err := shape()
		if err != nil {
			t.Fatal(err)
		}
		d, err := layers.NewDecoder(c)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		n := 0
		for _, p := range d.Params() {
			n += p.Size()
		}
		if got := fmt.Sprintf("%.2f", float64(n)/1e9); got != billions[name] {
			t.Errorf("%s has %s billion parameters, want %s", name, got, billions[name])
		}
	}
}

// TestPaperCache: the caches of the paper's models at a context of 65,536 take the megabytes that it names, recurrent states in float32
// and the rest in bfloat16.
func TestPaperCache(t *testing.T) {
	for name, want := range map[string]float64{"jet-nemotron-2b": 154, "jet-nemotron-4b": 258, "qwen3-1.7b": 7168, "qwen2.5-1.5b": 1792} {
		c, err := namedShapes()[name]()
		if err != nil {
			t.Fatal(err)
		}
		d, err := layers.NewDecoder(c)
		if err != nil {
			t.Fatal(err)
		}
		bytes := 0
		for _, s := range d.States(65536) {
			bytes += 2 * s.Size()
			if len(s.Shape) == 3 {
				bytes += 2 * s.Size()
			}
		}
		if got := float64(bytes) / (1 << 20); got < 0.97*want || got > 1.03*want {
			t.Errorf("%s: %.1f MiB a sequence, the paper says %.0f", name, got, want)
		}
	}
}

func TestSpeedups(t *testing.T) {
	speed := func(v float64) *spread { return &spread{Mean: v} }
	a := []throughputRow{{PromptLen: 65536, Decode: speed(90), Prefill: speed(6)}, {PromptLen: 7, Decode: speed(1)}}
	b := []throughputRow{{PromptLen: 65536, Decode: speed(2), Prefill: speed(3)}, {PromptLen: 7, Error: "x"}}
	got := speedups(a, b)
	if want := []speedup{{65536, 45, 2, 47.5, 2.54}, {PromptLen: 7}}; !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if n := paperLengths(); len(n) != 7 || n[0] != 4096 || n[6] != 262144 {
		t.Errorf("the paper's lengths are %v", n)
	}
	if s := spreadOf([]float64{1, 2, 3}); *s != (spread{2, 1, 1, 3}) {
		t.Errorf("got %+v", s)
	}
	if n := residentPeak([]byte("Name:\tx\nVmHWM:\t   123 kB\n")); n != 123<<10 {
		t.Errorf("read a peak of %d", n)
	}
}
