package execute

import (
	"os"
	"os/exec"
	"syscall"
)

// nobody is the user that has no files.
const nobody = 65534

// isolate puts the command into namespaces of its own, in which it is root at first, so that it can change the mounts
// there. Outside it is the user of this process, or nobody where that is root.
func isolate(cmd *exec.Cmd) error {
	user, group := os.Getuid(), os.Getgid()
	root := user == 0
	if root {
		user, group = nobody, nobody
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET |
			syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: user, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: group, Size: 1}},
		// Only root can leave the other groups that it is in.
		GidMappingsEnableSetgroups: root,
		Credential:                 &syscall.Credential{Uid: 0, Gid: 0, NoSetGroups: !root},
		Pdeathsig:                  syscall.SIGKILL,
	}
	return nil
}
