package commit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
)

const maxNote = 200 // bytes

// Note names this process in a lock file.
func Note() string {
	return fmt.Sprintf("pid %d on %s\n", os.Getpid(), hostname())
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return strings.Join(strings.Fields(name), "-")
}

// readNote is the text of a lock file, as one line.
func readNote(r io.Reader) string {
	text, err := io.ReadAll(io.LimitReader(r, maxNote))
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(strings.ToValidUTF8(string(text), "?")), " ")
}

// isStale tells whether the process that a note names is no more. Nobody can tell of another machine's.
func isStale(note string) bool {
	var pid int
	var host string
	if _, err := fmt.Sscanf(note, "pid %d on %s", &pid, &host); err != nil {
		return true // nobody's
	}
	return host == hostname() && (pid == os.Getpid() || !alive(pid))
}

// lockByPID makes a file that names this process, by Note, for systems without locks that end with their
// process. A lock without a note, on a file of data, cannot be had there and guards nothing.
func lockByPID(path, note string) (io.Closer, error) {
	if note == "" {
		_, err := os.Stat(path)
		return unguarded{}, err
	}
	const tries = 10
	for range tries {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err == nil {
			_, err = io.WriteString(f, note)
			return &pidLock{path: path}, Also(err, f.Close())
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		text, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		beingWritten := len(text) == 0 && time.Since(info.ModTime()) < 10*time.Second
		if found := readNote(bytes.NewReader(text)); beingWritten || !isStale(found) {
			return nil, &LockedError{path, found}
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return nil, &LockedError{path, "taken again and again"}
}

type unguarded struct{}

func (unguarded) Close() error { return nil }

type pidLock struct{ path string }

func (l *pidLock) Close() error { return os.Remove(l.path) }
