package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// ErrChanged is wrapped by the errors about a file that is not what it was when Open found it.
var ErrChanged = errors.New("file changed during the run")

// File is a file of documents as Open found it. Its methods may be called from several goroutines at once.
type File struct {
	Path string
	Size int64 // bytes

	format  string
	spec    Spec
	found   fs.FileInfo
	visited string // the path below the directory that was searched
	tree    bool   // found by a search, not named by the specification
}

// Open starts reading the documents.
func (f File) Open() (Reader, error) {
	if err := f.Unchanged(); err != nil {
		return nil, err
	}
	var r Reader
	var err error
	switch f.format {
	case Text:
		r, err = openText(f)
	case JSONL:
		r, err = openLines(f)
	case Parquet:
		r, err = openParquet(f)
	case Arrow:
		r, err = openArrow(f)
	default:
		err = fmt.Errorf("unknown format %q", f.format)
	}
	if err != nil {
		return nil, f.fail(err)
	}
	return &watched{file: f, r: r}, nil
}

// Name is the path below the directory that was searched, with slashes, or the file's name alone: the same on every
// machine that has the same tree.
func (f File) Name() string { return f.visited }

// Unchanged reports, wrapping ErrChanged, that the file is no longer what it was when Open found it: its size, its
// time of modification, or the file itself.
func (f File) Unchanged() error {
	now, err := os.Stat(f.Path)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	return f.compare(now)
}

func (f File) compare(now fs.FileInfo) error {
	switch {
	case now.Size() != f.Size:
		return fmt.Errorf("source: %s: %w: %d bytes, want %d as at the start", f.Path, ErrChanged, now.Size(), f.Size)
	case !now.ModTime().Equal(f.found.ModTime()):
		return fmt.Errorf("source: %s: %w: modified %s, want %s as at the start", f.Path, ErrChanged, now.ModTime(), f.found.ModTime())
	case !os.SameFile(now, f.found):
		return fmt.Errorf("source: %s: %w: another file took its place", f.Path, ErrChanged)
	}
	return nil
}

// How much of a great file its key is made from.
const (
	keyWhole  = 1 << 20 // up to this size all of it
	keyPiece  = 1 << 16
	keyPieces = 16
)

// Key identifies the documents of the file for a cache: files with equal keys give equal documents. It is a
// hash of the size, the time of modification, what the specification takes from the file, and the contents: all of
// them up to 1 MiB, and otherwise 16 pieces of 64 KiB evenly from the first to the last. So a change
// goes unnoticed only where a greater file keeps its size and its time and changes between the pieces.
// The path is no part of it: it stays when a folder moves.
func (f File) Key() (string, error) {
	if err := f.Unchanged(); err != nil {
		return "", err
	}
	h := xxhash.New()
	fmt.Fprintf(h, "1 %d %d %q %q %q %q %d\n", f.Size, f.found.ModTime().UnixNano(), f.format, f.spec.Text, f.spec.Messages, f.spec.Tokens, f.spec.maxBytes())
	r, err := os.Open(f.Path)
	if err != nil {
		return "", fmt.Errorf("source: %w", err)
	}
	defer r.Close()
	if f.Size <= keyWhole {
		_, err = io.Copy(h, io.LimitReader(r, keyWhole))
	}
	for i := int64(0); f.Size > keyWhole && i < keyPieces && err == nil; i++ {
		_, err = io.Copy(h, io.NewSectionReader(r, i*(f.Size-keyPiece)/(keyPieces-1), keyPiece))
	}
	if err != nil {
		return "", fmt.Errorf("source: %s: %w", f.Path, err)
	}
	return strconv.FormatUint(h.Sum64(), 16), nil
}

// fail puts the file's name before what is wrong with it.
func (f File) fail(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return fmt.Errorf("source: %w", err)
	}
	return fmt.Errorf("source: %s: %w", f.Path, err)
}

// watched numbers the documents of a reader, names the file in its errors, and sees whether the file changed while
// it was read: then that is the error, whatever else went wrong.
type watched struct {
	file  File
	r     Reader
	index int
	err   error
}

func (w *watched) Next() (Document, error) {
	if w.err != nil {
		return Document{}, w.err
	}
	d, err := w.next()
	if err != nil {
		w.err = err
		return Document{}, err
	}
	d.Path, d.Index = w.file.Path, w.index
	w.index++
	return d, nil
}

func (w *watched) next() (Document, error) {
	d, err := w.r.Next()
	if err == nil {
		return d, nil
	}
	if changed := w.file.Unchanged(); changed != nil {
		return Document{}, changed
	}
	if err == io.EOF {
		return Document{}, io.EOF
	}
	return Document{}, w.file.fail(err)
}

func (w *watched) Close() error {
	if w.err == nil {
		w.err = fmt.Errorf("source: %s: %w", w.file.Path, os.ErrClosed)
	}
	return w.r.Close()
}
