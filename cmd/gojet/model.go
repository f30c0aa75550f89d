package main

import (
	"errors"
	"fmt"

	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/layers"
)

// model is a checkpoint ready to run.
type model struct {
	*layers.Decoder
	weights    layers.Weights
	cores      *cpu.Cores
	checkpoint *checkpoints.Checkpoint
}

// openModel loads the checkpoint in dir to run on that many threads.
func openModel(dir string, form layers.Storage, threads int) (m *model, err error) {
	c, err := checkpoints.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	d, err := layers.NewDecoder(c.Config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	w, err := d.Load(c, form)
	if err != nil {
		return nil, err
	}
	return &model{Decoder: d, weights: w, cores: cpu.New(threads), checkpoint: c}, nil
}

// Close ends the threads and gives the weights back.
func (m *model) Close() error {
	m.cores.Close()
	return m.checkpoint.Close()
}

const (
	maxThreads   = 1024
	threadsUsage = "run on `N` threads (default one a processor)"
)

func checkThreads(n int) error {
	if n < 0 || n > maxThreads {
		return fmt.Errorf("--threads is %d, want 1 to %d, or 0 for one a processor", n, maxThreads)
	}
	return nil
}
