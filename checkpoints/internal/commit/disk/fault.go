package disk

import (
	"io"
	"io/fs"
	"sync"

	"github.com/gojet/gojet/checkpoints/internal/commit"
)

// Faulty counts the operations on a file system and lets some of them fail.
type Faulty struct {
	On commit.FS
	// Fault judges operation number n, counted from 0: it fails with the error, or, if the error is
	// ErrShort, a write stops half way without any error, and other operations happen.
	Fault func(n int, op, path string) error
	// After is called when an operation has happened, or failed.
	After func(n int, op, path string)

	mu sync.Mutex
	n  int
}

// ErrShort asks for a write that stops half way and does not say so.
var ErrShort = io.ErrShortWrite

// Count is the number of operations so far.
func (f *Faulty) Count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

// do counts an operation and carries it out unless it is to fail.
func (f *Faulty) do(op, path string, happen func(short bool) error) error {
	f.mu.Lock()
	n := f.n
	f.n++
	f.mu.Unlock()
	var err error
	if f.Fault != nil {
		err = f.Fault(n, op, path)
	}
	switch err {
	case nil, ErrShort:
		err = happen(err == ErrShort)
	default:
		err = &fs.PathError{Op: op, Path: path, Err: err}
	}
	if f.After != nil {
		f.After(n, op, path)
	}
	return err
}

// Create makes a new file.
func (f *Faulty) Create(path string) (w commit.Writer, err error) {
	err = f.do("create", path, func(bool) error {
		inner, err := f.On.Create(path)
		w = &faultyWriter{f, inner, path}
		return err
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

type faultyWriter struct {
	f     *Faulty
	inner commit.Writer
	path  string
}

func (w *faultyWriter) Write(p []byte) (n int, err error) {
	err = w.f.do("write", w.path, func(short bool) (err error) {
		if short {
			p = p[:len(p)/2]
		}
		n, err = w.inner.Write(p)
		return err
	})
	return n, err
}

func (w *faultyWriter) Sync() error {
	return w.f.do("sync", w.path, func(bool) error { return w.inner.Sync() })
}

// Close closes the file even if it fails, as the system does.
func (w *faultyWriter) Close() error {
	closed := false
	err := w.f.do("close", w.path, func(bool) error {
		closed = true
		return w.inner.Close()
	})
	if !closed {
		w.inner.Close()
	}
	return err
}

// Open opens a file to be read. Reads count as operations.
func (f *Faulty) Open(path string) (r io.ReadCloser, err error) {
	err = f.do("open", path, func(bool) error {
		inner, err := f.On.Open(path)
		r = &faultyReader{f, inner, path}
		return err
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

type faultyReader struct {
	f     *Faulty
	inner io.ReadCloser
	path  string
}

func (r *faultyReader) Read(p []byte) (n int, err error) {
	failed := r.f.do("read", r.path, func(bool) error {
		n, err = r.inner.Read(p)
		return nil
	})
	if failed != nil {
		return 0, failed
	}
	return n, err
}

func (r *faultyReader) Close() error { return r.inner.Close() }

// Lstat describes a file.
func (f *Faulty) Lstat(path string) (info fs.FileInfo, err error) {
	err = f.do("lstat", path, func(bool) (err error) {
		info, err = f.On.Lstat(path)
		return err
	})
	return info, err
}

// ReadDir lists a folder.
func (f *Faulty) ReadDir(path string) (list []fs.DirEntry, err error) {
	err = f.do("readdir", path, func(bool) (err error) {
		list, err = f.On.ReadDir(path)
		return err
	})
	return list, err
}

// Mkdir makes a folder.
func (f *Faulty) Mkdir(path string) error {
	return f.do("mkdir", path, func(bool) error { return f.On.Mkdir(path) })
}

// Rename moves a file or folder.
func (f *Faulty) Rename(from, to string) error {
	return f.do("rename", from, func(bool) error { return f.On.Rename(from, to) })
}

// Exchange swaps two files or folders.
func (f *Faulty) Exchange(a, b string) error {
	return f.do("exchange", a, func(bool) error { return f.On.Exchange(a, b) })
}

// Remove removes a file or folder.
func (f *Faulty) Remove(path string) error {
	return f.do("remove", path, func(bool) error { return f.On.Remove(path) })
}

// SyncDir syncs a folder.
func (f *Faulty) SyncDir(path string) error {
	return f.do("syncdir", path, func(bool) error { return f.On.SyncDir(path) })
}

// Free is the space left.
func (f *Faulty) Free(path string) (n int64, err error) {
	err = f.do("free", path, func(bool) (err error) {
		n, err = f.On.Free(path)
		return err
	})
	return n, err
}

// Lock locks a file.
func (f *Faulty) Lock(path string, how commit.Locking, note string) (c io.Closer, err error) {
	err = f.do("lock", path, func(bool) (err error) {
		c, err = f.On.Lock(path, how, note)
		return err
	})
	return c, err
}
