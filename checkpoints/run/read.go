package run

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/checkpoints/internal/commit"
	"github.com/gojet/gojet/checkpoints/safetensors"
)

// Saved is a whole checkpoint, verified against its manifest. Until Close it is not removed, whatever the
// run's writer is told to keep.
type Saved struct {
	path  string
	state State
	lock  io.Closer
}

// Newest finds the whole checkpoint of the highest step. Those of higher steps that are torn, corrupted,
// mixed of several or of a later format are named and passed over. A run without any checkpoint is
// ErrFresh if it has not begun; if it has logged steps or all its checkpoints are bad, that is another
// error, and it must not begin anew.
func Newest(runDir string) (*Saved, []Problem, error) { return newest(commit.OS{}, runDir) }

func newest(on commit.FS, runDir string) (*Saved, []Problem, error) {
	const most = 100 // how often a writer may remove what was about to be opened
	for range most {
		s, problems, err := newestNow(on, runDir)
		if !errors.Is(err, errMoved) {
			if err != nil {
				err = fmt.Errorf("run: %s: %w", runDir, err)
			}
			return s, problems, err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil, nil, fmt.Errorf("run: %s: the checkpoints change faster than they can be read", runDir)
}

// errMoved says that a checkpoint was removed or replaced while it was being read.
var errMoved = errors.New("replaced while it was read")

func newestNow(on commit.FS, runDir string) (*Saved, []Problem, error) {
	found, err := scan(on, runDir)
	if err != nil {
		return nil, nil, err
	}
	var problems []Problem
	for _, c := range slices.Backward(found) {
		s, err := open(on, c.path, c.step)
		if err == nil || errors.Is(err, errMoved) {
			return s, problems, err
		}
		if vanished(on, c.path) {
			return nil, nil, errMoved
		}
		problems = append(problems, Problem{c.path, err})
	}
	if len(problems) > 0 {
		why := make([]string, len(problems))
		for i, p := range problems {
			why[i] = fmt.Sprintf("%s: %v", filepath.Base(p.Path), p.Err)
		}
		return nil, problems, fmt.Errorf("the run has no whole checkpoint left to go on from (%s)", strings.Join(why, "; "))
	}
	log, err := on.Lstat(filepath.Join(runDir, metricsName))
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && log.Size() == 0:
		return nil, nil, ErrFresh
	case err != nil:
		return nil, nil, err
	}
	return nil, nil, fmt.Errorf("the run has logged steps (%s has %d bytes), but has no checkpoint to go on from; not begun anew over it", metricsName, log.Size())
}

// Open opens the checkpoint in a folder that is named step-N and verifies it.
func Open(path string) (*Saved, error) {
	step, ok := parseStep(filepath.Base(filepath.Clean(path)))
	if !ok {
		return nil, fmt.Errorf("run: %s is not named %sN, as the checkpoints of a run are", path, stepPrefix)
	}
	s, err := open(commit.OS{}, path, step)
	if err != nil {
		return nil, Problem{path, err}
	}
	return s, nil
}

// open holds and verifies the checkpoint of that step. The error is errMoved if it went, or came
// anew, meanwhile.
func open(on commit.FS, path string, step int) (*Saved, error) {
	before, err := on.Lstat(path)
	if err != nil {
		return nil, err
	}
	s, err := hold(on, path, step)
	if err == nil {
		return s, nil
	}
	after, gone := on.Lstat(path)
	var held *commit.LockedError // by who removes it
	if errors.Is(gone, fs.ErrNotExist) || gone == nil && !os.SameFile(before, after) || errors.As(err, &held) {
		return nil, errMoved
	}
	return nil, err
}

func hold(on commit.FS, path string, step int) (*Saved, error) {
	lock, err := on.Lock(filepath.Join(path, manifestName), commit.Shared, "")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoManifest
	}
	if err != nil {
		return nil, err
	}
	state, err := verify(on, path, step)
	if err != nil {
		return nil, commit.Also(err, lock.Close())
	}
	return &Saved{path, state, lock}, nil
}

// Path is the checkpoint's folder.
func (s *Saved) Path() string { return s.path }

// Step is how many optimiser steps had been done.
func (s *Saved) Step() int { return s.state.Step }

// State is where training stood.
func (s *Saved) State() State { return s.state }

// Model opens the model, which the caller closes.
func (s *Saved) Model() (*checkpoints.Checkpoint, error) { return checkpoints.Open(s.path) }

// Optimizer opens the optimiser's moments, which the caller closes.
func (s *Saved) Optimizer() (*Optimizer, error) {
	return openOptimizer(filepath.Join(s.path, filepath.FromSlash(optimizerName)))
}

// Extra opens a file of Snapshot.Extra, which the caller closes.
func (s *Saved) Extra(name string) (*safetensors.File, error) {
	return safetensors.Open(filepath.Join(s.path, trainerDir, name+tensorFile))
}

// Close lets the writer remove the checkpoint.
func (s *Saved) Close() error { return s.lock.Close() }
