//go:build linux || darwin

package commit

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// free is the space that an ordinary user may still fill below path.
func free(path string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	if s.Blocks == 0 { // some network file systems do not count
		return 0, errors.ErrUnsupported
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}
