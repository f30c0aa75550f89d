//go:build !unix

package execute

import (
	"errors"
	"os"
	"os/exec"
)

// launch starts the command and waits for it. theirs is closed once the command has it.
func launch(cmd *exec.Cmd, theirs *os.File) error {
	err := errors.Join(cmd.Start(), theirs.Close())
	if err != nil {
		return startError{err}
	}
	return cmd.Wait()
}
