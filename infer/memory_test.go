package infer

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/infer/sampling"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/layers"
)

const memoryModel = "GOJET_TEST_MEMORY_MODEL"

// TestResidentMemory generates 64 tokens from a mapped 24-layer model in a process of its own: loading takes under a
// second, and memory stays below 1.3 times the weights.
func TestResidentMemory(t *testing.T) {
	if dir := os.Getenv(memoryModel); dir != "" {
		generateAndReport(t, dir)
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("reads the peak of resident memory from /proc")
	}
	if testing.Short() {
		t.Skip("writes a model of 0.8 GB")
	}
	c := qwenHalfBillion()
	c.HiddenSize, c.IntermediateSize, c.NumHeads, c.NumKVHeads, c.VocabSize = 1024, 4096, 16, 4, 32000
	dir := filepath.Join(t.TempDir(), "model")
	saveRandom(t, dir, c)
	info, err := os.Stat(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestResidentMemory$", "-test.v")
	cmd.Env = append(os.Environ(), memoryModel+"="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var load, peak float64
	for line := range strings.Lines(string(out)) {
		fmt.Sscanf(strings.TrimSpace(line), "loaded in %f s, peak %f", &load, &peak)
	}
	t.Logf("weights %d bytes, loaded in %.3f s, peak of resident memory %.0f bytes (%.2f times the weights)",
		info.Size(), load, peak, peak/float64(info.Size()))
	if peak == 0 || load >= 1 || peak >= 1.3*float64(info.Size()) {
		t.Errorf("loaded in %.2f s, want under 1; peak %.0f bytes, want under 1.3 × %d\n%s", load, peak, info.Size(), out)
	}
}

func generateAndReport(t *testing.T, dir string) {
	start := time.Now()
	ckpt, err := checkpoints.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer ckpt.Close()
	d, err := layers.NewDecoder(ckpt.Config)
	if err != nil {
		t.Fatal(err)
	}
	w, err := d.Load(ckpt, layers.AsStored)
	if err != nil {
		t.Fatal(err)
	}
	load := time.Since(start)
	cores := cpu.New(0)
	defer cores.Close()
	e, err := New(d, w, autograd.OnCPU(cores), Config{Capacity: 128, Chunk: 32})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Generate(context.Background(), e, Request{Prompt: []int32{1, 2, 3, 4, 5}, MaxTokens: 64, Sampling: sampling.Default()})
	if err != nil || len(got) != 64 {
		t.Fatalf("generated %d tokens, want 64: %v", len(got), err)
	}
	fmt.Printf("loaded in %f s, peak %d\n", load.Seconds(), peakResident(t))
}

// peakResident reads the high-water mark of this process's resident memory.
func peakResident(t *testing.T) int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("/proc/self/status has no VmHWM")
	return 0
}
