//go:build !linux

package execute

import (
	"fmt"
	"os/exec"
	"runtime"
)

func isolate(*exec.Cmd) error {
	return fmt.Errorf("%w: it takes Linux's namespaces, and this is %s", ErrConfinement, runtime.GOOS)
}
