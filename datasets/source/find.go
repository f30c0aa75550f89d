package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// find lists the files of a valid specification.
func find(ctx context.Context, s Spec) ([]File, error) {
	info, err := os.Stat(s.Path)
	switch {
	case err == nil && info.Mode().IsRegular():
		return single(s, info)
	case err == nil && info.IsDir():
		return walk(ctx, s, s.Path, "")
	case err == nil:
		return nil, fmt.Errorf("source: %s is neither a file nor a directory", s.Path)
	}
	root, pattern := splitPattern(s.Path)
	if pattern == "" || !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("source: %w", err)
	}
	if err := checkPattern(pattern); err != nil {
		return nil, fmt.Errorf("source: pattern %q: %w", s.Path, err)
	}
	return walk(ctx, s, root, pattern)
}

// single takes the one file that was asked for, whatever its name.
func single(s Spec, info fs.FileInfo) ([]File, error) {
	format := s.Format
	if format == "" {
		format = byExtension(info.Name())
	}
	if format == "" {
		return nil, fmt.Errorf("source: %s: the extension %q says no format, want format: text, jsonl, parquet or arrow", s.Path, path.Ext(info.Name()))
	}
	return []File{{Path: s.Path, Size: info.Size(), format: format, spec: s, found: info, visited: info.Name()}}, nil
}

// walk collects the files below root that the specification takes; a pattern, if there is one, must match their paths.
// Hidden files and folders are passed over, links to files are followed, links to folders are not.
func walk(ctx context.Context, s Spec, root, pattern string) ([]File, error) {
	start, err := filepath.EvalSymlinks(root)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	var parts []string
	if pattern != "" {
		parts = strings.Split(pattern, "/")
	}
	var files []File
	err = filepath.WalkDir(start, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if p == start {
			return nil
		}
		below, err := filepath.Rel(start, p)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(below)
		hidden := strings.HasPrefix(d.Name(), ".")
		if d.IsDir() {
			tooDeep := parts != nil && !slices.Contains(parts, "**") && strings.Count(name, "/")+1 >= len(parts)
			if hidden || tooDeep {
				return filepath.SkipDir
			}
			return nil
		}
		format := ""
		if !hidden && (parts == nil || matchParts(parts, strings.Split(name, "/"))) {
			format = s.take(name, parts != nil)
		}
		if format == "" {
			return nil
		}
		info, err := os.Stat(p)
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		files = append(files, File{Path: filepath.Join(root, below), Size: info.Size(), format: format, spec: s, found: info, visited: name, tree: true})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("source: no file of %s%s", s.Path, s.wanted())
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.visited, b.visited) })
	return files, nil
}

// wanted words what a specification looks for, for the error that nothing was found.
func (s Spec) wanted() string {
	text := " is a text, .jsonl, .parquet or .arrow file"
	if s.Format != "" {
		text = " is of the format " + s.Format
	}
	if len(s.Include) > 0 {
		text += fmt.Sprintf(" and one of %q", s.Include)
	}
	if len(s.Exclude) > 0 {
		text += fmt.Sprintf(" and none of %q", s.Exclude)
	}
	return text
}

// take gives the format of the file of that name in a tree, "" if it is not wanted. A file is chosen when
// the path's pattern or one of Include matches it; otherwise its extension decides.
func (s Spec) take(name string, chosen bool) string {
	match := func(p string) bool { return matches(p, name) }
	if slices.ContainsFunc(s.Exclude, match) {
		return ""
	}
	if len(s.Include) > 0 {
		if !slices.ContainsFunc(s.Include, match) {
			return ""
		}
		chosen = true
	}
	format := byExtension(name)
	switch {
	case s.Format == "" && chosen && format == "":
		return Text
	case s.Format == "":
		return format
	case chosen || s.Format == Text || s.Format == format:
		return s.Format
	}
	return ""
}

// byExtension is the format that a file's name promises, "" if it promises none.
func byExtension(name string) string {
	name, _ = plainName(name)
	switch strings.ToLower(path.Ext(name)) {
	case ".txt", ".text", ".md":
		return Text
	case ".jsonl", ".ndjson":
		return JSONL
	case ".parquet":
		return Parquet
	case ".arrow", ".feather":
		return Arrow
	}
	return ""
}

// checkPattern reports a pattern that could match nothing for a mistake in it.
func checkPattern(pattern string) error {
	for part := range strings.SplitSeq(pattern, "/") {
		if _, err := path.Match(part, ""); err != nil {
			return fmt.Errorf("%q has a bracket or a backslash without its other half", part)
		}
		if part != "**" && strings.Contains(part, "**") {
			return fmt.Errorf("%q: ** stands for folders and must be alone between slashes", part)
		}
	}
	return nil
}

// splitPattern cuts a path into the folder before its first part with a wildcard, and the rest.
func splitPattern(p string) (root, pattern string) {
	parts := strings.Split(filepath.ToSlash(p), "/")
	wild := slices.IndexFunc(parts, func(part string) bool { return strings.ContainsAny(part, "*?[") })
	if wild < 0 {
		return p, ""
	}
	root = strings.Join(parts[:wild], "/")
	switch {
	case root == "" && wild > 0:
		root = "/"
	case root == "":
		root = "."
	}
	return filepath.FromSlash(root), strings.Join(parts[wild:], "/")
}

// matches tells whether a path with slashes fits the pattern. A pattern without a slash looks at the last name only.
func matches(pattern, name string) bool {
	if !strings.Contains(pattern, "/") && pattern != "**" {
		name = path.Base(name)
	}
	return matchParts(strings.Split(pattern, "/"), strings.Split(name, "/"))
}

func matchParts(pattern, name []string) bool {
	for len(pattern) > 0 {
		if pattern[0] == "**" {
			rest := slices.IndexFunc(pattern, func(p string) bool { return p != "**" })
			if rest < 0 {
				return len(name) > 0
			}
			for ; len(name) > 0; name = name[1:] {
				if matchParts(pattern[rest:], name) {
					return true
				}
			}
			return false
		}
		if len(name) == 0 {
			return false
		}
		if ok, err := path.Match(pattern[0], name[0]); err != nil || !ok {
			return false
		}
		pattern, name = pattern[1:], name[1:]
	}
	return len(name) == 0
}
