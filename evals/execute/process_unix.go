//go:build unix

package execute

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// launch starts the command in a process group of its own, waits for it, and kills what is left of the group. theirs is
// closed once the command has it.
func launch(cmd *exec.Cmd, theirs *os.File) error {
	// The death signal of Linux comes when the thread ends that started the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	kill := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel = func() error {
		if err := kill(); err != nil {
			return os.ErrProcessDone
		}
		return nil
	}
	err := cmd.Start()
	err = errors.Join(err, theirs.Close())
	if err != nil {
		return startError{err}
	}
	err = cmd.Wait()
	_ = kill()
	return err
}
