package run

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/gojet/gojet/checkpoints/internal/commit"
)

// Keep says which checkpoints stay when another has been saved; the zero value keeps all. Whatever it
// says, these stay: the one just saved, those of later steps, those that a reader holds, and those that are
// not whole or of a later format, which it does not count either.
type Keep struct {
	Last   int    // the newest so many, up to the one just saved; 0 for all
	Best   int    // and so many of the best by Metric
	Metric string // a key of State.Metrics
	Higher bool   // the greatest Metric is the best, not the least
}

// Validate reports what cannot be kept to.
func (k Keep) Validate() error {
	switch {
	case k.Last < 0:
		return fmt.Errorf("keep the last %d checkpoints, want at least 0", k.Last)
	case k.Best < 0:
		return fmt.Errorf("keep the best %d checkpoints, want at least 0", k.Best)
	case k.Best > 0 && k.Metric == "":
		return errors.New("keep the best checkpoints by no metric, want its name")
	}
	return nil
}

// Best sorts the checkpoints that have the metric from best to worst, earlier steps first among equals.
func Best(infos []Info, metric string, higher bool) []Info {
	best := slices.DeleteFunc(slices.Clone(infos), func(i Info) bool {
		_, measured := i.Metrics[metric]
		return !measured
	})
	slices.SortStableFunc(best, func(a, b Info) int {
		x, y := a.Metrics[metric], b.Metrics[metric]
		if higher {
			x, y = y, x
		}
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return a.Step - b.Step
	})
	return best
}

// superfluous are those of the checkpoints, by increasing step, that need not stay after step was saved.
func (k Keep) superfluous(infos []Info, step int) []Info {
	if k.Last == 0 {
		return nil
	}
	stays := map[int]bool{}
	last := 0
	for _, i := range slices.Backward(infos) {
		if i.Step <= step {
			last++
		}
		stays[i.Step] = i.Step >= step || last <= k.Last
	}
	best := Best(infos, k.Metric, k.Higher)
	for _, i := range best[:min(k.Best, len(best))] {
		stays[i.Step] = true
	}
	return slices.DeleteFunc(slices.Clone(infos), func(i Info) bool { return stays[i.Step] })
}

// prune removes what need not stay after step was saved.
func (w *Writer) prune(step int, keep Keep) error {
	if keep.Last == 0 {
		return nil
	}
	infos, _, err := list(w.on, w.dir)
	for _, i := range keep.superfluous(infos, step) {
		err = commit.Also(err, w.discard(i.Path))
	}
	return err
}

// Discard removes all checkpoints of a run that is over, except those that a reader holds. A run that is not there has none.
func Discard(runDir string) (err error) {
	if infos, _, err := list(commit.OS{}, runDir); len(infos) == 0 {
		return err
	}
	w, err := Claim(runDir)
	if err != nil {
		return err
	}
	defer func() { err = commit.Also(err, w.Close()) }()
	infos, _, err := list(w.on, w.dir)
	for _, i := range infos {
		err = commit.Also(err, w.discard(i.Path))
	}
	return err
}

// discard removes a checkpoint unless a reader holds it.
func (w *Writer) discard(path string) error {
	lock, err := w.on.Lock(filepath.Join(path, manifestName), commit.Exclusive, "")
	var held *commit.LockedError
	if errors.As(err, &held) {
		return nil
	}
	if err != nil {
		return err
	}
	return commit.Also(commit.Discard(w.on, path), lock.Close())
}
