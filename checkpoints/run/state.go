package run

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gojet/gojet/checkpoints/internal/commit"
	"github.com/gojet/gojet/checkpoints/internal/strictjson"
)

// formatVersion counts up when a reader of the version before would misunderstand a checkpoint.
const formatVersion = 1

// ErrFuture says that a checkpoint is of a later format than this program knows.
var ErrFuture = errors.New("written by a later version of gojet")

// State is where a training run stands, apart from its tensors.
type State struct {
	Step          int                `json:"step"`           // optimiser steps done in the whole run
	Stage         string             `json:"stage"`          // name of the recipe's stage
	Recipe        string             `json:"recipe_sha256"`  // RecipeHash
	Sampler       int64              `json:"sampler"`        // position of the data order: batches taken in this stage
	RNG           map[string][]byte  `json:"rng"`            // state of each random generator by name, at least one
	Counters      map[string]int64   `json:"counters"`       // tokens seen, steps skipped …
	Metrics       map[string]float64 `json:"metrics"`        // the latest measurements, for Keep; those not finite are left out
	MetricsOffset int64              `json:"metrics_offset"` // bytes of metrics.jsonl that belong to the steps done
	Trainer       json.RawMessage    `json:"trainer"`        // whatever else the trainer needs to go on
}

// stateFile is state.json.
type stateFile struct {
	Version int `json:"format_version"`
	State
}

// RecipeHash is the SHA-256 of the text of a recipe, or of those parts of it that a run depends on.
func RecipeHash(resolved []byte) string {
	sum := sha256.Sum256(resolved)
	return hex.EncodeToString(sum[:])
}

// CheckRecipe reports if the checkpoint was trained by another recipe. Whether to go on is the trainer's
// decision.
func (s State) CheckRecipe(hash string) error {
	if s.Recipe == hash {
		return nil
	}
	return fmt.Errorf("run: the recipe has changed since step %d: its SHA-256 is %s, was %s", s.Step, hash, s.Recipe)
}

// Generator is the state of the random generator of that name.
func (s State) Generator(name string) ([]byte, error) {
	if state := s.RNG[name]; len(state) > 0 {
		return state, nil
	}
	return nil, fmt.Errorf("run: %s of step %d has no random generator %q, only %q", stateName, s.Step, name, slices.Sorted(maps.Keys(s.RNG)))
}

// format is the text of state.json.
func (s State) format() ([]byte, error) {
	s.Metrics = maps.Clone(s.Metrics)
	maps.DeleteFunc(s.Metrics, func(_ string, v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) })
	text, err := formatJSON(stateFile{formatVersion, s})
	if err != nil {
		return nil, fmt.Errorf("the trainer's state: %w", err)
	}
	if _, err = parseState(text); err != nil {
		return nil, fmt.Errorf("the trainer's state: %w", err)
	}
	return text, nil
}

func readState(on commit.FS, path string, m *manifest) (State, error) {
	text, err := readSmall(on, filepath.Join(path, filepath.FromSlash(stateName)))
	if err != nil {
		return State{}, fmt.Errorf("%s: %w", stateName, err)
	}
	s, err := parseState(text)
	if err == nil && s.Step != m.Step {
		err = fmt.Errorf("is of step %d, but the manifest of step %d: a mixture of two checkpoints", s.Step, m.Step)
	}
	if err != nil {
		return State{}, fmt.Errorf("%s: %w", stateName, err)
	}
	return s, nil
}

func parseState(text []byte) (State, error) {
	var f stateFile
	if err := parseVersioned(text, &f, "step", "stage", "recipe_sha256", "sampler", "rng", "counters", "metrics", "metrics_offset", "trainer"); err != nil {
		return State{}, err
	}
	s := f.State
	switch {
	case s.Step < 0:
		return State{}, fmt.Errorf("step is %d, want at least 0", s.Step)
	case s.Sampler < 0:
		return State{}, fmt.Errorf("sampler is %d, want at least 0", s.Sampler)
	case s.MetricsOffset < 0:
		return State{}, fmt.Errorf("metrics_offset is %d, want at least 0", s.MetricsOffset)
	case len(s.RNG) == 0:
		return State{}, errors.New("rng is empty, want the state of at least one random generator")
	}
	for _, name := range slices.Sorted(maps.Keys(s.RNG)) {
		if len(s.RNG[name]) == 0 {
			return State{}, fmt.Errorf("rng: generator %q has no state", name)
		}
	}
	return s, nil
}

// parseVersioned reads a document into v, which has exactly the keys that it wants and format_version. A
// later version is ErrFuture, whatever else the document has.
func parseVersioned(text []byte, v any, keys ...string) error {
	if err := strictjson.Check(text); err != nil {
		return err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil || members == nil {
		return errors.New("is no JSON object")
	}
	version, there := members["format_version"]
	if !there {
		return errors.New("format_version is missing")
	}
	var n int
	if err := json.Unmarshal(version, &n); err != nil || n < 1 {
		return fmt.Errorf("format_version is %.40s, want a whole number from 1 to %d", version, formatVersion)
	}
	if n > formatVersion {
		return fmt.Errorf("%w: format_version is %d, want at most %d", ErrFuture, n, formatVersion)
	}
	for _, key := range keys {
		if _, there := members[key]; !there {
			return fmt.Errorf("%s is missing", key)
		}
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

func formatJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.Bytes(), err
}
