package run

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/checkpoints/internal/commit"
	"github.com/gojet/gojet/checkpoints/safetensors"
)

// verify holds the checkpoint in a folder to its manifest, to the step and to itself.
func verify(on commit.FS, dir string, step int) (State, error) {
	m, err := readManifest(on, dir)
	if err == nil {
		err = m.checkFiles(on, dir, step)
	}
	if err == nil {
		err = m.checkSums(on, dir)
	}
	if err != nil {
		return State{}, err
	}
	s, err := readState(on, dir, m)
	if err != nil {
		return State{}, err
	}
	if err := m.checkSteps(dir); err != nil {
		return State{}, err
	}
	return s, checkMoments(dir)
}

// checkSums reads all files, several at once, the largest first.
func (m *manifest) checkSums(on commit.FS, dir string) error {
	names := m.names()
	order := slices.Clone(names)
	slices.SortStableFunc(order, func(a, b string) int { return int(min(1, max(-1, m.Files[b].Size-m.Files[a].Size))) })
	wrong := map[string]error{}
	var mu sync.Mutex
	var next, bad atomic.Int64
	var all sync.WaitGroup
	for range min(len(order), runtime.GOMAXPROCS(0)) {
		all.Go(func() {
			buf := make([]byte, min(1<<20, m.Files[order[0]].Size+1))
			for bad.Load() == 0 {
				i := int(next.Add(1)) - 1
				if i >= len(order) {
					return
				}
				if err := m.checkSum(on, dir, order[i], buf, &bad); err != nil {
					mu.Lock()
					wrong[order[i]] = err
					mu.Unlock()
					bad.Store(1)
				}
			}
		})
	}
	all.Wait()
	for _, name := range names {
		if err := wrong[name]; err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// checkSum reads a file through buf, unless another is found bad meanwhile.
func (m *manifest) checkSum(on commit.FS, dir, name string, buf []byte, bad *atomic.Int64) error {
	f, err := on.Open(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	for {
		n, err := f.Read(buf)
		h.Write(buf[:n])
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if bad.Load() != 0 {
			return nil
		}
	}
	if found, want := hex.EncodeToString(h.Sum(nil)), m.Files[name].SHA256; found != want {
		return fmt.Errorf("has SHA-256 %.12s…, want %.12s… of the manifest: corrupted, or of another checkpoint", found, want)
	}
	return nil
}

// checkSteps holds the trainer's tensor files to the step.
func (m *manifest) checkSteps(dir string) error {
	for _, name := range m.names() {
		if !strings.HasPrefix(name, trainerDir+"/") || !strings.HasSuffix(name, tensorFile) {
			continue
		}
		f, err := safetensors.Open(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		found := f.Metadata()[stepKey]
		if err := f.Close(); err != nil {
			return err
		}
		if found != strconv.Itoa(m.Step) {
			return fmt.Errorf("%s: is of step %q, but the manifest of step %d: a mixture of two checkpoints", name, found, m.Step)
		}
	}
	return nil
}

// checkMoments opens model and optimiser and holds their shapes to each other.
func checkMoments(dir string) (err error) {
	model, err := checkpoints.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = commit.Also(err, model.Close()) }()
	moments, err := openOptimizer(filepath.Join(dir, filepath.FromSlash(optimizerName)))
	if err != nil {
		return err
	}
	defer func() { err = commit.Also(err, moments.Close()) }()
	for _, name := range moments.Names() {
		weight, ok := model.Tensor(name)
		if m, _ := moments.file.Tensor(firstMoment + name); ok && !slices.Equal(m.Shape, weight.Shape) {
			return fmt.Errorf("%s: the moments of %s are %v, but the weight is %v", optimizerName, name, m.Shape, weight.Shape)
		}
	}
	return nil
}
