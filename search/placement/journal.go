package placement

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/gojet/gojet/search"
)

// Journal is an Evaluator that remembers, in a file with one placement a line, what another has measured: a search that
// was stopped goes on without measuring again. The file is of one super network; whoever trains another begins another.
type Journal struct {
	inner Evaluator
	file  *os.File
	known map[string]search.Scores
	// Each is called for every placement that was measured anew; it may be nil.
	Each func(Ranked) error
}

// OpenJournal reads what the file has. A torn last line is cut off.
func OpenJournal(path string, inner Evaluator) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	j := &Journal{inner: inner, file: f, known: map[string]search.Scores{}}
	if err := j.read(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return j, nil
}

func (j *Journal) read() error {
	text, err := io.ReadAll(j.file)
	if err != nil {
		return err
	}
	whole := bytes.LastIndexByte(text, '\n') + 1
	for n, line := range bytes.Split(text[:whole], []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		var r Ranked
		if err := json.Unmarshal(line, &r); err != nil {
			return fmt.Errorf("line %d: %w", n+1, err)
		}
		if _, err := search.ParsePlacement(r.Layers); err != nil || r.Scores == nil {
			return fmt.Errorf("line %d is no placement with scores", n+1)
		}
		j.known[r.Layers] = r.Scores
	}
	if err := j.file.Truncate(int64(whole)); err != nil {
		return err
	}
	_, err = j.file.Seek(int64(whole), io.SeekStart)
	return err
}

// together is how many placements are measured before they are written down: they share layers.
const together = 32

// Evaluate returns the scores of placements, measuring those that are not known.
func (j *Journal) Evaluate(ctx context.Context, ps []search.Placement) ([]search.Scores, error) {
	var fresh []search.Placement
	asked := map[string]bool{}
	for _, p := range ps {
		if key := p.String(); j.known[key] == nil && !asked[key] {
			asked[key] = true
			fresh = append(fresh, p)
		}
	}
	for len(fresh) > 0 {
		part := fresh[:min(together, len(fresh))]
		scores, err := j.inner.Evaluate(ctx, part)
		if err != nil {
			return nil, err
		}
		for i, p := range part {
			if err := j.add(Ranked{p, p.String(), scores[i]}); err != nil {
				return nil, err
			}
		}
		fresh = fresh[len(part):]
	}
	all := make([]search.Scores, len(ps))
	for i, p := range ps {
		all[i] = j.known[p.String()]
	}
	return all, nil
}

func (j *Journal) add(r Ranked) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("placement %s: %w", r.Layers, err)
	}
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		return err
	}
	j.known[r.Layers] = r.Scores
	if j.Each != nil {
		return j.Each(r)
	}
	return nil
}

// Known is how many placements have been measured.
func (j *Journal) Known() int { return len(j.known) }

// Close brings the file to the disk.
func (j *Journal) Close() error { return errors.Join(j.file.Sync(), j.file.Close()) }
