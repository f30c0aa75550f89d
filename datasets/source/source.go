// Package source reads documents from files: texts, source trees, JSON lines, Parquet, Arrow IPC, and tensors of
// token ids. Files are written by others and nothing in them is taken on trust: whatever is wrong becomes one error that
// names the file and the place in it, and no file can make a reader use more than a small multiple of
// Spec.MaxBytes of memory.
package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gojet/gojet/datasets/chat"
)

// Document is one text to learn from. Exactly one of Text, Messages and Tokens is meant; the other two are zero. An
// empty document has all three empty.
type Document struct {
	Text     string
	Messages []chat.Message
	Tokens   []int32
	Path     string // the file it came from
	Index    int    // its place among the documents of the file, from 0
}

// Reader hands out the documents of one file in their order. It is for one goroutine.
type Reader interface {
	// Next returns the next document, or io.EOF after the last. Any error is final.
	Next() (Document, error)
	Close() error
}

// DefaultMaxBytes is the greatest document where Spec.MaxBytes is 0: 128 MiB.
const DefaultMaxBytes = 128 << 20

// Spec says which files to read and what in them is a document.
type Spec struct {
	// Path is a file, a directory (all files below it whose format is known; hidden ones are passed over), or
	// a pattern: * and ? within a name, [a-z], ** for any number of folders.
	Path string `yaml:"path"`
	// Format is text, jsonl, parquet or arrow; empty goes by each file's extension, a compressed one by the
	// extension before .gz or .zst.
	Format string `yaml:"format"`
	// Text, Messages and Tokens name the column (Parquet, Arrow) or field (JSON) that holds the document: a string,
	// a list of {role, content}, or a list of token ids. At most one may be set. Where none is, a document is what is
	// called "text", and where there is no such thing "messages".
	Text     string `yaml:"text_column"`
	Messages string `yaml:"messages_column"`
	Tokens   string `yaml:"tokens_column"`
	// Include and Exclude are patterns for the files found in a directory or by a pattern, matched against the path
	// below the directory (the fixed part of a pattern), or against the name alone if the pattern has no slash.
	// Include makes a file of any extension a text.
	Include []string `yaml:"include"`
	Exclude []string `yaml:"exclude"`
	// MaxBytes bounds one document, one line and one page; greater ones are errors. 0 is DefaultMaxBytes.
	MaxBytes int64 `yaml:"max_bytes"`
}

// The formats of files.
const (
	Text    = "text"
	JSONL   = "jsonl"
	Parquet = "parquet"
	Arrow   = "arrow"
)

// Validate says what is wrong with the specification, without looking at the disk.
func (s Spec) Validate() error {
	if s.Path == "" {
		return errors.New("source: path is empty, want a file, a directory or a pattern")
	}
	if formats := []string{"", Text, JSONL, Parquet, Arrow}; !slices.Contains(formats, s.Format) {
		return fmt.Errorf("source: format %q, want one of %s", s.Format, strings.Join(formats[1:], ", "))
	}
	named := 0
	for _, column := range []string{s.Text, s.Messages, s.Tokens} {
		if column != "" {
			named++
		}
	}
	if named > 1 {
		return fmt.Errorf("source: text_column %q, messages_column %q and tokens_column %q, want only one of them", s.Text, s.Messages, s.Tokens)
	}
	if s.MaxBytes < 0 {
		return fmt.Errorf("source: max_bytes %d, want at least 1, or 0 for %d", s.MaxBytes, int64(DefaultMaxBytes))
	}
	for _, p := range append(slices.Clone(s.Include), s.Exclude...) {
		if err := checkPattern(p); err != nil {
			return fmt.Errorf("source: pattern %q: %w", p, err)
		}
	}
	return nil
}

func (s Spec) maxBytes() int64 {
	if s.MaxBytes == 0 {
		return DefaultMaxBytes
	}
	return s.MaxBytes
}

// Open finds the files of the specification, sorted by path. None is an error. It reads no contents: a file is checked
// when it is opened.
func Open(ctx context.Context, s Spec) ([]File, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return find(ctx, s)
}
