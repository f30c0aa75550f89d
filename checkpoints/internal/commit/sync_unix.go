//go:build unix

package commit

import (
	"errors"
	"os"
	"syscall"
)

// syncDir makes renames inside dir last. Some file systems cannot sync folders and say so by EINVAL.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return Also(err, d.Close())
}
