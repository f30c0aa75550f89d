// Package commit makes files and folders appear whole or not at all: written under a temporary name
// beside their place, synced to the disk, renamed, and the rename synced.
package commit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
)

// File writes the file at path, in place of one that may be there.
func File(path string, write func(io.Writer) error) error {
	on := OS{}
	dir, base := split(path)
	var f Writer
	tmp, err := temporary(dir, base, func(path string) (err error) {
		f, err = on.Create(path)
		return err
	})
	if err != nil {
		return err
	}
	if err = finish(f, write); err == nil {
		err = on.Rename(tmp, path)
	}
	if err != nil {
		return Also(err, RemoveAll(on, tmp))
	}
	return on.SyncDir(dir)
}

// LeftoverError says that a folder is in its place for good, but the one that was there before is still
// beside it.
type LeftoverError struct {
	Path string
	Err  error
}

func (e *LeftoverError) Error() string {
	return fmt.Sprintf("%s, which is no longer needed, could not be removed: %v", e.Path, e.Err)
}

func (e *LeftoverError) Unwrap() error { return e.Err }

// Dir fills a new folder and puts it at path, in place of one that may be there, which is removed last.
// Fill syncs the files that it writes, as Put does, and the folders that it makes in dir. After an error
// other than a *LeftoverError, path is as it was, save that after an error in syncing the last rename both
// the old and the new, whole, may be there when the machine has restarted.
func Dir(on FS, path string, fill func(dir string) error) error {
	parent, base := split(path)
	tmp, err := temporary(parent, base, on.Mkdir)
	if err != nil {
		return err
	}
	if err = fill(tmp); err == nil {
		err = on.SyncDir(tmp)
	}
	if err != nil {
		return Also(err, RemoveAll(on, tmp))
	}
	old, err := put(on, tmp, path)
	if err != nil {
		return Also(err, RemoveAll(on, tmp))
	}
	if err := on.SyncDir(parent); err != nil {
		return err
	}
	if old == "" {
		return nil
	}
	if err := RemoveAll(on, old); err != nil {
		return &LeftoverError{old, err}
	}
	return nil
}

// put renames tmp to path and returns where the folder is now that was there before, or "".
func put(on FS, tmp, path string) (old string, err error) {
	if _, err := on.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return "", on.Rename(tmp, path)
	} else if err != nil {
		return "", err
	}
	if on.Exchange(tmp, path) == nil {
		return tmp, nil
	}
	// No exchange in one step here: for a moment nothing is at path, both are beside it. SetAside tells.
	old = tmp + aside
	if err := on.Rename(path, old); err != nil {
		return "", err
	}
	if err := on.Rename(tmp, path); err != nil {
		return "", Also(err, on.Rename(old, path))
	}
	return old, nil
}

// Discard removes a folder so that it is never seen in part: it takes a temporary name first.
func Discard(on FS, path string) error {
	parent, base := split(path)
	tmp, err := temporary(parent, base, func(tmp string) error {
		if _, err := on.Lstat(tmp); err == nil {
			return fs.ErrExist
		}
		return on.Rename(path, tmp)
	})
	if err != nil {
		return err
	}
	if err := on.SyncDir(parent); err != nil {
		return err
	}
	return RemoveAll(on, tmp)
}

const aside = ".old"

// IsTemporary tells whether a folder's entry of that name is what an interrupted commit or removal of base
// has left, for any base that begins with prefix.
func IsTemporary(name, prefix string) bool {
	return strings.HasPrefix(name, "."+prefix) && strings.Contains(name, ".tmp-")
}

// SetAside tells whether an entry of that name is what was whole at base before an interrupted commit of
// its successor. If nothing is at base now, this is still it.
func SetAside(name string) (base string, ok bool) {
	name, old := strings.CutSuffix(name, aside)
	i := strings.LastIndex(name, ".tmp-")
	if !old || i < 1 || name[0] != '.' {
		return "", false
	}
	return name[1:i], true
}

func split(path string) (dir, base string) {
	path = filepath.Clean(path)
	return filepath.Dir(path), filepath.Base(path)
}
