//go:build !unix

package commit

import (
	"io"
	"os"
)

func lock(path string, _ Locking, note string) (io.Closer, error) { return lockByPID(path, note) }

// alive tells whether there is a process of that number, true where that cannot be known.
func alive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	p.Release()
	return true
}
