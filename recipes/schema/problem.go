// Package schema reads strict YAML into Go structs: every key is known, given once and of its type, and whatever is not
// so is reported by file, line and key. Overrides such as key.sub=value change a document before it is read, so that
// they are held to the same rules.
package schema

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing wrong with a document.
type Problem struct {
	File     string
	Line     int    // in File; 0 where it has none
	Override string // the key=value that it came with, or ""
	Text     string // what, where, found and wanted
}

func (p Problem) Error() string {
	switch {
	case p.Override != "":
		return fmt.Sprintf("override %s: %s", clip(p.Override), p.Text)
	case p.Line > 0:
		return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
	case p.File != "":
		return p.File + ": " + p.Text
	}
	return p.Text
}

// Problems are all things wrong with a document, in the order of its lines.
type Problems []Problem

func (ps Problems) Error() string {
	texts := make([]string, len(ps))
	for i, p := range ps {
		texts[i] = p.Error()
	}
	return strings.Join(texts, "; ")
}

// Err returns the problems sorted, or nil if there are none.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	sorted := slices.Clone(ps)
	slices.SortStableFunc(sorted, func(a, b Problem) int { return a.Line - b.Line })
	return sorted
}

// mostProblems are reported of one document; nobody reads more.
const mostProblems = 20

// clip shortens what others wrote for a message.
func clip(s string) string {
	const most = 60
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
