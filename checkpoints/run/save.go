package run

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"sync"

	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/checkpoints/internal/commit"
)

// Writer is the only one who saves checkpoints of a run.
type Writer struct {
	on   commit.FS
	dir  string
	lock io.Closer
}

// Claim makes this process the only writer of a run directory, which is made if absent, until Close or the
// end of the process. The error names the other writer where there is one.
func Claim(runDir string) (*Writer, error) { return claim(commit.OS{}, runDir) }

func claim(on commit.FS, runDir string) (*Writer, error) {
	err := commit.MkdirAll(on, runDir)
	var lock io.Closer
	if err == nil {
		lock, err = on.Lock(filepath.Join(runDir, lockName), commit.Exclusive, commit.Note())
	}
	var other *commit.LockedError
	if errors.As(err, &other) {
		return nil, fmt.Errorf("run: %s has another writer (%s), want one at a time", runDir, other.Note)
	}
	if err != nil {
		return nil, fmt.Errorf("run: claiming %s: %w", runDir, err)
	}
	return &Writer{on, runDir, lock}, nil
}

// Close lets others write.
func (w *Writer) Close() error {
	lock := w.lock
	if lock == nil {
		return nil
	}
	w.lock = nil
	return lock.Close()
}

// SpaceError says that a checkpoint had no room. Nothing of it is left; those before are as they were.
type SpaceError struct {
	Path   string // of the checkpoint
	Needed int64  // bytes
	Free   int64  // bytes, -1 where that cannot be known
	Err    error  // what the system said, nil if the space was measured beforehand
}

func (e *SpaceError) Error() string {
	free := "an unknown number"
	if e.Free >= 0 {
		free = bytesText(e.Free)
	}
	text := fmt.Sprintf("no space for %s: it needs %s, the disk has %s free", e.Path, bytesText(e.Needed), free)
	if e.Err != nil {
		text += fmt.Sprintf(" (%v)", e.Err)
	}
	return text
}

func (e *SpaceError) Unwrap() error { return e.Err }

func bytesText(n int64) string {
	for _, unit := range []struct {
		size int64
		name string
	}{{1e12, "TB"}, {1e9, "GB"}, {1e6, "MB"}} {
		if n >= unit.size {
			return fmt.Sprintf("%.2f %s", float64(n)/float64(unit.size), unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// Save claims the run directory and saves one checkpoint, see Writer.Save.
func Save(runDir string, s Snapshot, keep Keep) (path string, err error) {
	w, err := Claim(runDir)
	if err != nil {
		return "", err
	}
	defer w.Close()
	return w.Save(s, keep)
}

// Save writes the checkpoint of a step, in place of one of the same step that may be there, and then
// removes those that are not to be kept. It returns the checkpoint's folder. An error with an empty path
// means that the checkpoints from before are as they were and that Save may be tried again: it is a
// *SpaceError if the disk is full. An error with a path means that the checkpoint is there, but that
// something old could not be removed.
func (w *Writer) Save(s Snapshot, keep Keep) (path string, err error) {
	path = stepPath(w.dir, s.State.Step)
	cleanup, err := w.save(path, &s, keep)
	if err != nil {
		return "", fmt.Errorf("run: saving step %d: %w", s.State.Step, err)
	}
	if err := commit.Also(cleanup, w.prune(s.State.Step, keep)); err != nil {
		return path, fmt.Errorf("run: step %d is saved, but something old could not be removed: %w", s.State.Step, err)
	}
	return path, nil
}

// save writes the checkpoint. Cleanup is what went wrong where nothing depends on it.
func (w *Writer) save(path string, s *Snapshot, keep Keep) (cleanup, err error) {
	if w.lock == nil {
		return nil, errors.New("the writer is closed")
	}
	if err := keep.Validate(); err != nil {
		return nil, err
	}
	files, err := s.files()
	if err != nil {
		return nil, err
	}
	needed := needs(files)
	parent := filepath.Dir(path)
	if err = commit.MkdirAll(w.on, parent); err == nil {
		cleanup = w.sweep(parent)
		if free := w.free(parent); free >= 0 && free < needed {
			return nil, &SpaceError{path, needed, free, nil}
		}
		err = commit.Dir(w.on, path, func(tmp string) error { return w.fill(tmp, s.State.Step, files) })
	}
	var leftover *commit.LeftoverError
	switch {
	case errors.As(err, &leftover):
		return commit.Also(cleanup, leftover), nil
	case commit.IsFull(err):
		return nil, &SpaceError{path, needed, w.free(parent), err}
	}
	return cleanup, err
}

// needs is how many bytes of disk the files take, in whole blocks, with the manifest and the folders.
func needs(files []checkpoints.File) int64 {
	const block = 4096
	n := int64(4 * block)
	for _, f := range files {
		n += (f.Bytes+block-1)/block*block + 256
	}
	return n
}

// free is the space left on the disk, -1 where that cannot be known.
func (w *Writer) free(dir string) int64 {
	n, err := w.on.Free(dir)
	if err != nil {
		return -1
	}
	return n
}

// sweep removes what interrupted saves and removals have left, and puts back what was set aside for a
// checkpoint that never came.
func (w *Writer) sweep(dir string) error {
	entries, err := w.on.ReadDir(dir)
	if err != nil {
		return err
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !commit.IsTemporary(e.Name(), stepPrefix) })
	if len(entries) == 0 {
		return nil
	}
	// The rename that made them temporary may not have come to the disk, where they still are checkpoints.
	if err := w.on.SyncDir(dir); err != nil {
		return err
	}
	var failed error
	for _, e := range entries {
		failed = commit.Also(failed, w.tidy(dir, e.Name()))
	}
	return failed
}

// tidy puts an entry back if it was set aside and is not replaced, and removes it otherwise.
func (w *Writer) tidy(dir, name string) error {
	path := filepath.Join(dir, name)
	if base, old := commit.SetAside(name); old {
		home := filepath.Join(dir, base)
		if _, err := w.on.Lstat(home); errors.Is(err, fs.ErrNotExist) {
			return w.on.Rename(path, home)
		} else if err != nil {
			return err
		}
	}
	return commit.RemoveAll(w.on, path)
}

// fill writes the files into an empty folder, the manifest last.
func (w *Writer) fill(dir string, step int, files []checkpoints.File) error {
	m := manifest{formatVersion, step, map[string]sum{}}
	folders := map[string]bool{}
	for _, f := range files {
		if sub := path.Dir(f.Name); sub != "." && !folders[sub] {
			if err := w.on.Mkdir(filepath.Join(dir, sub)); err != nil {
				return err
			}
			folders[sub] = true
		}
		var h hasher
		err := commit.Put(w.on, filepath.Join(dir, filepath.FromSlash(f.Name)), func(to io.Writer) error {
			h = hasher{to: to, sum: sha256.New()}
			return f.Write(&h)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		m.Files[f.Name] = sum{h.n, hex.EncodeToString(h.sum.Sum(nil))}
	}
	for sub := range folders {
		if err := w.on.SyncDir(filepath.Join(dir, sub)); err != nil {
			return err
		}
	}
	text, err := formatJSON(m)
	if err != nil {
		return err
	}
	return commit.Put(w.on, filepath.Join(dir, manifestName), func(to io.Writer) error {
		n, err := to.Write(text)
		if err == nil && n < len(text) {
			err = io.ErrShortWrite
		}
		return err
	})
}

// hasher writes on and takes the checksum meanwhile, both at once where pieces are large.
type hasher struct {
	to  io.Writer
	sum hash.Hash
	n   int64
}

func (h *hasher) Write(p []byte) (n int, err error) {
	const large = 1 << 16
	if len(p) < large {
		h.sum.Write(p)
		n, err = h.to.Write(p)
	} else {
		var hashed sync.WaitGroup
		hashed.Go(func() { h.sum.Write(p) })
		n, err = h.to.Write(p)
		hashed.Wait()
	}
	h.n += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, err
}
