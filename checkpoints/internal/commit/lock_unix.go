//go:build unix

package commit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// lock uses flock, which the kernel takes back when a process ends in any way: a lock file that a dead
// process has left is free. Where the file system has no flock, the process named in the file decides.
func lock(path string, how Locking, note string) (io.Closer, error) {
	flags := os.O_RDONLY
	if note != "" {
		flags = os.O_RDWR | os.O_CREATE
	}
	f, err := os.OpenFile(path, flags, 0o644)
	if err != nil {
		return nil, err
	}
	mode := unix.LOCK_EX
	if how == Shared {
		mode = unix.LOCK_SH
	}
	switch err := flock(f, mode|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return nil, Also(&LockedError{path, readNote(f)}, f.Close())
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, unix.ENOLCK):
		f.Close()
		return lockByPID(path, note)
	case err != nil:
		return nil, Also(&fs.PathError{Op: "flock", Path: path, Err: err}, f.Close())
	}
	if err := settle(f, path, note); err != nil {
		return nil, Also(err, f.Close())
	}
	return f, nil
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// settle makes sure that the locked file is still the one at path and writes the note.
func settle(f *os.File, path, note string) error {
	mine, err := f.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !os.SameFile(mine, there) {
		return &fs.PathError{Op: "lock", Path: path, Err: fs.ErrNotExist} // replaced a moment ago
	}
	if note == "" {
		return nil
	}
	// Written before it is cut to length, so that a full disk has no say in it.
	if _, err := f.WriteAt([]byte(note), 0); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	return f.Truncate(int64(len(note)))
}

// alive tells whether there is a process of that number.
func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}
