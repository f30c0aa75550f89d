// Package records reads the data of evaluations: rows with named values from Parquet, JSON lines, JSON and CSV files
// that lie as they do in a data set's repository on the Hugging Face hub.
package records

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// Record is a row. Values are nil, bool, int, float64, string, []any, and map[string]any for structures. All records of a
// split have the same keys; what a row of JSON lacks is nil.
type Record = map[string]any

// Formats by extension.
var formats = map[string]func(ctx context.Context, path string) ([]Record, error){
	".parquet": readParquet, ".jsonl": readLines, ".ndjson": readLines, ".json": readJSON, ".csv": readCSV,
}

// extensions in the order in which they are looked for.
var extensions = []string{".parquet", ".jsonl", ".ndjson", ".json", ".csv"}

// Read reads the records of files, one file after the other.
func Read(ctx context.Context, paths []string) ([]Record, error) {
	var all []Record
	for _, p := range paths {
		read, ok := formats[strings.ToLower(filepath.Ext(p))]
		if !ok {
			return nil, fmt.Errorf("records: %s: the extension says no format, want one of %s", p, strings.Join(extensions, " "))
		}
		rows, err := read(ctx, p)
		if err != nil {
			return nil, fail(p, err)
		}
		all = append(all, rows...)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("records: %s: no records", strings.Join(paths, ", "))
	}
	level(all)
	return all, nil
}

// fail puts the file's name before what is wrong with it.
func fail(path string, err error) error {
	var of *fs.PathError
	if errors.As(err, &of) {
		return fmt.Errorf("records: %w", err)
	}
	return fmt.Errorf("records: %s: %w", path, err)
}

// level gives every record all keys.
func level(all []Record) {
	keys := map[string]bool{}
	for _, r := range all {
		for k := range r {
			keys[k] = true
		}
	}
	for _, r := range all {
		if len(r) == len(keys) {
			continue
		}
		for k := range keys {
			if _, ok := r[k]; !ok {
				r[k] = nil
			}
		}
	}
}
