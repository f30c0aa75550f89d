package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/pflag"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/layers"
)

// model is a checkpoint ready to run.
type model struct {
	*layers.Decoder
	weights    layers.Weights
	machine    *autograd.Machine
	checkpoint *checkpoints.Checkpoint
}

// machineFlags say where a model runs.
type machineFlags struct {
	device    string
	precision string
	threads   int
}

// on a GPU, activations and matrices are of this type.
var precisions = map[string]device.Type{"float32": device.Float32, "bf16": device.BF16}

func (f *machineFlags) add(flags *pflag.FlagSet, precision string) {
	flags.StringVar(&f.device, "device", autograd.Auto, "run on `DEVICE`: cpu, cuda, or auto for a GPU where there is one")
	flags.StringVar(&f.precision, "precision", precision, "activations and matrices on a GPU: bf16 or float32")
	flags.IntVar(&f.threads, "threads", 0, threadsUsage)
}

func (f *machineFlags) validate() error {
	if _, ok := precisions[f.precision]; !ok {
		return fmt.Errorf("--precision is %q, want bf16 or float32", f.precision)
	}
	if !slices.Contains([]string{autograd.CPU, autograd.CUDA, autograd.Auto}, f.device) {
		return fmt.Errorf("--device is %q, want cpu, cuda or auto", f.device)
	}
	return checkThreads(f.threads)
}

func (f *machineFlags) open() (*autograd.Machine, error) {
	return autograd.OpenMachine(f.device, precisions[f.precision], f.threads)
}

// openModel loads the checkpoint in dir to run there.
func openModel(dir string, form layers.Storage, on machineFlags) (m *model, err error) {
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
	machine, err := on.open()
	if err != nil {
		return nil, err
	}
	return &model{Decoder: d, weights: w, machine: machine, checkpoint: c}, nil
}

// Close ends the threads and gives the weights back.
func (m *model) Close() error {
	return errors.Join(m.machine.Close(), m.checkpoint.Close())
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
