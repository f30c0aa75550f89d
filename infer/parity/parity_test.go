package parity_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/infer/parity"
	"github.com/gojet/gojet/internal/fixtures"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/layers"
)

// TestTinyModels compares every fixture model that comes with expectations: as a training graph, and from state with
// chunks of 1, 7 and 64.
func TestTinyModels(t *testing.T) {
	for _, path := range fixtures.Glob(t, "tiny-*.expected.safetensors") {
		name := strings.TrimSuffix(filepath.Base(path), ".expected.safetensors")
		t.Run(name, func(t *testing.T) {
			c, err := checkpoints.Open(filepath.Join(filepath.Dir(path), name))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			d, err := layers.NewDecoder(c.Config)
			if err != nil {
				t.Fatal(err)
			}
			w, err := d.Load(c, layers.AsStored)
			if err != nil {
				t.Fatal(err)
			}
			x, err := parity.OpenExpected(path)
			if err != nil {
				t.Fatal(err)
			}
			defer x.Close()
			cores := cpu.New(2)
			defer cores.Close()
			for _, cfg := range []parity.Config{
				{Tol: check.Fixture32, LossTol: check.Loss32},
				{Tol: check.Chunked32, Chunk: 1}, {Tol: check.Chunked32, Chunk: 7}, {Tol: check.Chunked32, Chunk: 64},
			} {
				results, err := parity.Run(context.Background(), d, w, x, autograd.OnCPU(cores), cfg)
				if err != nil {
					t.Fatal(err)
				}
				seen := map[string]bool{}
				for _, r := range results {
					t.Logf("chunk %d: %s: error %.3g (%d values) %s", cfg.Chunk, r.What, r.Error, r.Count, r.Worst)
					if !r.OK() {
						t.Errorf("chunk %d: %s: error %.3g, tolerance %.3g, worst %s", cfg.Chunk, r.What, r.Error, r.Tol, r.Worst)
					}
					seen[strings.SplitN(r.What, ",", 2)[0]] = true
				}
				for _, what := range []string{"logits", "loss", "gradients", "greedy"} {
					if !seen[what] && (cfg.Chunk == 0 || what == "logits" || what == "greedy") {
						t.Errorf("chunk %d: %s was not compared", cfg.Chunk, what)
					}
				}
			}
		})
	}
}
