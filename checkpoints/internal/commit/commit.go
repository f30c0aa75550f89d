// Package commit makes files and folders appear whole or not at all: written under a temporary name
// beside their place, synced to the disk, renamed, and the rename synced.
package commit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// File writes the file at path, in place of one that may be there.
func File(path string, write func(io.Writer) error) error {
	dir, base := split(path)
	f, err := os.CreateTemp(dir, "."+base+".tmp-*")
	if err != nil {
		return err
	}
	err = errors.Join(write(f), f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(dir)
}

// Dir fills a new folder and puts it at path, in place of one that may be there, which is removed last.
// Fill syncs the files that it writes, as File does.
func Dir(path string, fill func(dir string) error) error {
	parent, base := split(path)
	tmp, err := os.MkdirTemp(parent, "."+base+".tmp-*")
	if err != nil {
		return err
	}
	err = errors.Join(fill(tmp), os.Chmod(tmp, 0o755))
	if err == nil {
		err = syncDir(tmp)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	old, err := put(tmp, path)
	if err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	if err := syncDir(parent); err != nil {
		return err
	}
	return os.RemoveAll(old)
}

// put renames tmp to path and returns where the folder is now that was there before, or "".
func put(tmp, path string) (old string, err error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return "", os.Rename(tmp, path)
	} else if err != nil {
		return "", err
	}
	if exchange(tmp, path) == nil {
		return tmp, nil
	}
	// No exchange in one step here: for a moment nothing is at path, both are beside it.
	old = tmp + ".old"
	if err := os.Rename(path, old); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, path); err != nil {
		return "", errors.Join(err, os.Rename(old, path))
	}
	return old, nil
}

func split(path string) (dir, base string) {
	path = filepath.Clean(path)
	return filepath.Dir(path), filepath.Base(path)
}

// Copy copies a file, for Dir.
func Copy(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	return File(to, func(w io.Writer) error {
		if _, err := io.Copy(w, src); err != nil {
			return fmt.Errorf("copying %s: %w", from, err)
		}
		return nil
	})
}
