package commit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
)

// FS is the file operations that a commit is made of, one method each, so that tests can let any of them
// fail, or cut the power after it.
type FS interface {
	Create(path string) (Writer, error) // a new file; fs.ErrExist if there is one
	Open(path string) (io.ReadCloser, error)
	Lstat(path string) (fs.FileInfo, error)
	ReadDir(path string) ([]fs.DirEntry, error) // sorted by name
	Mkdir(path string) error
	Rename(from, to string) error
	Exchange(a, b string) error // swaps what two names stand for; errors.ErrUnsupported where that takes two steps
	Remove(path string) error   // a file or an empty folder
	SyncDir(path string) error  // makes creations, renames and removals inside the folder last

	// Free is how many bytes may still be written below path; errors.ErrUnsupported where that cannot be known.
	Free(path string) (int64, error)
	// Lock locks the file at path without waiting, until the Closer is closed or the process ends. With a
	// note, the file is made if absent and the note becomes its text. If another has the lock, the error is
	// a *LockedError.
	Lock(path string, how Locking, note string) (io.Closer, error)
}

// Writer is a file being written. Its data lasts once Sync has returned without error.
type Writer interface {
	io.WriteCloser
	Sync() error
}

// Locking is how a lock may be had: by one, or by several that all share it.
type Locking bool

// The two ways to lock.
const (
	Exclusive Locking = false
	Shared    Locking = true
)

// LockedError says that another has the lock.
type LockedError struct {
	Path string
	Note string // what the file says, normally who has it
}

func (e *LockedError) Error() string {
	if e.Note == "" {
		return e.Path + " is locked by another"
	}
	return fmt.Sprintf("%s is locked by another: %s", e.Path, e.Note)
}

// IsFull tells whether the disk, or the user's share of it, is full.
func IsFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// OS is the machine's own file system.
type OS struct{}

// Create makes a new file that others may read.
func (OS) Create(path string) (Writer, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err // not f: a nil *os.File is not a nil Writer
	}
	return f, nil
}

// Open opens a file to be read.
func (OS) Open(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Lstat describes a file, links not followed.
func (OS) Lstat(path string) (fs.FileInfo, error) { return os.Lstat(path) }

// ReadDir lists a folder.
func (OS) ReadDir(path string) ([]fs.DirEntry, error) { return os.ReadDir(path) }

// Mkdir makes a folder that others may read.
func (OS) Mkdir(path string) error { return os.Mkdir(path, 0o755) }

// Rename moves a file or folder, in place of a file that may be there.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Exchange swaps two files or folders.
func (OS) Exchange(a, b string) error { return exchange(a, b) }

// Remove removes a file or an empty folder.
func (OS) Remove(path string) error { return os.Remove(path) }

// SyncDir makes what was done to the folder's entries last.
func (OS) SyncDir(path string) error { return syncDir(path) }

// Free is the space that an ordinary user may still fill.
func (OS) Free(path string) (int64, error) { return free(path) }

// Lock locks a file.
func (OS) Lock(path string, how Locking, note string) (io.Closer, error) {
	return lock(path, how, note)
}

// Put writes a new file and syncs it; its entry lasts once its folder is synced.
func Put(on FS, path string, write func(io.Writer) error) error {
	f, err := on.Create(path)
	if err != nil {
		return err
	}
	return finish(f, write)
}

// finish writes, syncs and closes f.
func finish(f Writer, write func(io.Writer) error) error {
	err := write(f)
	if err == nil {
		err = f.Sync()
	}
	return Also(err, f.Close())
}

// MkdirAll makes a folder and those above it that are not there, so that they last.
func MkdirAll(on FS, path string) error {
	path = filepath.Clean(path)
	info, err := on.Lstat(path)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		_, err = on.ReadDir(path)
		return err
	}
	if err == nil && !info.IsDir() {
		return &fs.PathError{Op: "mkdir", Path: path, Err: syscall.ENOTDIR}
	}
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(path)
	if err := MkdirAll(on, parent); err != nil {
		return err
	}
	if err := on.Mkdir(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return on.SyncDir(parent)
}

// RemoveAll removes a file, or a folder with all that is in it. It goes on after an error and returns the
// first. It is no error if nothing is there.
func RemoveAll(on FS, path string) error {
	info, err := on.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		entries, listed := on.ReadDir(path)
		err = listed
		for _, e := range entries {
			if failed := RemoveAll(on, filepath.Join(path, e.Name())); err == nil {
				err = failed
			}
		}
	}
	if err != nil {
		return err
	}
	return on.Remove(path)
}

// temporary calls make with new names beside base until it is one that was not taken.
func temporary(dir, base string, make func(path string) error) (string, error) {
	const tries = 1000
	var err error
	for range tries {
		path := filepath.Join(dir, fmt.Sprintf(".%s.tmp-%08x", base, rand.Uint32()))
		if err = make(path); !errors.Is(err, fs.ErrExist) {
			return path, err
		}
	}
	return "", err
}

// Also adds what went wrong on the way out to the error that was the reason to leave.
func Also(err, more error) error {
	switch {
	case more == nil:
		return err
	case err == nil:
		return more
	}
	return fmt.Errorf("%w; then %w", err, more)
}
