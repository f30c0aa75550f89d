package run

import (
	"fmt"
	"testing"

	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/checkpoints/safetensors"
)

// BenchmarkCheckpoint saves and verifies 96 MB: a model of 8 million parameters and its optimiser.
func BenchmarkCheckpoint(b *testing.B) {
	config, err := checkpoints.ParseConfig([]byte(configText))
	if err != nil {
		b.Fatal(err)
	}
	x := make([]float32, 1<<20)
	s := Snapshot{State: State{RNG: map[string][]byte{"init": {1}}}, Config: config}
	for i := range 8 {
		name, shape, v := fmt.Sprintf("w.%d", i), []int{1024, 1024}, safetensors.Values(x)
		s.Params = append(s.Params, checkpoints.Param{Name: name, Shape: shape, Values: v})
		s.Optimizer = append(s.Optimizer, Moments{name, shape, v, v})
	}
	runDir := b.TempDir()
	b.Run("save", func(b *testing.B) {
		b.SetBytes(96 << 20)
		for b.Loop() {
			s.State.Step++
			if _, err := Save(runDir, s, Keep{Last: 1}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("verify", func(b *testing.B) {
		b.SetBytes(96 << 20)
		for b.Loop() {
			s, _, err := Newest(runDir)
			if err != nil {
				b.Fatal(err)
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
