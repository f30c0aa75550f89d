package harness

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Output writes the files of a run into a folder: results.json, samples_TASK.jsonl for each task, and requests.jsonl, the Store.
// The samples of a task appear when all of them are there.
type Output struct {
	folder string
	task   string
	file   *os.File
	out    *bufio.Writer
}

// NewOutput makes the folder.
func NewOutput(folder string) (*Output, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("harness: %w", err)
	}
	return &Output{folder: folder}, nil
}

// Requests is the path of the store.
func (o *Output) Requests() string { return filepath.Join(o.folder, "requests.jsonl") }

// Results is the path of the results.
func (o *Output) Results() string { return filepath.Join(o.folder, "results.json") }

func (o *Output) samples(task string) string {
	return filepath.Join(o.folder, "samples_"+task+".jsonl")
}

const unfinished = ".part"

// Sample adds a line to a task's samples.
func (o *Output) Sample(task string, s Sample) error {
	if o.task != task {
		if err := o.Close(); err != nil {
			return err
		}
		f, err := os.Create(o.samples(task) + unfinished)
		if err != nil {
			return fmt.Errorf("harness: %w", err)
		}
		o.task, o.file, o.out = task, f, bufio.NewWriter(f)
	}
	line, err := encode(s, "")
	if err != nil {
		return fmt.Errorf("harness: sample %d of %s: %w", s.DocID, task, err)
	}
	_, err = o.out.Write(line)
	return err
}

// Close ends the samples of the last task.
func (o *Output) Close() error {
	if o.file == nil {
		return nil
	}
	err := errors.Join(o.out.Flush(), o.file.Close())
	if err == nil {
		err = os.Rename(o.samples(o.task)+unfinished, o.samples(o.task))
	}
	o.task, o.file, o.out = "", nil, nil
	return err
}

// Write writes results.json whole or not at all.
func (o *Output) Write(results map[string]any) error {
	data, err := encode(results, "  ")
	if err != nil {
		return fmt.Errorf("harness: %w", err)
	}
	if err := os.WriteFile(o.Results()+unfinished, data, 0o644); err != nil {
		return fmt.Errorf("harness: %w", err)
	}
	return os.Rename(o.Results()+unfinished, o.Results())
}

// encode writes JSON with the characters as they are.
func encode(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	err := e.Encode(v)
	return b.Bytes(), err
}
