package records

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Split says which records are wanted.
type Split struct {
	Repository    string   // owner/name of the data set
	Configuration string   // one of several that the repository has, or ""
	Name          string   // train, validation, test, …
	Files         []string // patterns below the repository in place of looking: the first that matches counts
}

// MissingError is that the files of a split are not there.
type MissingError struct {
	Split
	Root    string
	Folders []string // where the repository may be
	Found   string   // the one of them that is there
}

func (e *MissingError) Error() string {
	what := "split " + e.Name
	if e.Configuration != "" {
		what = "configuration " + e.Configuration + ", " + what
	}
	if e.Found == "" {
		return fmt.Sprintf("records: the data set %s (%s) is not in %s: want its files in %s", e.Repository, what, e.Root, strings.Join(e.Folders, " or "))
	}
	return fmt.Sprintf("records: the data set %s has no file of its %s in %s: want %s", e.Repository, what, e.Found, strings.Join(e.wanted(), " or "))
}

// wanted lists the patterns in words that are short enough to read.
func (e *MissingError) wanted() []string {
	if len(e.Files) > 0 {
		return e.Files
	}
	all := patterns(e.Configuration, e.Name)
	return append(slices.Clone(all[:min(3, len(all))]), "the like with .jsonl, .json or .csv")
}

// Find returns the files of a split below root, in their order. A repository lies in root/owner/name, in root/name, or as the
// hub's own cache has it, in root/datasets--owner--name/snapshots.
func Find(root string, s Split) ([]string, error) {
	if info, err := os.Stat(root); err != nil {
		return nil, fmt.Errorf("records: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("records: %s is no folder", root)
	}
	missing := &MissingError{Split: s, Root: root}
	for _, folder := range folders(root, s.Repository) {
		missing.Folders = append(missing.Folders, folder)
		if strings.Contains(folder, "datasets--") {
			folder = newest(filepath.Join(folder, "snapshots"))
		}
		if info, err := os.Stat(folder); folder == "" || err != nil || !info.IsDir() {
			continue
		}
		missing.Found = cmp.Or(missing.Found, folder)
		found, err := within(folder, s)
		if err != nil || len(found) > 0 {
			return found, err
		}
	}
	return nil, missing
}

func folders(root, repository string) []string {
	_, name, _ := strings.Cut(repository, "/")
	return []string{
		filepath.Join(root, filepath.FromSlash(repository)),
		filepath.Join(root, cmp.Or(name, repository)),
		filepath.Join(root, "datasets--"+strings.ReplaceAll(repository, "/", "--")),
	}
}

// newest is the folder in dir that was changed last.
func newest(dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	best, at := "", int64(0)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && e.IsDir() && (best == "" || info.ModTime().UnixNano() > at) {
			best, at = filepath.Join(dir, e.Name()), info.ModTime().UnixNano()
		}
	}
	return best
}

// within finds the files of a split in the repository's folder.
func within(folder string, s Split) ([]string, error) {
	if len(s.Files) > 0 {
		for _, p := range s.Files {
			if path.IsAbs(p) || slices.Contains(strings.Split(p, "/"), "..") {
				return nil, fmt.Errorf("records: %s: the pattern %q leaves the folder of the data set", s.Repository, p)
			}
			if found, err := match(folder, p); err != nil || len(found) > 0 {
				return found, err
			}
		}
		return nil, nil
	}
	for _, p := range patterns(s.Configuration, s.Name) {
		if found, err := match(folder, p); err != nil || len(found) > 0 {
			return found, err
		}
	}
	return nil, nil
}

func match(folder, pattern string) ([]string, error) {
	found, err := fs.Glob(os.DirFS(folder), pattern)
	if err != nil {
		return nil, fmt.Errorf("records: pattern %q: %w", pattern, errors.Unwrap(err))
	}
	for i := range found {
		found[i] = filepath.Join(folder, filepath.FromSlash(found[i]))
	}
	return found, nil
}

// other names of splits in repositories
var synonyms = map[string][]string{"validation": {"valid", "val", "dev"}, "train": {"training"}, "test": {"testing"}}

// patterns lists where the files of a split may be in a repository, the likeliest first: a file or several numbered
// ones in the configuration's folder or in data, or a folder of them as in the hub's own conversions to Parquet.
func patterns(configuration, split string) []string {
	prefixes := []string{"", "data/", "default/"}
	if configuration != "" && configuration != "default" {
		c := configuration
		prefixes = []string{c + "/", "data/" + c + "/", c + "_", c + "-", "data/" + c + "_", "data/" + c + "-"}
	}
	var all []string
	for _, name := range append([]string{split}, synonyms[split]...) {
		for _, extension := range extensions {
			for _, prefix := range prefixes {
				for _, form := range []string{"-*", "", "/*"} {
					all = append(all, prefix+name+form+extension)
				}
			}
		}
	}
	return all
}
