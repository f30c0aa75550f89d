// Package run keeps the checkpoints of a training run:
//
//	RUN/lock                        who writes into RUN
//	RUN/metrics.jsonl               the trainer's own; not empty once a step was logged
//	RUN/checkpoints/step-N/         a model folder as transformers reads it: config.json, model.safetensors, tokenizer files
//	                 trainer/state.json             step, stage, recipe, sampler, generators, counters
//	                 trainer/optimizer.safetensors  m and v of every trained parameter, float32
//	                 trainer/NAME.safetensors       what else the trainer hands over
//	                 manifest.json                  size and SHA-256 of every other file
//
// A checkpoint appears by one rename, after all of it has been synced; older ones go only then. There is no
// pointer to the newest checkpoint that could be stale: the newest is the whole one of the highest step.
package run

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gojet/gojet/checkpoints/internal/commit"
)

const (
	checkpointsDir = "checkpoints"
	stepPrefix     = "step-"
	lockName       = "lock"
	metricsName    = "metrics.jsonl"
	manifestName   = "manifest.json"
	trainerDir     = "trainer"
	stateName      = trainerDir + "/state.json"
	optimizerName  = trainerDir + "/optimizer.safetensors"
	configName     = "config.json"
	tensorFile     = ".safetensors"
)

// ErrFresh says that a run has no checkpoint and has logged no step: it may begin at the beginning.
var ErrFresh = errors.New("the run has no checkpoint and has logged no step")

// Problem is a checkpoint that cannot be used, and why.
type Problem struct {
	Path string
	Err  error
}

// Error is one line that names the checkpoint.
func (p Problem) Error() string { return fmt.Sprintf("%s: %v", p.Path, p.Err) }

// Unwrap returns the reason.
func (p Problem) Unwrap() error { return p.Err }

// Info describes a checkpoint.
type Info struct {
	Path    string
	Step    int
	Stage   string
	Recipe  string             // RecipeHash of the recipe that it was trained by
	Metrics map[string]float64 // as measured when it was saved
	Bytes   int64
}

// List describes the checkpoints of a run by increasing step, and names those that are no good as far as
// their state, manifest and the sizes of their files tell. Checksums are not verified: Open does that.
func List(runDir string) ([]Info, []Problem, error) {
	infos, problems, err := list(commit.OS{}, runDir)
	if err != nil {
		return nil, nil, fmt.Errorf("run: %w", err)
	}
	return infos, problems, nil
}

func list(on commit.FS, runDir string) (infos []Info, problems []Problem, err error) {
	found, err := scan(on, runDir)
	if err != nil {
		return nil, nil, err
	}
	for _, c := range found {
		info, err := inspect(on, c.path, c.step)
		switch {
		case err == nil:
			infos = append(infos, info)
		case !vanished(on, c.path):
			problems = append(problems, Problem{c.path, err})
		}
	}
	return infos, problems, nil
}

// inspect reads what is cheap to read of the checkpoint of that step.
func inspect(on commit.FS, path string, step int) (Info, error) {
	m, err := readManifest(on, path)
	if err == nil {
		err = m.checkFiles(on, path, step)
	}
	if err != nil {
		return Info{}, err
	}
	s, err := readState(on, path, m)
	if err != nil {
		return Info{}, err
	}
	info := Info{path, step, s.Stage, s.Recipe, s.Metrics, 0}
	for _, f := range m.Files {
		info.Bytes += f.Size
	}
	return info, nil
}

// candidate is a folder that should hold the checkpoint of a step.
type candidate struct {
	step int
	path string
}

// scan lists the checkpoints, whole or not, by increasing step. Where a replacement of one was interrupted
// before the new one was in place, that is the old one, which was set aside.
func scan(on commit.FS, runDir string) ([]candidate, error) {
	dir := filepath.Join(runDir, checkpointsDir)
	entries, err := on.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	name := map[int]string{}
	for _, e := range entries {
		if step, ok := parseStep(e.Name()); ok {
			name[step] = e.Name()
		}
	}
	for _, e := range entries {
		base, _ := commit.SetAside(e.Name())
		if step, ok := parseStep(base); ok && name[step] == "" {
			name[step] = e.Name()
		}
	}
	var found []candidate
	for _, step := range slices.Sorted(maps.Keys(name)) {
		found = append(found, candidate{step, filepath.Join(dir, name[step])})
	}
	return found, nil
}

func stepPath(runDir string, step int) string {
	return filepath.Join(runDir, checkpointsDir, stepPrefix+strconv.Itoa(step))
}

// parseStep reads the name of a checkpoint's folder; other names are nobody's concern.
func parseStep(name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, stepPrefix)
	step, err := strconv.Atoi(digits)
	return step, ok && err == nil && step >= 0 && strconv.Itoa(step) == digits
}

func vanished(on commit.FS, path string) bool {
	_, err := on.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}
