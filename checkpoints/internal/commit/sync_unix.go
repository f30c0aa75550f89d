//go:build unix

package commit

import (
	"errors"
	"os"
)

// syncDir makes renames inside dir last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
